import gzip
import io
import tarfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.data._file import MOST_ENTRIES, read_members
from convscope.errors import DataError

WHERE = "cifar-10-binary.tar.gz"
WANTED = {"a.bin", "b.bin"}
SPECIAL = {
    *(tarfile.SYMTYPE, tarfile.LNKTYPE),
    *(tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE),
}


def archive(*entries, compress=False):
    """A tar of (name, bytes or type) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if content not in SPECIAL:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            else:
                entry.type, entry.linkname = content, "/etc/passwd"
                tar.addfile(entry)
    data = buffer.getvalue()
    return gzip.compress(data, 1) if compress else data


GOOD = archive(("set/a.bin", b"first"), ("set/readme", b"text"), ("set/b.bin", b"second"))


@pytest.mark.parametrize("data", [GOOD, gzip.compress(GOOD)], ids=["tar", "tar.gz"])
def test_wanted_files_are_read(data):
    assert read_members(data, WANTED, where=WHERE) == {"a.bin": b"first", "b.bin": b"second"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (("../../x", b"x"), "leads outside"),
        (("set/../../x", b"x"), "leads outside"),
        (("/etc/cron.d/x", b"x"), "leads outside"),
        (("..\\..\\x", b"x"), "leads outside"),
        (("set/link", tarfile.SYMTYPE), "is a link"),
        (("set/a.bin", tarfile.SYMTYPE), "is a link"),
        (("set/hard", tarfile.LNKTYPE), "is a link"),
        (("set/device", tarfile.CHRTYPE), "a special file"),
        (("set/block", tarfile.BLKTYPE), "a special file"),
        (("set/pipe", tarfile.FIFOTYPE), "a special file"),
        (("set/a.bin", b"again"), "twice"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_hostile_entries_refuse_the_whole_archive(
    refused, tmp_path, monkeypatch, entry, words, compress
):
    monkeypatch.chdir(tmp_path)
    data = archive(("set/a.bin", b"first"), entry, compress=compress)
    error = refused("D20", DataError, read_members, data, WANTED, where=WHERE)
    assert words in str(error)
    assert list(tmp_path.iterdir()) == []


def test_too_many_entries(refused):
    data = archive(*((f"set/{n}", b"") for n in range(MOST_ENTRIES + 1)))
    error = refused("D20", DataError, read_members, data, WANTED, where=WHERE)
    assert "more than 10,000 entries" in str(error)


def declares(size, kind=tarfile.REGTYPE, name="set/a.bin"):
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT) + b"x" * 512


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_huge_declaration_takes_no_memory(refused, extra_memory, kind):
    for data in (declares(10**11, kind), gzip.compress(declares(10**11, kind))):
        used = extra_memory(
            lambda data=data: refused("D20", DataError, read_members, data, WANTED, where=WHERE)
        )
        assert used < 16


@pytest.mark.parametrize("name", ["set/a.bin", "set/other"])
def test_bombs_are_not_inflated(refused, extra_memory, tmp_path, name):
    entry = tarfile.TarInfo(name)
    entry.size = 1 << 30
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(entry.tobuf())
        for _ in range(64):
            file.write(bytes(1 << 20))
    data = path.read_bytes()
    start = time.process_time()
    used = extra_memory(lambda: refused("D20", DataError, read_members, data, WANTED, where=WHERE))
    assert used < 16
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(gzip.compress(GOOD)[:-20], id="cut-gz"),
        pytest.param(gzip.compress(GOOD)[:-8] + bytes(8), id="crc"),
        pytest.param(GOOD[:700], id="cut-in-a-file"),
        pytest.param(b"not a tar" * 100, id="no-tar"),
        pytest.param(b"\x1f\x8bnonsense", id="no-gzip"),
        pytest.param(b"", id="empty"),
    ],
)
def test_damaged_archives(refused, data):
    refused("D13", DataError, read_members, data, WANTED, where=WHERE)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutants_are_refused_or_give_bytes(data):
    mutant = bytearray(data.draw(st.sampled_from([GOOD, gzip.compress(GOOD, mtime=0)])))
    for _ in range(data.draw(st.integers(1, 4))):
        mutant[data.draw(st.integers(0, len(mutant) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_members(bytes(mutant), WANTED, where=WHERE)
    except DataError as error:
        assert error.code in {"D13", "D20"}
    else:
        assert set(found) <= WANTED
