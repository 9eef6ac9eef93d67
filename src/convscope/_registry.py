"""Registries: names, one line on each entry, and its home, without importing what is there.

A list of names must not wait for torch. The tables beside the registries are literals; a test
compares every line with the function that it names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Registry(MutableMapping[str, T], Generic[T]):
    """Entries by name; the module of an entry is imported when the entry is used.

    Args:
        package: Where the homes are, such as ``"convscope.attacks"``.
        table: Name to ``("_module:function", "One line on it.")``.
        aliases: Other names that people type. `known` finds entries by them; they are no keys.

    Example:
        >>> texts = Registry("json", {"encode": ("encoder:JSONEncoder", "Makes texts.")})
        >>> list(texts), texts.about("encode"), texts["encode"].__name__
        (['encode'], 'Makes texts.', 'JSONEncoder')
    """

    def __init__(
        self,
        package: str,
        table: Mapping[str, tuple[str, str]],
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.package = package
        self.table = dict(table)
        self.aliases = dict(aliases or {})
        self._here: dict[str, T] = {}

    def about(self, name: str) -> str:
        """The line on an entry; nothing is imported."""
        return self.table[name][1] if name in self.table else ""

    def home(self, name: str) -> tuple[str, str]:
        """Module and name of an entry in it; nothing is imported."""
        module, _, member = self.table[name][0].partition(":")
        return f"{self.package}.{module}", member

    def known(self, typed: str) -> str:
        """The name that `typed` means, if it is an alias: ``pgd`` is ``projected-gradient``."""
        name = typed.strip().lower().replace("_", "-")
        if name in self:
            return name
        return self.aliases.get(name, self.aliases.get(name.replace("-", ""), typed))

    def __getitem__(self, name: str) -> T:
        if name not in self._here:
            module, member = self.home(name)
            self._here[name] = cast(T, getattr(import_module(module), member))
        return self._here[name]

    def __setitem__(self, name: str, entry: T) -> None:
        self._here[name] = entry

    def __delitem__(self, name: str) -> None:
        self._here.pop(name, None)
        self.table.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.table, *self._here]))

    def __len__(self) -> int:
        return len(set(self.table) | set(self._here))

    def __contains__(self, name: object) -> bool:
        return name in self.table or name in self._here

    def __repr__(self) -> str:
        return f"Registry({self.package!r}: {', '.join(self)})"


def lazy(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose modules are imported on first use.

    Args:
        package: Its ``__name__``.
        homes: Module to the names that it gives, separated by blanks; ``name:other`` gives
            ``name`` to the package as ``other``.
    """
    places = {
        public.rpartition(":")[2]: (f"{package}.{module}", public.partition(":")[0])
        for module, names in homes.items()
        for public in names.split()
    }

    def getattribute(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, member = places[name]
        found = getattr(import_module(module), member)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *places})

    return getattribute, names
