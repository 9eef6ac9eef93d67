"""Nothing in a pickle is ever run: a small zoo of malicious files, and an audit of what happens."""

import builtins
import os
import pickle
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.data._pickle import read_pickle
from convscope.errors import DataError

WHERE = "data_batch_1"
FORBIDDEN = ("os.", "subprocess.", "socket.", "exec", "compile", "import", "shutil.", "ctypes.")
EVENTS = []
WATCHED = set()


def _watch(event, arguments):
    codec = event in ("import", "exec") and "encodings" in str(arguments[0])
    if threading.get_ident() in WATCHED and event.startswith(FORBIDDEN) and not codec:
        EVENTS.append(event)


sys.addaudithook(_watch)


@contextmanager
def silence():
    """Fail if anything is executed, imported or opened meanwhile."""
    EVENTS.clear()
    WATCHED.add(threading.get_ident())
    try:
        yield
    finally:
        WATCHED.discard(threading.get_ident())
    assert EVENTS == []


class Call:
    def __init__(self, function, *arguments):
        self.content = function, arguments

    def __reduce__(self):
        return self.content


def dumped(value, protocol=2):
    return pickle.dumps({b"data": value, b"labels": [0]}, protocol=protocol)


def short(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


MALWARE = {
    "os.system": dumped(Call(os.system, "touch /tmp/convscope-was-here")),
    "os.system, protocol 4": dumped(Call(os.system, "true"), 4),
    "os.system, protocol 0": dumped(Call(os.system, "true"), 0),
    "subprocess": dumped(Call(subprocess.Popen, ["true"]), 4),
    "eval": dumped(Call(builtins.eval, "1+1")),
    "exec": dumped(Call(builtins.exec, "x=1"), 4),
    "getattr": dumped(Call(getattr, "abc", "upper"), 4),
    "open": dumped(Call(open, "/etc/passwd"), 4),
    "numpy.load": dumped(Call(np.load, "/etc/passwd"), 4),
    "numpy.fromfile": dumped(Call(np.fromfile, "/etc/passwd"), 4),
    "INST": b"(S'true'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'true'\no.",
    "NEWOBJ": b"\x80\x02cos\nsystem\n(S'true'\nt\x81.",
    "EXT1": b"\x80\x02\x82\x01.",
    "PERSID": b"Pwhatever\n.",
    "BINPERSID": b"\x80\x02K\x01Q.",
    "stack global put together": b"\x80\x04" + short("os") + short("system") + b"\x93"
    + short("true") + b"\x85R.",
    "nested names": b"\x80\x04" + short("numpy") + short("ndarray.tofile") + b"\x93.",
    "numpy alias": b"cnumpy.core.multiarray\nfromfile\n.",
    "dotted module": b"cnumpy.core.multiarray _reconstruct\nx\n.",
    "attribute of a stand-in": b"\x80\x02cnumpy\nndarray\n}(U\x05rawxxK\x01ub.",
    "slots of a stand-in": b"\x80\x02cnumpy\nndarray\nN}U\x04makeK\x01s\x86b.",
    "call with code": b"\x80\x02cnumpy\ndtype\n(cnumpy\ndtype\ntR.",
    "not a dictionary": pickle.dumps([1, 2, 3]),
    "an object": dumped(Call(dict, ((1, 2),)), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", MALWARE)
def test_nothing_is_run(name, refused):
    code = "D13" if "stand-in" in name else "D17"
    with silence():
        error = refused(code, DataError, read_pickle, MALWARE[name], where=WHERE)
    assert error.exit_code == 3


def test_the_text_says_what_was_asked_for(refused):
    error = refused("D17", DataError, read_pickle, MALWARE["os.system"], where=WHERE)
    assert "pickle asks for posix.system; nothing was run" in str(error)


def test_the_audit_hears_a_real_pickle():
    """The net is not full of holes: the standard unpickler would have been heard."""
    with pytest.raises(AssertionError, match=r"os\.system"), silence():
        pickle.loads(dumped(Call(os.system, "true")))


def array_pickle(shape, raw, kind=b"u1"):
    """As Python 2 wrote arrays: `_reconstruct`, then a state of shape, type, order and bytes."""
    sizes = b"".join(b"\x8a\x08" + struct.pack("<q", size) for size in shape)
    return (
        b"\x80\x02}U\x04data"
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01(" + sizes + b"t"
        b"cnumpy\ndtype\n(U" + bytes([len(kind)]) + kind + b"K\x00K\x01tR"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<I", len(raw)) + raw + b"tbs."
    )


def test_arrays_of_python_2_are_read():
    content = read_pickle(array_pickle((2, 3), b"abcdef"), where=WHERE)
    assert content["data"].tolist() == [[97, 98, 99], [100, 101, 102]]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_protocol_are_read(protocol, order):
    values = np.asarray(np.arange(12, dtype=np.uint8).reshape(3, 4), order=order)
    content = read_pickle(
        pickle.dumps({"data": values, "labels": [1, 2, 3]}, protocol=protocol), where=WHERE
    )
    assert np.array_equal(content["data"], values)
    assert content["labels"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("code", "data"),
    [
        pytest.param("D18", array_pickle((10**10, 1), b"abc"), id="ten-gigabytes"),
        pytest.param("D18", array_pickle((2**62, 2**62), b"abc"), id="overflow"),
        pytest.param("D18", array_pickle((-1, 3), b"abc"), id="negative"),
        pytest.param("D17", array_pickle((3,), b"abc", b"O8"), id="objects"),
        pytest.param("D17", array_pickle((3,), b"abc", b"f8"), id="floats"),
        pytest.param("D18", b"\x80\x02}r\xff\xff\xff\x7f.", id="memo-index"),
        pytest.param("D18", b"\x80\x02)" + b"\x85" * 300_000 + b".", id="nested-tuples"),
        pytest.param("D18", b"\x80\x02" + b"N0" * 300_000 + b".", id="instructions"),
        pytest.param("D13", b"\x80\x04\x8e" + struct.pack("<Q", 10**10) + b"abc.", id="length"),
        pytest.param("D13", b"\x80\x02}U\x04data", id="cut"),
        pytest.param("D13", b"\xff\xfe", id="not-a-pickle"),
        pytest.param("D13", b"\x80\x02" + b"]" * 10 + b"a" * 20 + b".", id="stack-underflow"),
        pytest.param("D13", b"\x80\x02}]K\x01s.", id="unhashable-key"),
    ],
)
def test_exaggerated_and_damaged_pickles(refused, extra_memory, code, data):
    used = extra_memory(lambda: refused(code, DataError, read_pickle, data, where=WHERE))
    assert used < 48


def test_stand_ins_stay_as_they_are():
    for data in MALWARE.values():
        with pytest.raises(DataError):
            read_pickle(data, where=WHERE)
    content = read_pickle(array_pickle((1, 3), b"abc"), where=WHERE)
    assert content["data"].tolist() == [[97, 98, 99]]


GOOD = pickle.dumps(
    {b"data": np.arange(12, dtype=np.uint8).reshape(2, 6), b"labels": [3, 4]}, protocol=2
)


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_mutants_are_refused_or_hold_plain_values(data):
    mutant = bytearray(data.draw(st.sampled_from([GOOD, array_pickle((2, 3), b"abcdef")])))
    for _ in range(data.draw(st.integers(1, 4))):
        mutant[data.draw(st.integers(0, len(mutant) - 1))] = data.draw(st.integers(0, 255))
    try:
        with silence():
            content = read_pickle(bytes(mutant), where=WHERE)
    except DataError as error:
        assert error.code in {"D13", "D17", "D18"}
    else:
        assert isinstance(content, dict)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_or_hold_plain_values(data):
    try:
        assert isinstance(read_pickle(data, where=WHERE), dict)
    except DataError as error:
        assert error.code in {"D13", "D17", "D18"}
