"""An outside package with one file joins the suite everywhere; a broken one is reported and harms nothing."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

PLUGIN = Path(__file__).parent / "outside_plugin"

USE = """
import sys
from pathlib import Path
from unimodal.__main__ import main
from unimodal.catalog import catalog
from unimodal.task import load_task, save_task
from unimodal.task_checkpoint import shared_encoder
from unimodal.testing import check_task

encoder, data = sys.argv[1], Path(sys.argv[2])
print("list", main(["list", "tasks"]))
task_class = catalog("tasks")["sharpness"]
task = task_class(task_class.build(shared_encoder(encoder)))
task.encoder = encoder
save_task(task, data / "weights", card={"name": "untrained"})
weights = ["--weights", str(data / "weights")]
print("predict", main(["predict", "sharpness", str(data / "photos"), "--out", str(data / "out"), *weights]))
print("evaluate", main(["evaluate", "sharpness", str(data / "set.csv"), *weights]))
print("info", main(["info", str(data / "weights")]))
print("checked", len(check_task("sharpness", data=data / "set.csv")))
from unimodal.demos.app import build
page = build().config
endpoints = {dependency["api_name"] for dependency in page["dependencies"]}
tabs = {c["props"].get("label") for c in page["components"] if c["type"] == "tabitem"}
print("demo", "sharpness" in endpoints, "Sharpness" in tabs, "classification" in endpoints)
"""

HARM = """
from unimodal.__main__ import main
from unimodal.catalog import catalog
print("list", main(["list", "tasks"]))
print("doctor", main(["doctor"]))
print("sound", catalog("tasks")["classification"].__module__)
for name in ("needy", "hollow", "gone", "quits"):
    print(name, main(["predict", name, ".", "--out", "never"]))
"""


def python(code: str, *words: str | Path, path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path), "COLUMNS": "200", "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=path)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def package(folder: Path, name: str, entry_points: str, **modules: str) -> None:
    """Lay out what an installer would."""
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[unimodal.tasks]\n{entry_points}\n")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(text))


@pytest.fixture
def photos(tmp_path):
    """Sharp and blurred pictures, and a table of which is which."""
    folder, rows = tmp_path / "photos", ["image,label"]
    folder.mkdir()
    for i in range(4):
        picture = Image.effect_noise((64, 64), 90).convert("RGB").resize((64, 64))
        picture.save(folder / f"{i}.png")
        picture.filter(ImageFilter.GaussianBlur(4)).save(folder / f"{i}-blurred.png")
        rows += [f"photos/{i}.png,sharp", f"photos/{i}-blurred.png,blurred"]
    (tmp_path / "set.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.slow
def test_an_installed_package_is_in_the_list_the_commands_the_demo_and_keeps_the_contract(
    photos, tiny_encoder, tmp_path_factory
):
    site = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    install += ["--disable-pip-version-check", "--target", str(site), str(PLUGIN)]
    subprocess.run(install, check=True, capture_output=True)
    out = python(USE, tiny_encoder, photos, path=site)
    assert "Whether a photo is sharp or blurred." in out
    assert "unimodal-sharpness" in out
    for words in ("list 0", "predict 0", "evaluate 0", "info 0", "checked 10", "demo True True True"):
        assert f"\n{words}\n" in out, out
    assert "8 samples measured, 0 errors left out" in out
    assert "accuracy │ 1.0000" in out
    assert len(list((photos / "out" / "artefacts").glob("*.txt"))) == 8


@pytest.mark.slow
def test_broken_packages_are_reported_and_harm_nothing(tmp_path):
    package(tmp_path, "needs-more", "needy = needy:Task", needy="import a_package_that_nobody_has\n")
    package(tmp_path, "hollow-task", "hollow = hollow:Task", hollow="class Task:\n    name = 'other'\n")
    package(tmp_path, "without-code", "gone = gone:Task")
    package(tmp_path, "second-hand", "classification = hand:Task", hand="class Task: pass\n")
    package(tmp_path, "exits-early", "quits = quits:Task", quits="import sys\nsys.exit('bye')\n")
    out = python(HARM, path=tmp_path)
    assert "list 0" in out
    assert "doctor 1" in out
    assert "sound unimodal.tasks.classification" in out
    for told in (
        "task 'needy' of needs-more: ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
        "task 'hollow' of hollow-task: TypeError: task 'hollow' breaks the contract: title must be a string",
        "task 'gone' of without-code: ModuleNotFoundError: No module named 'gone'",
        "task 'classification' of second-hand: the name 'classification' is taken by unimodal itself",
        "task 'quits' of exits-early: SystemExit: bye",
    ):
        assert told in out, out
    for name, owner in (("needy", "needs-more"), ("hollow", "hollow-task"), ("gone", "without-code")):
        assert f"{name} 3" in out
        assert f"error: the task '{name}' of {owner} cannot be used: " in out
    assert "error: the task 'quits' of exits-early cannot be used: SystemExit: bye" in out
