import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from convscope import results
from convscope.errors import DataError, UsageError
from convscope.files import plain_json


@dataclass(frozen=True, kw_only=True)
class Inner:
    values: torch.Tensor
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: int
    share: float
    flag: bool
    names: tuple[str, ...]
    inner: Inner
    maybe: Inner | None
    many: tuple[Inner, ...]
    by_name: dict[str, torch.Tensor]
    images: torch.Tensor


def example(share=0.1):
    inner = Inner(values=torch.arange(3))
    return Outer(
        name="</script>\ud800 猫", count=3, share=share, flag=True, names=("a", "$b$"), inner=inner,
        maybe=None, many=(inner, Inner(values=torch.ones(2, 2, dtype=torch.bool), note="x")),
        by_name={"conv/1": torch.rand(2), "../../x": torch.zeros(0)}, images=torch.rand(2, 1, 3, 3),
    )  # fmt: skip


def test_what_is_saved_is_what_is_loaded(tmp_path):
    one = example()
    two = results.load(Outer, results.save(one, tmp_path / "r"))
    assert two.name == one.name and two.names == one.names and two.maybe is None
    assert torch.equal(two.images, one.images) and torch.equal(two.inner.values, one.inner.values)
    assert two.many[1].note == "x" and two.many[1].values.dtype == torch.bool
    assert torch.equal(two.by_name["conv/1"], one.by_name["conv/1"])
    assert (two.count, two.share, two.flag) == (3, 0.1, True)


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_infinity_and_nan_survive_in_valid_json(tmp_path, value):
    folder = results.save(example(value), tmp_path / "r")
    json.loads(
        (folder / "result.json").read_text(errors="surrogatepass"), parse_constant=pytest.fail
    )
    again = results.load(Outer, folder).share
    assert again == value or (again != again and value != value)


def test_u13_nothing_is_overwritten_unless_forced(tmp_path):
    results.save(example(), tmp_path / "r")
    with pytest.raises(UsageError, match="already exists"):
        results.save(example(), tmp_path / "r")
    results.save(example(0.7), tmp_path / "r", force=True)
    assert results.load(Outer, tmp_path / "r").share == 0.7


def test_force_never_replaces_a_folder_that_is_no_result(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years")
    with pytest.raises(UsageError):
        results.save(example(), tmp_path / "precious", force=True)
    assert (tmp_path / "precious" / "thesis.tex").exists()


def test_a_refused_save_leaves_nothing_behind(tmp_path):
    @dataclass(frozen=True)
    class Odd:
        value: object

    with pytest.raises(UsageError, match="cannot save a"):
        results.save(Odd(lambda: 0), tmp_path / "r")
    assert not list(tmp_path.iterdir())


def test_another_type_is_named(tmp_path):
    folder = results.save(Inner(values=torch.ones(1)), tmp_path / "r")
    with pytest.raises(DataError, match="holds a Inner, not a Outer"):
        results.load(Outer, folder)


def test_damage_is_one_error_at_every_cut(tmp_path):
    folder = results.save(example(), tmp_path / "r")
    for name in ("result.json", "arrays.npz"):
        whole = (folder / name).read_bytes()
        for part in range(0, len(whole), max(1, len(whole) // 40)):
            (folder / name).write_bytes(whole[:part])
            with pytest.raises(DataError):
                results.load(Outer, folder)
        (folder / name).write_bytes(whole)
    results.load(Outer, folder)


def test_arrays_with_pickles_are_refused(tmp_path):
    folder = results.save(Inner(values=torch.ones(1)), tmp_path / "r")
    np.savez(folder / "arrays.npz", values=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="damaged"):
        results.load(Inner, folder)


def test_missing_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="holds no result"):
        results.load(Inner, tmp_path / "nowhere")


def test_plain_json_is_always_valid():
    value = {
        "a": float("nan"),
        "b": [torch.tensor([1.0, torch.inf])],
        "c": Path("x"),
        "d": example(),
    }
    found = json.loads(json.dumps(plain_json(value), allow_nan=False))
    assert found["a"] is None and found["b"] == [[1.0, None]] and found["c"] == "x"
