"""The promises hold on the fast path and on the plain one."""

import functools
import zlib

import pytest

from convscope.data import open_dataset
from convscope.errors import ConvscopeError
from convscope.probe import fast_paths
from tests.conftest import make_case, shared_folder

NETWORKS = ("case", "other", "sized")
"""Fixtures of several networks, each of which an entry of a registry is tested on."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Every promise of every entry on a third of the networks in the fast suite.

    The third changes from entry to entry and from promise to promise, so that each entry meets all
    networks and each network all entries; it does not depend on which other tests are collected.
    `make test-all` runs the whole grid.
    """
    for item in items:
        indices = dict(item.callspec.indices) if hasattr(item, "callspec") else {}
        network = next((name for name in NETWORKS if name in indices), None)
        if "contracts" not in item.path.parts or network is None or len(indices) == 1:
            continue
        number = indices.pop(network)
        place = number + sum(indices.values()) + zlib.crc32(item.originalname.encode())
        if place % 3:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def opened():
    """Opens a data set if it is on this machine; each only once, unless again."""
    folder = shared_folder() / "data"

    def open_it(name):
        try:
            return open_dataset(name, data_dir=folder if folder.is_dir() else None, offline=True)
        except ConvscopeError as error:
            pytest.skip(f"not on this machine: {error}")

    once = functools.cache(open_it)
    return lambda name, again=False: open_it(name) if again else once(name)


@pytest.fixture(params=[(1, True), (3, True), (3, False)], ids=["gray", "color", "color-plain"])
def case(request):
    """A small network with batch norm, images of coprime sizes, and labels, on both paths."""
    channels, on = request.param
    with fast_paths(on):
        yield make_case(channels)
