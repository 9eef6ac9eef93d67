"""The promises hold on the fast path and on the plain one."""

import pytest

from convscope.probe import fast_paths
from tests.conftest import make_case


@pytest.fixture(params=[(1, True), (3, True), (3, False)], ids=["gray", "color", "color-plain"])
def case(request):
    """A small network with batch norm, images of coprime sizes, and labels, on both paths."""
    channels, on = request.param
    with fast_paths(on):
        yield make_case(channels)
