"""Cut at every length, flipped in every part: damage is always seen, and named."""

import json
import random
import struct

import pytest
import torch

from convscope.errors import CheckpointError, ConvscopeError
from convscope.models import build, load, save_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_model(
        folder,
        module=build("mnist-conv1-bn", generator=torch.Generator().manual_seed(0)),
        architecture="mnist-conv1-bn",
        class_names=tuple("0123456789"),
        input_shape=(1, 28, 28),
    )
    return folder


@pytest.fixture
def scratch(run, tmp_path):
    """A copy to damage, and its two files' bytes."""
    files = {name: (run / name).read_bytes() for name in ("model.safetensors", "config.json")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path, files


def refuse(folder):
    with pytest.raises(ConvscopeError) as caught:
        load(folder)
    assert isinstance(caught.value, CheckpointError)
    assert len(str(caught.value).splitlines()) <= 3
    return caught.value


@pytest.mark.parametrize("flips", [200, pytest.param(1500, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_detected(flips, scratch):
    """Random flips anywhere in the weight file, each found by the SHA-256 in config.json."""
    folder, files = scratch
    data = bytearray(files["model.safetensors"])
    path = folder / "model.safetensors"
    chance = random.Random(0)
    for _ in range(flips):
        bit = chance.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert refuse(folder).code == "C08"
        data[bit // 8] ^= 1 << bit % 8


def test_flips_in_the_config_never_load_other_weights_unsaid(scratch):
    """A flip is refused, or leaves a sentence in the flags, or changes nothing that is used."""
    folder, files = scratch
    good = load(folder)
    data = bytearray(files["config.json"])
    refused, places = 0, range(0, len(data), 3)
    for position in places:
        data[position] ^= 1 << position % 8
        (folder / "config.json").write_bytes(data)
        try:
            classifier = load(folder)
        except ConvscopeError:
            refused += 1
        else:
            same = (
                classifier.class_names == good.class_names
                and classifier.input_shape == good.input_shape
                and classifier.source == good.source
            )
            assert same or classifier.flags
        data[position] ^= 1 << position % 8
    assert 0 < refused < len(places)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_cut_anywhere_is_incomplete(name, scratch):
    folder, files = scratch
    data = files[name].rstrip()
    for part in range(200):
        (folder / name).write_bytes(data[: len(data) * part // 200])
        assert refuse(folder).code in ("C07", "C08")


def test_cut_weights_without_a_checksum_are_incomplete(scratch):
    folder, files = scratch
    (folder / "config.json").unlink()
    data = files["model.safetensors"]
    for part in range(200):
        (folder / "model.safetensors").write_bytes(data[: len(data) * part // 200])
        assert refuse(folder / "model.safetensors").code == "C07"


@pytest.mark.parametrize("flips", [200, pytest.param(3000, marks=pytest.mark.slow)])
def test_random_bytes_in_the_header_never_crash(flips, scratch):
    folder, files = scratch
    (folder / "config.json").unlink()
    data = bytearray(files["model.safetensors"])
    header = 8 + struct.unpack("<Q", data[:8])[0]
    chance = random.Random(1)
    for _ in range(flips):
        position = chance.randrange(header)
        before, data[position] = data[position], chance.randrange(256)
        (folder / "model.safetensors").write_bytes(data)
        try:
            classifier = load(folder / "model.safetensors")
        except ConvscopeError as error:
            assert error.code.startswith("C")
        else:
            assert any("no checksum" in flag for flag in classifier.flags)
        data[position] = before


def tensors_file(header, payload=b"", *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + payload


def entry(start, stop, shape=None, dtype="F32"):
    return {"dtype": dtype, "shape": shape or [(stop - start) // 4], "data_offsets": [start, stop]}


LIES = {
    "huge header": tensors_file(b"{}", length=2**63),
    "header of 100 MB and one": tensors_file(b"{}" + b" " * 100, length=100_000_001),
    "not JSON": tensors_file(b"{nonsense"),
    "a list": tensors_file(b"{", length=1),
    "an empty name twice": tensors_file(b'{"a": 1, "a": 2}'),
    "duplicate tensor": tensors_file(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "overlap": tensors_file({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
    "same place": tensors_file({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)),
    "hole": tensors_file({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)),
    "first byte unused": tensors_file({"a": entry(4, 8)}, bytes(8)),
    "trailing bytes": tensors_file({"a": entry(0, 4)}, bytes(5)),
    "backwards": tensors_file({"a": entry(8, 4, [1])}, bytes(8)),
    "shape too large": tensors_file({"a": entry(0, 4, [2])}, bytes(4)),
    "astronomic shape": tensors_file({"a": entry(0, 4, [2**40, 2**40])}, bytes(4)),
    "negative shape": tensors_file({"a": entry(0, 4, [-1])}, bytes(4)),
    "shape of bools": tensors_file({"a": entry(0, 4, [True])}, bytes(4)),
    "unknown type": tensors_file({"a": entry(0, 4, dtype="OBJECT")}, bytes(4)),
    "type is a list": tensors_file({"a": entry(0, 4, dtype=[])}, bytes(4)),
    "extra field": tensors_file({"a": entry(0, 4) | {"code": "x"}}, bytes(4)),
    "not a table": tensors_file({"a": 3}),
    "metadata of numbers": tensors_file({"__metadata__": {"a": 1}, "b": entry(0, 4)}, bytes(4)),
    "metadata is a list": tensors_file({"__metadata__": [], "b": entry(0, 4)}, bytes(4)),
    "deep": tensors_file(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "not UTF-8": tensors_file(b'{"\xff\xfe": 1}'),
    "endless number": tensors_file(b'{"a": ' + b"9" * 10_000 + b"}"),
}


@pytest.mark.parametrize("name", LIES)
def test_headers_that_lie(name, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(LIES[name])
    assert refuse(path).code == "C09"


def test_a_header_may_have_any_length(tmp_path):
    """Lengths whose bytes look like text (0x7b20 is a space and a brace) are no JSON file."""
    net = build("mnist-conv1", generator=torch.Generator().manual_seed(0))
    from safetensors.torch import save

    plain = save(net.state_dict())
    start = 8 + struct.unpack("<Q", plain[:8])[0]
    for length in (0x7B20, 0x3C20, 0x7B7B, 0x8B1F, 0x0280, 0x213C):
        header = plain[8:start].rstrip() + b" " * (length - len(plain[8:start].rstrip()))
        (tmp_path / "net.safetensors").write_bytes(
            struct.pack("<Q", length) + header + plain[start:]
        )
        assert load(tmp_path / "net.safetensors").num_classes == 10


IMPOSTORS = {
    "git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    "web page": b"\n<!DOCTYPE html><title>404 Not Found</title>",
    "a web page": b"<html><head></head></html>",
    "XML": b"<?xml version='1.0'?><Error/>",
    "JSON": b'{"error": "Repository not found"}',
    "gzip": b"\x1f\x8b\x08\x00" + bytes(30),
}


@pytest.mark.parametrize("what", IMPOSTORS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_other_files_are_named_as_what_they_are(what, suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(IMPOSTORS[what])
    error = refuse(path)
    assert error.code == "C18"
    assert what.split()[-1] in str(error)


def test_an_empty_file(tmp_path):
    (tmp_path / "net.safetensors").write_bytes(b"")
    assert refuse(tmp_path / "net.safetensors").code == "C07"
