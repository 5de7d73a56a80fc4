"""The running demo, asked as a program asks it: endpoints, concurrency, bad files, broken tasks, ports and Ctrl-C."""

import importlib
import json
import socket
import struct
import sys
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from unimodal import load_task
from unimodal.catalog import catalog
from unimodal.errors import MissingExtraError

TASKS = [name for name in catalog("tasks") if catalog("tasks").source(name) == "unimodal"]


def content(answer: Any) -> Any:
    """An answer with pictures, 16 x 16 px of them, in place of their paths, which differ from call to call."""
    if isinstance(answer, dict):
        return {key: content(value) for key, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [content(item) for item in answer]
    if isinstance(answer, str) and Path(answer).is_file():
        with Image.open(answer) as picture:
            return (np.asarray(picture.convert("L").resize((16, 16), Image.Resampling.BOX)) / 10).ravel().tolist()
    return answer


def assert_same(one: Any, other: Any) -> None:
    """Equal but for the last digit that is shown of a number.

    Sums of float32 differ in their last digits with threads and addresses, and now and then round to the next digit.
    """
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, rel=2e-4, abs=0.11 if abs(one) > 1 else 1e-4)
    else:
        assert one == other


def configuration(server: Any) -> dict[str, Any]:
    with urllib.request.urlopen(server.address() + "/config", timeout=30) as reply:
        return json.load(reply)


def bomb(path: Path) -> Path:
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""
    chunks = (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 99))
    data = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


@pytest.mark.parametrize("name", TASKS)
def test_every_task_answers_its_examples_as_it_does_without_the_page(client: Client, name: str):
    task = load_task(name)
    examples = task.examples()
    assert examples
    for example in examples:
        answer = client.predict(handle_file(example), api_name=f"/{name}")
        (prediction,) = task.predict([task.read(example)])
        rendered = prediction.render()
        told = dict(zip(task.outputs, answer if isinstance(answer, tuple) else (answer,), strict=True))
        if "classes" in told:
            best = sorted(rendered["classes"].items(), key=lambda pair: -pair[1])[:5]
            assert {c["label"]: c["confidence"] for c in told["classes"]["confidences"]} == dict(best)
        if "table" in told:
            assert told["table"]["headers"] == list(rendered["table"][0])
            assert len(told["table"]["data"]) == len(rendered["table"])
        if "image" in told:
            with Image.open(told["image"]) as picture:
                assert picture.size == rendered["image"].size
        if "segments" in told:
            masks = sorted(rendered["segments"][1], key=lambda pair: -pair[0].sum())
            assert [a["label"] for a in told["segments"]["annotations"]] == [name for _, name in masks]


@pytest.mark.parametrize("name", TASKS)
def test_eight_at_once_get_what_eight_in_turn_get(alone: Any, name: str, repository: Path, tmp_path: Path):
    """Each of the eight is a client of their own: threads that share one lose answers when its stream closes."""
    task, samples = catalog("tasks")[name], repository / "unimodal" / "data" / "samples"
    sources = sorted(samples.glob("*.jpg")) if task.inputs == ("image",) else [Path(e) for e in task.examples()]
    sources = (sources * 8)[:8]

    clients = [Client(alone.address(), verbose=False, download_files=tmp_path) for _ in sources]

    def ask(client: Client, source: Path) -> Any:
        return content(client.predict(handle_file(source), api_name=f"/{name}"))

    in_turn = [ask(client, source) for client, source in zip(clients, sources, strict=True)]
    with ThreadPoolExecutor(8) as threads:
        at_once = list(threads.map(ask, clients, sources))
    assert_same(at_once, in_turn)
    assert in_turn[0] != in_turn[1]


@pytest.mark.parametrize(
    "kind, words",
    [("text", "is not an image file"), ("truncated", "truncated"), ("bomb", "3600000000 pixels, over the limit")],
)
def test_a_bad_file_gets_one_clear_message_and_the_next_good_one_an_answer(
    client_beside: Client, tmp_path: Path, street: Path, kind: str, words: str
):
    bad = tmp_path / f"holiday_{kind}.jpg"
    if kind == "text":
        bad.write_text("this is no picture", encoding="utf-8")
    elif kind == "truncated":
        bad.write_bytes(street.read_bytes()[:9000])
    else:
        bomb(bad)
    with pytest.raises(AppError, match=f"holiday_{kind}.jpg.*{words}"):
        client_beside.predict(handle_file(bad), api_name="/gallery")
    assert client_beside.predict(handle_file(street), api_name="/gallery")


def test_nothing_chosen_is_a_clear_message(client_beside: Client):
    with pytest.raises(AppError, match="Choose a file first"):
        client_beside.predict(None, api_name="/gallery")


def test_every_kind_of_output_reaches_the_client(client_beside: Client, street: Path):
    picture, result, text, table, classes = client_beside.predict(handle_file(street), api_name="/gallery")
    assert {a["label"] for a in picture["annotations"]} == {"dark", "dim", "light", "bright"}
    with Image.open(result) as mirrored, Image.open(street) as photo:
        assert mirrored.size == photo.size
    assert text == "street_rain.jpg: 480 x 360"
    assert table["headers"] == ["name", "share"]
    assert [row[0] for row in table["data"]] == ["dark", "dim", "light", "bright"]
    assert sum(c["confidence"] for c in classes["confidences"]) == pytest.approx(1)


def test_broken_tasks_are_listed_and_the_others_keep_their_tabs(beside: Any):
    components = configuration(beside)["components"]
    tabs = [c["props"]["label"] for c in components if c["type"] == "tabitem"]
    tasks = catalog("tasks")
    assert set(tabs) == {*(tasks[name].title for name in TASKS), "Gallery", "Slow", "Untrained"}
    told = "\n".join(str(c["props"].get("value")) for c in components if c["type"] == "markdown")
    assert "**absent** from `outside` is not shown: `ModuleNotFoundError: No module named 'outside_nowhere'`" in told
    assert "**liar** from `outside` is not shown: `RuntimeError: there is no such thing`" in told


def test_a_task_without_weights_says_so_in_its_tab_and_when_it_is_asked(
    beside: Any, client_beside: Client, street: Path
):
    told = [str(c["props"].get("value")) for c in configuration(beside)["components"] if c["type"] == "markdown"]
    assert "This task cannot run yet: the task's weights `weights_that_nobody_trained` are not installed." in told
    with pytest.raises(AppError, match="untrained: cannot be loaded .*weights_that_nobody_trained"):
        client_beside.predict(handle_file(street), api_name="/untrained")


def test_a_path_of_the_server_is_not_read_for_a_stranger(beside: Any, street: Path):
    body = json.dumps({"data": [{"path": str(street), "meta": {"_type": "gradio.FileData"}}]}).encode()
    call = f"{beside.address()}/gradio_api/call/gallery"
    request = urllib.request.Request(call, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        event = json.load(reply)["event_id"]
    with urllib.request.urlopen(f"{call}/{event}", timeout=30) as reply:
        stream = reply.read().decode()
    assert "event: error" in stream
    assert "event: complete" not in stream


def test_the_page_is_on_loopback_and_sends_no_telemetry(alone: Any):
    settings = configuration(alone)
    assert alone.address().startswith("http://127.0.0.1:")
    assert settings["analytics_enabled"] is False
    assert settings["max_file_size"] == 32 * 2**20


def test_a_port_in_use_is_told_and_the_next_free_one_taken(alone: Any, beside: Any):
    taken, free = (int(server.address().rpartition(":")[2]) for server in (alone, beside))
    assert taken < free <= taken + 20
    assert f"Port {taken} is in use; taking {free}." in beside.text()


def test_no_free_port_is_a_clear_message(monkeypatch: pytest.MonkeyPatch):
    app = importlib.import_module("unimodal.demos.app")
    monkeypatch.setattr(app, "PORTS_TRIED", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="are all in use; name another one"):
            app.serve(port=taken.getsockname()[1])


def test_an_address_of_another_machine_is_a_clear_message():
    app = importlib.import_module("unimodal.demos.app")
    with pytest.raises(OSError, match="cannot listen on 203.0.113.1:"):
        app.serve("203.0.113.1")


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "unimodal.demos.app", raising=False)
    with pytest.raises(MissingExtraError, match=r"gradio is not installed.*unimodal\[demo\]"):
        importlib.import_module("unimodal.demos.app")
