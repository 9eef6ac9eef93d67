"""Files of cached features, fed with damage: they count as not there, and nothing is executed."""

import hashlib

import numpy as np

from convscope.transfer import FeatureCache
from tests.fuzz.damage import check_reader, needs_alarm

IMAGES = [hashlib.sha256(bytes([number])).hexdigest() for number in range(20)]


def cached(folder):
    """A file of a cache, and what opens the cache and asks for every image."""
    cache = FeatureCache(folder, "network", size=5)
    for number, image in enumerate(IMAGES):
        cache.add(image, np.full(5, number, dtype=np.float32))
    cache.flush()
    (file,) = (folder / "network").iterdir()

    def read():
        again = FeatureCache(folder, "network", size=5)
        found = [again.find(image) for image in IMAGES]
        assert all(x is None or (x.shape == (5,) and np.isfinite(x).all()) for x in found)
        assert again.damaged == (0 if len(again) else 1)

    return file, read


@needs_alarm
def test_damage_is_computed_again_and_nothing_hangs(tmp_path):
    check_reader("cached features", cached, tmp_path, refuses=False)


def test_a_file_that_goes_away_while_the_cache_is_open_is_not_there(tmp_path):
    file, _ = cached(tmp_path)
    cache = FeatureCache(tmp_path, "network", size=5)
    assert IMAGES[3] in cache and len(cache) == 20
    file.unlink()
    assert cache.find(IMAGES[3]) is None and IMAGES[3] not in cache


def test_without_a_folder_nothing_is_kept(tmp_path):
    cache = FeatureCache(None, "network", size=5)
    cache.add(IMAGES[0], np.zeros(5, dtype=np.float32))
    cache.flush()
    assert len(cache) == 0 and cache.find(IMAGES[0]) is None


def test_another_network_s_features_are_not_found(tmp_path):
    cached(tmp_path)
    assert len(FeatureCache(tmp_path, "network", size=5)) == 20
    assert len(FeatureCache(tmp_path, "another", size=5)) == 0
    other = FeatureCache(tmp_path, "network", size=6)
    assert len(other) == 0 and other.damaged == 1
