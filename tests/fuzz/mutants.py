"""Damaged files: seeded, so that a failure can be made again from its number."""

import json
import random
import re

MAGICS = (
    b"\x1f\x8b\x08\x00", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"PK\x03\x04", b"\x80\x04",
    b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>", b"\x93NUMPY", b"GIF89a",
    b"\xef\xbb\xbf", b"\xff\xfe", b"%PDF-1.7", b"\x00\x00\x08\x03", b"RIFF\x00\x00\x00\x00WEBP",
)  # fmt: skip
TOO_LARGE = "@1e999@"
VALUES = (
    None, True, False, 0, -1, 5, 2**63, 10**39, 1.5, -1e308, "", "x", "nan", "../../etc/passwd",
    "a" * 5000, "\ud800", TOO_LARGE, "\x1b[31m", [], [[]], {}, {"sessions": 5}, {"a": {"a": {}}},
    [None] * 50,
)  # fmt: skip
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[\w-]+')


def mutant(data, number, name):
    """The `number`-th damaged version of `data`."""
    chance = random.Random(f"{name} {number}")
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = _damaged(data, chance)
    return data


def _damaged(data, chance):
    if not data:
        return data
    binary = (_flip, _cut, _splice, _zeros, _magic, _noise, _double, _lengths, _empty)
    kinds = binary
    if _is_text(data):
        kinds = (_flip, _cut, _splice, _zeros, _magic, _empty, *3 * (_token, _deep, _number, _line))
        if _is_tree(data):
            kinds += 5 * (_value, _twice)
    return chance.choice(kinds)(data, chance)


def _is_text(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def _is_tree(data):
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(tree, dict) and len(tree) > 0


def _place(data, chance):
    """Anywhere, but one time in two near the beginning, where headers are."""
    return chance.randrange(min(len(data), chance.choice((64, len(data)))) + 1)


def _flip(data, chance):
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        damaged[min(_place(data, chance), len(data) - 1)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _cut(data, chance):
    return data[: _place(data, chance)]


def _empty(data, chance):
    return chance.choice((b"", b"\n", b" ", b"\0", b"{}", b"[]", b"null"))


def _splice(data, chance):
    start, end = sorted((_place(data, chance), _place(data, chance)))
    at = _place(data, chance)
    return data[:at] + data[start:end] + data[chance.choice((at, at + end - start)) :]


def _zeros(data, chance):
    at, count = _place(data, chance), chance.choice((1, 4, 100))
    return data[:at] + bytes(count) + data[chance.choice((at, at + count)) :]


def _magic(data, chance):
    start = chance.choice(MAGICS)
    return start + data[chance.choice((0, len(start))) :]


def _noise(data, chance):
    at, count = _place(data, chance), chance.choice((1, 4, 30))
    return data[:at] + chance.randbytes(count) + data[at + count :]


def _double(data, chance):
    return data + data[_place(data, chance) :]


def _lengths(data, chance):
    """A field of two, four or eight bytes becomes huge."""
    width, at = chance.choice((2, 4, 8)), _place(data, chance)
    return data[:at] + chance.choice((b"\xff", b"\x7f", b"\x00")) * width + data[at + width :]


def _token(data, chance):
    """A word, text or number becomes another kind of thing."""
    found = list(TOKEN.finditer(data))
    if not found:
        return data
    one = chance.choice(found)
    other = json.dumps(chance.choice(VALUES)).encode()
    return data[: one.start()] + other + data[one.end() :]


def _number(data, chance):
    found = list(re.finditer(rb"\d+(?:\.\d+)?", data))
    huge = (
        b"9" * 5000,
        b"1e999",
        b"-" + b"1" * 400,
        b"NaN",
        b"Infinity",
        b"0x10",
        b"1_0",
        b"1e-999",
    )
    if not found:
        return data
    one = chance.choice(found)
    return data[: one.start()] + chance.choice(huge) + data[one.end() :]


def _deep(data, chance):
    many = chance.choice((100, 1500, 5000))
    nests = (b"[" * many + b"]" * many, b"[" * many, b'{"a":' * many + b"1" + b"}" * many)
    nest = chance.choice((*nests, b"a" + b".a" * many + b"=1\n", b"<g>" * many + b"</g>" * many))
    found = list(TOKEN.finditer(data))
    if found and chance.random() < 0.7:
        one = chance.choice(found)
        return data[: one.start()] + nest + data[one.end() :]
    at = _place(data, chance)
    return data[:at] + nest + data[at:]


def _line(data, chance):
    """Lines doubled, lost or exchanged."""
    lines = data.splitlines(keepends=True)
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    how = chance.randrange(4)
    if how == 0:
        lines.insert(other, lines[at])
    elif how == 1:
        del lines[at]
    elif how == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        cells = lines[at].split(b",")
        cells[chance.randrange(len(cells))] = json.dumps(chance.choice(VALUES)).encode()
        lines[at] = b",".join(cells)
    return b"".join(lines)


def _value(data, chance):
    """One value of a JSON tree becomes something else; everything around it stays as it was."""
    tree = json.loads(data)
    places = list(_places(tree))
    parent, key = chance.choice(places)
    parent[key] = chance.choice(VALUES)
    return _written(tree)


def _written(tree):
    """The text of a tree; one stand-in becomes a number that no float can hold."""
    return json.dumps(tree).replace(json.dumps(TOO_LARGE), "1e999").encode()


def _twice(data, chance):
    """A key occurs twice, or a value is lost."""
    tree = json.loads(data)
    parent, key = chance.choice(list(_places(tree)))
    if chance.random() < 0.5:
        del parent[key]
        return _written(tree)
    if not tree:
        return b"{}"
    key = chance.choice(list(tree))
    text = json.dumps(tree)
    return (text[:-1] + f", {json.dumps(key)}: {json.dumps(chance.choice(VALUES))}}}").encode()


def _places(tree):
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(pairs):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)
