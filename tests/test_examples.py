"""Examples are programs: each runs as it is written and writes what it says."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if place else [])
        for place, path in enumerate(EXAMPLES)
    ],
)
def test_example_runs_and_writes_what_it_says(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), str(tmp_path / "out")])
    runpy.run_path(str(path), run_name="__main__")
    written = [Path(line.removeprefix("wrote ")) for line in capsys.readouterr().out.splitlines()]
    assert written and all(one.stat().st_size > 5_000 for one in written)


def test_there_are_examples():
    assert len(EXAMPLES) >= 4
