"""doctor: which devices, kernels, packages, plugins and weights work here, and why the others do not."""

import importlib
import inspect
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["doctor"]

Finding = tuple[str, bool | None, str]  # what, whether it works (None: it need not), a remark


def doctor() -> int:
    """Check this installation. Exit code 1 if something that should work does not."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console, failed = Console(), 0
    for title, findings in (
        ("versions", _versions()),
        ("devices", _devices()),
        ("kernels", _kernels()),
        ("packages", _packages()),
        ("plugins", _plugins()),
        ("weights", _weights()),
    ):
        table = Table("", "", "", title=title, title_justify="left", show_header=False)
        for what, works, remark in findings:
            failed += works is False
            table.add_row({True: "ok", False: "FAILS", None: "-"}[works], escape(what), escape(remark))
        console.print(table)
    console.print(f"{failed} of these should work and do not" if failed else "all is well")
    return 1 if failed else 0


def _versions() -> Iterator[Finding]:
    yield "unimodal", True, metadata.version("unimodal")
    yield "python", sys.version_info >= (3, 11), platform.python_version()
    yield "system", True, platform.platform()


def _devices() -> Iterator[Finding]:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    yield "cpu", True, f"{capability}, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            name = torch.cuda.get_device_name(i)
            yield f"cuda:{i}", True, f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
    else:
        built = torch.version.cuda
        yield "cuda", None, f"torch is built for CUDA {built}; no device or driver is seen" if built else "a CPU build"


def _kernels() -> Iterator[Finding]:
    """Each fused operator with a ``choose``: what runs here for tensors of (1, 2, 16, 32), and why."""
    import torch

    import unimodal

    folder = Path(str(unimodal.__file__)).parent / "kernels"
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for path in sorted(folder.glob("*.py")):
        try:
            choose = getattr(importlib.import_module(f"unimodal.kernels.{path.stem}"), "choose", None)
            if choose is None:
                continue
            wanted = [p for p in inspect.signature(choose).parameters.values() if p.default is p.empty]
            for device in devices:
                choice = choose(*(torch.zeros(1, 2, 16, 32, device=device) for _ in wanted))
                yield f"{path.stem} on {device}", True, f"{choice.implementation}: {choice.reason}"
        except Exception as error:
            yield path.stem, False, f"{type(error).__name__}: {error}"


def _packages() -> Iterator[Finding]:
    for requirement in metadata.requires("unimodal") or ():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = (re.findall(r"extra == ['\"]([\w-]+)['\"]", requirement) or [""])[0]
        if name == "unimodal" or extra in ("all", "dev"):
            continue
        try:
            yield name, True, metadata.version(name) + (f" (extra {extra})" if extra else "")
        except metadata.PackageNotFoundError:
            remedy = (
                f"not installed; pip install 'unimodal[{extra}]'" if extra else f"not installed; pip install {name}"
            )
            yield name, None if extra else False, remedy


def _plugins() -> Iterator[Finding]:
    from unimodal.catalog import FAMILIES, catalog

    installed = 0
    for family in FAMILIES:
        known = catalog(family)
        installed += sum(known.source(name) != "unimodal" for name in known.names())
        problems = known.problems()
        for problem in problems:
            yield f"{family} {problem.name} of {problem.source}", False, problem.cause
        broken = {(problem.name, problem.source) for problem in problems}
        for name in known.names():
            if known.source(name) != "unimodal" and (name, known.source(name)) not in broken:
                yield f"{family} {name}", True, known.source(name)
    if not installed:
        yield "none", None, "other packages join by entry points such as unimodal.tasks"


def _weights() -> Iterator[Finding]:
    from unimodal.catalog import catalog
    from unimodal.pretrained import EMBEDDED, load_with_info
    from unimodal.task_checkpoint import TASK

    for folder in sorted(p for p in EMBEDDED.glob("*") if p.is_dir() and not (p / TASK).exists()):
        try:
            load_with_info(f"unimodal:{folder.name}")
            yield folder.name, True, f"{_size(folder)} MB"
        except Exception as error:
            yield folder.name, False, f"{type(error).__name__}: {error}"
    for name, task_class in _tasks(catalog("tasks")):
        if task_class.weights is not None:
            yield f"task {name}", *_loads(name, EMBEDDED / task_class.weights)


def _tasks(known: Any) -> Iterator[tuple[str, Any]]:
    for name in known.names():
        try:
            yield name, known[name]
        except (Exception, SystemExit):  # told under plugins
            continue


def _loads(name: str, folder: Path) -> tuple[bool, str]:
    from unimodal.task import load_task

    try:
        load_task(name)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
    return True, f"{folder.name}, {_size(folder)} MB"


def _size(folder: Path) -> str:
    return f"{sum(f.stat().st_size for f in folder.iterdir()) / 1e6:.1f}"
