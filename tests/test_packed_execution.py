"""Transformers over packed sequences: the same as padded rows with masks, without any work on padding."""

import random

import pyarrow.parquet as pq
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.multiply_adds import multiply_adds
from unimodal.part import Part
from unimodal.recipes.post_norm import post_norm
from unimodal.side import Side
from unimodal.tokens import Tokens

LENGTHS = [17, 1, 64, 30, 0, 5]
DIM, HEADS = 48, 4


def rows(lengths: list[int], dim: int = DIM, fill: float = float("nan")) -> Tokens:
    """Random tokens; what stands in the padding is ``fill``."""
    x = torch.randn(len(lengths), max(lengths), dim)
    for b, n in enumerate(lengths):
        x[b, n:] = fill
    return Tokens(x, Side(lengths=torch.tensor(lengths)))


def core(depth: int = 2, dim: int = DIM) -> nn.Module:
    return post_norm(depth=depth, heads=HEADS, hidden=4 * dim)(dim).eval()


def with_torchs_weights(layer: nn.TransformerEncoderLayer, *, layout: str) -> Block:
    """Our block with the weights of torch's layer."""
    ffn = Part(Plain, hidden=layer.linear1.out_features)
    block = Block(DIM, mixer=Part(Full, heads=HEADS), ffn=ffn, layout=layout).eval()
    words = {
        "self_attn.in_proj_": "mixer.to_qkv.",
        "self_attn.out_proj.": "mixer.to_out.",
        "linear1.": "ffn.to_hidden.",
        "linear2.": "ffn.to_out.",
        "norm1.": "norm_mixer.",
        "norm2.": "norm_ffn.",
    }
    state = {}
    for name, tensor in layer.state_dict().items():
        word = next(w for w in words if name.startswith(w))
        state[words[word] + name.removeprefix(word)] = tensor
    block.load_state_dict(state, strict=True)
    return block


@pytest.mark.parametrize("layout", ["post", "pre"])
def test_a_packed_layer_with_torchs_weights_is_torchs_padded_layer_with_gradients(layout):
    lengths = [17, 1, 64, 30, 5]
    tokens = rows(lengths, fill=0.0)
    real = torch.arange(64) < tokens.side.lengths[:, None]  # pyright: ignore[reportOptionalSubscript]
    layer = nn.TransformerEncoderLayer(
        DIM, HEADS, 100, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=layout == "pre"
    )
    block = with_torchs_weights(layer, layout=layout)
    theirs, ours = tokens.x.clone().requires_grad_(), tokens.x.clone().requires_grad_()
    want = layer(theirs, src_key_padding_mask=~real)[real]
    packed = tokens.replace(ours).packed()
    got = block(packed.x, packed.side)[0]
    assert (got - want).abs().max() < 2e-6 * max(1.0, want.abs().max().item())
    probe = torch.randn_like(want)
    (of_theirs,), (of_ours,) = (torch.autograd.grad((y * probe).sum(), x) for y, x in ((want, theirs), (got, ours)))
    assert (of_ours - of_theirs).abs().max() < 1e-5 * of_theirs.abs().max()


def test_a_packed_bert_is_the_peers_padded_one(tmp_path):
    transformers = pytest.importorskip("transformers")
    import unimodal

    sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 192}
    peer = transformers.BertModel(transformers.BertConfig(vocab_size=90, max_position_embeddings=80, **sizes)).eval()
    peer.save_pretrained(tmp_path)
    model = unimodal.load(f"transformers:{tmp_path}")
    lengths = [n for n in LENGTHS if n]
    ids = torch.randint(5, 90, (len(lengths), 64))
    real = torch.arange(64) < torch.tensor(lengths)[:, None]
    words = model.tokenizer("text")
    batch = words.collate([words.read(row[:n].tolist()) for row, n in zip(ids, lengths, strict=True)])
    with torch.inference_mode():
        want = peer(input_ids=ids * real, attention_mask=real.long()).last_hidden_state[real]
        got = model.transformer(model.tokenize(batch).packed()).x[0]
    assert (got - want).abs().max() < 2e-6 * max(1.0, want.abs().max().item())


@torch.inference_mode()
def test_padding_full_of_nan_has_no_influence_and_no_row_leaks_into_another():
    model = core()
    tokens = rows(LENGTHS)
    before = model(tokens.packed())
    assert before.x.isfinite().all()
    clean = Tokens(tokens.x.nan_to_num(7.0), tokens.side)
    assert torch.equal(model(clean.packed()).x, before.x)
    x = tokens.x.clone()
    x[2] += 1.0
    after = model(Tokens(x, tokens.side).packed())
    for i, (one, other) in enumerate(zip(before.split(), after.split(), strict=True)):
        assert torch.equal(one, other) == (i != 2)


@pytest.mark.parametrize("causal", [False, True])
@torch.inference_mode()
def test_the_order_of_the_sequences_changes_nothing_but_their_order(causal):
    model, tokens = core(), rows(LENGTHS).replace(causal=causal)
    order = [3, 0, 5, 2, 4, 1]
    side = tokens.side.replace(lengths=tokens.side.lengths[order])  # pyright: ignore[reportOptionalSubscript]
    outputs = model(tokens.packed()).split()
    for i, got in zip(order, model(Tokens(tokens.x[order], side).packed()).split(), strict=True):
        torch.testing.assert_close(got, outputs[i], rtol=0, atol=2e-6)


@torch.inference_mode()
def test_a_causal_pack_is_each_sequence_by_itself():
    model, tokens = core(), rows(LENGTHS).replace(causal=True)
    packed = model(tokens.packed())
    for x, got in zip(tokens.split(), packed.split(), strict=True):
        torch.testing.assert_close(got, model(Tokens(x[None], Side(causal=True))).x[0], rtol=0, atol=2e-6)


def test_a_layer_takes_the_flops_of_real_tokens_and_their_pairs_alone():
    tokens, depth = rows([40, 96, 7, 64], fill=0.0), 2
    model = core(depth)
    lengths = tokens.sequence_lengths()
    formula = depth * sum(24 * DIM**2 * n + 4 * DIM * n**2 for n in lengths)
    packed = 2 * multiply_adds(model, tokens.packed())
    assert packed == pytest.approx(formula, rel=0.01)
    whole = depth * len(lengths) * (24 * DIM**2 * 96 + 4 * DIM * 96**2)
    assert 2 * multiply_adds(model, tokens) == pytest.approx(whole, rel=0.01)
    assert packed < 0.6 * whole


def peak_saved_bytes(model: nn.Module, tokens: Tokens) -> int:
    """Of what a forward pass keeps for the backward pass, each storage once, parameters aside."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        loss = model(tokens).x.sum()
    del loss
    return sum(kept.values())


def test_activations_grow_with_the_sum_of_the_lengths():
    model, lengths = core(), [40, 96, 7, 64, 20, 33]
    tokens = rows(lengths, fill=0.0)
    full = Tokens(torch.randn(len(lengths), 96, DIM))
    packed, whole = (peak_saved_bytes(model.train(), t) for t in (tokens.packed(), full))
    assert packed / whole == pytest.approx(sum(lengths) / (96 * len(lengths)), rel=0.15)


def test_training_packed_follows_the_curve_of_training_padded(shared_data):
    folder = shared_data / "movie_reviews"
    table = pq.read_table(folder / "movie_reviews.parquet").slice(0, 1000).to_pylist()
    random.Random(0).shuffle(table)
    texts = [(list(row["text"].encode()[: 20 + len(row["text"]) % 100]), int(row["label"])) for row in table[:96]]
    curves = []
    for form in ("padded", "packed"):
        torch.manual_seed(0)
        table, model, head = nn.Embedding(256, DIM), core().train(), nn.Linear(DIM, 2)
        learned = [*table.parameters(), *model.parameters(), *head.parameters()]
        optimiser, losses = torch.optim.SGD(learned, lr=0.05), []
        for step in range(12):
            chosen = texts[8 * step : 8 * step + 8]
            lengths = torch.tensor([len(ids) for ids, _ in chosen])
            ids = nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids, _ in chosen], batch_first=True)
            tokens = Tokens(table(ids), Side(lengths=lengths))
            tokens = model(tokens.packed() if form == "packed" else tokens)
            means = torch.stack([x.mean(0) for x in tokens.split()])
            loss = F.cross_entropy(head(means), torch.tensor([label for _, label in chosen]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        curves.append(losses)
    assert max(abs(a - b) for a, b in zip(*curves, strict=True)) < 1e-5
    assert len({round(loss, 3) for loss in curves[0]}) > 6, "the curve is flat: nothing was learned"
