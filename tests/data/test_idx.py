import gzip
import hashlib
import math
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.data._file import MOST_MEMBERS, inflate
from convscope.data._idx import parse_idx, read_idx
from convscope.errors import ConvscopeError, DataError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def header(*shape, magic=None):
    return struct.pack(">I", 0x800 + len(shape) if magic is None else magic) + struct.pack(
        f">{len(shape)}I", *shape
    )


GOOD = header(2, 3, 4) + IMAGES.tobytes()


def write(folder, data, name="train-images-idx3-ubyte"):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["x-idx3-ubyte", "x-idx3-ubyte.gz"])
def test_good_file_is_read(tmp_path, name):
    data = gzip.compress(GOOD) if name.endswith(".gz") else GOOD
    file = read_idx(write(tmp_path, data, name), dimensions=3)
    assert np.array_equal(file.values, IMAGES)
    assert file.sha256 == hashlib.sha256(GOOD).hexdigest()


BAD = [
    pytest.param("D01", b"", "empty", id="D01-empty"),
    *[
        pytest.param("D02", GOOD[:cut], "header cut", id=f"D02-{cut}-bytes")
        for cut in (1, 2, 3, 4, 9, 15)
    ],
    pytest.param("D03", GOOD[:-1], r"declares 2x3x4 \(24 bytes\), file holds 23", id="D03-one"),
    pytest.param("D03", GOOD[: 16 + 12], "file holds 12", id="D03-half"),
    pytest.param("D03", GOOD[:16], "file holds 0", id="D03-all"),
    pytest.param("D04", GOOD + b"\0", "1 more bytes follow", id="D04"),
    pytest.param("D05", struct.pack("<I", 0x803) + GOOD[4:], "little-endian", id="D05-order"),
    pytest.param("D05", header(2, 3) + bytes(6), "2 dimensions", id="D05-matrix"),
    pytest.param("D05", header(24) + bytes(24), "holds labels", id="D05-labels"),
    pytest.param("D05", gzip.compress(GOOD), "a gzip file", id="D05-gzip"),
    pytest.param("D05", b"\x89PNG\r\n\x1a\n" + bytes(20), "a PNG image", id="D05-png"),
    pytest.param("D05", b"<!DOCTYPE html><html>", "an HTML page", id="D05-html"),
    pytest.param("D05", b"version https://git-lfs.github.com", "Git LFS", id="D05-lfs"),
    pytest.param("D05", b"\0\0\x07\x03" + GOOD[4:], "00 00 07 03", id="D05-type"),
    *[
        pytest.param("D06", header(2, 3, 4, magic=kind << 8 | 3) + bytes(300), "expected unsigned")
        for kind in (0x0B, 0x0C, 0x0D, 0x0E)
    ],
    pytest.param("D07", struct.pack(">I", 0x800), "0 dimensions", id="D07-none"),
    pytest.param("D07", header(1, 1, 1, 1, 1) + b"x", "5 dimensions", id="D07-five"),
    pytest.param("D08", header(2**32 - 1, 2**32 - 1, 1), "4294967295x4294967295", id="D08"),
    pytest.param("D11", header(0, 28, 28), "empty split", id="D11"),
]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(("code", "data", "words"), BAD)
def test_bad_files_are_refused(tmp_path, refused, code, data, words, packed):
    if packed:
        data = gzip.compress(data)
    path = write(tmp_path, data, f"images{'.gz' if packed else ''}")
    error = refused(code, DataError, read_idx, path, dimensions=3)
    assert re.search(words, str(error))


def test_bombs_stop_at_the_declared_size(tmp_path, refused, extra_memory):
    def bomb():
        yield header(2, 3, 4)
        for _ in range(128):
            yield bytes(1 << 20)

    path = tmp_path / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for piece in bomb():
            file.write(piece)
    # Inflated to the end it would be 128 MiB.
    used = extra_memory(lambda: refused("D12", DataError, read_idx, path, dimensions=3))
    assert used < 32


def test_a_huge_declaration_takes_no_memory(tmp_path, refused, extra_memory):
    path = write(tmp_path, header(2**32 - 1, 2**32 - 1, 2**32 - 1))
    assert extra_memory(lambda: refused("D08", DataError, read_idx, path, dimensions=3)) < 8


def test_the_memory_watch_sees_memory(extra_memory):
    assert extra_memory(lambda: bytearray(b"x") * (40 << 20)) > 39


PACKED = gzip.compress(GOOD)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PACKED[:-8] + bytes(4) + PACKED[-4:], id="crc"),
        pytest.param(PACKED[:-4] + b"\1\0\0\0", id="length"),
        pytest.param(PACKED[:-1], id="cut-by-one"),
        pytest.param(PACKED[: len(PACKED) // 2], id="cut-in-half"),
        pytest.param(PACKED[:10], id="header-only"),
        pytest.param(PACKED + b"garbage", id="garbage-after"),
        pytest.param(PACKED + b"\0" * 8, id="zeros-after"),
        pytest.param(GOOD, id="not-gzip"),
        pytest.param(gzip.compress(b"") * (MOST_MEMBERS + 1), id="many-members"),
    ],
)
def test_damaged_gzip_is_refused(tmp_path, refused, data):
    refused("D13", DataError, read_idx, write(tmp_path, data, "x.gz"), dimensions=3)


def test_two_gzip_members_are_one_file(tmp_path):
    path = write(tmp_path, gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:]), "x.gz")
    assert np.array_equal(read_idx(path, dimensions=3).values, IMAGES)


def test_a_file_that_is_not_there_and_one_that_is_a_folder(tmp_path, refused):
    refused("U02", DataError, read_idx, tmp_path / "none", dimensions=3)
    refused("I22", DataError, read_idx, tmp_path, dimensions=3)


def test_what_was_read_is_what_was_hashed(tmp_path):
    """D26: the file may change afterwards; shape, values and hash come from one reading."""
    path = write(tmp_path, GOOD)
    file = read_idx(path, dimensions=3)
    path.write_bytes(GOOD[:-1])
    assert file.values.sum() == IMAGES.sum()
    with pytest.raises(DataError, match="file holds 23"):
        read_idx(path, dimensions=3)


def slow_idx(data, dimensions):
    """An independent reader: one byte at a time, None for whatever is not exactly right."""
    if len(data) < 4 or list(data[:4]) != [0, 0, 8, dimensions]:
        return None
    numbers = []
    for axis in range(dimensions):
        piece = data[4 + 4 * axis : 8 + 4 * axis]
        if len(piece) < 4:
            return None
        numbers.append(
            sum(byte << shift for byte, shift in zip(piece, (24, 16, 8, 0), strict=True))
        )
    rest = data[4 + 4 * dimensions :]
    if 0 in numbers or len(rest) != math.prod(numbers):
        return None
    return numbers, list(rest)


def same_as_slow(data, dimensions):
    expected = slow_idx(data, dimensions)
    try:
        values = parse_idx(data, dimensions=dimensions)
    except DataError as error:
        assert expected is None
        assert error.code in {"D01", "D02", "D03", "D04", "D05", "D06", "D07", "D08", "D11"}
    else:
        assert expected == (list(values.shape), values.reshape(-1).tolist())


@given(st.binary(max_size=64), st.sampled_from([1, 3]))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_read_as_the_slow_reader_does(data, dimensions):
    same_as_slow(data, dimensions)


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_mutants_are_read_as_the_slow_reader_does(data):
    dimensions = data.draw(st.sampled_from([1, 3]))
    good = bytearray(GOOD if dimensions == 3 else header(5) + bytes(range(5)))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(good) - 1))
        good[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    same_as_slow(bytes(good[: data.draw(st.sampled_from([cut, len(good)]))]), dimensions)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_gzip_is_read_as_zlib_does_or_refused(data):
    mutant = bytearray(PACKED)
    for _ in range(data.draw(st.integers(1, 3))):
        mutant[data.draw(st.integers(0, len(mutant) - 1))] = data.draw(st.integers(0, 255))
    mutant = bytes(mutant[: data.draw(st.integers(1, len(mutant)))])
    try:
        content, complete = inflate(mutant, limit=100, where="x.gz")
    except DataError as error:
        assert error.code == "D13"
    else:
        assert content == zlib.decompressobj(31).decompress(mutant, 100)
        assert complete == (len(content) < 100)


@given(st.binary(min_size=1, max_size=3000), st.integers(0, 9), st.integers(1, 4000))
@settings(max_examples=200, deadline=None)
def test_inflate_gives_the_start_and_says_whether_it_was_all(content, level, limit):
    start, complete = inflate(gzip.compress(content, level), limit=limit, where="x.gz")
    assert start == content[:limit]
    assert complete == (limit >= len(content))


@pytest.mark.slow
def test_half_a_million_mutants():
    rng = np.random.default_rng(0)
    good = {1: header(5) + bytes(range(5)), 3: GOOD}
    refusals = 0
    for _ in range(500_000):
        dimensions = 3 if rng.random() < 0.5 else 1
        mutant = bytearray(good[dimensions])
        for place in rng.integers(0, len(mutant), rng.integers(0, 4)):
            mutant[place] = rng.integers(0, 256)
        mutant = mutant[: len(mutant) - int(rng.integers(0, 3) * rng.integers(0, 2))]
        expected = slow_idx(mutant, dimensions)
        try:
            values = parse_idx(bytes(mutant), dimensions=dimensions)
            assert expected == (list(values.shape), values.reshape(-1).tolist())
        except ConvscopeError:
            assert expected is None
            refusals += 1
    assert 50_000 < refusals < 480_000
