"""The command line: every command end to end in this process, its exit codes, and errors in one line."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from unimodal.__main__ import main
from unimodal.catalog import FAMILIES, catalog
from unimodal.cli.settings import task_options


@pytest.fixture
def run(capsys):
    """Runs a command: (exit code, stdout, stderr)."""

    def command(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def only_line(err: str) -> str:
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def test_the_help_needs_no_torch_and_lists_the_exit_codes():
    code = "import sys; from unimodal.__main__ import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for exit_code in ("0 all went well", "1 finished", "2 wrong usage", "3 nothing could be done", "130 interrupted"):
        assert exit_code in done.stdout


def test_a_folder_becomes_a_table_and_a_wrong_file_a_row(run, classifier, coloured_shapes, tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes((coloured_shapes / "test" / "red" / f"{i}.png").read_bytes())
    (tmp_path / "4.png").write_text("no picture")
    code, out, err = run("predict", "classification", tmp_path, "--weights", classifier, "--out", tmp_path / "out")
    assert code == 1
    assert re.fullmatch(rf"3 predictions, 1 errors in [\d.]+ s: {tmp_path}/out/predictions.parquet\n", out)
    assert f"{tmp_path}/4.png: is not an image file" in err
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "error"]
    assert [row["label"] for row in rows] == ["red", "red", "red", None]


def test_linear_maps_are_packed_or_left_as_they_are_with_the_same_predictions(
    run, classifier, coloured_shapes, tmp_path, monkeypatch
):
    command = ["predict", "classification", str(coloured_shapes / "test" / "red"), "--weights", str(classifier)]
    shares = {}
    for wish in ("reference", "auto"):
        assert run(*command, "--out", str(tmp_path / wish), "--linear-maps", wish)[0] == 0
        rows = pq.read_table(tmp_path / wish / "predictions.parquet").to_pylist()
        shares[wish] = [row["probability"] for row in rows]
    assert shares["auto"] == pytest.approx(shares["reference"], rel=1e-4)
    monkeypatch.setattr("unimodal.kernels.linear._refusal", lambda weight: "it is not the day for it")
    code, _, err = run(*command, "--out", str(tmp_path / "must"), "--linear-maps", "require")
    assert code == 2
    assert "--linear-maps" in only_line(err)
    assert "it is not the day for it" in only_line(err)


def test_all_good_is_exit_code_0_and_all_bad_is_3(run, classifier, coloured_shapes, tmp_path):
    good, bad = coloured_shapes / "test" / "red" / "0.png", tmp_path / "bad.png"
    bad.write_text("no picture")
    assert run("predict", "classification", good, "--weights", classifier, "--out", tmp_path / "a")[0] == 0
    assert run("predict", "classification", bad, "--weights", classifier, "--out", tmp_path / "b")[0] == 3


TRAIN = ("train", "classification", ".", "--out", "o", "--encoder")


@pytest.mark.parametrize(
    "words, code, told",
    [
        (["predct"], 2, "No such command 'predct'. Did you mean 'predict'?"),
        (["predict", "classification", "."], 2, "Missing option '--out'."),
        (["predict", "clasification", ".", "--out", "o"], 2, "no task named 'clasification'; did you mean 'clas"),
        (["list", "mixer"], 2, "no family named 'mixer'; did you mean 'mixers'?"),
        (["info", "clasification"], 2, "no task or model named 'clasification'; did you mean 'classification'"),
        (["train", "clasification", ".", "--out", "o"], 2, "did you mean 'classification'"),
        ([*TRAIN, "recipe:unireplkent"], 2, "no recipe named 'unireplkent'; did you mean 'unireplknet'"),
        ([*TRAIN, "recipe:unireplknet,imag=64"], 2, "'unireplknet' named 'imag'; did you mean 'image'?"),
        ([*TRAIN, "recipe:unireplknet/q"], 2, "size must be one of a, f, p, n, t, s, b, l, xl, not 'q'"),
        (["evaluate", "clasification", "."], 2, "did you mean 'classification'"),
        (["info", __file__], 3, "is a file; give the checkpoint's folder"),
    ],
)
def test_a_wrong_word_is_one_line_that_names_the_nearest_right_one(words, code, told, run):
    got, _, err = run(*words)
    assert got == code
    assert told in only_line(err)


def test_what_cannot_be_used_is_one_line_and_an_exit_code(run, classifier, coloured_shapes, tmp_path):
    red = coloured_shapes / "test" / "red"
    base = ("--weights", classifier, "--out", tmp_path / "out")
    for words, code, told in (
        (["predict", "classification", red / "0.pgn", *base], 3, r"0.pgn: does not exist; did you mean .*/0.png\?"),
        (["predict", "classification", f"{red}/*.gif", *base], 3, r"\*.gif: matches no file"),
        (["predict", "classification", tmp_path, *base], 3, "has no files"),
        (["predict", "classification", red, "--weights", tmp_path / "gone", "--out", tmp_path], 3, "no task.json"),
        (["predict", "classification", red, *base, "--device", "cuda:99"], 2, "--device cuda:99 cannot be used here"),
        (["predict", "classification", red, "--weights", classifier, "--out", red], 2, "cannot be the output folder"),
        (["evaluate", "classification", tmp_path / "gone.csv", "--weights", classifier], 3, "gone.csv: does not exist"),
    ):
        got, _, err = run(*words)
        assert (got, bool(re.search(told, only_line(err)))) == (code, True), err


def test_debug_shows_where(run):
    with pytest.raises(LookupError):
        run("--debug", "list", "mixer")


def test_an_unforeseen_error_is_one_line_too(run, monkeypatch):
    monkeypatch.setattr("unimodal.cli.doctor._versions", lambda: 1 / 0)
    code, _, err = run("doctor")
    assert code == 3
    assert only_line(err) == "ZeroDivisionError: division by zero (--debug shows where)"


def test_list_names_every_part_of_every_family_with_its_source(run):
    code, out, _ = run("list")
    assert code == 0
    assert "mult-adds" not in out, "they are counted for the list of recipes alone, since that takes seconds"
    for family in FAMILIES:
        for name in catalog(family):
            assert re.search(rf"│ {name} +│", out), f"{family} {name}"
    assert re.search(r"small_image_encoder.*935,136", run("list", "recipes")[1])
    tasks = run("list", "tasks")[1]
    assert "What is in the picture" in tasks
    assert "mixers" not in tasks


def test_evaluate_shows_the_figures_and_writes_them_with_the_errors(run, classifier, coloured_shapes, tmp_path):
    data = tmp_path / "data"
    for colour in ("red", "blue"):
        (data / colour).mkdir(parents=True)
        for i in range(5):
            (data / colour / f"{i}.png").write_bytes((coloured_shapes / "test" / colour / f"{i}.png").read_bytes())
    command = ("evaluate", "classification", data, "--weights", classifier, "--out", tmp_path)
    code, out, _ = run(*command)
    assert code == 0
    assert "classification: 10 samples measured, 0 errors left out" in out
    (data / "red" / "9.png").write_text("no picture")
    code, out, err = run(*command)
    assert code == 1
    assert "9.png: is not an image file" in err
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert (found["samples"], len(found["errors"])) == (11, 1)
    assert found["errors"][0]["source"] == str(data / "red" / "9.png")
    assert found["metrics"]["top1"] >= 0.9


def test_train_writes_a_folder_that_predict_and_info_take(run, tiny_encoder, coloured_shapes, tmp_path):
    data, out = coloured_shapes / "test", tmp_path / "trained"
    code, told, _ = run(
        "train", "classification", data, "--out", out, "--encoder", tiny_encoder, "--steps", 20, "--rate", 0.05,
        "--validation", data, "--classes", "blue, green,red",
    )  # fmt: skip
    assert code == 0
    assert f"unimodal predict classification SOURCE --weights {out}" in told
    assert re.search(r"measured: top1 0\.\d{1,4}(,|$)", told, re.MULTILINE), "figures as a person reads them"
    assert run("predict", "classification", data / "red", "--weights", out, "--out", tmp_path / "o")[0] == 0
    assert (out / "curve.jsonl").read_text().count("top1") == 5
    told = json.loads(run("info", out, "--json")[1])
    assert told["encoder"] == str(tiny_encoder)
    assert told["parts"][1] == {"part": "head", "class": "Linear", "parameters": 99, "status": "trained"}
    assert told["card"]["classes"] == ["blue", "green", "red"]
    code, shown, _ = run("info", out)
    assert code == 0
    assert re.search(r"head +│ Linear +│ 99 +│ trained", shown)


def test_a_recipe_is_trained_from_scratch_with_one_option_and_used_like_any_other(run, coloured_shapes, tmp_path):
    data, out = coloured_shapes / "test", tmp_path / "trained"
    words = ("--encoder", "recipe:unireplknet/a,image=32", "--steps", 2, "--batch", 4)
    assert run("train", "classification", data, "--out", out, *words)[0] == 0
    assert run("evaluate", "classification", data / "red" / "..", "--weights", out)[0] == 0
    assert run("predict", "classification", data / "red", "--weights", out, "--out", tmp_path / "o")[0] == 0
    told = json.loads(run("info", out, "--json")[1])
    assert [(row["part"], row["status"]) for row in told["parts"]] == [("encoder", "trained"), ("head", "trained")]
    assert told["card"]["encoder_began"] == {"": "random"}


def test_info_tells_what_an_encoder_is_made_of(run, tiny_encoder):
    code, out, _ = run("info", tiny_encoder)
    assert code == 0
    assert re.search(r"transformer +│ Transformer +│ [\d,]+ +│ trained", out)


def test_doctor_finds_devices_kernels_packages_and_weights(run):
    code, out, _ = run("doctor")
    assert code in (0, 1)
    for word in ("cpu", "attention on cpu", "gradio", "task classification", "torch"):
        assert word in out
    assert (code == 0) == ("all is well" in out)


def test_options_of_a_task_are_json_or_words():
    task = SimpleNamespace(name="t", build=lambda encoder, *, horizons=(1,), units="own": None)
    assert task_options(task, ["horizons=[24, 48]", "units=published"]) == {"horizons": (24, 48), "units": "published"}
    for word, cause in (("horizons", "takes NAME=VALUE, not 'horizons'"), ("size=3", "it takes: horizons, units")):
        with pytest.raises(ValueError, match=cause):
            task_options(task, [word])


def test_an_unknown_option_is_one_line_and_the_code_of_wrong_usage(tmp_path, capsys):
    assert main(["train", "forecasting", str(tmp_path), "--out", str(tmp_path / "x"), "--option", "size=3"]) == 2
    assert "the task 'forecasting' has no option 'size'; it takes:" in capsys.readouterr().err


def test_a_task_that_cannot_be_built_with_an_option_is_one_line(run, tiny_encoder, coloured_shapes, tmp_path):
    code, _, err = run(
        "train", "classification", coloured_shapes / "test", "--out", tmp_path / "x", "--encoder", tiny_encoder,
        "--option", "classes=3",
    )  # fmt: skip
    assert code == 2
    assert "the task 'classification' cannot be built with classes = 3: " in only_line(err)


def test_own_horizons_are_trained_predicted_and_measured(run, tmp_path):
    rows = [f"{day};{100 + 10 * (day % 7)},5" for day in range(80)]
    table = tmp_path / "sales.csv"
    table.write_text("\n".join(["day;sales", *rows]), encoding="utf-8")
    out = tmp_path / "mine"
    code, _, err = run("train", "forecasting", table, "--out", out, "--option", "horizons=[3, 30]", "--steps", 3)
    assert code == 0, err
    assert run("predict", "forecasting", table, "--weights", out, "--out", tmp_path / "o")[0] == 0
    [row] = pq.read_table(tmp_path / "o" / "predictions.parquet").to_pylist()
    assert row["steps"] == 30
    short = tmp_path / "short.csv"
    short.write_text("\n".join(["day;sales", *rows[:25]]), encoding="utf-8")
    code, shown, _ = run("evaluate", "forecasting", short, "--weights", out)
    assert code == 0
    assert re.search(r"mse_3 +│ [\d.]+", shown)
    assert re.search(r"mse_30 +│ - ", shown)
    assert "there was no sample that it could be measured on" in shown


@pytest.mark.parametrize("words", [["embed", "--help"], ["list"], ["info", "classification"]])
def test_a_reader_that_has_seen_enough_is_no_error(words):
    command = [sys.executable, "-m", "unimodal", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_bench_lists_the_benchmarks_and_hands_their_options_on(run, tmp_path):
    def told(*words):
        command = [sys.executable, "-m", "unimodal", "bench", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    listed = told()
    assert listed.returncode == 0, listed.stderr
    assert "transfer" in listed.stdout
    refused = told("transfer", "--run", "x")
    assert refused.returncode == 2
    assert "--data" in refused.stderr
    code, _, err = run("bench", "transfr")
    assert code == 2
    assert "no benchmark named 'transfr'; did you mean 'transfer'" in only_line(err)


def test_bench_outside_a_checkout_says_so(run, monkeypatch, tmp_path):
    monkeypatch.setattr("unimodal.cli.bench.ROOT", tmp_path)
    code, _, err = run("bench", "transfer")
    assert code == 3
    assert "there are no benchmarks beside this installation" in only_line(err)
