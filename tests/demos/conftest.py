"""Demos that run: one of the suite alone, and one with another distribution's tasks beside it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import pytest
import torch
from gradio_client import Client

from unimodal.checkpoint import save
from unimodal.provenance import Provenance
from unimodal.recipes.small_image_encoder import small_image_encoder

POINTS = """[unimodal.tasks]
gallery = outside_tasks:Gallery
slow = outside_tasks:Slow
untrained = outside_tasks:Untrained
liar = outside_tasks:Liar
absent = outside_nowhere:Task
"""
# A shell that starts tests in the background has interrupts ignored, which a child would inherit.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from unimodal.demos.app import serve
serve(port=int(sys.argv[1]))
"""


@dataclass
class Server:
    """A demo in its own process. Its task ``slow`` answers once the file ``release`` exists."""

    process: subprocess.Popen[bytes]
    log: Path
    release: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def address(self, limit_s: float = 120.0) -> str:
        begun = time.monotonic()
        while time.monotonic() - begun < limit_s:
            if found := re.search(r"runs at (http://\S+?)/? on", self.text()):
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"the demo did not start:\n{self.text()}")

    def interrupt(self, limit_s: float = 60.0) -> None:
        """Ctrl-C: it has to end by itself, without an error, and to say so."""
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert status == 0, f"Ctrl-C ended the demo with status {status}:\n{self.text()}"
        assert "The demo has ended." in self.text()
        assert "KeyboardInterrupt" not in self.text()


def start(folder: Path, port: int, **environment: str) -> Server:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "UNIMODAL_TEST_RELEASE": str(folder / "release"),
        **environment,
    }
    log = folder / "log.txt"
    with log.open("wb") as file:
        command = [sys.executable, "-c", PROGRAM, str(port)]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=folder)
    return Server(process, log, folder / "release")


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The suite as it is shipped."""
    server = start(tmp_path_factory.mktemp("alone"), 0)
    yield server
    server.interrupt()


@pytest.fixture(scope="session")
def beside(alone: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the tasks of ``outside_tasks.py`` installed; it asks for the port that ``alone`` has taken."""
    folder = tmp_path_factory.mktemp("beside")
    part = small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save(part(), folder / "encoder", part=part, provenance=Provenance({"": "trained"}))
    site = folder / "site"
    record = site / "outside-1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n", encoding="utf-8")
    (record / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    (site / "outside_tasks.py").write_bytes(Path(__file__).with_name("outside_tasks.py").read_bytes())
    port = int(alone.address().rpartition(":")[2])
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    server = start(folder / "run", port, PYTHONPATH=path, UNIMODAL_TEST_ENCODER=str(folder / "encoder"))
    yield server
    server.interrupt()


@pytest.fixture(scope="session")
def client(alone: Server, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client of the suite alone."""
    return Client(alone.address(), verbose=False, download_files=tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="session")
def client_beside(beside: Server, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client of the suite with the tasks beside it."""
    return Client(beside.address(), verbose=False, download_files=tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="session")
def street(repository: Path) -> Path:
    """A photograph."""
    return repository / "unimodal" / "data" / "samples" / "street_rain.jpg"


@pytest.fixture
def page() -> Iterator[gr.Blocks]:
    """An open page to put components on."""
    with gr.Blocks(analytics_enabled=False) as blocks:
        yield blocks
