"""Part: a call that is checked now and built later, and survives a round trip through JSON."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from unimodal.catalog import FAMILIES, catalog

__all__ = ["Part"]

T = TypeVar("T")

_CORE = {
    "block": ("unimodal.block", "Block"),
    "nested_block": ("unimodal.nested_block", "NestedBlock"),
    "transformer": ("unimodal.transformer", "Transformer"),
    "repositioned": ("unimodal.repositioned", "Repositioned"),
    "cross_block": ("unimodal.cross_block", "CrossBlock"),
    "k_means": ("unimodal.k_means", "KMeans"),
    "interleaved": ("unimodal.interleaved", "InterleavedLatents"),
    "recursive_block": ("unimodal.recursive_block", "RecursiveBlock"),
    "token_slices": ("unimodal.token_slices", "TokenSlices"),
    "weighted_residual": ("unimodal.weighted_residual", "WeightedResidual"),
    "residual": ("unimodal.residual", "Residual"),
    "chain": ("unimodal.chain", "Chain"),
    "downsampling": ("unimodal.downsampling", "Downsampling"),
    "grid_pooling": ("unimodal.grid_pooling", "GridPooling"),
    "average_pooling": ("unimodal.average_pooling", "AveragePooling"),
    "raster_pooling": ("unimodal.raster_pooling", "RasterPooling"),
    "channel_split": ("unimodal.channel_split", "ChannelSplit"),
    "multi_group_downsampling": ("unimodal.multi_group_downsampling", "MultiGroupDownsampling"),
    "appended": ("unimodal.appended", "Appended"),
    "prepared": ("unimodal.prepared", "Prepared"),
    "prefixed_shrinking": ("unimodal.prefixed_shrinking", "PrefixedShrinking"),
    "hourglass": ("unimodal.hourglass", "Hourglass"),
    "patch_merging": ("unimodal.patch_merging", "PatchMerging"),
    "pyramid": ("unimodal.pyramid", "Pyramid"),
    "pyramid_adapter": ("unimodal.pyramid_adapter", "PyramidAdapter"),
    "levelwise": ("unimodal.levelwise", "Levelwise"),
    "max_pooling": ("unimodal.max_pooling", "MaxPooling"),
    "accompanied": ("unimodal.accompanied", "Accompanied"),
    "fan_in_start": ("unimodal.fan_in_start", "fan_in_start"),
    "silent_time": ("unimodal.silent_time", "silent_time"),
    "token_picture": ("unimodal.token_picture", "TokenPicture"),
    "projected_views": ("unimodal.projected_views", "ProjectedViews"),
    "guided": ("unimodal.guided", "Guided"),
    "point_hierarchy": ("unimodal.point_hierarchy", "PointHierarchy"),
    "pixel_target": ("unimodal.pixel_target", "PixelTarget"),
    "gradient_target": ("unimodal.gradient_target", "GradientTarget"),
    "masked_decoder": ("unimodal.masked_decoder", "MaskedDecoder"),
    "without_memory": ("unimodal.without_memory", "WithoutMemory"),
    "learned_queries": ("unimodal.learned_queries", "LearnedQueries"),
    "foreground": ("unimodal.foreground", "Foreground"),
    "pixel_decoder": ("unimodal.pixel_decoder", "PixelDecoder"),
    "mask_transformer": ("unimodal.mask_transformer", "MaskTransformer"),
    "segmenter": ("unimodal.segmenter", "Segmenter"),
    "detector": ("unimodal.detector", "Detector"),
    "model": ("unimodal.model", "Model"),
}


class Part(Generic[T]):
    """``Part(cls, **kwargs)`` calls ``cls(*sizes, **kwargs)`` when it is called with the sizes.

    The constructor's signature is the only configuration schema: a keyword that ``cls`` does not take fails on
    this line, not at build time. Values are plain data (numbers, strings, booleans, None, tuples, string-keyed
    dicts) or further Parts; lists become tuples. A part prints as the Python that makes it, compares by value,
    and round-trips through :meth:`to_json` when ``cls`` is in a catalog (or is in :data:`_CORE`: Block, Model ...).

    Args:
        cls: A class or function. Its keyword parameters may be given here, its positional ones (the sizes) too.

    Raises:
        ValueError: an unknown keyword, or a value that is neither plain data nor a Part.
    """

    __slots__ = ("cls", "kwargs")

    def __init__(self, cls: Callable[..., T], /, **kwargs: Any) -> None:
        parameters = inspect.signature(cls).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        allowed = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        for name in kwargs:
            if name not in allowed and not takes_any:
                near = get_close_matches(name, allowed, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes: {', '.join(allowed) or 'nothing'}"
                raise ValueError(f"{cls.__qualname__} has no parameter {name!r}; {hint}")
        self.cls = cls
        self.kwargs = {name: _plain(value, f"{cls.__qualname__}({name}=...)") for name, value in kwargs.items()}

    def __call__(self, *sizes: Any, **more: Any) -> T:
        """Build: ``cls(*sizes, **kwargs)``; ``more`` adds to or overrides the stored keywords."""
        return self.cls(*sizes, **{**self.kwargs, **more})

    def replace(self, **changes: Any) -> "Part[T]":
        """The same part with some keywords changed."""
        return Part(self.cls, **{**self.kwargs, **changes})

    def to_json(self) -> dict[str, Any]:
        """Plain data naming the part by its catalog name.

        Raises:
            ValueError: a class in the tree is in no catalog, so another process could not find it.
        """
        return {"part": _name(self.cls), "with": {k: _encode(v) for k, v in self.kwargs.items()}}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Part[Any]":
        """The inverse of :meth:`to_json`. Names are looked up in the catalogs only: no code is run from data.

        Raises:
            ValueError: ``data`` does not have the form that :meth:`to_json` writes.
            UnknownNameError: a part's name is in no catalog (a plugin is missing, or a typing error).
        """
        known = isinstance(data, Mapping) and set(data) == {"part", "with"}
        if not known or not isinstance(data["part"], str) or not isinstance(data["with"], Mapping):
            raise ValueError(f"a part is written as {{'part': name, 'with': {{...}}}}, not {data!r}")
        return Part(_find(data["part"]), **{name: _decode(value) for name, value in data["with"].items()})

    def __repr__(self) -> str:
        words = [self.cls.__name__, *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"Part({', '.join(words)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self.cls is other.cls and self.kwargs == other.kwargs

    def __hash__(self) -> int:
        return hash((self.cls, _frozen(self.kwargs)))


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    return tuple(_frozen(item) for item in value) if isinstance(value, tuple) else value


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str | Part):
        return value
    if isinstance(value, list | tuple):
        return tuple(_plain(item, where) for item in value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, where) for key, item in value.items()}
    raise ValueError(f"{where} must be plain data or a Part, not {type(value).__name__}")


def _encode(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_json()
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {key: _encode(item) for key, item in value.items()}}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if isinstance(value, Mapping):
        if set(value) == {"dict"} and isinstance(value["dict"], Mapping):
            return {key: _decode(item) for key, item in value["dict"].items()}
        return Part.from_json(value)
    return value


def _name(cls: Callable[..., Any]) -> str:
    for name, (module, attribute) in _CORE.items():
        if (cls.__module__, cls.__qualname__) == (module, attribute):
            return name
    for family in FAMILIES:
        if (stem := catalog(family).name_of(cls)) is not None:
            return f"{family}.{stem}"
    raise ValueError(
        f"{cls.__module__}.{cls.__qualname__} is in no catalog, so a saved part could not be found again; "
        "put it in a file of its family's folder or register an entry point"
    )


def _find(name: str) -> Callable[..., Any]:
    if name in _CORE:
        module, attribute = _CORE[name]
        return getattr(importlib.import_module(module), attribute)
    family, _, stem = name.partition(".")
    return catalog(family)[stem]
