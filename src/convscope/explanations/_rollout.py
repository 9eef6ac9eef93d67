"""Attention rollout: which places the class token of a transformer has gathered from."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from convscope._arguments import checked
from convscope._network.axes import Order
from convscope.classifier import Classifier
from convscope.errors import ModelContractError
from convscope.explanations._result import Explanation, known_targets
from convscope.probe import Probe
from convscope.progress import within_step
from convscope.types import Images


@checked
def attention_rollout(classifier: Classifier, images: Images) -> Explanation:
    """Attention of all blocks of a transformer, multiplied: where tokens gathered from.

    The attention of each block is taken from the network as it runs, averaged over its heads and
    mixed with the identity, which stands for the residual connection. It says how tokens were
    mixed, not what they did to a class; Grad-CAM does.

    Args:
        classifier: A transformer in which all tokens attend to all others.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].

    Returns:
        Maps ``(batch, 1, height, width)``, at least 0, enlarged to the image by bilinear
        interpolation. ``evidence["coarse"]`` has the grid of tokens; what is missing to a sum of 1
        stayed in tokens without a place.

    Raises:
        ModelContractError: M15 if the network has no such attention, as convolutional networks and
            networks of windows do not.

    Example:
        >>> from torch import nn
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.patches, self.fc = nn.Conv2d(1, 8, 4, stride=4), nn.Linear(8, 3)
        ...         self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        ...     def forward(self, x):
        ...         tokens = self.patches(x).flatten(2).transpose(1, 2)
        ...         return self.fc(self.block(tokens).mean(1))
        >>> classifier = Classifier.wrap(Net().eval(), input_shape=(1, 8, 12))
        >>> attention_rollout(classifier, torch.rand(2, 1, 8, 12)).evidence["coarse"].shape
        torch.Size([2, 1, 2, 3])

    Source:
        Abnar and Zuidema, "Quantifying Attention Flow in Transformers", 2020, section 3, with the
        mean over heads. Where the head averages tokens, so does the last step.
    """
    known_targets(classifier, images, None)
    coarse, logits = [], []
    with classifier.probe() as probe:
        layer, order = _last_tokens(probe)
        readers = _readers(probe, layer, images[:1])
        for rows in probe.chunks(len(images)):
            mixed, out = _rolled_out(probe, images[rows], order)
            from_tokens = (readers.to(mixed)[None, None] @ mixed).transpose(1, 2)
            coarse.append(order.maps(from_tokens if order.axis == 1 else from_tokens.mT))
            logits.append(out)
            within_step(rows.stop / len(images))
    small, scores = torch.cat(coarse), torch.cat(logits)
    size = (images.shape[2], images.shape[3])
    return Explanation(
        images=images,
        maps=F.interpolate(small, size=size, mode="bilinear", align_corners=False),
        targets=scores.argmax(dim=1, keepdim=True),
        method="attention-rollout",
        signed=False,
        class_names=classifier.class_names,
        logits=scores,
        evidence={"coarse": small},
        cost=probe.cost(),
    )


def _last_tokens(probe: Probe) -> tuple[str, Order]:
    """The last layer of tokens, and their order.

    Raises:
        ModelContractError: M15 if there is none.
    """
    found = [(name, order) for name, order in probe.maps().orders.items()
             if order.layout == "tokens"]  # fmt: skip
    if not found:
        raise _no_attention("the network has no tokens of which each has a place")
    return found[-1]


def _readers(probe: Probe, layer: str, image: Images) -> Tensor:
    """``(token,)``, adding up to 1: the tokens that the head of the network reads."""
    order = probe.maps().orders[layer]

    def strength(activations: Tensor, gradient: Tensor) -> Tensor:
        return gradient.abs().sum(2 if order.axis == 1 else 1)

    both = image.repeat(2, 1, 1, 1)  # Some networks cannot take one image.
    found = probe.layer_gradients(layer, both, None, reduce=strength).gradients[0, 0]
    read = (found > 1e-6 * found.amax()).float()
    return read / read.sum().clamp_min(1)


def _rolled_out(probe: Probe, images: Images, order: Order) -> tuple[Tensor, Tensor]:
    """``(batch, token, token)``: what each token has of each at the start; and the logits."""
    count = order.before + order.rows * order.columns + order.after
    watch = _AttentionWatch(len(images), count)
    with torch.inference_mode(False), torch.enable_grad():
        # With a gradient to keep, torch's own blocks do not hide their attention in one kernel.
        start = images.detach().clone().requires_grad_(True)
        with watch:
            logits = probe.forward(start).detach()
    if watch.others or not watch.found:
        raise _no_attention(
            f"{watch.others} of {watch.others + len(watch.found)} attention matrices are not those "
            f"of all {count} tokens"
            if watch.others
            else "no attention was seen"
        )
    identity = torch.eye(count, device=images.device, dtype=torch.float32)
    mixed = identity.expand(len(images), -1, -1)
    for attention in watch.found:
        mixed = (attention.float().to(images.device) + identity) / 2 @ mixed
    return mixed, logits


def _no_attention(why: str) -> ModelContractError:
    return ModelContractError(
        f"attention cannot be rolled out: {why}",
        code="M15",
        expected="a transformer in which all tokens attend to all others",
        hint="grad-cam finds its layer in most networks; saliency and occlusion look at pixels",
    )


class _AttentionWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the mean over heads of each attention matrix of `count` tokens."""

    def __init__(self, batch: int, count: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.batch, self.count = batch, count
        self.found: list[Tensor] = []
        self.others = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name.startswith("_scaled_dot_product") and "backward" not in name:
            query, key = args[0].detach().float(), args[1].detach().float()
            scale = kwargs.get("scale") or 1 / math.sqrt(query.shape[-1])
            scores = query @ key.mT * scale
            mask = kwargs.get("attn_mask")
            if mask is not None:
                scores = scores + mask if mask.is_floating_point() else scores.masked_fill(
                    ~mask, -math.inf
                )  # fmt: skip
            self._keep(scores.softmax(dim=-1))
        elif name in ("_softmax", "_safe_softmax") and out.ndim >= 3:
            self._keep(out.detach())
        return out

    def _keep(self, attention: Tensor) -> None:
        heads, rest = divmod(math.prod(attention.shape[:-2]), self.batch)
        if rest or not heads or tuple(attention.shape[-2:]) != (self.count, self.count):
            self.others += 1
            return
        self.found.append(attention.reshape(self.batch, heads, self.count, self.count).mean(1))
