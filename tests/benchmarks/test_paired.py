"""The paired runner: orders, ratios, the gate and the rows it writes."""

import json
import time

import pytest

from benchmarks.paired import compare, exponent, machine, memory_kb


def spend(cpu_s: float):
    """A candidate that reports ``cpu_s`` seconds of CPU time."""
    return lambda: cpu_s


def test_every_round_runs_each_candidate_once_and_orders_differ():
    calls: list[str] = []
    candidates = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    compare("order", candidates, base="a", rounds=12, warmup=0)
    rounds = [tuple(calls[i : i + 3]) for i in range(0, 36, 3)]
    assert len(calls) == 36
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 1


def test_ratios_are_base_time_over_own_time_inside_each_round():
    weather = iter([1.0, 2.0, 4.0, 8.0])
    now: dict[str, float] = {}

    def slow() -> float:
        now.setdefault("slow", next(weather))
        return 2 * now.pop("slow")

    report = compare("ratio", {"slow": slow, "fast": spend(1.0)}, base="slow", rounds=4, warmup=0)
    assert report.timings["fast"].ratios == (2.0, 4.0, 8.0, 16.0)
    assert report.timings["slow"].ratios == (1.0, 1.0, 1.0, 1.0)


def test_cpu_time_does_not_count_sleeping_and_wall_time_does():
    report = compare("sleep", {"sleep": lambda: time.sleep(0.03)}, base="sleep", rounds=3, warmup=0)
    timing = report.timings["sleep"]
    assert min(timing.wall_s) >= 0.03
    assert max(timing.cpu_s) < 0.02


def test_warm_up_runs_are_not_counted():
    calls: list[int] = []
    report = compare("warm", {"a": lambda: calls.append(1)}, base="a", rounds=3, warmup=5)
    assert len(calls) == 8
    assert len(report.timings["a"].wall_s) == 3


def test_the_gate_passes_a_faster_candidate_and_fails_a_slower_one():
    candidates = {"base": spend(1.0), "fast": spend(0.5), "slow": spend(2.0)}
    report = compare("gate", candidates, base="base", rounds=4, warmup=0)
    assert report.verdict("fast", target=1.9).outcome == "passed"
    assert report.verdict("fast", target=2.1).outcome == "failed"
    slow = report.verdict("slow", target=1.0)
    assert (slow.outcome, slow.exit_code) == ("failed", 1)
    assert "median 0.500" in slow.reason


def test_a_failure_is_measured_once_more_with_twice_the_rounds():
    runs: list[float] = []

    def recovering() -> float:
        runs.append(2.0 if len(runs) < 4 else 0.5)
        return runs[-1]

    report = compare("again", {"base": spend(1.0), "own": recovering}, base="base", rounds=4, warmup=0)
    assert report.verdict("own", target=1.0).outcome == "passed"
    assert len(runs) == 4 + 8
    assert len(report.timings["own"].ratios) == 8


def test_the_first_quartile_must_hold_too():
    times = iter([0.99, 0.99, 0.99, 1.25, 1.25] * 10)
    report = compare("quartile", {"base": spend(1.0), "own": lambda: next(times)}, base="base", rounds=5, warmup=0)
    assert report.verdict("own", target=1.0).outcome == "failed"


def test_scattered_ratios_are_called_noisy_and_not_passed():
    times = iter([0.2, 1.0, 0.3, 1.0] * 10)
    report = compare("noise", {"base": spend(1.0), "own": lambda: next(times)}, base="base", rounds=4, warmup=0)
    verdict = report.verdict("own", target=0.5)
    assert (verdict.outcome, verdict.exit_code) == ("noisy", 75)


def test_saved_rows_carry_setting_commit_versions_and_machine(tmp_path):
    report = compare("saved", {"a": spend(1.0), "b": spend(2.0)}, base="a", rounds=2, warmup=0, shape="2x3")
    path = report.save(tmp_path)
    assert path.parent.name == machine()["machine"]
    assert path.name.endswith("-saved.json")
    rows = json.loads(path.read_text())
    assert [row["candidate"] for row in rows] == ["a", "b"]
    assert all(row["shape"] == "2x3" and row["versions"]["torch"] and row["cpu"] for row in rows)
    assert rows[1]["ratio"]["median"] == pytest.approx(0.5)
    assert rows[1]["cpu_ms"]["median"] == pytest.approx(2000)
    assert "| b | 2000.00" in report.table()


def test_a_rebased_report_takes_its_ratios_to_the_other_candidate_also_when_it_is_measured_again():
    candidates = {"a": spend(1.0), "b": spend(0.5), "c": spend(0.2)}
    report = compare("other", candidates, base="a", rounds=4, warmup=0)
    other = report.rebased("b")
    assert other.base == "b"
    assert other.timings["c"].ratios == (2.5,) * 4
    assert other.timings["a"].ratios == (0.5,) * 4
    assert other.again(3).timings["c"].ratios == (2.5,) * 3
    assert report.timings["c"].ratios == (5.0,) * 4


def test_the_machine_tells_its_instruction_sets_beside_its_model():
    assert {"cpu", "instructions", "cores", "commit", "date", "python", "versions"} <= set(machine())


def test_an_unknown_base_is_refused():
    with pytest.raises(ValueError, match=r"base must be one of \['a'\], not 'b'"):
        compare("x", {"a": spend(1.0)}, base="b")


def test_fewer_than_two_rounds_are_refused():
    with pytest.raises(ValueError, match="rounds must be at least 2, not 1"):
        compare("x", {"a": spend(1.0)}, base="a", rounds=1)


def test_the_exponent_is_that_of_a_power_and_the_peak_is_not_below_what_is_held():
    assert exponent([1, 2, 4, 8], [3 * n**1.5 for n in (1, 2, 4, 8)]) == pytest.approx(1.5)
    assert memory_kb("VmHWM") >= memory_kb("VmRSS") > 0
