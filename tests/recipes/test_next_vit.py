"""Next-ViT: published counts and costs, its pattern of blocks, the form for use, features of every size of picture."""

import warnings
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unimodal.appended import Appended
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.recipes.next_vit import next_vit
from unimodal.reparameterize import reparameterize
from unimodal.sample import Batch

# Parameters with a classifier of 1000 (timm's), multiply-adds at 224 px in 1e9 (the paper's table 4).
PUBLISHED = [("small", 31_763_368, 5.8), ("base", 44_818_856, 8.3), ("large", 57_874_344, 10.8)]
TOY = {"widths": (8, 16, 24, 32), "wide": (32, 32, 64), "stem": (8, 4, 8), "head": 8, "depths": (1, 2, 5, 2)}


def toy(**options: Any) -> Any:
    """As after training: statistics, factors and shifts of any size."""
    torch.manual_seed(0)
    model: Any = next_vit(**{**TOY, "classes": 5, **options})()
    for parameter in model.parameters():
        shape = parameter.shape
        torch.nn.init.normal_(parameter, std=0.5 if len(shape) == 1 else parameter[0].numel() ** -0.5)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            torch.nn.init.uniform_(buffer, 0.5, 2.0)
        elif name.endswith("running_mean"):
            torch.nn.init.normal_(buffer, std=0.5)
    return model.eval()


def pictures(*sizes: int, dtype: torch.dtype = torch.float32) -> Batch:
    return Batch("image", torch.randn(2, 3, *sizes, dtype=dtype))


@pytest.mark.parametrize("size, parameters, billions", PUBLISHED)
def test_sizes_have_the_published_counts_and_costs(size, parameters, billions):
    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        model: Any = next_vit(size, classes=1000)().eval()
        model.embed(Batch("image", torch.zeros(1, 3, 224, 224)))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=0.03)


def test_the_third_stage_is_four_blocks_of_convolutions_and_one_with_attention_over_and_over():
    with torch.device("meta"):
        model: Any = next_vit()()
    kinds = [
        "".join("A" if any(isinstance(p, Appended) for p in b.parts) else "c" for b in stage.blocks)
        for stage in model.transformer.stages
    ]
    assert kinds == ["ccc", "cccA", "ccccAccccA", "ccA"]
    assert model.transformer.widths == (64, 96, 256, 512, 1024)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("sizes", [(64, 64), (97, 130)])
def test_in_use_all_norms_but_the_readouts_are_in_the_maps(dtype, tolerance, sizes):
    model, batch = toy().to(dtype), pictures(*sizes, dtype=dtype)
    made: Any = reparameterize(model)
    pairs = zip(model.features(batch, [1, 2, 3, 4]), made.features(batch, [1, 2, 3, 4]), strict=True)
    for ours, theirs in ((model.embed(batch), made.embed(batch)), *((a.x, b.x) for a, b in pairs)):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=tolerance * ours.abs().max().item())
    assert [name for name, m in made.named_modules() if isinstance(m, BatchNorm)] == ["readout.chain.parts.0"]
    assert sum(p.numel() for p in made.parameters()) < sum(p.numel() for p in model.parameters())


def test_a_second_folding_changes_nothing():
    made = reparameterize(toy())
    again = reparameterize(made)
    first, second = made.state_dict(), again.state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_model_in_training_is_not_folded():
    with pytest.raises(ValueError, match="the model is in training mode"):
        reparameterize(toy().train())


def test_the_folded_network_exports_and_traces():
    class Embedded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model: Any = reparameterize(toy())

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.model.embed(Batch("image", pixels))

    module, pixels = Embedded().eval(), torch.randn(1, 3, 64, 64)
    exported = torch.export.export(module, (pixels,)).module()
    torch.testing.assert_close(exported(pixels), module(pixels))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced: Any = torch.jit.trace(module, (pixels,))
    torch.testing.assert_close(traced(pixels), module(pixels))


@pytest.mark.parametrize("sizes", [(64, 64), (97, 130), (25, 57)])
def test_features_of_any_picture_have_the_strides_4_8_16_32_rounded_up(sizes):
    features = toy().features(pictures(*sizes), [1, 2, 3, 4])
    for tokens, stride, width in zip(features, (4, 8, 16, 32), (8, 32, 32, 64), strict=True):
        assert tokens.side.grid == tuple(-(-n // stride) for n in sizes)
        assert tokens.x.shape == (2, tokens.side.grid[0] * tokens.side.grid[1], width)


def test_a_batch_of_mixed_sizes_gives_each_picture_what_it_gets_alone():
    model = toy()
    data = [torch.randn(3, *size) for size in ((64, 64), (49, 70), (64, 64))]
    model.tokenizers["image"].fit = "native"
    mixed = model.embed(Batch("image", tuple(data)))
    alone = torch.cat([model.embed(Batch("image", picture[None])) for picture in data])
    torch.testing.assert_close(mixed, alone, rtol=0, atol=1e-5 * alone.abs().max().item())


def test_a_pattern_says_which_blocks_attend_and_the_published_one_is_among_them():
    assert next_vit(pattern=("CCC", "CCCT", "CCCCTCCCCT", "CCT")) == next_vit()
    for pattern, attending in ((("C", "CC", "C", "C"), 0), (("T", "TT", "T", "CT"), 5)):
        options = {**TOY, "widths": (24, 16, 24, 32), "depths": None, "pattern": pattern}
        model: Any = next_vit(**options, classes=5)()
        assert sum(isinstance(part, Appended) for part in model.modules()) == attending
        assert model.transformer.widths == ((8, 24, 32, 32, 64) if attending else (8, 24, 16, 24, 32))
        assert model.embed(pictures(49, 64)).shape == (2, 5)


def test_rates_of_skipping_grow_over_all_blocks_and_are_shared_by_a_blocks_two_mixers():
    first, *_ = toy(drop_path=0.9).transformer.stages[0].blocks[0].parts
    mixing, appended, fed = toy(drop_path=0.9).transformer.stages[3].blocks[-1].parts[-3:]
    rates = [first.drop_path, mixing.drop_path, appended.part.parts[2].drop_path, fed.drop_path]
    assert rates == pytest.approx([0.0, 0.675, 0.225, 0.9])


def test_gradients_reach_every_parameter():
    model = toy().train()
    model.embed(pictures(64, 64)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_without_classes_it_gives_the_normed_mean():
    model, batch = toy(classes=None), pictures(64, 64)
    norm = model.readout.chain.parts[0]
    torch.testing.assert_close(model.embed(batch), norm(model(batch).x).mean(1))


def test_it_round_trips():
    part = next_vit("base", classes=10, drop_path=0.1)
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"size": "huge"}, "size must be one of small, base, large, not 'huge'"),
        ({"image": 30}, "image must be a multiple of 4 px, not 30"),
        ({"depths": (1, 2, 4, 2)}, "the third stage has blocks in fives, not 4"),
        ({"pattern": ("C", "CT", "T")}, "letters C and T for four stages"),
        ({"pattern": ("C", "CT", "T", "X")}, "letters C and T for four stages"),
        ({"pattern": ("C", "CT", "T", "C"), "depths": (1, 2, 5, 2)}, "without depths"),
    ],
)
def test_what_does_not_fit_is_refused(options, cause):
    with pytest.raises(ValueError, match=cause):
        next_vit(**options)
