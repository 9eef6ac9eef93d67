r"""Which tests run a line of src, from one recorded run of the suite.

    COVERAGE_CORE=ctrace COVERAGE_FILE=build/mutants/coverage python -m pytest -q \
        --cov=convscope --cov-context=test --cov-report= --junitxml=build/mutants/junit.xml

(`make mutants` records it.) A line that is run while a module is imported, such as a constant
or a default, belongs to the tests that run the functions which name it.
"""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

from coverage import CoverageData

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class CoveringTests:
    """The tests of every line, the cheapest of each file first.

    Args:
        coverage: Data file of the recorded run, with one context per test.
        junit: Its JUnit file, for the seconds of each test.
        root: The checkout that was recorded.
    """

    def __init__(self, coverage: Path, junit: Path, root: Path) -> None:
        self._data = CoverageData(str(coverage))
        self._data.read()
        self._root = root
        self._seconds: dict[tuple[str, str], float] = defaultdict(float)
        for case in ET.parse(junit).getroot().iter("testcase"):
            self._seconds[case.get("classname", ""), case.get("name", "")] += float(
                case.get("time", 0)
            )
        self._files: dict[str, tuple[ast.Module, dict[int, set[str]]]] = {}

    def seconds(self, test: str) -> float:
        """Recorded seconds of a test, by its node id."""
        path, *names = test.split("::", 1)
        words = names[0].split("[", 1)
        *classes, name = words[0].split("::")
        module = ".".join([path.removesuffix(".py").replace("/", "."), *classes])
        return self._seconds.get((module, "[".join([name, *words[1:]])), 1.0)

    def of(self, path: str, line: int, *, most: int = 240, budget: float = 75.0) -> list[str]:
        """Node ids of tests that run `line` of `path`, at most `most` and `budget` seconds.

        The cheapest test of each file comes first, then the second of each, so that many kinds
        of tests have their say; those that fit are ordered by file.
        """
        if path not in self._files:
            tree = ast.parse((self._root / path).read_text(encoding="utf-8"))
            self._files[path] = (tree, self._contexts(path))
        tree, contexts = self._files[path]
        found: set[str] = set()
        for wanted in _lines_of(tree, line):
            found |= contexts.get(wanted, set())
        if not found:  # Run while something is imported, if at all.
            for node in ast.walk(tree):
                if isinstance(node, FUNCTIONS):
                    for wanted in _body_lines(node):
                        found |= contexts.get(wanted, set())
        by_file: dict[str, list[str]] = defaultdict(list)
        for test in sorted(found, key=lambda test: (self.seconds(test), test)):
            by_file[test.split("::")[0]].append(test)
        near = Path(path).parts[2].removesuffix(".py").strip("_")
        files = sorted(by_file, key=lambda file: (near not in file, self.seconds(by_file[file][0])))
        chosen: list[str] = []
        spent = 0.0
        for rank in range(max(map(len, by_file.values()), default=0)):
            for file in files:
                if rank < len(by_file[file]) and len(chosen) < most:
                    cost = self.seconds(by_file[file][rank])
                    if spent + cost <= budget or not chosen:
                        chosen.append(by_file[file][rank])
                        spent += cost
        return sorted(chosen, key=lambda test: files.index(test.split("::")[0]))

    def _contexts(self, path: str) -> dict[int, set[str]]:
        lines = self._data.contexts_by_lineno(str(self._root / path))
        return {
            line: {name.rsplit("|", 1)[0] for name in names if name}
            for line, names in lines.items()
        }


def _lines_of(tree: ast.Module, line: int) -> set[int]:
    """The lines whose tests are the tests of `line`."""
    inside: ast.stmt | None = None
    function: ast.stmt | None = None
    for node in ast.walk(tree):  # Breadth first: the last one is the innermost.
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno):
            inside = node
            if isinstance(node, FUNCTIONS) and line >= node.body[0].lineno:
                function = node
    if inside is None:
        return {line}
    if isinstance(inside, FUNCTIONS):  # A default.
        return _body_lines(inside)
    if function is not None:
        body = getattr(inside, "body", None)
        stop = body[0].lineno - 1 if body else inside.end_lineno or inside.lineno
        return set(range(inside.lineno, max(stop, line) + 1))
    names = {node.id for node in ast.walk(inside) if isinstance(node, ast.Name)
             and isinstance(node.ctx, ast.Store)}  # fmt: skip
    users = [
        node
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS)
        and names & {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
    ]
    every = users or [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    return set().union(*(_body_lines(node) for node in every)) | {line}


def _body_lines(function: ast.stmt) -> set[int]:
    first = function.body[0].lineno  # type: ignore[attr-defined]
    return set(range(first, (function.end_lineno or first) + 1))
