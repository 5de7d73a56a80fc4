"""The batch-invariant copy: the same bits in any company; the model as it was, only nearly."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unimodal.batch_invariant import batch_invariant
from unimodal.checkpoint import load_checkpoint
from unimodal.embedding import Embedder
from unimodal.recipes.vit import vit
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.tokens import Tokens

WEIGHTS = Path(__file__).parents[1] / "unimodal" / "weights" / "small_multimodal_encoder"
SAMPLES = Path(__file__).parents[1] / "unimodal" / "data" / "samples"


@pytest.fixture(scope="module")
def encoder() -> Any:
    return load_checkpoint(WEIGHTS)[0].eval()


@pytest.fixture(scope="module")
def samples(encoder) -> list[Any]:
    """Pictures of several sizes and texts of several lengths."""
    draw = np.random.default_rng(0)
    sizes = [(32, 32), (48, 32), (64, 64), (40, 72), (32, 32), (96, 64)]
    pictures = [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    texts = ["a dog", "two people walk along the river at dawn", "snow", "a picture of a small red bus " * 4]
    image, text = encoder.tokenizer("image"), encoder.tokenizer("text")
    return [*(image.read(picture) for picture in pictures), *(text.read(words) for words in texts)]


def bits(results: list[Any]) -> list[bytes]:
    return [one.tokens.numpy().tobytes() + one.vector.numpy().tobytes() for one in results]


def batchings(samples: list[Any], embedder: Embedder, count: int) -> list[list[bytes]]:
    """The bits of each sample in ``count`` random batchings."""
    draw, found = random.Random(0), []
    for _ in range(count):
        order = draw.sample(range(len(samples)), len(samples))
        size, seen = draw.randint(1, len(samples)), {}
        for i in range(0, len(order), size):
            part = order[i : i + size]
            seen |= dict(zip(part, bits(embedder.predict([samples[j] for j in part])), strict=True))
        found.append([seen[i] for i in range(len(samples))])
    return found


def test_twenty_random_batchings_give_the_bits_of_each_sample_alone(encoder, samples):
    embedder = Embedder(batch_invariant(encoder))
    alone = [bits(embedder.predict([sample]))[0] for sample in samples]
    assert all(found == alone for found in batchings(samples, embedder, 20))


def test_twenty_random_batchings_of_the_sample_pictures_and_texts_give_the_same_bits(encoder):
    embedder = Embedder(batch_invariant(encoder))
    pictures = [embedder.read(path) for path in sorted(SAMPLES.glob("*.jpg"))]
    texts = [encoder.tokenizer("text").read(words) for words in ("a cat", "a wet street at night")]
    alone = [bits(embedder.predict([sample]))[0] for sample in (*pictures, *texts)]
    assert all(found == alone for found in batchings([*pictures, *texts], embedder, 20))


def test_the_copy_computes_what_the_model_computes(encoder, samples):
    made, plain = Embedder(batch_invariant(encoder)).predict(samples), Embedder(encoder).predict(samples)
    for a, b in zip(made, plain, strict=True):
        torch.testing.assert_close(a.tokens, b.tokens, rtol=0, atol=1e-5 * float(b.tokens.abs().max()))
        torch.testing.assert_close(a.vector, b.vector, rtol=0, atol=1e-5 * float(b.vector.abs().max()))


@torch.inference_mode()
def test_the_core_gives_the_same_bits_padded_packed_and_alone():
    part = vit("tiny", image=32)
    plain: Any = part.replace(transformer=part.kwargs["transformer"].replace(depth=2))().eval()
    model: Any = batch_invariant(plain).transformer
    lengths = [5, 33, 1, 17]
    rows = torch.randn(4, 40, 192)
    padded = Tokens(rows, Side(lengths=torch.tensor(lengths)))
    packed = padded.packed()
    alone = [model(Tokens(row[None, :n])).x[0] for row, n in zip(rows, lengths, strict=True)]
    for one, a, b in zip(alone, model(padded).split(), model(packed).split(), strict=True):
        assert torch.equal(one, a)
        assert torch.equal(one, b)


def test_a_batch_that_others_collated_and_masks_raise(encoder):
    copy: Any = batch_invariant(encoder)
    with pytest.raises(ValueError, match="a batch of 2 inputs must be collated by the batch-invariant copy's"):
        copy(Batch("image", torch.zeros(2, 3, 32, 32)))
    with pytest.raises(ValueError, match="the constraint 'mask' is set"):
        copy.transformer(Tokens(torch.zeros(1, 2, 8), Side(mask=torch.ones(2, 2, dtype=torch.bool))))


def test_the_model_is_left_as_it_was_and_parameters_are_shared(encoder):
    names = list(encoder.state_dict())
    copy = batch_invariant(encoder)
    assert list(encoder.state_dict()) == names
    assert {id(p) for p in copy.parameters()} == {id(p) for p in encoder.parameters()}
