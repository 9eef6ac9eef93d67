"""Where the package raises errors with a code: found in the syntax trees of its files.

For each place, the templates of the message, of what was expected and of what to do are worked
out: ``{name}`` stands for a value, ``{a|b}`` for one of two. A code may reach an error by way of a
parameter, a default or a field of `convscope.files.Kind`; those ways are followed.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from convscope import errors
from convscope.error_codes import FAMILIES
from convscope.errors import ConvscopeError

CODE = re.compile(f"[{''.join(FAMILIES)}][0-9]{{2}}")
NOTE = re.compile(rf"({CODE.pattern}): ")
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, ConvscopeError)
}
"""The family of errors by name."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One place that raises an error, or leaves a note, with a code.

    Attributes:
        code: Such as ``"U11"``.
        kind: Name of the error's class, ``"note"`` where a warning or remark carries the code.
        file: Path within the package.
        line: Number of the line.
        function: Name of the function around it, with its class.
        what: Templates of the message; ``{name}`` stands for a value, ``{a|b}`` for one of two.
        expected: Templates of what would have been right.
        fix: Templates of what to do.
    """

    code: str
    kind: str
    file: str
    line: int
    function: str
    what: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    fix: tuple[str, ...] = ()


def sites() -> Iterator[Site]:
    """Every place of the package that raises an error, or leaves a note, with a code."""
    return _Source.read().sites()


# What a call hands on as `code=` may be a name: a parameter of the function around it, or a field
# of `convscope.files.Kind`. Templates are kept under that name until a caller gives it a value.
FIELDS = ("missing", "damaged", "special", "incomplete")
_USUAL = {"C": "CheckpointError", "D": "DataError", "I": "ImageError", "M": "ModelContractError",
          "T": "ResourceError", "U": "UsageError"}  # fmt: skip


@dataclass
class _File:
    path: str
    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    calls: list[ast.Call] = field(default_factory=list)
    texts: list[ast.Constant] = field(default_factory=list)

    def __post_init__(self) -> None:
        waiting: list[ast.AST] = [self.tree]
        for node in waiting:
            if isinstance(node, ast.Call):
                self.calls.append(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.texts.append(node)
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
                waiting.append(child)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function(self, node: ast.AST) -> ast.FunctionDef | None:
        return next((one for one in self.above(node) if isinstance(one, ast.FunctionDef)), None)

    def name(self, node: ast.AST) -> str:
        names = [
            one.name
            for one in (node, *self.above(node))
            if isinstance(one, ast.FunctionDef | ast.ClassDef)
        ]
        return ".".join(reversed(names)) or "(module)"


@dataclass
class _Source:
    """The files of the package, and the templates of functions that are told their code."""

    files: list[_File]
    by_function: dict[str, list[tuple[str, ast.Call, _File]]] = field(default_factory=dict)
    by_field: dict[str, list[tuple[str, ast.Call, _File]]] = field(default_factory=dict)
    parameters: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> _Source:
        root = Path(__file__).parent
        own = (Path(__file__).name, "error_index.py", "error_codes.py")
        source = cls(
            [
                _File(path.relative_to(root).as_posix(), ast.parse(text))
                for path in sorted(root.rglob("*.py"))
                if path.name not in own and CODE.search(text := path.read_text("utf-8"))
            ]
        )
        constants: dict[str, ast.expr] = {
            _text(one.targets[0]): one.value
            for file in source.files
            for one in file.tree.body
            if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant | ast.BinOp)
        }
        for file in source.files:
            file.constants = constants
            for call in file.calls:
                source._keep(file, call)
        return source

    def _keep(self, file: _File, call: ast.Call) -> None:
        """File a call under what its code depends on."""
        kind = _kind(call)
        code = next((word.value for word in call.keywords if word.arg == "code"), None)
        if not kind or code is None:
            return
        if isinstance(code, ast.Attribute) and code.attr in FIELDS:
            self.by_field.setdefault(code.attr, []).append((kind, call, file))
        function = file.function(call)
        if function is not None and isinstance(code, ast.Name):
            parameters = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]
            if code.id in parameters:
                self.parameters[function.name] = parameters
                self.by_function.setdefault(function.name, []).append((kind, call, file))

    def sites(self) -> Iterator[Site]:
        for file in self.files:
            for text in sorted(file.texts, key=lambda node: node.lineno):
                value = str(text.value)
                if CODE.fullmatch(value):
                    yield from self._sites_of(file, text)
                elif (note := NOTE.match(value)) and not _is_docstring(file, text):
                    yield _site(note[1], "note", file, text, what=_note(file, text))

    def _sites_of(self, file: _File, constant: ast.Constant) -> Iterator[Site]:
        """What a code that is written in the source leads to."""
        code = str(constant.value)
        below: ast.AST = constant
        for node in file.above(constant):
            if isinstance(node, ast.Compare) or (isinstance(node, ast.Dict) and below in node.keys):
                return
            if isinstance(node, ast.Call) and below is not node.func:
                yield from self._sites_of_call(file, node, below, code)
                if not (isinstance(node.func, ast.Attribute) and node.func.attr == "get"):
                    return
            if isinstance(node, ast.FunctionDef):
                if below is node.args:
                    yield from self._told(self.by_function.get(node.name, []), code, file, constant)
                return
            if isinstance(node, ast.Assign | ast.AnnAssign):
                yield from self._sites_of_assignment(file, node, constant)
                return
            below = node

    def _sites_of_call(
        self, file: _File, call: ast.Call, below: ast.AST, code: str
    ) -> Iterator[Site]:
        word = below.arg if isinstance(below, ast.keyword) else None
        if word == "code" and (kind := _kind(call)):
            kind = kind if kind in CLASSES else _USUAL[code[0]]
            yield _raised(code, kind, file, call, call, file)
        elif word in FIELDS and _called(call) == "Kind":
            kind = next((_text(w.value) for w in call.keywords if w.arg == "error"), "DataError")
            yield from self._told(self.by_field.get(str(word), []), code, file, call, kind)
        elif (name := _called(call)) in self.by_function or name == "read_file":
            kind = next((_text(w.value) for w in call.keywords if w.arg == "kind"), "DataError")
            told = self.by_function.get(name) or self.by_field["damaged"]
            yield from self._told(told, code, file, call, kind)

    def _sites_of_assignment(
        self, file: _File, node: ast.Assign | ast.AnnAssign, constant: ast.Constant
    ) -> Iterator[Site]:
        code = str(constant.value)
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        name = target.attr if isinstance(target, ast.Attribute) else _text(target)
        if isinstance(target, ast.Attribute) and name == "code":
            fixes = [
                _alternatives(other.value, file)
                for other in ast.walk(file.function(node) or file.tree)
                if isinstance(other, ast.Assign) and _text(other.targets[0]).endswith(".hint")
            ]
            kind = next(
                (
                    _text(one.type)
                    for one in file.above(node)
                    if isinstance(one, ast.ExceptHandler) and one.type is not None
                ),
                "",
            )
            if kind in CLASSES:
                yield _site(code, kind, file, node, fix=fixes[0] if fixes else ())
        elif isinstance(node.value, ast.Dict):
            keys = {
                value: key for key, value in zip(node.value.keys, node.value.values, strict=True)
            }
            key = str(getattr(keys.get(constant), "value", ""))
            if key in FIELDS:
                kinds = [_text(v) for k, v in zip(node.value.keys, node.value.values, strict=True)
                         if getattr(k, "value", "") == "error"]  # fmt: skip
                told = self.by_field.get(key, [])
                yield from self._told(told, code, file, node, kinds[0] if kinds else "DataError")
            else:
                yield from _using(name, code, file, file.tree)
        elif name in FIELDS:
            yield from self._told(self.by_field.get(name, []), code, file, node, "DataError")
        else:
            scope = file.function(node) or file.tree
            yield from _using(name, code, file, scope)
            for call in ast.walk(scope):
                if isinstance(call, ast.Call) and name in map(_text, call.args):
                    yield from self._told(self.by_function.get(_called(call), []), code, file, call)

    def _told(
        self,
        told: list[tuple[str, ast.Call, _File]],
        code: str,
        file: _File,
        node: ast.AST,
        kind: str = "",
    ) -> Iterator[Site]:
        """The templates of a function that is told `code` at `node`."""
        for written, call, home in told:
            found = written if written in CLASSES else kind if kind in CLASSES else "DataError"
            site = _raised(code, found, file, node, call, home)
            given = self._given(node)
            if len(site.what) == 1 and site.what[0] in given:
                site = replace(site, what=_alternatives(given[site.what[0]], file))
            yield site

    def _given(self, node: ast.AST) -> dict[str, ast.expr]:
        """The arguments of a call by the parameters they go to, as ``{name}``."""
        if not isinstance(node, ast.Call):
            return {}
        names = self.parameters.get(_called(node), [])
        given = {f"{{{name}}}": value for name, value in zip(names, node.args, strict=False)}
        return given | {f"{{{word.arg}}}": word.value for word in node.keywords}


def _using(name: str, code: str, file: _File, scope: ast.AST) -> Iterator[Site]:
    """The errors in `scope` whose code is looked up in the variable `name`."""
    for call in ast.walk(scope):
        if isinstance(call, ast.Call) and (kind := _kind(call)):
            value = next((word.value for word in call.keywords if word.arg == "code"), None)
            names = (
                {one.id for one in ast.walk(value) if isinstance(one, ast.Name)} if value else ()
            )
            if name in names:
                yield _raised(code, kind, file, call, call, file)


def _raised(code: str, kind: str, file: _File, node: ast.AST, call: ast.Call, home: _File) -> Site:
    words = {word.arg: word.value for word in call.keywords}
    return _site(
        code, kind, file, node,
        what=_alternatives(call.args[0], home) if call.args else (),
        expected=_alternatives(words["expected"], home) if "expected" in words else (),
        fix=_alternatives(words["hint"], home) if "hint" in words else (),
    )  # fmt: skip


def _site(
    code: str,
    kind: str,
    file: _File,
    node: ast.AST,
    *,
    what: tuple[str, ...] = (),
    expected: tuple[str, ...] = (),
    fix: tuple[str, ...] = (),
) -> Site:
    return Site(
        code=code, kind=kind, file=file.path, line=getattr(node, "lineno", 0),
        function=file.name(node), what=what, expected=expected, fix=fix,
    )  # fmt: skip


def _kind(call: ast.Call) -> str:
    """Name of the class of error that a call makes; ``kind`` for one that is handed over."""
    name = _called(call)
    return name if name in CLASSES else "kind" if name in ("error", "kind") else ""


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else _text(call.func)


def _text(node: ast.AST) -> str:
    return ast.unparse(node)


def _is_docstring(file: _File, node: ast.Constant) -> bool:
    return isinstance(file.parents.get(node), ast.Expr)


def _note(file: _File, node: ast.Constant) -> tuple[str, ...]:
    above = file.parents.get(node)
    whole = above if isinstance(above, ast.JoinedStr) else node
    return tuple(NOTE.sub("", text, count=1) for text in _alternatives(whole, file))


def _alternatives(node: ast.expr, file: _File, deep: int = 0) -> tuple[str, ...]:
    """The texts that an expression may become, with ``{name}`` where a value is put in."""
    if isinstance(node, ast.Constant):
        return (node.value,) if isinstance(node.value, str) and node.value else ()
    if isinstance(node, ast.IfExp):
        both = *_alternatives(node.body, file, deep), *_alternatives(node.orelse, file, deep)
        return tuple(dict.fromkeys(both))
    if isinstance(node, ast.Name) and node.id in file.constants:
        return _alternatives(file.constants[node.id], file, deep)
    if isinstance(node, ast.Name) and deep == 0:
        function = file.function(node)
        given = [
            text
            for one in ast.walk(function or file.tree)
            if isinstance(one, ast.Assign) and _text(one.targets[0]) == node.id
            for text in _alternatives(one.value, file, deep + 1)
        ]
        if given and all(re.search(r"[a-z]{3}", re.sub(r"\{.*?\}", "", one)) for one in given):
            return tuple(dict.fromkeys(given))
    return (_template(node, file),)


def _template(node: ast.expr, file: _File) -> str:
    """One text for an expression."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part, file) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _template(node.value, file)
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name) and isinstance(text := file.constants.get(node.id), ast.Constant):
        return str(text.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left, file) + _template(node.right, file)
    if isinstance(node, ast.IfExp):
        one, other = _template(node.body, file), _template(node.orelse, file)
        return f"{{{one}|{other}}}" if one and other else f"[{one or other}]"
    return f"{{{_placeholder(node)}}}"


def _placeholder(node: ast.expr) -> str:
    """A short name for a value.

    Example:
        >>> [_placeholder(ast.parse(one, mode="eval").body) for one in
        ...  ("size", "error.strerror or error", "tuple(images.shape)", "len(names)", "-x")]
        ['size', 'strerror', 'shape', 'number of names', '...']
    """
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript | ast.Starred):
        return _placeholder(node.value)
    if isinstance(node, ast.BoolOp):
        return _placeholder(node.values[0])
    if isinstance(node, ast.BinOp):
        return _placeholder(node.left)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _placeholder(node.generators[0].iter)
    if isinstance(node, ast.Call) and node.args and not node.keywords:
        inside = _placeholder(node.args[-1])
        return f"number of {inside}" if _called(node) == "len" and inside != "..." else inside
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _placeholder(node.func.value)
    return "..."
