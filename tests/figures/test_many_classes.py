"""R05: a confusion matrix of thousands of classes in seconds and without gigabytes."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from convscope.figures import draw, svg, top_confusions

from .results import evaluation


def test_many_classes_become_a_list_of_confusions():
    k = 2_000
    counts = torch.zeros(k, k, dtype=torch.int32)
    counts.fill_diagonal_(5)
    counts[7, 9], counts[3, 4] = 4, 2
    result = evaluation(tuple(f"class {i}" for i in range(k)), counts)
    start = time.perf_counter()
    text = svg(draw(result))
    assert time.perf_counter() - start < 5
    assert "class 7 → class 9" in text and len(text) < 60_000
    assert top_confusions(result, 5) == [(7, 9, 4), (3, 4, 2)]


@pytest.mark.slow
def test_ten_thousand_classes_take_seconds_and_no_gigabytes():
    code = """
        import resource, time, torch
        from convscope.figures import draw, svg
        from tests.figures.results import evaluation
        k = 10_000
        counts = torch.zeros(k, k, dtype=torch.int16)
        counts.fill_diagonal_(5)
        rows = torch.randint(0, k, (2, 50_000), generator=torch.Generator().manual_seed(0))
        counts[rows[0], rows[1]] += 1
        result = evaluation(tuple(f"class {i}" for i in range(k)), counts)
        svg(draw(evaluation(("a", "b"))))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        text = svg(draw(result))
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(time.perf_counter() - start, used, len(text))
    """
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=True, cwd=root,
    )  # fmt: skip
    seconds, megabytes, size = map(float, done.stdout.split())
    assert seconds < 5 and megabytes < 300 and size < 60_000
