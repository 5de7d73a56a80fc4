"""A checkpoint gives back the same model, or says in one error which file is wrong and why."""

import json
import subprocess
import sys
import time
from typing import Any

import pytest
import torch

from unimodal.block import Block
from unimodal.catalog import catalog
from unimodal.checkpoint import CONFIG, WEIGHTS, Info, describe, save
from unimodal.checkpoint import load_checkpoint as load_typed
from unimodal.errors import CheckpointError
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.part import Part
from unimodal.provenance import Provenance
from unimodal.readouts.class_token import ClassToken
from unimodal.sample import Batch
from unimodal.stems.convolution import ConvolutionStem
from unimodal.transformer import Transformer


def load_checkpoint(*args: Any, **options: Any) -> tuple[Any, Info]:
    return load_typed(*args, **options)


TRAINED = Provenance({"": "trained"}, "a test")


def tiny(**changes: Any) -> Any:
    image = Part(catalog("tokenizers")["image"], size=16, stem=Part(ConvolutionStem, widths=(8, 8)))
    block = Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain))
    core = Part(Transformer, depth=2, blocks=block)
    settings = {"tokenizers": {"image": image}, "transformer": core, "prefix": 1, "readout": Part(ClassToken, width=5)}
    return Part(Model, dim=16, **{**settings, **changes})


@pytest.fixture
def saved(tmp_path):
    part = tiny()
    model = part()
    save(model, tmp_path / "m", part=part, provenance=TRAINED, card={"data": "none", "score": 1.5})
    return tmp_path / "m", model.eval()


def picture():
    return Batch("image", torch.randn(3, 3, 16, 20))


def test_what_is_loaded_is_bit_for_bit_what_was_saved(saved):
    folder, model = saved
    again, info = load_checkpoint(folder)
    assert not again.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    batch = picture()
    assert torch.equal(again.embed(batch), model.embed(batch))
    assert info.part == tiny()
    assert info.card == {"data": "none", "score": 1.5}
    assert Provenance.of(again) == TRAINED


def test_saving_twice_gives_the_same_bytes_and_leaves_no_other_file(saved, tmp_path):
    folder, model = saved
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert set(before) == {CONFIG, WEIGHTS}
    save(model, folder, part=tiny(), provenance=TRAINED, card={"data": "none", "score": 1.5})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize("dtype, bits", [(torch.float16, 11), (torch.bfloat16, 8)])
def test_half_precision_halves_the_file_and_is_widened_on_loading(saved, tmp_path, dtype, bits):
    folder, model = saved
    small = save(model, tmp_path / "half", part=tiny(), provenance=TRAINED, dtype=dtype)
    again, _ = load_checkpoint(small)
    weights = sum(p.numel() for p in model.parameters())
    assert (folder / WEIGHTS).stat().st_size - (small / WEIGHTS).stat().st_size > 1.9 * weights
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert a.dtype == b.dtype
        # Rounding to nearest: half a unit in the last of `bits` places; below 2**-14 float16 is subnormal.
        torch.testing.assert_close(b, a, rtol=2.0**-bits, atol=2.0**-25, msg=name)


def test_tied_weights_are_stored_once_and_come_back_under_both_names(tmp_path):
    part = tiny()
    model = part()
    model.transformer.blocks[1].ffn.to_out.weight = model.transformer.blocks[0].ffn.to_out.weight
    save(model, tmp_path, part=part, provenance=TRAINED)
    assert json.loads((tmp_path / CONFIG).read_text())["shared"] == {
        "transformer.blocks.1.ffn.to_out.weight": "transformer.blocks.0.ffn.to_out.weight"
    }
    again, _ = load_checkpoint(tmp_path)
    for i in (0, 1):
        assert torch.equal(again.transformer.blocks[i].ffn.to_out.weight, model.transformer.blocks[0].ffn.to_out.weight)


def test_weights_shared_in_groups_come_back(tmp_path):
    block = Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain))
    part = tiny(transformer=Part(Transformer, depth=4, shared=2, blocks=block))
    model = part().eval()
    again, _ = load_checkpoint(save(model, tmp_path, part=part, provenance=TRAINED))
    batch = picture()
    assert torch.equal(again(batch).x, model(batch).x)
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(saved, name):
    folder, _ = saved
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        load_checkpoint(folder)


def test_a_pickled_checkpoint_is_named_and_not_opened(saved):
    folder, _ = saved
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"never opened: pytorch_model\.bin"):
        load_checkpoint(folder)


@pytest.mark.parametrize("cut", [0, 4, 100, 5000])
def test_truncated_weights_give_one_error_that_names_the_file(saved, cut):
    folder, _ = saved
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a whole safetensors file"):
        load_checkpoint(folder)


def test_one_flipped_bit_is_noticed(saved):
    folder, _ = saved
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-9] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged or from another save"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "text, cause",
    [
        ("{", "not readable as JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "not a checkpoint of this suite"),
        ('{"format": "unimodal", "version": 99}', "format version 99"),
        ('{"format": "unimodal", "version": 1}', "the settings cannot be used"),
    ],
)
def test_wrong_json_gives_one_error_that_names_the_file(saved, text, cause):
    folder, _ = saved
    (folder / CONFIG).write_text(text)
    with pytest.raises(CheckpointError, match=rf"config\.json: {cause}"):
        load_checkpoint(folder)


def edit(folder, change):
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def test_a_part_of_a_plugin_that_is_not_installed_is_named(saved):
    folder, _ = saved
    edit(folder, lambda c: c["part"]["with"]["readout"].update(part="readouts.absent"))
    with pytest.raises(CheckpointError, match="no readout named 'absent'"):
        load_checkpoint(folder)


def test_weights_of_another_model_give_a_coverage_report(saved):
    folder, _ = saved

    def change(config):
        config["part"]["with"]["readout"]["with"]["width"] = 6
        config["part"]["with"]["prefix"] = 0
        config["part"]["with"]["transformer"]["with"]["norm"] = {"part": "norms.layer", "with": {}}

    edit(folder, change)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    report = str(caught.value)
    assert "2 are missing, 1 are unexpected, 1 have another shape" in report
    assert "missing: transformer.norm.weight" in report
    assert "unexpected: prefix.tokens" in report
    assert "readout.project.weight: (5, 16), the model wants (6, 16)" in report


def test_a_near_name_is_suggested(saved):
    folder, model = saved
    from unimodal.coverage import load_strictly

    weights = dict(model.state_dict())
    weights["readout.projekt.weight"] = weights.pop("readout.project.weight")
    with pytest.raises(CheckpointError, match=r"readout\.projekt\.weight \(nearest: readout\.project\.weight\)"):
        load_strictly(model, weights, folder)


def test_a_shared_name_without_tensor_is_named(saved):
    folder, _ = saved
    edit(folder, lambda c: c.update(shared={"a": "b"}))
    with pytest.raises(CheckpointError, match="a shares the tensor b"):
        load_checkpoint(folder)


def test_a_provenance_that_does_not_fit_is_refused(saved):
    folder, _ = saved
    edit(folder, lambda c: c["provenance"].update(statuses={"readout": "trained"}))
    with pytest.raises(CheckpointError, match="no status for"):
        load_checkpoint(folder)


def test_random_parts_need_an_explicit_flag(tmp_path):
    part = tiny()
    mixed = Provenance({"": "trained", "readout": "random"}, "a test")
    save(part(), tmp_path, part=part, provenance=mixed)
    with pytest.raises(CheckpointError, match=r"random, not trained: readout; give allow_random=True"):
        load_checkpoint(tmp_path)
    model, info = load_checkpoint(tmp_path, allow_random=True)
    told = describe(model, info)
    assert {row["part"]: row["status"] for row in told["parts"]} == {
        "tokenizers.image": "trained",
        "prefix": "trained",
        "transformer": "trained",
        "readout": "random",
    }
    assert sum(row["parameters"] for row in told["parts"]) == sum(p.numel() for p in model.parameters())
    json.dumps(told)


def test_saving_refuses_what_could_not_be_loaded(tmp_path):
    part, other = tiny(), tiny(prefix=0)
    with pytest.raises(ValueError, match="does not build this model"):
        save(part(), tmp_path, part=other, provenance=TRAINED)
    with pytest.raises(ValueError, match="no status for tokenizers"):
        save(part(), tmp_path, part=part, provenance=Provenance({"readout": "trained"}))
    with pytest.raises(ValueError, match="not plain JSON"):
        save(part(), tmp_path, part=part, provenance=TRAINED, card={"score": float("nan")})
    with pytest.raises(ValueError, match=r"dtype must be .* not torch\.float64"):
        save(part(), tmp_path, part=part, provenance=TRAINED, dtype=torch.float64)
    model = part()
    torch.nn.init.constant_(model.readout.project.weight, 1e6)
    with pytest.raises(ValueError, match=r"readout\.project\.weight holds values that torch\.float16 cannot"):
        save(model, tmp_path, part=part, provenance=TRAINED, dtype=torch.float16)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_killed_at_any_moment_leaves_the_old_checkpoint_or_a_clear_error(saved, repository):
    folder, _ = saved
    code = (
        "import sys\n"
        "from unimodal.checkpoint import load_checkpoint, save\n"
        "model, info = load_checkpoint(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    model.readout.project.weight.data += 1\n"
        "    save(model, sys.argv[1], part=info.part, provenance=info.provenance)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=repository, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    time.sleep(0.37)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    outcome = "loaded"
    try:
        load_checkpoint(folder)
    except CheckpointError as error:
        outcome = str(error)
    assert outcome == "loaded" or "from another save" in outcome


def test_a_name_that_is_neither_folder_nor_hub_id_says_so():
    with pytest.raises(CheckpointError, match="no such folder, and not a hub id"):
        load_checkpoint("./nowhere")


def test_a_hub_id_without_network_says_so(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"owner/name: config\.json is not in the local cache"):
        load_checkpoint("owner/name")


def test_a_checkpoint_in_the_hub_cache_loads_without_network(saved, monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    folder, model = saved
    repository = tmp_path / "cache" / "models--owner--name"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    folder.rename(repository / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    again, info = load_checkpoint("owner/name")
    assert info.source == "owner/name"
    assert torch.equal(again.readout.project.weight, model.readout.project.weight)
