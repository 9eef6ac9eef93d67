"""Mutation run: how many seeded faults in src the tests notice, and which they do not.

A mutant is one small change of one line: another comparison, another sign, another constant, a
condition turned round. Each is tried in a copy of the tree with the tests of its package, its
docstring examples and the contracts; the first test that fails kills it. Survivors are written
down with their line, to be read one by one: some are equivalent (no test can tell them apart),
the others are missing tests.

    python benchmarks/mutants.py --count 150 --seed 0 --out survivors.jsonl
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

ROOT = Path(__file__).resolve().parents[1]
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


def tests_for(path: str) -> list[str]:
    """The tests that a mutant of `path` is tried with, the nearest first."""
    parts = Path(path).relative_to("src/convscope").parts
    core = len(parts) == 1 or parts[0] == "_network"
    package = Path(parts[-1]).stem if core else parts[0]
    near = [f"tests/{package}", f"tests/test_{package.strip('_')}.py"]
    contracts = {
        "attacks": ["test_attacks.py", "test_randomness.py"],
        "explanations": ["test_explanations.py", "test_sizes.py"],
        "visualizations": ["test_explanations.py"],
        "data": ["test_datasets_and_models.py"],
        "models": ["test_datasets_and_models.py"],
        "ascent": ["test_attacks.py"],
    }.get(package, ["test_attacks.py", "test_explanations.py"])
    if package == "ascent":
        near.append("tests/attacks/test_closed_forms.py")
    if package == "cli":
        near += ["tests/test_cli.py", "tests/test_output.py",
                 "tests/explanations/test_inspect_command.py", "tests/models/test_commands.py",
                 "tests/test_no_dead_end.py"]  # fmt: skip
        near[:0] = {
            "_data.py": ["tests/data/test_store.py", "tests/data/test_download.py"],
            "_train.py": ["tests/training/test_cli_train.py"],
            "_scratch.py": ["tests/scratch/test_scratch_cli.py"],
            "_eval.py": ["tests/test_judging.py"],
            "_audit.py": ["tests/studies/test_audit.py"],
        }.get(parts[-1], [])
    if package in ("reports", "pages", "figures", "studies"):
        contracts = []
        near += ["tests/studies/test_audit.py"]
    if core:
        near += ["tests/test_probe.py", "tests/test_classifier.py", "tests/test_maps.py",
                 "tests/test_execution.py", "tests/test_shadow.py", "tests/test_results.py",
                 "tests/contracts/test_hostile_arguments.py"]  # fmt: skip
    found = [*near, "tests/test_doctests.py", *(f"tests/contracts/{name}" for name in contracts)]
    return [name for name in dict.fromkeys(found) if (ROOT / name).exists()]


def tried(mutant: Mutant, tree: Path, seconds: int) -> str:
    """``"killed"``, ``"survived"`` or ``"timeout"``; a child process runs the tests."""
    file = tree / mutant.path
    original = file.read_text(encoding="utf-8")
    lines = original.splitlines(keepends=True)
    old = lines[mutant.line - 1]
    indent = old[: len(old) - len(old.lstrip())]
    lines[mutant.line - 1] = f"{indent}{mutant.after}\n"
    file.write_text("".join(lines), encoding="utf-8")
    child = os.fork()
    if child == 0:
        os.setsid()
        _run(tree, mutant)
    try:
        return _awaited(child, seconds)
    finally:
        file.write_text(original, encoding="utf-8")


def _run(tree: Path, mutant: Mutant) -> None:
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

        module = mutant.path.removeprefix("src/").removesuffix(".py").replace("/", ".")
        chosen = [name for name in tests_for(mutant.path) if "doctests" not in name]
        words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        code = int(pytest.main([*words, "tests/test_doctests.py", "-k", module]))
        code = 0 if code == 5 else code
        if code == 0:
            code = int(pytest.main([*words, *chosen]))
    finally:
        os._exit(code if 0 <= code < 256 else 1)


def _awaited(child: int, seconds: int) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def keep(files: list[Path]) -> None:
    """Verdicts of several parts as one record, with what survived in full."""
    from record import record

    rows = [
        json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()
    ]
    record(
        "mutants",
        {
            "verdicts": dict(Counter(row["verdict"] for row in rows)),
            "not killed": [row for row in rows if row["verdict"] != "killed"],
        },
        n=len(rows),
    )


def main() -> None:
    """Sample, try, and write each verdict as soon as it is known; go on where a file ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=150, help="mutants to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=300, help="for the tests of one mutant")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th mutant, from the i-th")
    parser.add_argument("--only", default="", help="files whose path contains this")
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
    # At most a few of one file, as a file with many numbers would crowd out the others.
    seen: Counter[str] = Counter()
    sample: list[Mutant] = []
    for mutant in every:
        if seen[mutant.path] < 3 and len(sample) < options.count:
            seen[mutant.path] += 1
            sample.append(mutant)
    first, step = map(int, options.part.split("/"))
    sample = sample[first::step]
    known = set()
    if options.out.exists():
        for line in options.out.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            known.add((row["path"], row["line"], row["after"]))
    print(f"{len(every):,} possible mutants, {len(sample)} tried here")
    for name in ("torch", "numpy", "matplotlib.pyplot", "sklearn.datasets", "pytest"):
        __import__(name)
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(
            ".git", ".venv", "runs", "build", "__pycache__", ".*_cache"))  # fmt: skip
        for number, mutant in enumerate(sample, 1):
            if (mutant.path, mutant.line, mutant.after) in known:
                continue
            started = time.monotonic()
            verdict = tried(mutant, tree, options.seconds)
            row = {**asdict(mutant), "verdict": verdict,
                   "seconds": round(time.monotonic() - started, 1)}  # fmt: skip
            with options.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")
            print(f"{number:4d}/{len(sample)} {verdict:9} {row['seconds']:6.1f} s  {mutant.path}:"
                  f"{mutant.line}  {mutant.before}  ->  {mutant.after}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
