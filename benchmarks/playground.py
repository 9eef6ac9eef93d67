"""Networks inside a page: size, agreement with torch, and how long an answer takes.

    python benchmarks/playground.py --data-dir DIR [--cifar-dir DIR] [--count 10000] [--repeats 31]
        [--only NETWORK] [--dry]

For mnist-conv2-fc (799,078 parameters) and cifar-resnet20: bytes of a page with nothing else on
it, the largest difference of a probability between the page's engine and torch on test images, in
how many the predicted class is the same, and milliseconds of one prediction, of prediction and
saliency, and of an attack of 20 steps, by node on one core (median of the repeats). If Chromium is
here, also how long it takes from opening the page to the first prediction on it, and from a
slider's event to the picture of the attack. Needs node.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from record import RESULTS, record

from convscope.classifier import Classifier
from convscope.data import Split, open_dataset
from convscope.models import load
from convscope.playground import PlayableNetwork, example, page_data, playable_network
from convscope.reports import Report, find_browser, linked_scripts, render

NETWORKS = {"mnist-conv2-fc": ("mnist", 0.1), "cifar-resnet20": ("cifar10", 8 / 255)}
COMPARED = 1_000
CHUNK = 1_000

PREDICT = """
async function main({ graph, weights, images }) {
  const network = new $nn.Network(graph, await $weights.decodeWeights(weights, graph.tensors));
  const bytes = Uint8Array.from(atob(images), (letter) => letter.charCodeAt(0));
  const size = $nn.size(network.nodes[0].shape);
  const out = [];
  for (let at = 0; at < bytes.length; at += size) {
    const image = Float32Array.from(bytes.subarray(at, at + size), (b) => b / 255);
    out.push([...network.probabilities(image)]);
  }
  return out;
}
"""

TIMES = """
async function main({ graph, weights, images, repeats, epsilon }) {
  const start = performance.now();
  const network = new $nn.Network(graph, await $weights.decodeWeights(weights, graph.tensors));
  const decoded = performance.now() - start;
  const bytes = Uint8Array.from(atob(images), (letter) => letter.charCodeAt(0));
  const size = $nn.size(network.nodes[0].shape);
  const image = (i) => Float32Array.from(bytes.subarray(i * size, (i + 1) * size), (b) => b / 255);
  const { attack, finish, occlusion, saliency } = $methods;
  const work = {
    prediction: (x) => network.probabilities(x),
    "prediction and saliency": (x) => saliency(network, network.forward(x), 3),
    "attack of 20 steps": (x) => finish(attack(network, x, 3, null, epsilon)),
    occlusion: (x) => {
      const window = Math.floor(network.nodes[0].shape[1] / 4);
      const { logits } = network.forward(x);
      return finish(occlusion(network, x, logits, 3, window, Math.floor(window / 2)));
    },
  };
  const out = { "weights decoded": [decoded] };
  for (const [name, run] of Object.entries(work)) {
    const times = [];
    for (let i = 0; i < repeats + 5; i++) {
      const x = image(i % Math.floor(bytes.length / size));
      const begin = performance.now();
      run(x);
      if (i >= 5) times.push(performance.now() - begin);
    }
    out[name] = times;
  }
  return out;
}
"""

PROGRAM = """{script}
main(JSON.parse(require("node:fs").readFileSync(0, "utf-8")))
  .then((found) => process.stdout.write(JSON.stringify(found)));
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cifar-dir", type=Path, help="by default --data-dir")
    parser.add_argument("--count", type=int, default=10_000, help="test images to compare")
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    node = shutil.which("node")
    if node is None:
        raise SystemExit("needs node, which runs the page's engine here")
    figures: dict[str, Any] = {}
    path = RESULTS / "playground.json"
    if arguments.only is not None and path.exists():  # The other network stays as recorded.
        figures = json.loads(path.read_text())["figures"]
    for name, (data, epsilon) in NETWORKS.items():
        if arguments.only not in (None, name):
            continue
        folder = arguments.data_dir
        if data == "cifar10" and arguments.cifar_dir is not None:
            folder = arguments.cifar_dir
        test = open_dataset(data, data_dir=folder).test
        figures[name] = of_network(load(name), test, epsilon, arguments, node)
        print(name, json.dumps(figures[name], indent=2))
    if not arguments.dry:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
        record("playground", figures, node=version.stdout.strip(), repeats=arguments.repeats)


def of_network(
    classifier: Classifier, test: Split, epsilon: float, arguments: Any, node: str
) -> dict[str, Any]:
    made = playable_network(classifier, test.to_float(torch.arange(min(COMPARED, len(test)))))
    count = min(arguments.count, len(test))
    difference, same = compared(classifier, made, test, count, node)
    rows = torch.arange(min(32, len(test)))
    payload = {
        "graph": made.graph, "weights": made.weights, "images": as_bytes(test, rows),
        "repeats": arguments.repeats, "epsilon": epsilon,
    }  # fmt: skip
    times = by_node(node, ["nn", "weights", "methods"], TIMES, payload)
    with tempfile.TemporaryDirectory() as scratch:
        page = write_page(made, test, epsilon, Path(scratch))
        shown = in_browser(page, Path(scratch))
        size = page.stat().st_size
    return {
        "bytes_of_page": size,
        "bytes_of_network": made.size,
        "bits_per_weight": made.bits,
        "images": count,
        "largest_difference_of_a_probability": difference,
        "same_class": same,
        "milliseconds": {what: median(values) for what, values in times.items()},
        "in_chromium_milliseconds": shown,
    }


def compared(
    classifier: Classifier, made: PlayableNetwork, test: Split, count: int, node: str
) -> tuple[float, int]:
    worst, same = 0.0, 0
    with classifier.probe() as probe:
        for start in range(0, count, CHUNK):
            rows = torch.arange(start, min(start + CHUNK, count))
            truth = probe.logits(test.to_float(rows)).softmax(dim=1)
            payload = {
                "graph": made.graph, "weights": made.weights, "images": as_bytes(test, rows),
            }  # fmt: skip
            ours = torch.tensor(by_node(node, ["nn", "weights"], PREDICT, payload))
            worst = max(worst, float((ours - truth).abs().max()))
            same += int((ours.argmax(1) == truth.argmax(1)).sum())
    return worst, same


def as_bytes(test: Split, rows: torch.Tensor) -> str:
    pixels = (test.to_float(rows) * 255).round().to(torch.uint8)
    return base64.b64encode(pixels.contiguous().numpy().tobytes()).decode()


def by_node(node: str, modules: list[str], main_text: str, payload: Any) -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "program.cjs"
        file.write_text(PROGRAM.format(script=linked_scripts(modules) + main_text), "utf-8")
        done = subprocess.run(
            [node, str(file)], input=json.dumps(payload), capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout)


def write_page(made: PlayableNetwork, test: Split, epsilon: float, folder: Path) -> Path:
    report = Report(title="Playground")
    images = test.to_float(torch.arange(10))
    examples = [
        example(image, f"test image {i}", int(test.labels[i])) for i, image in enumerate(images)
    ]
    report.section("playground", "Playground").playground(
        page_data(made, examples, epsilon=epsilon), made.weights
    )
    return render(report, folder / "page.html").path


def in_browser(page: Path, folder: Path, repeats: int = 5) -> dict[str, float] | None:
    program = find_browser()
    if program is None:
        return None
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.browser import Browser

    browser = Browser(program, folder / "profile")
    first, slider = [], []
    root = "document.getElementById('playground-root')"
    try:
        for i in range(repeats):
            begin = time.perf_counter()
            browser.open(page.as_uri())
            browser.until(f"{root}.dataset.prediction")
            first.append(1000 * (time.perf_counter() - begin))
            browser.until(f"{root}.dataset.done")
            slider.append(
                browser.evaluate(
                    "new Promise((done) => { const show = playground.show_attack.bind(playground);"
                    "const begin = performance.now(); playground.show_attack = (part) => {"
                    "show(part); done(performance.now() - begin); };"
                    "const e = document.getElementById('pg-epsilon');"
                    f"e.value = Number(e.value) + Number(e.step) * {i + 2};"
                    "e.dispatchEvent(new Event('input')); })"
                )
            )
    finally:
        browser.close()
    return {"open to first prediction": median(first), "slider to attack": median(slider)}


def median(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 2)


if __name__ == "__main__":
    main()
