"""Any2Point: a frozen transformer of texts or pictures, and about a million trained parameters around it, reads points.

Source: Tang et al. 2024, arXiv:2404.07989; numbers: released code, github.com/Ivan-Tang-3D/Any2Point, fine_tune.sh and
cfgs/scanobjectnn/Any2Point.yaml of Any2Point_CLIP_Lang and Any2Point_DINOV2_Vision.

Trained parameters without a classifier, after :func:`unimodal.transplant.transplant` has frozen the source: with the
text transformer of CLIP ViT-L/14

    tokenizer 276,672   class token and its position 1,536   bottlenecks 304,320   norms of cells 129,024
    attention of views 235,224   last norm 1,536   in all 948,312

and as many with DINOv2 base, whose layer scales the released code trains too (18,432 more). With texts that code takes
the clouds of a batch for a sequence and attends over them, and it adds the positions twice in front of the first block;
neither is followed here. For its positions see ``reference_quirks``.
"""

from types import MappingProxyType
from typing import Any

from unimodal.catalog import catalog
from unimodal.ffns.bottlenecked import Bottlenecked
from unimodal.guided import Guided
from unimodal.model import Model
from unimodal.part import Part
from unimodal.point_hierarchy import PointHierarchy
from unimodal.positions.learned import Learned
from unimodal.positions.virtual_projection import VirtualProjection
from unimodal.readouts.class_and_max import ClassAndMax
from unimodal.recipes.pre_norm import pre_norm

__all__ = ["any2point"]

# name: width, table, core
_SOURCES = MappingProxyType(
    {
        "clip_text": (768, (77,), pre_norm(depth=12, heads=12, hidden=3072, activation="gelu_quick", eps=1e-5)),
        "dinov2": (768, (37, 37), pre_norm(depth=12, heads=12, hidden=3072, layer_scale=1.0)),
    }
)
# by the axes of the table; in a picture a cell has 26 px and a patch 14
_SETTINGS = MappingProxyType(
    {
        1: {"neighbours": 81, "voxel": 0.08, "cell": 2.0, "share": 0.3},
        2: {"neighbours": 64, "voxel": 0.16, "cell": 26 / 14, "share": 0.7},
    }
)


def any2point(
    source: str | Part = "clip_text",
    *,
    points: int = 1024,
    groups: int = 128,
    neighbours: int | None = None,
    voxel: float | None = None,
    cell: float | None = None,
    share: float | None = None,
    scale: float = 0.3,
    readout: Part | None = Part(ClassAndMax),
    reference_quirks: bool = False,
) -> Part:
    """A Model part for point clouds; :func:`unimodal.transplant.transplant` fills in and freezes the source's weights.

    What is None is that of the released code for sources of the same kind (a line of texts, a lattice of pictures).

    Args:
        source: clip_text (of ViT-L/14) or dinov2 (base, 37 x 37 patches); or the Part of a Model with a Transformer and
            one learned position table, whose core and table are taken.
        points: Points of a cloud.
        groups: Tokens of a cloud.
        neighbours: Points that a centre of the tokenizer hears from.
        voxel: See :class:`unimodal.guided.Guided`; in radii of the cloud.
        cell: See there.
        share: See there; lambda of the paper.
        scale: Of the bottlenecks; s of the paper.
        readout: Turns the tokens into one vector, or None.
        reference_quirks: See :class:`unimodal.positions.virtual_projection.VirtualProjection`.

    Raises:
        ValueError: an unknown name, or a source without exactly one learned table or with blocks that have no
            feed-forward.
    """
    dim, grid, core = _source(source)
    of_kind = _SETTINGS[len(grid)]
    tokenizer = Part(
        catalog("tokenizers")["point_cloud"],
        points=points,
        groups=groups,
        neighbours=of_kind["neighbours"] if neighbours is None else neighbours,
        encoder=Part(PointHierarchy),
    )
    guided = Part(
        Guided,
        core=_bottlenecked(core, scale),
        position=Part(VirtualProjection, grid=grid, reference_quirks=reference_quirks),
        prefix=1,
        voxel=of_kind["voxel"] if voxel is None else voxel,
        cell=of_kind["cell"] if cell is None else cell,
        share=of_kind["share"] if share is None else share,
    )
    return Part(Model, dim=dim, tokenizers={"point_cloud": tokenizer}, prefix=1, transformer=guided, readout=readout)


def _source(source: str | Part) -> tuple[int, tuple[int, ...], Part]:
    if isinstance(source, str):
        if source not in _SOURCES:
            raise ValueError(f"source must be one of {', '.join(_SOURCES)} or a Part, not {source!r}")
        return _SOURCES[source]
    given: dict[str, Any] = source.kwargs
    tables = [part for part in (given.get("positions") or {}).values() if part.cls is Learned]
    if len(tables) != 1:
        raise ValueError(f"the source must have one learned position table, not {len(tables)}")
    return given["dim"], tables[0].kwargs["grid"], given["transformer"]


def _bottlenecked(core: Part, scale: float) -> Part:
    """The core with a bottleneck behind the feed-forward of each of its blocks."""
    blocks = core.kwargs["blocks"]
    blocks = (blocks,) if isinstance(blocks, Part) else blocks
    without = [block for block in blocks if block.kwargs.get("ffn") is None]
    if without:
        raise ValueError(f"every block of the source needs a feed-forward, and there is none in {without[0]}")
    wrapped = (block.replace(ffn=Part(Bottlenecked, ffn=block.kwargs["ffn"], scale=scale)) for block in blocks)
    return core.replace(blocks=tuple(wrapped))
