"""Sample and Batch: one input that was read, and several that a tokenizer has put together."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

__all__ = ["Batch", "Sample"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One decoded and validated input.

    Args:
        modality: The tokenizer's name.
        data: What the tokenizer's ``collate`` takes (for images a uint8 tensor (3, rows, columns)).
        source: The input as the user would name it (a path, a row, "array").
        record: The invertible record of geometry and scale, so that results come back in the input's own space.
        cost: Tokens that this sample will need; batches are filled by it.
        original: What was given to ``read`` (a path or the object itself), for rendering results over it.
    """

    modality: str
    data: Any
    source: str
    record: Any
    cost: int
    original: Any = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples put together by a tokenizer's ``collate``; the model moves ``data`` to its own device.

    Args:
        modality: The tokenizer's name.
        data: One tensor, or a tuple with one tensor a sample when their sizes differ.
        records: Each sample's record, in order.
        extra: Further tensors a tokenizer needs (lengths, masks), by name.
    """

    modality: str
    data: Tensor | tuple[Tensor, ...]
    records: tuple[Any, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.data)

    def to(self, device: Any) -> "Batch":
        """The same batch with its tensors on ``device``."""
        data = self.data.to(device) if isinstance(self.data, Tensor) else tuple(t.to(device) for t in self.data)
        extra = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in self.extra.items()}
        return Batch(self.modality, data, self.records, extra)
