"""How long from a slider to a picture through `convscope serve`?

    python benchmarks/serve_latency.py [--model mnist-conv2-fc] [--events 60] [--dry]

Starts the server as a process, comes in with the token, and sends what the page sends, one event
after the other, over HTTP on 127.0.0.1. Recorded are milliseconds from sending to the last byte of
the part: prediction and saliency of a new image, 20 steps of the attack, occlusion, everything at
once; median, 90 % and largest, with n. The time of the browser's canvas is not in it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from record import record

PARTS = {
    "prediction": ["prediction"],
    "prediction and saliency": ["prediction", "saliency"],
    "Grad-CAM": ["cam"],
    "attack, 20 steps": ["attack"],
    "occlusion": ["occlusion"],
    "everything": ["prediction", "saliency", "maps", "cam", "transforms", "attack", "occlusion"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mnist-conv2-fc")
    parser.add_argument("--events", type=int, default=60)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    command = [sys.executable, "-m", "convscope", "serve", options.model, "--port", "0"]
    began = time.perf_counter()
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        assert server.stdout is not None
        address = urlsplit(server.stdout.readline().strip())
        started = time.perf_counter() - began
        page = Page(address)
        page_seconds = page.begin()
        figures: dict[str, Any] = {
            "seconds until the address is printed": round(started, 2),
            "seconds until the first page has its data": round(page_seconds, 2),
            **{name: page.measured(want, options.events) for name, want in PARTS.items()},
        }
    finally:
        server.send_signal(signal.SIGINT)
        ended = time.perf_counter()
        code = server.wait(60)
    figures["seconds from Ctrl-C to the end"] = round(time.perf_counter() - ended, 2)
    assert code == 0, code
    if options.dry:
        print(json.dumps(figures, indent=2))
    else:
        record("serve_latency", figures, model=options.model, events=options.events)


class Page:
    """What a page sends, without a browser."""

    def __init__(self, address: Any) -> None:
        self.host = address.netloc
        self.connection = http.client.HTTPConnection(self.host)
        self.connection.request("GET", f"/?{address.query}")
        answer = self.connection.getresponse()
        answer.read()
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.images = np.random.default_rng(0)

    def begin(self) -> float:
        """The data that a page begins with; the seconds that they took."""
        start = time.perf_counter()
        self.connection.request("GET", "/api/0/page", headers={"Cookie": self.cookie})
        data = json.loads(self.connection.getresponse().read())
        self.shape = data["graph"]["nodes"][0]["shape"]
        nodes = data["graph"]["nodes"]
        # A network that cannot be traced has no layers to show.
        self.layer = 1 if len(nodes) > 1 else None
        return time.perf_counter() - start

    def measured(self, want: list[str], events: int) -> dict[str, Any]:
        """Milliseconds of `events` requests, each about another image."""
        for _ in range(3):
            self.ask(want)
        times = sorted(self.ask(want) for _ in range(events))
        return {
            "median_ms": round(statistics.median(times), 1),
            "90_percent_ms": round(times[int(0.9 * (len(times) - 1))], 1),
            "largest_ms": round(times[-1], 1),
            "n": events,
        }

    def ask(self, want: list[str]) -> float:
        """One event; milliseconds until its last byte is here."""
        image = self.images.random(self.shape, dtype=np.float32)
        side = min(self.shape[1:])
        header = {
            "want": want, "explained": None, "layer": self.layer, "epsilon": 0.1, "target": None,
            "window": max(1, side // 4), "stride": max(1, side // 8),
            "arrays": [["image", list(image.shape)], ["changed", [5, *image.shape]]],
        }  # fmt: skip
        text = json.dumps(header).encode()
        changed = np.stack([image] * 5)
        body = struct.pack("<I", len(text)) + text + image.tobytes() + changed.tobytes()
        headers = {"Cookie": self.cookie, "Origin": f"http://{self.host}"}
        start = time.perf_counter()
        self.connection.request("POST", "/api/0/run?panel=bench", body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        elapsed = 1000 * (time.perf_counter() - start)
        assert answer.status == 200 and b'"failed"' not in content, content[:400]
        return elapsed


if __name__ == "__main__":
    main()
