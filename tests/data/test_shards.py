"""Tar shards: nothing in them is believed, and nothing is unpacked."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import StoredImages, catalog, open_dataset, open_folder, stream_images
from convscope.data._tar import shards_of, tar_inventory
from convscope.errors import DataError, UsageError


def picture(seed, size=(16, 16), kind="PNG"):
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, format=kind)
    return out.getvalue()


def write_shard(path, members, form=tarfile.PAX_FORMAT):
    """Members are (name, bytes) or whole entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, data = member
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def samples(count, first=0, label=lambda k: k % 3):
    for k in range(first, first + count):
        yield f"{k:04}.png", picture(k)
        yield f"{k:04}.cls", str(label(k)).encode()


@pytest.fixture(params=[tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def shards(request, tmp_path):
    for number in range(3):
        write_shard(tmp_path / f"part-{number:02}.tar", samples(10, 10 * number), request.param)
    return tmp_path


def test_shards_are_a_data_set_in_the_order_of_their_names(shards, monkeypatch):
    data = open_dataset(f"tar:{shards}/part-{{00..02}}.tar")
    assert data.class_names == ("0", "1", "2") and data.cut == ("test", "validation")
    assert [len(split) for split in data.splits] == [21, 3, 6]
    for split in data.splits:
        assert list(split.names) == sorted(split.names)
        for name, label, pixels in zip(split.names, split.labels, split.pixels(), strict=True):
            number = int(name[-8:-4])
            assert name == f"part-0{number // 10}.tar/{number:04}.png" and label == number % 3
            image = np.array(Image.open(io.BytesIO(picture(number)))).transpose(2, 0, 1)
            assert np.array_equal(pixels, image)
    for pattern in ("part-*.tar", "part-0[012].tar", "part-{00,01,02}.tar"):
        again = open_dataset(f"tar:{shards}/{pattern}")
        assert again.hashes == data.hashes and again.train.names == data.train.names
    for workers in ("0", "2"):
        monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
        monkeypatch.setenv("CONVSCOPE_WORKERS", workers)
        stored = open_dataset(f"tar:{shards}/part-*.tar")
        assert stored.hashes == data.hashes and stored.warnings == data.warnings
        for one, other in zip(stored.splits, data.splits, strict=True):
            assert isinstance(one.images, StoredImages) and one.names == other.names
            assert torch.equal(one.pixels(), other.pixels())
            assert torch.equal(one.pixels([2, 0]), other.pixels([2, 0]))


def test_images_are_those_of_a_folder(tmp_path):
    names = {"0": "ant", "1": "bee", "2": "cat"}
    for k in range(12):
        (tmp_path / "set" / names[str(k % 3)]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / names[str(k % 3)] / f"{k}.png").write_bytes(picture(k, (30, 20 + k)))
    members = [(f"{k}.png", picture(k, (30, 20 + k))) for k in range(12)]
    labels = [(f"{k}.json", json.dumps({"label": names[str(k % 3)]}).encode()) for k in range(12)]
    pairs = [member for pair in zip(members, labels, strict=True) for member in pair]
    write_shard(tmp_path / "a.tar", pairs)
    one, other = open_dataset(f"tar:{tmp_path / 'a.tar'}"), open_folder(tmp_path / "set")
    assert one.class_names == other.class_names and one.input_shape == other.input_shape
    mine = {int(n[6:-4]): image for n, image in zip(one.split("all").names,
            one.split("all").pixels(), strict=True)}  # fmt: skip
    for name, image in zip(other.split("all").names, other.split("all").pixels(), strict=True):
        assert torch.equal(mine[int(name[4:-4])], image)
    assert open_dataset(f"tar:{tmp_path / 'a.tar'}@8").input_shape == (3, 8, 8)


@pytest.mark.parametrize(
    "names", [("x-train-0", "x-val-0", "x-test-0"), ("train/0", "validation/0", "test/0")]
)
def test_names_of_shards_say_the_split(tmp_path, names):
    for k, name in enumerate(names):
        write_shard(tmp_path / f"{name}.tar", samples(6, 6 * k))
    data = open_dataset(f"tar:{tmp_path}/{'*.tar' if '-' in names[0] else '*/*.tar'}")
    assert [len(split) for split in data.splits] == [6, 6, 6] and data.cut == ()
    assert len(open_dataset(f"tar:{tmp_path}/{names[2]}.tar").test) == 6


@pytest.mark.parametrize("names", [("train-0", "other"), ("train-val-0", "test")])
def test_doubtful_splits_are_refused(tmp_path, refused, names):
    for name in names:
        write_shard(tmp_path / f"{name}.tar", samples(3))
    refused("D21", DataError, open_dataset, f"tar:{tmp_path}/*.tar")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a.png", b"x")], "no label"),
        ([("a.cls", b"1")], "no image"),
        ([("a.png", b"x"), ("a.jpg", b"x"), ("a.cls", b"1")], "2 images"),
        ([("a.png", b"x"), ("a.cls", b"1"), ("a.json", b'{"label": 2}')], "labels '1' and '2'"),
        ([("a.png", b"x"), ("a.json", b'{"label": 1, "class": 2}')], "labels '1' and '2'"),
        ([("a.png", b"x"), ("a.cls", b"")], "not a class"),
        ([("a.png", b"x"), ("a.cls", b"\xff\xfe")], "cannot be read"),
        ([("a.png", b"x"), ("a.cls", b"9" * 1001)], "not a class"),
        ([("a.png", b"x"), ("a.json", b"[1]")], "cannot be read"),
        ([("a.png", b"x"), ("a.json", b"[" * 9999)], "cannot be read"),
        ([("a.png", b"x"), ("a.json", b'{"label": true}')], "not a class"),
        ([("a.png", b"x"), ("a.json", b'{"label": {"a": 1}}')], "not a class"),
        ([("a.png", b"x"), ("a.json", b'{"name": 1}')], "no label"),
        ([("a.png", b"x"), ("a.cls", b" " * (1 << 20) + b"1")], "bytes"),
        ([*samples(1), *samples(1, 1), *samples(1)], "twice"),
    ],
)
def test_samples_that_are_not_certain_are_problems(tmp_path, refused, members, words):
    members = [*samples(9, 100), *members, *samples(9, 200)]
    spec = f"tar:{write_shard(tmp_path / 'a.tar', members)}"
    assert words in str(refused("D21", DataError, open_dataset, spec))
    data = open_dataset(spec, skip_bad=True)
    assert len(data.refused) == 1 and words in data.refused[0]


def test_unreadable_images_are_problems(tmp_path, refused):
    cut = picture(1)[:-20]
    spec = f"tar:{write_shard(tmp_path / 'a.tar', [*samples(9), ('x.png', cut), ('x.cls', b'1')])}"
    assert "a.tar/x.png: I05" in str(refused("D21", DataError, open_dataset, spec))


def entry(kind, name="evil", target=""):
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


@pytest.mark.parametrize(
    "evil",
    [
        ("/etc/x.png", b"x"),
        ("../x.png", b"x"),
        ("a/../../x.png", b"x"),
        ("..\\x.png", b"x"),
        ("C:/x.png", b"x"),
        entry(tarfile.SYMTYPE, target="/etc/passwd"),
        entry(tarfile.LNKTYPE, target="0001.png"),
        entry(tarfile.CHRTYPE),
        entry(tarfile.BLKTYPE),
        entry(tarfile.FIFOTYPE),
        entry(tarfile.GNUTYPE_SPARSE),
    ],
)
def test_hostile_members_are_refused(tmp_path, refused, evil):
    path = write_shard(tmp_path / "a.tar", [*samples(3), evil, *samples(3, 5)])
    for skip_bad in (False, True):
        with pytest.raises(DataError) as caught:
            open_dataset(f"tar:{path}", skip_bad=skip_bad)
        assert caught.value.code in ("D20", "D13")
    assert sorted(tmp_path.rglob("*")) == [path]


def test_a_header_that_declares_more_than_is_there(tmp_path, refused):
    path = write_shard(tmp_path / "a.tar", samples(3))
    data = bytearray(path.read_bytes())
    for size in (10**6, 8 * 2**30 - 1):
        header = tarfile.TarInfo("big.png")
        header.size = size
        path.write_bytes(data[: len(data) // 10240 * 0] + header.tobuf() + bytes(1024))
        with pytest.raises(DataError) as caught:
            open_dataset(f"tar:{path}")
        assert caught.value.code in ("D13", "D20")
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    path.write_bytes(long.tobuf() + bytes(4096))
    refused("D20", DataError, open_dataset, f"tar:{path}")
    chain = b"".join(
        tarfile.TarInfo.tobuf(one, tarfile.GNU_FORMAT) + b"x" * 512
        for one in [_long_name() for _ in range(3000)]
    )
    path.write_bytes(chain)
    refused("D13", DataError, open_dataset, f"tar:{path}")


def _long_name():
    found = tarfile.TarInfo("././@LongLink")
    found.type, found.size = tarfile.GNUTYPE_LONGNAME, 512
    return found


@pytest.mark.parametrize("name", ["\x1b[31mred", "new\nline", "caf\udce9", "\u202efdp", "a" * 300])
def test_strange_names_are_text(tmp_path, refused, name):
    path = write_shard(tmp_path / "a.tar", [*samples(9), (f"{name}.png", b"x"), (f"{name}.cls",
                       b"1")])  # fmt: skip
    refused("D21", DataError, open_dataset, f"tar:{path}")
    open_dataset(f"tar:{path}", skip_bad=True).refused[0].encode()


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_compressed_shards_are_refused(tmp_path, refused, suffix):
    with tarfile.open(tmp_path / "a.tar", f"w:{suffix}") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    refused("D27", DataError, open_dataset, f"tar:{tmp_path / 'a.tar'}")


def test_patterns_that_name_nothing(tmp_path, refused):
    write_shard(tmp_path / "a-0.tar", samples(3))
    for text in ("none*.tar", "none.tar", "a-{0..1}.tar"):
        refused("U02", DataError, open_dataset, f"tar:{tmp_path}/{text}")
    assert "*.tar" in str(refused("U02", DataError, open_dataset, f"tar:{tmp_path}"))
    refused("U02", UsageError, open_dataset, "tar:")
    refused("U02", UsageError, open_dataset, f"tar:{tmp_path}/{{0..999999999}}.tar")
    assert "did you mean tar:" in str(
        refused("U01", UsageError, open_dataset, str(tmp_path / "a-0.tar"))
    )
    write_shard(tmp_path / "b.tar", [])
    refused("D21", DataError, open_dataset, f"tar:{tmp_path / 'b.tar'}")
    assert shards_of(f"{tmp_path}/a-{{0,0}}.tar") == [tmp_path / "a-0.tar"]


def test_names_of_classes(tmp_path, refused):
    path = write_shard(tmp_path / "a.tar", samples(9))
    (tmp_path / "classes.txt").write_text("cat\ndog\nfox\nowl\n")
    data = open_dataset(f"tar:{path}")
    assert data.class_names == ("cat", "dog", "fox", "owl")
    assert "numbers of classes are lines of classes.txt, counted from 0" in data.warnings
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    refused("D10", DataError, open_dataset, f"tar:{path}")
    write_shard(path, [*samples(3), *samples(3, 5, lambda k: "owl")])
    refused("D21", DataError, open_dataset, f"tar:{path}")


def test_a_shard_that_changes_is_noticed(tmp_path, refused, monkeypatch):
    monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
    monkeypatch.setenv("CONVSCOPE_WORKERS", "0")
    path = write_shard(tmp_path / "a.tar", samples(9))
    data = open_dataset(f"tar:{path}")
    write_shard(path, samples(9, 1))
    refused("D24", DataError, data.train.pixels)
    path.write_bytes(b"")
    refused("D24", DataError, data.train.pixels)


def test_commands_that_stream_take_shards(tmp_path):
    from types import SimpleNamespace

    spec = f"tar:{write_shard(tmp_path / 'a.tar', samples(9))}"
    like = SimpleNamespace(input_shape=(3, 16, 16), class_names=("0", "1", "2"))
    found = catalog(spec)
    assert [item.span is not None for item in found.items] == [True] * 9
    stream = stream_images([f"{spec}:all/0-3"], like=like)
    images = torch.cat([piece.images for piece in stream.pieces])
    assert torch.equal(images, open_dataset(spec).split("all").to_float([0, 1, 2, 3]))


def test_what_is_known_of_many_members_is_little(tmp_path, extra_memory):
    """Headers of a shard are read one after the other: bytes of images are not."""
    big = bytes(1 << 20)
    members = ((f"{k}.png", big) if half else (f"{k}.cls", b"1")
               for k in range(60) for half in (True, False))  # fmt: skip
    path = write_shard(tmp_path / "a.tar", members)
    assert extra_memory(lambda: tar_inventory(str(path))) < 20
