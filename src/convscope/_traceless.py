"""Stand-ins for a network's tensors while methods use it, and the way back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from torch import Tensor, nn


class Traceless:
    """Freeze a module on `enter`, put everything back on `leave`.

    Parameters are replaced by constants (4-D ones laid out channels-last on a CPU), buffers by
    copies, modes by evaluation mode. The originals are never written to: their values,
    ``requires_grad``, ``grad`` and identity cannot change. The global random state is rewound.
    Contexts may be nested, last in, first out.
    """

    def __init__(self, module: nn.Module, *, channels_last: bool) -> None:
        self.module = module
        self.channels_last = channels_last
        self.was_training = False
        self._modes: list[tuple[nn.Module, bool]] = []
        self._parameters: list[tuple[dict[str, Tensor | None], str, Tensor]] = []
        self._buffers: list[tuple[dict[str, Tensor | None], str, Tensor]] = []
        self._frozen: list[tuple[Tensor, bool]] = []
        self._versions: list[tuple[str, Tensor, int]] = []
        self._random: list[tuple[torch.device | None, Tensor]] = []

    def enter(self) -> None:
        """Freeze; if that fails half-way, what was done is undone."""
        with _uninterrupted(), torch.inference_mode(False):
            try:
                self._freeze()
            except BaseException:
                self._restore()
                raise

    def leave(self) -> tuple[str, ...]:
        """Restore, and name what the network tried to change: ``"stateful: bn.running_mean"``."""
        with _uninterrupted():
            notes = [
                f"stateful: {name}"
                for name, stand_in, version in self._versions
                if stand_in._version != version
            ]
            self._restore()
        return tuple(notes)

    def _freeze(self) -> None:
        self._random = [(None, torch.get_rng_state())]
        if torch.cuda.is_available():
            for index in range(torch.cuda.device_count()):
                device = torch.device("cuda", index)
                self._random.append((device, torch.cuda.get_rng_state(device)))
        self._modes = [(child, child.training) for child in self.module.modules()]
        self.was_training = any(mode for _, mode in self._modes)
        constants: dict[int, nn.Parameter] = {}
        copies: dict[int, Tensor] = {}
        scripted = isinstance(self.module, torch.jit.ScriptModule)
        if scripted:
            self._frozen = [(p, p.requires_grad) for p in self.module.parameters()]
            for parameter, _ in self._frozen:
                parameter.requires_grad_(False)
        else:
            for prefix, child in self.module.named_modules():
                for name, value in child._parameters.items():
                    if value is not None:
                        self._parameters.append((child._parameters, name, value))
                        if id(value) not in constants:
                            constants[id(value)] = self._constant(value)
                for name, value in child._buffers.items():
                    if value is not None:
                        self._buffers.append((child._buffers, name, value))
                        if id(value) not in copies:
                            copies[id(value)] = copy = value.detach().clone()
                            path = f"{prefix}.{name}" if prefix else name
                            self._versions.append((path, copy, copy._version))
            for home, name, value in self._parameters:
                home[name] = constants[id(value)]
            for home, name, value in self._buffers:
                home[name] = copies[id(value)]
        for child, _ in self._modes:
            child.training = False

    def _constant(self, value: Tensor) -> nn.Parameter:
        constant = value.detach()
        if self.channels_last and constant.ndim == 4 and constant.device.type == "cpu":
            constant = channels_last(constant)
        return nn.Parameter(constant, requires_grad=False)

    def _restore(self) -> None:
        for home, name, value in (*self._parameters, *self._buffers):
            home[name] = value
        for parameter, flag in self._frozen:
            parameter.requires_grad_(flag)
        for child, mode in self._modes:
            child.training = mode
        for device, state in self._random:
            if device is None:
                torch.set_rng_state(state)
            else:
                torch.cuda.set_rng_state(state, device)
        self._parameters, self._buffers, self._frozen = [], [], []
        self._modes, self._random, self._versions = [], [], []


def channels_last(x: Tensor) -> Tensor:
    """`x` in channels-last layout, also where it has one channel.

    With one channel both layouts are the same bytes, and torch takes the strides of the other:
    a network of gray images would then run its first layers, and pools ten times slower. So the
    strides are spelled out.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    if x.shape[1] != 1:
        return x
    _, _, height, width = x.shape
    return x.as_strided(x.shape, (height * width, 1, width, 1))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold a Ctrl-C back until the block is through, so that it cannot be left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    before = signal.getsignal(signal.SIGINT)
    if before is None:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held and callable(before):
            before(*held[0])
