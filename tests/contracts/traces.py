"""Pictures of a network before and after, and accidents on the way."""

import hashlib

import pytest
import torch

from convscope.errors import ModelContractError

accidents = pytest.mark.parametrize(
    "accident", [None, RuntimeError, KeyboardInterrupt], ids=["ok", "layer-raises", "ctrl-c"]
)


def digest(tensor):
    return hashlib.sha256(
        tensor.detach()
        .resolve_conj()
        .resolve_neg()
        .contiguous()
        .reshape(-1)
        .view(torch.uint8)
        .numpy()
        .tobytes()
    ).hexdigest()


def snapshot(module):
    """All that may not change: values, identities, flags, gradients, hooks, modes, random state."""
    return {
        "parameters": [(n, id(p), digest(p), p.requires_grad, p.grad is None, p._version)
                       for n, p in module.named_parameters()],
        "buffers": [(n, id(b), digest(b), b._version) for n, b in module.named_buffers()],
        "modes": [getattr(m, "training", None) for m in module.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
                  for m in module.modules()],
        "random": digest(torch.get_rng_state()),
        "modules": [id(m) for m in module.modules()],
    }  # fmt: skip


def with_accident(module, accident, action):
    """Run `action`; let a layer in the middle raise `accident` at its second call."""
    if accident is None:
        action()
        return
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == 2:
            raise accident("an accident in a layer")

    handle = module[3].register_forward_hook(fail)
    try:
        # In the first look at a network its own errors become a refusal.
        with pytest.raises((accident, ModelContractError)):
            action()
    finally:
        handle.remove()
    assert len(calls) >= 2
