"""A private copy of a network for methods to run, so that the user's own module is never touched.

Freezing a module in place means undoing every change afterwards, whatever happened in between: an
exception, a signal, a second thread. A copy needs no undoing. The copy made here shares nothing
that can be written to: parameters and buffers have memory of their own, submodules, containers,
hooks and bound methods are rebuilt around the copies, and functions that captured one of the
network's modules are rebuilt to capture its copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from convscope._network.copier import Copier
from convscope.errors import ModelContractError


class FrozenCopy:
    """A frozen copy of a network in evaluation mode that can be run without leaving a trace.

    The same structure and classes under the same names, with parameters that require no gradient.
    Modules made by ``torch.compile`` run uncompiled.

    Args:
        module: The network; it is only read.
        extras: Functions or modules that belong to the network and are copied with it, so that
            parts of it that they hold are the copy's: its preprocessing, for example.

    Attributes:
        module: The copy.
        extras: Copies of the extras, in order.
        originals: Names of the original's parameters and buffers, by identity.
        parts: Names of the original's modules, by identity.

    Raises:
        ModelContractError: M23 for a lazy network that has never been run, or one without values
            (meta device); M25 for one that is nested too deeply to be copied.
    """

    def __init__(self, module: nn.Module, extras: Sequence[Any] = ()) -> None:
        with torch.inference_mode(False), torch.no_grad():
            copier = Copier(module, [item for item in extras if item is not None])
            copier.copying = True
            try:
                self.module = copier.module(module)
                self.extras = tuple(None if x is None else copier.outside(x) for x in extras)
            except RecursionError as error:
                raise ModelContractError(
                    "the network cannot be copied: its objects are nested too deeply",
                    code="M25",
                    expected="a network of modules in modules",
                    hint="keep its layers in an nn.Sequential or nn.ModuleList",
                ) from error
            finally:
                copier.copying = False
            _evaluate(self.module)
            for item in self.extras:
                if isinstance(item, nn.Module):
                    _evaluate(item)
        self.originals = copier.originals
        self.parts = copier.parts


def frozen_copy(module: nn.Module) -> nn.Module:
    """A `FrozenCopy` of a network alone."""
    return FrozenCopy(module).module


def _evaluate(root: nn.Module) -> None:
    """Evaluation mode by the network's own ``eval``, which may drop what it keeps for training."""
    try:
        root.eval()
    except NotImplementedError:  # Exported programs: their mode is part of the program.
        for child in nn.Module.modules(root):
            if not isinstance(child, torch.jit.ScriptModule):
                child.training = False
