"""Hashes that are learned: each bit's objective, what later layers see, and codes of real features."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage
from scipy.stats import rankdata
from sklearn.datasets import load_sample_images

import unimodal
from unimodal.attention.kernel_hash import KernelHashAttention
from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.fit_hash import fit_hash
from unimodal.mixers.shared_query_key import SharedQueryKey
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer


def rule(**settings: Any) -> KernelHashAttention:
    return KernelHashAttention(heads=2, width=6, **settings).double()


def keys(batch: int = 3, tokens: int = 24) -> torch.Tensor:
    """Clusters, so that there is something to learn."""
    centres = torch.randn(1, 2, 4, 6, dtype=torch.float64).repeat_interleave(tokens // 4, dim=2)
    return centres + 0.4 * torch.randn(batch, 2, tokens, 6, dtype=torch.float64)


def objectives(attention, k, neighbours):
    """-y^T (R S - sum of y' y'^T before) y / (N R) for each bit and head, with S and the residual written out."""
    (batch, heads, tokens, _), bits = k.shape, attention.bits
    unit = F.normalize(k, dim=-1)
    code = attention.codes(k, attention.spread(k))
    out = torch.zeros(bits, heads, dtype=k.dtype)
    for b in range(batch):
        for h in range(heads):
            label = torch.zeros(tokens, tokens, dtype=k.dtype)
            for n in range(tokens):
                order = (unit[b, h] @ unit[b, h, n]).argsort()
                label[n, order[-neighbours:]] = 1.0
                label[n, order[:neighbours]] = -1.0
            residual = bits * label
            for r in range(bits):
                y = code[b, h, :, r]
                out[r, h] -= y @ residual @ y / (tokens * bits) / batch
                residual = residual - y[:, None] * y
    return out


def test_what_is_kept_has_the_objective_of_the_paper_and_never_one_above_the_random_directions():
    attention, k = rule(bits=6), keys()
    found = fit_hash(attention, k, k, k, neighbours=4)[""]
    assert found.shape == (6, 2, 2)
    torch.testing.assert_close(found[..., 1], objectives(attention, k, 4), rtol=0, atol=1e-10)
    assert bool((found[..., 1] <= found[..., 0]).all())
    assert float((found[..., 1] < found[..., 0]).double().mean()) > 0.5


def test_without_steps_the_random_directions_are_kept():
    attention, k = rule(bits=4), keys()
    found = fit_hash(attention, k, k, k, steps=0)[""]
    assert torch.equal(found[..., 0], found[..., 1])


def test_anchors_are_keys_and_means_are_those_of_the_features():
    attention, k = rule(), keys()
    fit_hash(attention, k, k, k, steps=1)
    unit = F.normalize(k, dim=-1).transpose(0, 1).flatten(1, 2)
    for h in range(2):
        assert float((attention.anchors[h][:, None] - unit[h]).norm(dim=-1).amin(1).max()) < 1e-12
    features = attention.features(k, attention.spread(k))
    assert float(features.mean((0, 2)).abs().max()) < 1e-12
    assert bool(attention.fitted)


def test_one_seed_gives_one_hash_whatever_was_there_and_another_seed_another():
    k = keys()
    hashes = [rule(seed=first) for first in (0, 1, 0)]
    for attention, seed in zip(hashes, (5, 5, 6), strict=True):
        fit_hash(attention, k, k, k, steps=3, seed=seed)
    first, same, other = (attention.state_dict() for attention in hashes)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["directions"], other["directions"])


def test_later_layers_learn_from_what_earlier_codes_give_and_the_pass_afterwards_uses_them():
    attention = Part(KernelHashAttention, heads=2, width=6, bits=4, anchors=8)
    block = Part(Block, mixer=Part(SharedQueryKey, heads=2, attention=attention), ffn=Part(Plain))
    model: Any = Transformer(12, depth=2, blocks=block).eval()
    tokens = Tokens(torch.randn(2, 20, 12), Side())
    found = fit_hash(model, tokens, steps=2)
    assert list(found) == ["blocks.0.mixer.attention", "blocks.1.mixer.attention"]
    assert all(bool(block.mixer.attention.fitted) for block in model.blocks)
    assert not any(block.mixer.attention._forward_pre_hooks for block in model.blocks)
    seen = []
    last = model.blocks[1].mixer.attention
    hook = last.register_forward_pre_hook(lambda part, given: seen.append(F.normalize(given[1], dim=-1)))
    with torch.no_grad():
        model(tokens)
    hook.remove()
    unit = seen[0].transpose(0, 1).flatten(1, 2)
    assert float((last.anchors[:, :, None] - unit[:, None]).norm(dim=-1).amin(2).max()) < 1e-6


def agreement(code: torch.Tensor, cosine: torch.Tensor) -> float:
    """Mean rank correlation over pictures and heads of the pairs' codes with their cosines; 0 where all codes agree."""
    above = np.triu_indices(code.shape[2], 1)
    found = []
    for c, s in zip((code @ code.mT).flatten(0, 1).numpy(), cosine.flatten(0, 1).numpy(), strict=True):
        one, other = rankdata(c[above]), rankdata(s[above])
        found.append(np.corrcoef(one, other)[0, 1] if one.std() > 0 else 0.0)
    return float(np.mean(found))


def features() -> list[torch.Tensor]:
    """Queries (B, 4, 64, 32) of each layer of the encoder that comes with the package, of pieces of two photographs."""
    model = unimodal.load("unimodal:small_image_encoder")
    pieces = [
        PillowImage.fromarray(photo[y : y + 128, x : x + 128])
        for photo in load_sample_images().images
        for y in (0, 128, 256)
        for x in (0, 128, 256, 384)
    ]
    found: list[torch.Tensor] = []
    for block in model.transformer.blocks:
        block.mixer.attention.register_forward_pre_hook(lambda part, given: found.append(given[0]))
    with torch.no_grad():
        tokenizer = model.tokenizers["image"]
        model(tokenizer.collate([tokenizer.read(piece) for piece in pieces]))
    return found


def test_codes_of_real_features_follow_their_cosines_better_than_random_hyperplanes():
    gains = []
    for x in features():
        learned, held_out = x[::2], F.normalize(x[1::2], dim=-1)
        cosine = held_out @ held_out.mT
        plane = torch.randn(3, x.shape[1], x.shape[3], 16)
        random = np.mean([agreement(torch.where(held_out @ p > 0, 1.0, -1.0), cosine) for p in plane])
        attention = KernelHashAttention(heads=x.shape[1], width=x.shape[3])
        fit_hash(attention, learned, learned, learned, steps=60)
        gains.append(agreement(attention.codes(held_out, attention.spread(held_out)), cosine) - random)
    assert min(gains) > 0.0
    assert np.mean(gains) > 0.05


def test_a_batch_with_constraints_too_few_keys_or_no_hash_is_refused():
    k = keys()
    with pytest.raises(ValueError, match="Linear has no KernelHashAttention to fit"):
        fit_hash(torch.nn.Linear(2, 2), k)
    with pytest.raises(ValueError, match="25 anchors need as many keys, and the batch has 24"):
        fit_hash(rule(), k[:1], k[:1], k[:1])
    with pytest.raises(ValueError, match="'lengths' is set and not supported"):
        fit_hash(rule(), k, k, k, Side(lengths=torch.tensor([24, 3, 4])))
    attention = rule()
    with pytest.raises(ValueError, match="'lengths'"):
        fit_hash(attention, k, k, k, Side(lengths=torch.tensor([24, 3, 4])))
    assert not attention._forward_pre_hooks
