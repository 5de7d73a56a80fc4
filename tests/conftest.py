"""What every test shares: a seed, one thread a worker, and the resources that may be absent.

A test asks for the real data with ``shared_data`` and for a browser with ``browser``. Where they are absent
the test is skipped with the reason, unless the environment variable UNIMODAL_REQUIRE names the resource (a
comma-separated list, as CI sets it): then it fails. Tests marked ``gpu`` run with ``--gpu`` and nowhere else,
those marked ``grid`` with ``--grid``.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy
import pytest
import torch

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read by triton when a kernel module is imported

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu", action="store_true", help="run the tests that need a CUDA device")
    parser.addoption("--grid", action="store_true", help="run the tests that take an hour: every variant of a kernel")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--gpu") and not torch.cuda.is_available():
        raise pytest.UsageError("--gpu was given and torch sees no CUDA device")
    for mark, reason in (("gpu", "needs a CUDA device: run with --gpu"), ("grid", "takes an hour: run with --grid")):
        if not config.getoption(f"--{mark}"):
            for item in items:
                if item.get_closest_marker(mark):
                    item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def peak_growth() -> Callable[[str, str, str], int]:
    """How many kB a process' memory peaks higher when ``run(large)`` follows ``run(small)``, in a process of its own.

    By VmHWM: ru_maxrss of a child begins with its parent's, which hides any growth below it.
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process' peak memory in /proc")

    def measured(program: str, small: str, large: str) -> int:
        code = f"""
import torch
torch.set_num_threads(1)
def peak():
    with open("/proc/self/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])
{program}
run({small})
start = peak()
run({large})
print(peak() - start)
"""
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        return int(done.stdout)

    return measured


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout, or where UNIMODAL_SHARED_DATA says."""
    folder = Path(os.environ.get("UNIMODAL_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        _absent("shared_data", f"no data sets at {folder} (set UNIMODAL_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(coloured_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a very small image encoder for tests of what stands on encoders.

    Its weights are arbitrary. Its stem's running statistics are those of some pictures: without them the features of
    all pictures would be nearly the same.
    """
    from unimodal.checkpoint import save
    from unimodal.provenance import Provenance
    from unimodal.recipes.small_image_encoder import small_image_encoder

    part = small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))
    torch.manual_seed(0)
    model = part().train()
    tokenizer = model.tokenizer("image")
    batch = tokenizer.collate([tokenizer.read(file) for file in sorted(coloured_shapes.glob("train/*/*.png"))[::6]])
    with torch.no_grad():
        for _ in range(40):
            model.embed(batch)
    return save(model.eval(), tmp_path_factory.mktemp("encoder"), part=part, provenance=Provenance({"": "trained"}))


@pytest.fixture(scope="session")
def coloured_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and test/: discs and squares at any place, one sub-folder for each of three colours."""
    from PIL import Image, ImageDraw

    folder, draw = tmp_path_factory.mktemp("shapes"), random.Random(0)
    for split, count in (("train", 40), ("test", 20)):
        for colour in ("red", "green", "blue"):
            (folder / split / colour).mkdir(parents=True)
            for i in range(count):
                picture = Image.new("RGB", (48, 40), tuple(draw.randrange(60) for _ in range(3)))
                x, y, size = draw.randrange(4, 20), draw.randrange(4, 14), draw.randrange(14, 22)
                pen, box = ImageDraw.Draw(picture), (x, y, x + size, y + size)
                (pen.ellipse if i % 2 else pen.rectangle)(box, fill=colour)
                picture.save(folder / split / colour / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def classifier(tiny_encoder: Path, coloured_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task checkpoint of a classifier of :func:`coloured_shapes` on :func:`tiny_encoder`."""
    from unimodal.fitting import fit_task

    folder, data = tmp_path_factory.mktemp("classifier"), coloured_shapes
    fit_task(
        "classification",
        data / "train",
        folder,
        encoder=str(tiny_encoder),
        validation=data / "test",
        steps=60,
        batch=24,
        rate=0.05,
    )
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """A headless Chromium with an empty profile and a window of 1280 x 1600 px."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver", path="/usr/bin") or shutil.which("chromedriver")
    if chromium is None or driver is None:
        _absent("browser", "Chromium and its driver are not installed (apt install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,1600",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def _absent(resource: str, reason: str) -> NoReturn:
    required = os.environ.get("UNIMODAL_REQUIRE", "").split(",")
    if resource in [name.strip() for name in required]:
        pytest.fail(f"{reason}, and UNIMODAL_REQUIRE asks for {resource}", pytrace=False)
    pytest.skip(reason)
