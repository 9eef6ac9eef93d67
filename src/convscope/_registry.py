"""Registries: records of what there is, read without importing what is there.

A record says all that other parts need to know of an entry: what to call, its other names, what it
needs, in which audits it is and with which settings. Lists, help texts, audits and documentation
are derived from the records, so that none of them is kept by hand. A list of names must not wait
for torch: the records are literals, and the home of an entry is imported when the entry is used.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Generic, Literal, TypeVar, cast, get_args

from convscope.errors import choose

T = TypeVar("T")
S = TypeVar("S", bound="Spec")

Effort = Literal["quick", "standard", "full"]
"""How much work an audit or an evaluation does."""

EFFORTS: tuple[Effort, ...] = get_args(Effort)


@dataclass(frozen=True)
class Spec:
    """What a registry knows of an entry; packages add what is true of their kind.

    Attributes:
        home: ``"_module:name"`` inside the package of the registry, or the entry itself.
        about: One sentence: the first line of the entry's docstring.
        aliases: Other names that people type.
    """

    home: Any
    about: str = ""
    aliases: tuple[str, ...] = field(default=(), kw_only=True)

    @classmethod
    def of(cls: type[S], entry: Any) -> S:
        """The record of an entry that comes without one."""
        return cls(entry, _first_line(entry))


class Registry(MutableMapping[str, T], Generic[T, S]):
    """Entries by name, and the record of each.

    ``registry[name]`` is the entry itself, imported on first use; ``registry.spec(name)`` is its
    record. Assign a function, or a record whose home is the function, to register one at run time.

    Args:
        package: Where the homes are, such as ``"convscope.attacks"``.
        kind: The type of the records; it makes one for an entry that comes without.
        specs: Name to record.
        beside: Another registry whose aliases `known` finds too.

    Example:
        >>> texts = Registry("json", Spec, {
        ...     "encode": Spec("encoder:JSONEncoder", "Makes texts.", aliases=("dump",))})
        >>> list(texts), texts.about("encode"), texts.known("dump"), texts["encode"].__name__
        (['encode'], 'Makes texts.', 'encode', 'JSONEncoder')
    """

    def __init__(
        self,
        package: str,
        kind: type[S],
        specs: Mapping[str, S],
        *,
        beside: Registry[Any, Any] | None = None,
    ) -> None:
        self.package, self.kind = package, kind
        self._specs = dict(specs)
        self._beside = beside

    def spec(self, name: str) -> S:
        """The record of an entry; nothing is imported."""
        return self._specs[name]

    def specs(self) -> dict[str, S]:
        """The records of all entries; nothing is imported."""
        return dict(self._specs)

    def about(self, name: str) -> str:
        """The line on an entry; nothing is imported."""
        return self._specs[name].about if name in self._specs else ""

    def home(self, name: str) -> tuple[str, str]:
        """Module and name of an entry in it; nothing is imported."""
        home = self._specs[name].home
        if not isinstance(home, str):
            return home.__module__, home.__name__
        module, _, member = home.partition(":")
        return f"{self.package}.{module}", member

    @property
    def aliases(self) -> dict[str, str]:
        """Other names that people type, and what they mean."""
        own = {other: name for name, spec in self._specs.items() for other in spec.aliases}
        return own if self._beside is None else {**self._beside.aliases, **own}

    def known(self, typed: str) -> str:
        """The name that `typed` means, if it is an alias: ``auto-pgd`` is ``apgd``."""
        name = typed.strip().lower().replace("_", "-")
        if name in self:
            return name
        aliases = self.aliases
        return aliases.get(name, aliases.get(name.replace("-", ""), typed))

    def chosen(self, kind: str, typed: str) -> T:
        """The entry that `typed` means, a name or an alias.

        Args:
            kind: What entries are called in the error.
            typed: The name.

        Raises:
            UsageError: U01 with the closest name.
        """
        return self[choose(kind, self.known(typed), self, aliases=self.aliases)]

    def __getitem__(self, name: str) -> T:
        home = self._specs[name].home
        if not isinstance(home, str):
            return cast(T, home)
        module, member = self.home(name)
        return cast(T, getattr(import_module(module), member))

    def __setitem__(self, name: str, entry: T | S) -> None:
        if isinstance(entry, Spec):
            spec = cast(S, entry)
            about = spec.about or _first_line(spec.home)
            self._specs[name] = replace(spec, about=about)
        else:
            self._specs[name] = self.kind.of(entry)

    def __delitem__(self, name: str) -> None:
        del self._specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __repr__(self) -> str:
        return f"Registry({self.package!r}: {', '.join(self)})"


def _first_line(entry: object) -> str:
    return "" if isinstance(entry, str) else (inspect.getdoc(entry) or "").partition("\n")[0]


def lazy(
    package: str, homes: Mapping[str, str], *registries: Registry[Any, Any]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose modules are imported on first use.

    Args:
        package: Its ``__name__``.
        homes: Module to the names that it gives, separated by blanks; ``name:other`` gives
            ``name`` to the package as ``other``.
        registries: The package gives their entries, too, from where their records say.
    """
    entries = (registry.home(name) for registry in registries for name in registry)
    places = {member: (module, member) for module, member in entries}
    places |= {
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
