"""Wait for a running demo, send it one picture through every image endpoint, and demand an answer.

    python .ci/ask_demo.py URL PID

PID is the demo's process: when it ends before it answers, so does the waiting.
"""

import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from gradio_client import Client, handle_file
from PIL import Image

WAIT_S = 120


def main(url: str, pid: int) -> int:
    wait(url, pid)
    picture = Path(tempfile.mkdtemp()) / "picture.png"
    gradient = Image.linear_gradient("L").resize((200, 150))
    Image.merge("RGB", (gradient, gradient.transpose(Image.Transpose.ROTATE_180), gradient)).save(picture)
    client = Client(url, verbose=False)
    answered = 0
    for name, endpoint in client.view_api(print_info=False, return_format="dict")["named_endpoints"].items():
        required = [p for p in endpoint["parameters"] if not p["parameter_has_default"]]
        if len(required) != 1 or required[0]["component"] != "Image":
            continue
        started = time.perf_counter()
        answer = client.predict(handle_file(picture), api_name=name)
        if not answer:
            print(f"{name} answered with nothing: {answer!r}", file=sys.stderr)
            return 1
        print(f"{name}: {time.perf_counter() - started:.2f} s: {str(answer)[:300]}")
        answered += 1
    if not answered:
        print("no endpoint of the demo takes one picture", file=sys.stderr)
    return 0 if answered else 1


def wait(url: str, pid: int) -> None:
    started = time.perf_counter()
    while time.perf_counter() - started < WAIT_S:
        os.kill(pid, 0)  # raises when the demo is gone
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
        else:
            print(f"the demo's page opens {time.perf_counter() - started:.1f} s after the waiting began")
            return
    raise SystemExit(f"no page at {url} after {WAIT_S} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
