"""About: a tab says what its model is without loading it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from unimodal.checkpoint import save
from unimodal.demos.about import about
from unimodal.provenance import Provenance
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.task import save_task
from unimodal.tasks.classification import Classification
from unimodal.tasks.segmentation import Segmentation


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    part = small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))
    provenance = Provenance({"": "converted", "transformer": "trained"})
    card = {"recipe": "a recipe", "scores": {"top1": 0.123456}, "limits": ["small", "square"]}
    return save(part(), tmp_path / "an_encoder", part=part, provenance=provenance, card=card)


def variant(encoder: str, weights: str | None) -> Any:
    return type("Variant", (Classification,), {"encoder": encoder, "weights": weights})


def test_parts_are_listed_with_their_state_and_count(encoder: Path):
    part = small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))
    with torch.device("meta"):
        model = part()
    trained = sum(p.numel() for p in model.transformer.parameters())
    converted = sum(p.numel() for p in model.parameters()) - trained
    told = about(variant(str(encoder), None))
    assert f"- Shared encoder `an_encoder`: trained, {trained:,} parameters" in told.text
    assert f"- Shared encoder `an_encoder`: converted, {converted:,} parameters" in told.text
    assert told.missing == ""


def test_scores_and_limits_of_the_card_come_first(encoder: Path):
    told = about(variant(str(encoder), None)).text
    assert "- Scores:\n  - top1: 0.1235\n- Limits: small; square\n- Recipe: a recipe" in told


def test_the_task_s_own_weights_are_told(encoder: Path, tmp_path: Path):
    task_class = variant(str(encoder), str(tmp_path / "a_head"))
    task = task_class(task_class.build(small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))()))
    save_task(task, tmp_path / "a_head", card={"limits": "knows digits"})
    told = about(task_class)
    assert "- Task head `a_head`: trained, 330 parameters" in told.text
    assert "- Limits: knows digits" in told.text


def test_classes_have_the_colours_of_the_task_s_options(encoder: Path, tmp_path: Path):
    folder = tmp_path / "a_head"
    task_class = type("Variant", (Segmentation,), {"encoder": str(encoder), "weights": str(folder)})
    options = {"classes": ("sky", "road"), "colours": ((0, 128, 255), (9, 8, 7))}
    model: Any = small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))()
    save_task(task_class(task_class.build(model, **options)), folder, card={})
    assert about(task_class).colours == {"sky": "#0080ff", "road": "#090807"}


def test_a_published_encoder_is_named_and_not_fetched():
    told = about(variant("timm:vit_tiny_patch16_224", None))
    assert "`timm:vit_tiny_patch16_224`: fetched and converted at the first use" in told.text
    assert told.missing == ""


def test_what_is_not_installed_is_named(tmp_path: Path):
    told = about(variant(str(tmp_path / "no_encoder"), str(tmp_path / "no_head")))
    assert told.missing == (
        "the task's weights `no_head` are not installed and the shared encoder `no_encoder` are not installed"
    )


def test_damaged_weights_are_told_apart_from_absent_ones(encoder: Path):
    (encoder / "config.json").write_text("{", encoding="utf-8")
    assert "the shared encoder `an_encoder` cannot be read" in about(variant(str(encoder), None)).missing
