"""Mutation run: how many seeded faults in src the tests notice, and which they do not.

A mutant is one small change of one line: another comparison, another sign, another constant, a
condition turned round. Each is tried in a copy of the tree with tests that are known to run the
line (covering_tests.py); the first test that fails kills it, and is then run on the unchanged
tree, where it has to pass. A run that takes far longer than recorded counts as noticed, too.
Survivors are written down with their line, to be read one by one: some are equivalent (no test
can tell them apart), the others are missing tests.

    python benchmarks/mutants.py --count 150 --seed 0 --out mutants.jsonl
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from covering_tests import CoveringTests

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "build/mutants"
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.jsonl")
COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*"}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "argmax": "argmin",
         "amax": "amin", "amin": "amax", "clamp_min": "clamp_max", "floor": "ceil"}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one line.

    Attributes:
        path: File below the root.
        line: Its line, from 1.
        kind: What is changed.
        before: The line as it is.
        after: The line as it is tried.
    """

    path: str
    line: int
    kind: str
    before: str
    after: str


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file; texts, annotations and raised errors are left alone."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    quiet: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            quiet |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if not line or line in quiet or getattr(node, "end_lineno", 0) != line:
            continue
        for kind, start, stop, new in _changes(node, lines[line - 1]):
            source = lines[line - 1].encode()
            after = (source[:start] + new.encode() + source[stop:]).decode()
            if after != lines[line - 1]:
                name = path.relative_to(ROOT).as_posix()
                yield Mutant(name, line, kind, lines[line - 1].strip(), after.strip())


def _changes(node: ast.AST, line: str) -> Iterator[tuple[str, int, int, str]]:
    """(kind, first byte, byte behind, replacement) of the changes at a node."""
    source = line.encode()

    def between(left: ast.expr, right: ast.expr, sign: str) -> Iterator[tuple[int, int]]:
        start, stop = left.end_col_offset or 0, right.col_offset
        at = source.find(sign.encode(), start, stop)
        if at >= 0:
            yield at, at + len(sign)

    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        new = COMPARISONS.get(type(node.ops[0]))
        old = {"<=": "<", "<": "<=", ">=": ">", ">": ">=", "!=": "==", "==": "!=",
               "is not": "is", "is": "is not", "not in": "in", "in": "not in"}  # fmt: skip
        if new:
            for start, stop in between(node.left, node.comparators[0], old[new]):
                yield "comparison", start, stop, new
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        sign = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//"}
        for start, stop in between(node.left, node.right, sign[type(node.op)]):
            yield "operator", start, stop, OPERATORS[type(node.op)]
    elif isinstance(node, ast.BoolOp):
        word, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for start, stop in between(node.values[0], node.values[1], word):
            yield "and/or", start, stop, new
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield "sign", node.col_offset, node.operand.col_offset, ""
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        value = node.value
        new = repr(not value) if isinstance(value, bool) else repr(value + 1)
        yield "constant", node.col_offset, node.end_col_offset or 0, new
    elif isinstance(node, ast.Attribute | ast.Name):
        name = node.attr if isinstance(node, ast.Attribute) else node.id
        if name in CALLS:
            stop = node.end_col_offset or 0
            yield "call", stop - len(name), stop, CALLS[name]
    elif isinstance(node, ast.If | ast.IfExp) and node.test.lineno == node.test.end_lineno:
        start, stop = node.test.col_offset, node.test.end_col_offset or 0
        if node.test.lineno == node.lineno:
            yield "condition", start, stop, f"not ({source[start:stop].decode()})"


def tried(mutant: Mutant, tests: list[str], tree: Path, seconds: float) -> tuple[str, str]:
    """A verdict, ``"killed"``, ``"survived"`` or ``"timeout"``, and the test that failed."""
    file = tree / mutant.path
    original = file.read_text(encoding="utf-8")
    lines = original.splitlines(keepends=True)
    old = lines[mutant.line - 1]
    indent = old[: len(old) - len(old.lstrip())]
    lines[mutant.line - 1] = f"{indent}{mutant.after}\n"
    file.write_text("".join(lines), encoding="utf-8")
    try:
        return outcome(tests, tree, seconds)
    finally:
        file.write_text(original, encoding="utf-8")


def outcome(tests: list[str], tree: Path, seconds: float) -> tuple[str, str]:
    """Run tests in the copy, in a child process, until one fails."""
    failed = tree / "failed.txt"
    failed.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        os.setsid()
        _run(tree, tests, failed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            verdict = "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
            return verdict, failed.read_text(encoding="utf-8") if failed.exists() else ""
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout", ""


class _Reporter:
    """A plugin of pytest that writes down the first test that fails."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self._file.exists():
            self._file.write_text(report.nodeid, encoding="utf-8")

    pytest_collectreport = pytest_runtest_logreport


def _run(tree: Path, tests: list[str], failed: Path) -> None:
    """In the child: run the tests in the copy, never come back."""
    code = 1
    try:
        os.chdir(tree)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.path[:0] = [str(tree / "src"), str(tree)]
        os.environ["PYTHONPATH"] = str(tree / "src")  # For tests that start a process.
        import pytest

        words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]
        code = int(pytest.main([*words, *tests], plugins=[_Reporter(failed)]))
    finally:
        os._exit(code if 0 <= code < 256 else 1)


def keep(files: list[Path]) -> None:
    """Verdicts of several parts as one record, with what survived in full.

    A survivor that was read and found equivalent stands in ``equivalent_mutants.jsonl``, with
    the reason why no test can tell it from the original.
    """
    from record import record

    rows = [
        json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()
    ]
    reasons = {}
    for line in EQUIVALENT.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        reasons[row["path"], row["before"], row["after"]] = row["reason"]
    for row in rows:
        reason = reasons.get((row["path"], row["before"], row["after"]))
        if row["verdict"] in ("survived", "not covered") and reason:
            row |= {"verdict": "equivalent", "reason": reason}
    verdicts = Counter(row["verdict"] for row in rows)
    noticed = [row for row in rows if row["verdict"] in ("killed", "timeout")]
    judged = len(rows) - verdicts["equivalent"]
    # A row that says `since` is noticed by a test that was written, or chosen, after it survived.
    at_first = sum(not row.get("since") for row in noticed)
    record(
        "mutants",
        {
            "verdicts": dict(verdicts),
            "noticed before tests were written for them": _share(at_first, judged),
            "noticed now, of those that are not equivalent": _share(len(noticed), judged),
            "noticed since": [
                {key: row[key] for key in ("path", "before", "after", "test")}
                for row in noticed
                if row.get("since")
            ],
            "not noticed": [row for row in rows if row not in noticed],
        },
        n=len(rows),
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}: {part / whole:.1%}"


def drawn(every: list[Mutant], count: int) -> list[Mutant]:
    """The first `count`, at most three of one file: some files hold a crowd of numbers."""
    seen: Counter[str] = Counter()
    sample: list[Mutant] = []
    for mutant in every:
        if seen[mutant.path] < 3 and len(sample) < count:
            seen[mutant.path] += 1
            sample.append(mutant)
    return sample


def survivors(file: Path, every: list[Mutant]) -> list[Mutant]:
    """Those of `every` that were not noticed before, wherever their lines are now."""
    text = file.read_text(encoding="utf-8")
    rows = (
        json.loads(text)["figures"]["not noticed"]
        if file.suffix == ".json"
        else [json.loads(line) for line in text.splitlines()]
    )
    wanted = {
        (row["path"], row["before"], row["after"]) for row in rows if row["verdict"] != "killed"
    }
    return [mutant for mutant in every if (mutant.path, mutant.before, mutant.after) in wanted]


def main() -> None:
    """Sample, try, and write each verdict as soon as it is known; go on where a file ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=150, help="mutants to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recorded", type=Path, default=RECORDED,
                        help="folder with coverage and junit.xml of the suite")  # fmt: skip
    parser.add_argument("--part", default="0/1", help="i/n: every n-th mutant, from the i-th")
    parser.add_argument("--only", default="", help="files whose path contains this")
    parser.add_argument(
        "--also", nargs="*", default=[], help="test files that are younger than the recorded run"
    )
    parser.add_argument(
        "--again", type=Path, help="only the survivors of this file of verdicts, or of the record"
    )
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument(
        "--record", nargs="+", type=Path, help="only write these verdicts into benchmarks/results"
    )
    options = parser.parse_args()
    if options.record:
        keep(options.record)
        return
    every = [
        mutant
        for path in sorted((ROOT / "src/convscope").rglob("*.py"))
        if options.only in path.as_posix()
        for mutant in mutants_of(path)
    ]
    random.Random(options.seed).shuffle(every)
    sample = survivors(options.again, every) if options.again else drawn(every, options.count)
    first, step = map(int, options.part.split("/"))
    sample = sample[first::step]
    known = set()
    if options.out.exists():
        for line in options.out.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            known.add((row["path"], row["line"], row["after"]))
    covering = CoveringTests(options.recorded / "coverage", options.recorded / "junit.xml", ROOT)
    print(f"{len(every):,} possible mutants, {len(sample)} tried here")
    for name in ("torch", "numpy", "matplotlib.pyplot", "sklearn.datasets", "pytest"):
        __import__(name)
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(
            ".git", ".venv", "runs", "build", "__pycache__", ".*_cache"))  # fmt: skip
        sound: set[str] = set()  # Tests that are known to pass on the unchanged tree.
        for number, mutant in enumerate(sample, 1):
            if (mutant.path, mutant.line, mutant.after) in known:
                continue
            started = time.monotonic()
            tests = [*options.also, *covering.of(mutant.path, mutant.line)]
            verdict, test = "not covered", ""
            if tests:
                allowed = 60 + 4 * sum(map(covering.seconds, tests))
                verdict, test = tried(mutant, tests, tree, allowed)
            test = test or tests[0] if verdict == "killed" else ""  # A crash names none.
            if test and test not in sound:
                if outcome([test], tree, 300)[0] == "survived":
                    sound.add(test)
                else:
                    verdict = "unclear"
            row = {**asdict(mutant), "verdict": verdict, "test": test, "tests": len(tests),
                   "seconds": round(time.monotonic() - started, 1)}  # fmt: skip
            with options.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")
            print(f"{number:4d}/{len(sample)} {verdict:11} {row['seconds']:6.1f} s  {mutant.path}:"
                  f"{mutant.line}  {mutant.before}  ->  {mutant.after}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
