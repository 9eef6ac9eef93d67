r"""Which tests run a line of src, from one recorded run of the suite.

    COVERAGE_CORE=ctrace COVERAGE_FILE=build/mutants/coverage python -m pytest -q \
        --cov=convscope --cov-context=test --cov-report= --junitxml=build/mutants/junit.xml

(`make mutants` records it.) Some lines are run once for many tests. One that is run while a module
is imported, such as a constant, a record or a default, belongs to the tests that run the functions
which name it, and to all tests of the files that name it; one that a fixture runs, or that hardly
any test runs (the result may be kept for others), to all tests of those files and of the files
that import the module.
"""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

from coverage import CoverageData

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FEW = 2
"""Up to so many tests that run a line, others may use what it made."""


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
        self._tests: dict[str, set[str]] = defaultdict(set)
        for name in self._data.measured_contexts():
            self._tests[name.split("::")[0]].add(_test_of(name))
        self._words = {
            file: set(re.findall(r"[\w.]+", (root / file).read_text(encoding="utf-8")))
            for file in self._tests
            if file.endswith(".py") and (root / file).exists()
        }

    def seconds(self, test: str) -> float:
        """Recorded seconds of a test, by its node id."""
        path, *names = test.split("::", 1)
        words = names[0].split("[", 1)
        *classes, name = words[0].split("::")
        module = ".".join([path.removesuffix(".py").replace("/", "."), *classes])
        return self._seconds.get((module, "[".join([name, *words[1:]])), 1.0)

    def of(self, path: str, line: int, *, most: int = 800, budget: float = 75.0) -> list[str]:
        """Node ids of tests that run `line` of `path`, at most `most` and `budget` seconds.

        Tests of the package of `path` may take half of that. The cheapest test of each file comes
        first, then the second of each, so that many kinds of tests have their say; those that fit
        are ordered by file.
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
        names = _named_by(tree, line)
        if not names and len(found) <= FEW:
            names = {path.removeprefix("src/").removesuffix(".py").replace("/", ".")}
        for file, words in self._words.items():
            if names & words:
                found |= self._tests[file]
        by_file: dict[str, list[str]] = defaultdict(list)
        for test in sorted(found, key=lambda test: (self.seconds(test), test)):
            by_file[test.split("::")[0]].append(test)
        package = Path(path).parts[2].removesuffix(".py").strip("_")
        near = [file for file in by_file if package in file]
        chosen: list[str] = []
        for files, share in ((near, 0.5), (list(by_file), 1.0)):
            spent = sum(map(self.seconds, chosen))
            files.sort(key=lambda file: self.seconds(by_file[file][0]))
            for rank in range(max((len(by_file[file]) for file in files), default=0)):
                for file in files:
                    test = by_file[file][rank] if rank < len(by_file[file]) else ""
                    if not test or test in chosen or len(chosen) >= share * most:
                        continue
                    if spent + self.seconds(test) <= share * budget or not chosen:
                        chosen.append(test)
                        spent += self.seconds(test)
        order = {file: place for place, file in enumerate(dict.fromkeys([*near, *by_file]))}
        return sorted(chosen, key=lambda test: order[test.split("::")[0]])

    def _contexts(self, path: str) -> dict[int, set[str]]:
        lines = self._data.contexts_by_lineno(str(self._root / path))
        tests: dict[int, set[str]] = {}
        for line, names in lines.items():
            tests[line] = {_test_of(name) for name in names if name}
            for name in names:
                if name.endswith("|setup"):  # What a fixture made is there for the whole file.
                    tests[line] |= self._tests[name.split("::")[0]]
        return tests


def _test_of(context: str) -> str:
    return context.rsplit("|", 1)[0]


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
    names = _stored(inside)
    users = [
        node
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS)
        and names & {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
    ]
    every = users or [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    return set().union(*(_body_lines(node) for node in every)) | {line}


def _named_by(tree: ast.Module, line: int) -> set[str]:
    """Names that a statement outside of functions gives to what `line` is a part of."""
    for node in tree.body:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        if first <= line <= (node.end_lineno or node.lineno):
            if isinstance(node, ast.ClassDef) and line < node.body[0].lineno:
                return {node.name}
            return set() if isinstance(node, (*FUNCTIONS, ast.ClassDef)) else _stored(node)
    return set()


def _stored(node: ast.AST) -> set[str]:
    return {
        one.id
        for one in ast.walk(node)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }


def _body_lines(function: ast.stmt) -> set[int]:
    first = function.body[0].lineno  # type: ignore[attr-defined]
    return set(range(first, (function.end_lineno or first) + 1))
