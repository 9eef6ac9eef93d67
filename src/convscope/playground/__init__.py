"""The playground: a network that runs inside a page, and explains itself and is fooled there.

`playable_network` makes graph and weights of a classifier and proves that they predict what it
predicts. The modules beside this file (``*.js``) are the page: an engine of operations with their
gradients, explanations and attacks on it, and what one sees. They know nothing of where network and
images come from; ``embedded.js`` takes them from the page itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convscope._registry import lazy

if TYPE_CHECKING:
    from convscope.playground._export import (
        LARGEST,
        PlayableNetwork,
        example,
        page_data,
        playable_network,
    )
    from convscope.playground._layers_seen import LayersSeen, layers_seen, nothing_seen

__all__ = [
    "LARGEST",
    "LayersSeen",
    "PlayableNetwork",
    "example",
    "layers_seen",
    "nothing_seen",
    "page_data",
    "playable_network",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_export": "LARGEST PlayableNetwork example page_data playable_network",
            "_layers_seen": "LayersSeen layers_seen nothing_seen",
        },
    )
