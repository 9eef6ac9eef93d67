"""Listening to layers while a network runs, by hooks that always leave."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from convscope._network.black_box import refuse_black_box
from convscope._network.row_by_row import RowByRow
from convscope.errors import ModelContractError, UnknownLayer


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One call of one module.

    Attributes:
        name: Path of the module, such as ``"features.conv1"``; ``"relu#1"`` is the second call
            of a module that is used more than once.
        kind: Class of the module.
        output_shape: Shape of its output without the batch axis.
        parameters: How many numbers it holds itself (children not counted).
        is_leaf: True if it has no children.
        path: Path of the module.
        number: Which call of it.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    is_leaf: bool
    path: str = ""
    number: int = 0

    @property
    def label(self) -> str:
        """What people are shown: ``"7 (ReLU)"`` where the name alone says nothing."""
        return layer_label(self.name, self.kind)


def layer_label(name: str, kind: str) -> str:
    """The name of a layer, with its kind where the name is a number, as in an `nn.Sequential`.

    Example:
        >>> layer_label("7", "ReLU"), layer_label("features.0#1", "Conv2d")
        ('7 (ReLU)', 'features.0#1 (Conv2d)')
        >>> layer_label("fc", "Linear")
        'fc'
    """
    last = name.partition("#")[0].rpartition(".")[2]
    return f"{name} ({kind})" if kind and last.isdecimal() else name


def plain_name(label: str) -> str:
    """The name of a layer, from the name or from its label.

    Example:
        >>> plain_name("7 (ReLU)"), plain_name("7"), plain_name("features.conv1")
        ('7', '7', 'features.conv1')
    """
    match = re.fullmatch(r"((?:.*\.)?\d+(?:#\d+)?) ?\(\w+\)", label.strip())
    return match[1] if match else label


class _Enough(BaseException):
    """Raised in a hook when the deepest wanted layer has been seen."""


class LayerHooks:
    """Hooks on some layers for the length of a ``with`` block.

    Args:
        module: The network.
        calls: Wanted layers: name to (module path, which call of it).
        stop: Leave the network when all wanted layers were seen.
        cut: Put a fresh leaf in place of each wanted output: a graph that starts there.
        contiguous: Lay that leaf out channels-first, for what follows it.
        inputs: Take what each wanted layer is given, not what it returns.
    """

    def __init__(
        self,
        module: nn.Module,
        calls: Mapping[str, tuple[str, int]],
        *,
        stop: bool = False,
        cut: bool = False,
        contiguous: bool = False,
        inputs: bool = False,
    ) -> None:
        self.module = module
        self.calls = calls
        self.stop = stop
        self.cut = cut
        self.inputs = inputs
        self.layout = torch.contiguous_format if contiguous else torch.preserve_format
        self.seen: dict[str, Tensor] = {}
        self.leaves: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> LayerHooks:
        """Attach; nothing stays attached if that fails half-way."""
        modules = dict(self.module.named_modules())
        if self.calls:
            require_hooks(self.module)
        try:
            for path in dict.fromkeys(path for path, _ in self.calls.values()):
                if self.inputs:
                    handle = modules[path].register_forward_pre_hook(self._input_hook(path))
                else:
                    handle = modules[path].register_forward_hook(self._hook(path))
                self._handles.append(handle)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Detach."""
        self._remove()

    def run(self, x: Tensor, network: Callable[[Tensor], object] | None = None) -> object:
        """Run the network; its output, or ``None`` if it was left early.

        Args:
            x: What it takes.
            network: How it is run; by default as it is.

        Raises:
            ModelContractError: M17 if a wanted layer was not called.
        """
        returned = None
        with contextlib.suppress(_Enough):
            returned = (network or self.module)(x)
        missing = [name for name in self.calls if name not in self.seen]
        if missing:
            raise ModelContractError(f"layer {missing[0]!r} was not called", code="M17")
        return returned

    def survey(
        self, x: Tensor, network: Callable[[Tensor], object] | None = None
    ) -> tuple[LayerInfo, ...]:
        """Run once with a hook on every module, and list the calls in order of completion."""
        require_hooks(self.module)
        found: list[tuple[str, nn.Module, tuple[int, ...]]] = []

        def note(path: str) -> Any:
            def hook(module: nn.Module, inputs: object, output: object) -> None:
                if isinstance(output, Tensor):
                    found.append((path, module, tuple(output.shape[1:])))

            return hook

        for path, child in self.module.named_modules():
            if path:
                self._handles.append(child.register_forward_hook(note(path)))
        (network or self.module)(x)
        total = Counter(path for path, _, _ in found)
        number: Counter[str] = Counter()
        infos = []
        for path, child, shape in found:
            name = path if total[path] == 1 else f"{path}#{number[path]}"
            number[path] += 1
            own = sum(p.numel() for p in child.parameters(recurse=False))
            infos.append(
                LayerInfo(
                    name=name,
                    kind=type(child).__name__,
                    output_shape=shape,
                    parameters=own,
                    is_leaf=not any(child.children()),
                    path=path,
                    number=number[path] - 1,
                )
            )
        return tuple(infos)

    def _hook(self, path: str) -> Any:
        wanted = {number: name for name, (where, number) in self.calls.items() if where == path}

        def hook(module: nn.Module, inputs: object, output: object) -> Tensor | None:
            name = wanted.get(self._counts[path])
            self._counts[path] += 1
            if name is None:
                return None
            if not isinstance(output, Tensor):
                raise ModelContractError(
                    f"layer {name!r} returns a {type(output).__name__}, not a tensor", code="M15"
                )
            if self.cut:
                # The clone that goes on may be changed in place; the leaf and `seen` may not.
                leaf = output.detach().clone(memory_format=self.layout).requires_grad_(True)
                self.seen[name] = self.leaves[name] = leaf
                return leaf.clone()
            self.seen[name] = output.clone()
            if self.stop and len(self.seen) == len(self.calls):
                raise _Enough
            return None

        return hook

    def _input_hook(self, path: str) -> Any:
        hook = self._hook(path)

        def before(module: nn.Module, inputs: tuple[object, ...]) -> None:
            hook(module, inputs, inputs[0] if inputs else None)

        return before

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def require_hooks(module: nn.Module) -> None:
    """Refuse networks whose layers cannot be listened to.

    Raises:
        ModelContractError: M17 for TorchScript and what takes one image at a time; M26 for a
            black box.
    """
    refuse_black_box(module, "layers")
    if any(isinstance(child, RowByRow) for child in module.modules()):
        raise ModelContractError(
            "the network takes one image at a time, so that its layers never see a batch",
            code="M17",
            expected="a network of any number of images, for anything that looks at layers",
            hint="export it again with an open batch axis; what needs pixels and logits works",
        )
    if any(isinstance(child, torch.jit.ScriptModule) for child in module.modules()):
        raise ModelContractError(
            "a TorchScript network does not let its layers be seen",
            code="M17",
            expected="an ordinary nn.Module, for anything that looks at layers",
            hint="wrap the module that was scripted; what needs logits and pixels alone works",
        )


def convolves_after(layers: Sequence[LayerInfo], name: str) -> bool:
    """Whether channels-last pays off behind a layer: dense layers want no copies."""
    names = [info.name for info in layers]
    start = names.index(name) if name in names else 0
    return any("Conv" in info.kind for info in layers[start + 1 :])


def find_layer(layers: Sequence[LayerInfo], name: str) -> tuple[str, int]:
    """The module path and call number that `name` stands for.

    A module that is called several times needs its number; without one, the last call is meant.

    Raises:
        UnknownLayer: M15, with the closest names and all of them.
    """
    name = plain_name(name)
    for info in reversed(layers):
        if name in (info.name, info.path):
            return info.path, info.number
    labels = {info.name: info.label for info in layers}
    names = list(labels.values())
    close = [labels[found] for found in get_close_matches(name, labels, n=5, cutoff=0.4)]
    shown = names if len(names) <= 30 else [*names[:30], "..."]
    raise UnknownLayer(
        f"no layer named {name!r}; this network has {', '.join(shown)}",
        code="M15",
        hint=f"did you mean {', '.join(close)}?" if close else "",
    )
