"""The runner of benchmarks: which there are, and that each runs in its own process."""

import subprocess

import pytest

from benchmarks import run


def test_every_benchmark_is_listed_with_its_claim_and_what_they_share_is_not(capsys):
    assert run.main(["--list"]) == 0
    told = capsys.readouterr().out
    assert "encoder  " in told
    assert "packed_encoder  " in told
    assert not {"paired", "inputs", "vit_peers", "run"} & set(run.scripts())
    assert all(run.scripts().values()), "a benchmark without a docstring"


@pytest.mark.parametrize("asked", [["encoder", "--", "--model", "tiny"], []], ids=["one", "all"])
def test_one_is_run_with_its_options_or_all_without_and_the_worst_exit_code_is_kept(asked, monkeypatch, tmp_path):
    calls = []

    def record(command, **_):
        calls.append(command[2:])
        return subprocess.CompletedProcess(command, 75 if "packed_encoder" in command[2] else 0)

    monkeypatch.setattr(run.subprocess, "run", record)
    code = run.main(asked)
    if asked:
        assert (code, calls) == (0, [["benchmarks.encoder", "--model", "tiny"]])
    else:
        assert [name for (name,) in calls] == [f"benchmarks.{name}" for name in run.scripts()]
        assert code == 75


def test_an_unknown_benchmark_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        run.main(["speed"])
    assert "invalid choice: 'speed'" in capsys.readouterr().err
