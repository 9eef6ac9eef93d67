"""Attention rollout against attention that is written out by hand."""

import pytest
import torch

from convscope.classifier import Classifier
from convscope.errors import ModelContractError
from convscope.explanations import attention_rollout
from tests.zoo.attention import LibraryTransformer, ShiftedWindows, VisionTransformer

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(4))


def attention_by_hand(network, images):
    """Mean over heads of each block's attention, by its own layers and a softmax."""
    x = network.patches(images).flatten(2).transpose(1, 2) + network.places
    x = torch.cat([network.first.expand(len(x), -1, -1), x], 1) if network.before else x
    found = []
    for block in network.blocks:
        q, k, _ = block.qkv(block.norm1(x)).reshape(len(x), x.shape[1], 3, 2, 4).unbind(2)
        scores = torch.einsum("nihd,njhd->nhij", q, k) / 2
        found.append(scores.softmax(-1).mean(1))
        x = block(x)
    return found


def rolled(attention, readers, before, shape):
    """From the first block to the last, then from what is read back to the places."""
    result = torch.eye(attention[0].shape[1])
    for one in attention:
        result = (0.5 * one + 0.5 * torch.eye(one.shape[1])) @ result
    return (readers[None, None] @ result)[..., before:].reshape(-1, 1, *shape)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("before", "average"), [(1, False), (0, True), (3, True)])
@torch.no_grad()
def test_rollout_is_the_product_of_attention_and_identity(fused, before, average):
    torch.manual_seed(0)
    network = VisionTransformer(before=before, average=average, fused=fused).eval()
    found = attention_rollout(Classifier.wrap(network, input_shape=(3, 8, 8)), IMAGES)
    readers = torch.zeros(16 + before)
    if average:
        readers[before:] = 1 / 16
    else:
        readers[0] = 1.0
    expected = rolled(attention_by_hand(network, IMAGES), readers, before, (4, 4))
    assert torch.allclose(found.evidence["coarse"], expected, atol=1e-6)
    assert found.maps.shape == (3, 1, 8, 8) and not found.signed


@torch.no_grad()
def test_blocks_of_torch_do_not_hide_their_attention():
    torch.manual_seed(0)
    network = LibraryTransformer().eval()
    x = network.patches(IMAGES).flatten(2).transpose(1, 2)
    x = torch.cat([network.start.expand(3, -1, -1), x], 1)
    attention = []
    for layer in network.encoder.layers:
        attention.append(layer.self_attn(x, x, x, need_weights=True)[1])
        x = layer(x)
    found = attention_rollout(Classifier.wrap(network, input_shape=(3, 8, 8)), IMAGES)
    readers = torch.eye(9)[0]
    assert torch.allclose(
        found.evidence["coarse"], rolled(attention, readers, 1, (2, 4)), atol=1e-6
    )


def test_attention_within_windows_is_refused():
    with pytest.raises(ModelContractError, match="rolled out") as caught:
        attention_rollout(Classifier.wrap(ShiftedWindows(), input_shape=(3, 8, 8)), IMAGES)
    assert caught.value.code == "M15" and caught.value.hint
