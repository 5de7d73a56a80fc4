"""A thousand pictures of which thirty are broken in ten ways: a row each, exit code 1, and memory that stays flat."""

import io
import re
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from PIL import Image

from unimodal.inference.sources import find

CODE = """
import resource, sys
from unimodal.__main__ import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def encoded(form: str, size=(640, 480)) -> bytes:
    gradient = Image.linear_gradient("L").resize(size)
    file = io.BytesIO()
    Image.merge("RGB", (gradient, gradient.rotate(90), gradient.rotate(180))).save(file, form)
    return file.getvalue()


def broken(folder, i: int) -> None:
    """Put a picture into ``folder`` that is broken in way ``i`` of ten."""
    jpeg, png, path = encoded("JPEG"), encoded("PNG", (64, 48)), folder / f"broken-{i:02}.jpg"
    ways = {
        0: lambda: path.write_bytes(b""),
        1: lambda: path.write_bytes(jpeg[: len(jpeg) // 2]),
        2: lambda: path.write_text("these are words"),
        3: lambda: path.write_bytes(png[:40]),
        4: lambda: path.mkdir(),
        5: lambda: path.symlink_to(folder / "nowhere"),
        6: lambda: path.write_bytes(b"GIF89a" + bytes(20)),
        7: lambda: path.write_bytes(png[:16] + (60_000).to_bytes(4, "big") * 2 + png[24:]),  # a bomb, by its header
        8: lambda: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
        9: lambda: path.write_bytes(b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(8)),
    }
    ways[i % 10]()


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    folder, jpeg = tmp_path_factory.mktemp("thousand"), encoded("JPEG")
    for i in range(970):
        (folder / f"{i:04}.jpg").write_bytes(jpeg)
    for i in range(30):
        broken(folder, i)
    return folder


def predict(sources, classifier, out):
    words = ["predict", "classification", *sources, "--weights", str(classifier), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=False)
    peak = re.search(r"^peak (\d+)$", done.stdout, re.MULTILINE)
    assert peak, done.stderr
    return done, int(peak.group(1)) / 1024


@pytest.mark.slow
def test_a_thousand_pictures_with_thirty_broken_ones(thousand, classifier, tmp_path):
    done, peak_mb = predict([str(thousand)], classifier, tmp_path / "all")
    assert done.returncode == 1
    assert "970 predictions, 30 errors" in done.stdout
    assert done.stderr.count("\n") < 40, "no line for each picture"
    table = pq.read_table(tmp_path / "all" / "predictions.parquet")
    rows = table.to_pylist()
    assert len(rows) == 1000
    assert [row["source"] for row in rows] == [item.name for item in find(thousand)]
    bad = [row for row in rows if row["status"] == "error"]
    assert len(bad) == 30
    assert all("broken" in row["source"] and row["label"] is None for row in bad)
    causes = {re.sub(r"\d+", "N", row["error"]) for row in bad}
    assert len(causes) >= 8, causes
    assert all(row["label"] and row["error"] is None for row in rows if row["status"] == "ok")
    few = [str(thousand / f"{i:04}.jpg") for i in range(200)]
    _, few_mb = predict(few, classifier, tmp_path / "few")
    assert peak_mb < 1.03 * few_mb + 8, f"{few_mb:.0f} MB for 200 pictures and {peak_mb:.0f} MB for 1,000"
