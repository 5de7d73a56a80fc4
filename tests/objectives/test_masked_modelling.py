"""The objective ``masked_modelling``: ViTMAE's loss, what is hidden stays hidden, and one encoder for all."""

from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.gradient_target import GradientTarget
from unimodal.masked_decoder import MaskedDecoder
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.objectives.masked_modelling import MaskedModelling
from unimodal.part import Part
from unimodal.patches import patchify, unpatchify
from unimodal.pixel_target import PixelTarget
from unimodal.positions.convolutional import Convolutional
from unimodal.positions.convolved_waves import ConvolvedWaves
from unimodal.positions.sincos import SinCos
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.stems.patch import PatchStem
from unimodal.stems.tubelet import TubeletStem
from unimodal.stems.unified_patch import UnifiedPatchStem
from unimodal.tokenizers.ct import CT
from unimodal.tokenizers.image import Image
from unimodal.transformer import Transformer

DIM, WIDTH, KINDS = 24, 16, ((3, 4, 4), (1, 2, 4, 4))
PICTURES, VOLUMES = (2, 3, 16, 16), (2, 1, 8, 16, 16)


def core(depth: int, heads: int) -> Part:
    block = Part(Block, mixer=Part(Full, heads=heads), ffn=Part(Plain), norm=Part(LayerNorm, eps=1e-12))
    return Part(Transformer, depth=depth, blocks=block, norm=Part(LayerNorm, eps=1e-12))


def model(**stems: Part) -> Any:
    image = stems.get("image", Part(PatchStem, patch=4))
    ct = stems.get("ct", Part(TubeletStem, patch=(2, 4, 4), channels=1))
    return Model(
        DIM,
        tokenizers={
            "image": Part(Image, stem=image, size=None, fit="native"),
            "ct": Part(CT, stem=ct, size=None, fit="native"),
        },
        positions={"image": Part(SinCos), "ct": Part(SinCos)},
        prefix=1,
        transformer=core(2, 3),
    )


def objective(**settings: Any) -> Any:
    settings = {"patches": KINDS, "decoder": Part(MaskedDecoder, width=WIDTH, core=core(2, 2)), **settings}
    return MaskedModelling(DIM, **settings)


def pictures() -> Batch:
    return Batch("image", torch.randn(PICTURES))


def volumes() -> Batch:
    return Batch("ct", torch.randn(VOLUMES))


@pytest.mark.parametrize("normalised", [False, True])
def test_it_equals_vit_mae_with_the_same_weights_and_noise(normalised):
    peers = pytest.importorskip("transformers")
    config = peers.ViTMAEConfig(
        hidden_size=DIM,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=4 * DIM,
        image_size=16,
        patch_size=4,
        decoder_hidden_size=WIDTH,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=4 * WIDTH,
        norm_pix_loss=normalised,
    )
    theirs, ours = peers.ViTMAEForPreTraining(config).eval(), model().eval()
    task = objective(targets={"pixels": Part(PixelTarget, normalised=normalised)}).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    copied(theirs, ours, task.decoders["pixels"])
    pixels, noise = torch.randn(PICTURES), torch.rand(2, 16)
    expected = theirs(pixels, noise=noise)
    found = task.reconstruct(ours, Batch("image", pixels), noise)
    # Their patches have the channels last.
    logits = expected.logits.unflatten(-1, (4, 4, 3)).permute(0, 1, 4, 2, 3).flatten(2)
    torch.testing.assert_close(found.predicted["pixels"], logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(task(ours, Batch("image", pixels), noise), expected.loss, rtol=0, atol=1e-4)
    assert torch.equal(found.hidden, expected.mask.bool())


@torch.no_grad()
def copied(theirs: Any, ours: Any, decoder: Any) -> None:
    """Their weights in our encoder and decoder; our positions in theirs, whose columns come first."""
    for table in (theirs.vit.embeddings.position_embeddings, theirs.decoder.decoder_pos_embed):
        empty = torch.zeros(1, 16, table.shape[-1])
        table.zero_()[:, 1:] = SinCos(table.shape[-1])(empty, Side(grid=(4, 4)))
    ours.prefix.tokens.copy_(theirs.vit.embeddings.cls_token[0])
    ours.tokenizer("image").stem.project.load_state_dict(theirs.vit.embeddings.patch_embeddings.projection.state_dict())
    same_blocks(theirs.vit.layers, theirs.vit.layernorm, ours.transformer)
    same_blocks(theirs.decoder.decoder_layers, theirs.decoder.decoder_norm, decoder.core)
    decoder.embed.load_state_dict(theirs.decoder.decoder_embed.state_dict())
    decoder.hidden.copy_(theirs.decoder.mask_token[0, 0])
    rows = torch.arange(48).view(4, 4, 3).permute(2, 0, 1).flatten()
    predict, last = decoder.predict["3x4x4"], theirs.decoder.decoder_pred
    predict.weight.copy_(last.weight[rows])
    predict.bias.copy_(last.bias[rows])


def same_blocks(theirs: Any, norm: Any, ours: Any) -> None:
    ours.norm.load_state_dict(norm.state_dict())
    for peer, block in zip(theirs, ours.blocks, strict=True):
        parts = [getattr(peer.attention, f"{name}_proj") for name in "qkv"]
        block.mixer.to_qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        block.mixer.to_qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        block.mixer.to_out.load_state_dict(peer.attention.o_proj.state_dict())
        block.norm_mixer.load_state_dict(peer.layernorm_before.state_dict())
        block.norm_ffn.load_state_dict(peer.layernorm_after.state_dict())
        block.ffn.to_hidden.load_state_dict(peer.mlp.fc1.state_dict())
        block.ffn.to_out.load_state_dict(peer.mlp.fc2.state_dict())


def test_the_loss_is_the_sum_over_targets_of_the_mean_over_hidden_patches():
    task, net = objective(masked=0.6).double(), model().double()
    values, noise = torch.randn(VOLUMES).double(), torch.rand(2, 64).double()
    found, total = task.reconstruct(net, Batch("ct", values), noise), 0.0
    slices = torch.stack([GradientTarget.steepness(values[:, :, z]) for z in range(8)], 2)
    for name, target in (("pixels", values), ("gradient", slices)):
        errors = []
        for b in range(2):
            last = noise[b].sort().values[25:]  # 25 of 64 are visible
            for n, (z, y, x) in enumerate(torch.cartesian_prod(*map(torch.arange, (4, 4, 4))).tolist()):
                if noise[b, n] in last:
                    box = target[b, :, 2 * z : 2 * z + 2, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
                    errors.append(float((found.predicted[name][b, n].detach() - box.flatten()).square().mean()))
        assert len(errors) == 2 * 39
        total += sum(errors) / len(errors)
    assert task(net, Batch("ct", values), noise).item() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("masked, seen", [(0.75, 16), (0.5, 32), (0.76, 15), (0.99, 0)])
def test_a_floor_of_the_patches_is_visible_drawn_anew_for_every_input(masked, seen):
    task = objective(masked=masked)
    if not seen:
        with pytest.raises(ValueError, match="leaves 0 of 64 patches visible"):
            task(model(), volumes())
        return
    found = [task.reconstruct(model(), volumes()).hidden for _ in range(2)]
    assert [(~hidden).sum(1).tolist() for hidden in found] == [[seen, seen]] * 2
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0][0], found[0][1])


@pytest.mark.parametrize("batch, patch", [(pictures, (4, 4)), (volumes, (2, 4, 4))])
def test_hidden_patches_have_no_way_into_the_encoder(batch, patch):
    task, net, given = objective(), model().eval(), batch()
    grid = tuple(n // p for n, p in zip(given.data.shape[2:], patch, strict=True))
    noise = torch.rand(2, prod(grid))
    found = task.reconstruct(net, given, noise)
    boxes = patchify(given.data, patch)
    boxes = torch.where(found.hidden[..., None], 9.0 * torch.randn_like(boxes), boxes)
    other = task.reconstruct(net, Batch(given.modality, unpatchify(boxes, grid, patch)), noise)
    assert torch.equal(found.latent.x, other.latent.x)
    for name, predicted in found.predicted.items():
        assert torch.equal(predicted, other.predicted[name])
        assert not torch.equal(found.target[name], other.target[name])


def test_the_encoder_sees_the_prefix_and_the_visible_tokens_only():
    net, met = model(), []
    net.transformer.register_forward_pre_hook(lambda _, arguments: met.append(arguments[0]))
    given = pictures()
    found = objective().reconstruct(net, given, torch.rand(2, 16))
    whole = net.tokenize(given).x
    for row, seen, hidden in zip(whole, met[0].x, found.hidden, strict=True):
        assert torch.equal(seen, torch.cat([row[:1], row[1:][~hidden]]))


def test_the_loss_ignores_predictions_of_visible_patches():
    task, net = objective(), model()
    found = task.reconstruct(net, volumes())
    before = found.losses()
    for predicted in found.predicted.values():
        predicted.data[~found.hidden] = 1e6
    after = found.losses()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    for predicted in found.predicted.values():
        predicted.data[found.hidden] = 1e6
    assert all(found.losses()[name] > 1e9 for name in before)


def test_the_cost_of_the_encoder_is_that_of_the_visible_patches():
    net, met = model(), []
    watch = net.transformer.register_forward_pre_hook(lambda _, arguments: met.append(arguments[0]))
    with torch.no_grad():
        objective().reconstruct(net, given := Batch("image", torch.randn(2, 3, 56, 56)))
    watch.remove()
    count = []
    for tokens in (met[0], net.tokenize(given)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.transformer(tokens)
        rows, n, dim = tokens.x.shape
        products = 2 * net.transformer.depth * rows * 2 * n * n * dim  # of attention: the counter leaves them out
        count.append((counter.get_total_flops(), products))
    (linear, products), (whole_linear, whole_products) = count
    assert linear * 197 == whole_linear * 50
    assert products * 197**2 == whole_products * 50**2
    assert linear + products <= 0.3 * (whole_linear + whole_products)


def test_pictures_and_volumes_train_one_encoder_in_turn_and_leave_each_others_tokenizer_alone():
    task, net = objective(), model()
    parameters = [*net.parameters(), *task.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for batch, own, other in ((pictures(), "image", "ct"), (volumes(), "ct", "image")) * 2:
        before = {name: value.clone() for name, value in net.state_dict().items()}
        optimizer.zero_grad(set_to_none=True)
        task(net, batch).backward()
        assert all(p.grad is None for p in net.tokenizer(other).parameters())
        assert all(p.grad.abs().sum() > 0 for p in net.tokenizer(own).parameters())
        for decoder in task.decoders.values():
            grads = {kind: linear.weight.grad for kind, linear in decoder.predict.items()}
            assert [grads[kind] is None for kind in ("3x4x4", "1x2x4x4")] == [own == "ct", own == "image"]
        optimizer.step()
        changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
        shared = {name for name in before if name.startswith(("transformer.", "prefix."))}
        assert changed == shared | {name for name in before if name.startswith(f"tokenizers.{own}.")}


def test_one_tokenizer_with_a_stem_of_both_kinds_reads_pictures_and_volumes():
    net = model(ct=Part(UnifiedPatchStem, patch=(2, 4, 4), channels=1))
    task = objective(patches=((1, 4, 4), (1, 2, 4, 4)))
    for shape, other in (((2, 1, 16, 16), "project_volume"), ((2, 1, 8, 16, 16), "project_picture")):
        net.zero_grad(set_to_none=True)
        task(net, Batch("ct", torch.randn(shape))).backward()
        stem = net.tokenizer("ct").stem
        assert [n.split(".")[0] for n, p in stem.named_parameters() if p.grad is None] == [other] * 2


def test_each_target_has_a_decoder_of_its_own_and_none_is_made_of_predictions():
    task, net, given = objective(), model(), pictures()
    assert set(task.decoders) == {"pixels", "gradient"}
    loss = task.reconstruct(net, given).losses()["gradient"]
    loss.backward()
    assert all(p.grad is None for p in task.decoders["pixels"].parameters())
    assert task.decoders["gradient"].hidden.grad.abs().sum() > 0
    assert net.prefix.tokens.grad.abs().sum() > 0
    for target in task.reconstruct(net, given).target.values():
        assert not target.requires_grad


def test_targets_are_in_the_scale_of_the_tokenizer():
    given = torch.randint(0, 256, PICTURES, dtype=torch.uint8)
    found = objective().reconstruct(model(), Batch("image", given))
    scaled = given / 127.5 - 1
    torch.testing.assert_close(found.target["pixels"], patchify(scaled, (4, 4)), rtol=0, atol=1e-6)


def test_what_lies_behind_the_last_whole_patch_is_left_out():
    torch.manual_seed(0)
    found = objective().reconstruct(model(), Batch("image", torch.randn(2, 3, 17, 19)))
    assert found.predicted["pixels"].shape == found.target["gradient"].shape == (2, 16, 48)


def test_it_learns_what_hidden_patches_share_with_visible_ones():
    net, task = model(), objective(masked=0.5)
    optimizer = torch.optim.Adam([*net.parameters(), *task.parameters()], lr=3e-3)
    losses = []
    for step in range(60):
        colour = torch.randn(16, 3, 1, 1).expand(-1, -1, 16, 16)
        depth = torch.randn(16, 1, 1, 1, 1).expand(-1, -1, 8, 16, 16)
        loss = task(net, Batch("ct", depth) if step % 2 else Batch("image", colour))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for own in (losses[::2], losses[1::2]):
        assert sum(own[-5:]) < 0.4 * sum(own[:5])


def test_a_stem_that_mixes_patches_is_refused():
    net = model(image=Part(OverlappingPatchStem, patch=4))
    with pytest.raises(ValueError, match="the stem must cut disjoint patches .*not be a OverlappingPatchStem"):
        objective()(net, pictures())


@pytest.mark.parametrize("position", [ConvolvedWaves, Convolutional])
def test_a_position_that_mixes_tokens_is_refused(position):
    net = model()
    net.positions["image"] = position(DIM)
    with pytest.raises(ValueError, match=f"the position must not mix tokens, as {position.__name__} does"):
        objective()(net, pictures())


def test_inputs_of_several_sizes_are_refused():
    mixed: tuple[Tensor, ...] = (torch.randn(3, 16, 16), torch.randn(3, 8, 16))
    with pytest.raises(ValueError, match="inputs of a batch must be of one size"):
        objective()(model(), Batch("image", mixed))


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"noise must be \(2, 16\), one number a patch, not \(2, 17\)"):
        objective()(model(), pictures(), torch.rand(2, 17))


@pytest.mark.parametrize("masked", [0.0, 1.0, -0.1])
def test_a_share_that_hides_nothing_or_all_is_refused(masked):
    with pytest.raises(ValueError, match="masked is a share"):
        objective(masked=masked)


def test_a_share_that_hides_nothing_of_this_input_is_refused():
    with pytest.raises(ValueError, match="leaves 16 of 16 patches visible"):
        objective(masked=1e-17)(model(), pictures())


def test_no_target_is_refused():
    with pytest.raises(ValueError, match="targets must name at least one"):
        objective(targets={})
