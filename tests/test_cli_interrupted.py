"""Runs that end early: Ctrl-C, kill -9 and a torn line lose nothing that was done, and the same command goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from unimodal.__main__ import main

COUNT = 400
# A shell that starts the suite in the background lets its children ignore SIGINT; a terminal does not.
RUN = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("unimodal", run_name="__main__")
"""


@pytest.fixture(scope="module")
def pictures(coloured_shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    files = sorted((coloured_shapes / "train").rglob("*.png"))
    for i in range(COUNT):
        (folder / f"{i:04}.png").symlink_to(files[i % len(files)])
    return folder


def start(pictures, classifier, out):
    command = [sys.executable, "-c", RUN, "predict", "classification", str(pictures)]
    command += ["--weights", str(classifier), "--out", str(out), "--batch-tokens", "64", "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    journal, deadline = out / "journal.jsonl", time.monotonic() + 240
    while not journal.exists() or journal.read_bytes().count(b"\n") < 20:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run did not begin"
        time.sleep(0.005)
    return process


def resume(pictures, classifier, out):
    return main(["predict", "classification", str(pictures), "--weights", str(classifier), "--out", str(out)])


def rows(out):
    return pq.read_table(out / "predictions.parquet").to_pylist()


def lines(out):
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_table_of_what_was_done_and_exit_code_130(number, pictures, classifier, tmp_path, capsys):
    process = start(pictures, classifier, tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.endswith("run the same command again to go on\ninterrupted\n")
    done = len(rows(tmp_path))
    assert 19 <= done < COUNT
    assert resume(pictures, classifier, tmp_path) == 0
    assert f"{COUNT} predictions ({done} of them from before), 0 errors" in capsys.readouterr().out
    assert [row["source"] for row in rows(tmp_path)] == [str(p) for p in sorted(pictures.iterdir())]


@pytest.mark.slow
def test_kill_9_loses_nothing_that_is_in_the_journal_and_a_torn_line_is_dropped(pictures, classifier, tmp_path, capsys):
    process = start(pictures, classifier, tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = (tmp_path / "journal.jsonl").read_bytes()
    kept = kept[: kept.rindex(b"\n") + 1]
    (tmp_path / "journal.jsonl").write_bytes(kept + b'{"key": "/half of a ro')
    done = kept.count(b"\n") - 1
    assert not (tmp_path / "predictions.parquet").exists()
    assert resume(pictures, classifier, tmp_path) == 0
    assert f"{COUNT} predictions ({done} of them from before), 0 errors" in capsys.readouterr().out
    assert (tmp_path / "journal.jsonl").read_bytes().startswith(kept), "what was done was not done again"
    whole = tmp_path / "whole"
    assert resume(pictures, classifier, whole) == 0
    for cut, uncut in zip(rows(tmp_path), rows(whole), strict=True):
        assert (cut["source"], cut["label"]) == (uncut["source"], uncut["label"])
        assert cut["probability"] == pytest.approx(uncut["probability"], rel=1e-5)
