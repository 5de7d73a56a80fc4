"""How large a kernel's blocks are, how many warps they have, how many loads are in flight: a table, not a search.

Source: none; the rows were chosen by what compiles (``python -m benchmarks.ahead_of_time``) until
``python -m benchmarks.tune`` replaces them by measured ones.

Rows of 32 bits that spill registers, with the bytes: at 128 wide the queries with terms (8 on sm_80) and the bias (4
on sm_90); at 256 wide the queries (512 plain and 292 with terms on sm_80, 548 and 324 on sm_90) and the bias (388 and
396). Attention leaves such heads of 256 to the reference where q or v need a gradient.

Nothing is tuned when a program starts: the first launch is as fast as the last, and two runs compute the same bits.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["BITS", "KINDS", "Launch", "TABLE", "WIDTHS", "launch_of"]

TABLE = Path(__file__).with_name("launch_table.json")
KINDS = ("forward", "queries", "keys", "diagonals", "bias")
WIDTHS, BITS = (32, 64, 128, 256), (16, 32)


@dataclass(frozen=True)
class Launch:
    """One row.

    Args:
        queries: Queries of a block.
        keys: Keys of a block.
        warps: Warps of a block, 32 threads each.
        stages: Loads in flight in the loop.
    """

    queries: int
    keys: int
    warps: int = 4
    stages: int = 2


# The interpreter's time grows with the number of tiles, and odd lengths should meet several.
INTERPRETED = Launch(16, 16, 1, 1)


def launch_of(
    kind: str, *, architecture: int | None = None, width: int = 64, bits: int = 16, plain: bool = True
) -> Launch:
    """The row of a kernel.

    Args:
        kind: One of :data:`KINDS`.
        architecture: Compute capability times ten; the row of the newest one that is not newer is taken. None is
            Triton's interpreter.
        width: The wider of a head's key and value widths, a power of two; below 32 it has the row of 32.
        bits: Of a number of q, k and v.
        plain: Whether there are neither Toeplitz terms nor a dense bias or mask.

    Raises:
        ValueError: no row: an unknown kind, an older architecture than any in the table, or a wider head.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if architecture is None:
        return INTERPRETED
    table = _rows()
    older = [int(name) for name in table if int(name) <= architecture]
    if not older:
        raise ValueError(f"the table has rows from sm_{min(map(int, table))} on, not for sm_{architecture}")
    key = row_name(kind, max(width, WIDTHS[0]), bits, plain)
    row = table[str(max(older))].get(key)
    if row is None:
        raise ValueError(f"the table has no row {key!r}: heads are at most {WIDTHS[-1]} wide, of {BITS} bits")
    return Launch(*row)


def row_name(kind: str, width: int, bits: int, plain: bool) -> str:
    return f"{kind} {width} wide {bits} bits {'plain' if plain else 'terms'}"


@cache
def _rows() -> dict[str, dict[str, list[int]]]:
    return json.loads(TABLE.read_text(encoding="utf-8"))
