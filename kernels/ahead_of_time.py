"""Compile Triton kernels for a graphics processor that is not there, and report what they would take of it.

Source: Triton 3.8, triton/tools/compile.py (the same steps without the C stub) and ``ptxas --verbose``.

The compiler and ptxas come with Triton and need no device. They need a process in which Triton does not interpret: a
child process gets the variants as JSON, imports their kernels by name and compiles into a temporary cache.

    variant = Variant(
        "unimodal.kernels.norm_triton:_forward",
        {"x": "*bf16:16", "out": "*bf16:16", "rows": "i32"},
        {"EPS": 1e-6, "BLOCK": 1024, "weight": None},
    )
    [found] = compile_ahead([variant], architecture=90)
    assert found.spilled_bytes == 0 and found.shared_bytes <= SHARED_BYTES[90]
"""

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Compiled", "SHARED_BYTES", "Variant", "compile_ahead", "variant_of"]

# What one block may have, by compute capability: CUDA C++ Programming Guide, "Technical specifications per compute
# capability", maximum amount of shared memory per thread block.
SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}

POINTERS = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "int64": "i64",
    "int32": "i32",
    "uint8": "u8",
    "bool": "i1",
}


@dataclass(frozen=True)
class Variant:
    """One specialisation of a kernel, as a launch would make it.

    Args:
        kernel: ``module:name`` of a function under ``triton.jit``; the module must be importable.
        arguments: Triton's type of each argument that is no constant: ``*bf16``, ``*fp32``, ``i32``, ``fp32``; with
            ``:16`` behind it for one that 16 divides, as it is for most pointers and strides. A tuple is a sequence
            of types and of the values of its constants.
        constants: The value of every other argument: constexprs, and None for a pointer that is not given.
        num_warps: Warps of a block.
        num_stages: Loads in flight in a pipelined loop.
    """

    kernel: str
    arguments: Mapping[str, Any]
    constants: Mapping[str, int | float | bool | str | None] = field(default_factory=dict)
    num_warps: int = 4
    num_stages: int = 2


@dataclass(frozen=True)
class Compiled:
    """What a compiled variant takes.

    Args:
        registers: Of each thread.
        shared_bytes: Of each block, static and dynamic.
        spilled_bytes: Registers that ptxas stores to memory and loads again, the larger of the two.
        tensor_cores: The kind of matrix instruction in the code: ``wgmma``, ``mma`` or None.
        ptx: The code before ptxas, for whatever else is asked of it.
    """

    registers: int
    shared_bytes: int
    spilled_bytes: int
    tensor_cores: str | None
    ptx: str = field(repr=False)


def compile_ahead(variants: Sequence[Variant], *, architecture: int) -> list[Compiled]:
    """Compile ``variants`` in one child process, and say of each what it takes.

    Args:
        architecture: Compute capability times ten: 80 for A100, 90 for H100.

    Raises:
        ValueError: an architecture without a row in :data:`SHARED_BYTES`.
        RuntimeError: the compiler refuses a variant; the message names it and holds the compiler's words.

    Cost: 2 s for the process, then 1 to 10 s a variant.
    """
    if architecture not in SHARED_BYTES:
        raise ValueError(f"architecture must be one of {sorted(SHARED_BYTES)}, not {architecture}")
    with tempfile.TemporaryDirectory() as cache:
        surroundings = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        surroundings |= {"TRITON_CACHE_DIR": cache, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name if __spec__ else __name__],
            input=json.dumps({"architecture": architecture, "variants": [asdict(v) for v in variants]}),
            env=surroundings,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(f"could not compile for sm_{architecture}:\n{done.stderr.strip()}")
    return [Compiled(**row) for row in json.loads(done.stdout)]


def variant_of(kernel: Any, named: Mapping[str, Any], *, num_warps: int = 4, num_stages: int = 2) -> Variant:
    """The variant that a launch of ``kernel`` with these arguments would compile; tensors may lie on ``meta``.

    Pointers count as multiples of 16 bytes, and an integer 1 as a constant, as they do when Triton launches.

    Raises:
        TypeError: an argument that no kernel takes.
    """
    written = inspect.signature(kernel.fn).parameters
    fixed = {name for name, one in written.items() if "constexpr" in str(one.annotation)}
    arguments, constants = {}, {}
    for name, value in named.items():
        found = value if name in fixed else _type(value)
        is_type = isinstance(found, list) or (name not in fixed and isinstance(found, str))
        (arguments if is_type else constants)[name] = found
    where = f"{kernel.fn.__module__}:{kernel.fn.__name__}"
    return Variant(where, arguments, constants, num_warps, num_stages)


def _type(value: Any) -> Any:
    """Triton's type of an argument, a list of them, or the value of one that is compiled in."""
    if isinstance(value, tuple):
        return [_type(one) for one in value]
    if value is None or isinstance(value, bool) or (isinstance(value, int) and value == 1):
        return value
    if isinstance(value, int):
        return "i32:16" if value % 16 == 0 else "i32"
    if isinstance(value, float):
        return "fp32"
    kind = POINTERS.get(str(getattr(value, "dtype", None)).removeprefix("torch."))
    if kind is None:
        raise TypeError(f"a kernel takes no {type(value).__name__}: {value!r}")
    return f"*{kind}:16"


def _compile(variant: Variant, architecture: int) -> Compiled:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, name = variant.kernel.split(":")
    kernel: Any = getattr(importlib.import_module(module), name)
    missing = set(kernel.arg_names) ^ {*variant.arguments, *variant.constants}
    if missing:
        raise ValueError(f"arguments that are named on one side only: {', '.join(sorted(missing))}")
    signature: dict[str, Any] = dict.fromkeys(kernel.arg_names, "constexpr")
    constants, attributes = {}, {}
    for name, value in variant.constants.items():
        constants[(kernel.arg_names.index(name),)] = value
    for name, value in variant.arguments.items():
        place = kernel.arg_names.index(name)
        parts = {(place,): value} if isinstance(value, str) else {(place, i): one for i, one in enumerate(value)}
        types = {at: kind.split(":")[0] if isinstance(kind, str) else "constexpr" for at, kind in parts.items()}
        signature[name] = types[(place,)] if isinstance(value, str) else tuple(types.values())
        constants |= {at: kind for at, kind in parts.items() if not isinstance(kind, str)}
        attributes |= {
            at: [["tt.divisibility", 16]] for at, kind in parts.items() if isinstance(kind, str) and ":16" in kind
        }
    source = ASTSource(kernel, signature, constants, attributes)
    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        options = {"num_warps": variant.num_warps, "num_stages": variant.num_stages}
        built = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    ptx, said = built.asm["ptx"], log.getvalue()
    spilled = [int(n) for n in re.findall(r"(\d+) bytes spill", said)]
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", said)]
    cores = next((kind for kind in ("wgmma", "mma") if re.search(rf"\b{kind}\.(mma_async\.)?sync", ptx)), None)
    return Compiled(max(registers), built.metadata.shared, max(spilled), cores, ptx)


def _main() -> None:
    from triton import knobs

    knobs.nvidia.dump_ptxas_log = True
    asked, rows = json.load(sys.stdin), []
    for row in asked["variants"]:
        variant = Variant(**row)
        try:
            rows.append(asdict(_compile(variant, asked["architecture"])))
        except Exception as error:
            raise SystemExit(f"{variant}\n{type(error).__name__}: {error}") from error
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    _main()
