"""Tokenizer: the contract of one modality. One class reads it, puts it together, makes tokens and goes back.

A tokenizer is found by name: a file in ``tokenizers/``, or an entry point of another distribution in the group
``unimodal.tokenizers``. The rows of the conformance matrix (``unimodal conformance``) and the detection of a file's
modality (``unimodal embed FILE``) follow from the class.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from unimodal.sample import Batch, Sample
from unimodal.tokens import Tokens

__all__ = ["Tokenizer"]


class Tokenizer(Protocol):
    """An ``nn.Module`` whose constructor takes the width, ``Tokenizer(dim, *, ...)``, and has a default for the rest.

    ``suffixes``  endings of the files that it reads, in lower case, with the dot.
    ``variable``  keywords under which inputs of different sizes become sequences of different lengths (for checks).
    ``one_way``   why there is no ``detokenize``, for tokenizers that have none.

    A batch holds one tensor when all inputs have one size, and otherwise either a tuple of tensors (they become one
    packed row) or filled-up rows with ``extra["lengths"]``, a tensor, and ``extra["grids"]``, plain tuples.
    ``forward`` reads no tensor's values into Python, so that torch.export goes through it.
    """

    suffixes: ClassVar[tuple[str, ...]]
    variable: ClassVar[Mapping[str, Any]]
    one_way: ClassVar[str]

    @staticmethod
    def claims(path: Path) -> float:
        """How sure it is, 0 to 1, that a file with one of its suffixes, or none, is its own (optional; else 0.5).

        It looks at the first bytes at most and raises nothing.
        """
        ...

    @staticmethod
    def examples() -> Sequence[Any]:
        """Three or four small sources of different sizes, made in memory and always the same."""
        ...

    def read(self, source: Any) -> Sample:
        """Decode and validate one input (thread-safe).

        ``sample.modality`` is the catalog name, ``sample.cost`` the number of tokens, and ``sample.record`` holds the
        geometry and scale that were taken away; its ``restore(values)`` gives values back in the input's own space.

        Raises:
            InputError: the source cannot be used; the message names it, what is wrong and what would be right.
        """
        ...

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Samples as one batch.

        Raises:
            ValueError: there are no samples.
        """
        ...

    def forward(self, batch: Batch) -> Tokens:
        """Tokens with ``side.modality`` and the lattice of each sequence (``grid`` or ``grids``)."""
        ...

    def detokenize(self, tokens: Tokens) -> Batch:
        """The data whose tokens these are, where the way back exists (optional).

        Raises:
            ValueError: the projection has fewer outputs than inputs, so there is no way back at this width.
        """
        ...
