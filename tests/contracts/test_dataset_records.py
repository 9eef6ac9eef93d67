"""What the record of a data set says is true, and what is derived from it follows."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from convscope.cli import main
from convscope.data import (
    ADDRESSES,
    DATASETS,
    AddressSpec,
    Dataset,
    DatasetSpec,
    Download,
    Found,
    Split,
    choose_dataset,
    data_forms,
    download,
    open_dataset,
    select_images,
    status,
)
from convscope.errors import ResourceError, UsageError
from convscope.training import RECIPES, recipe

each = pytest.mark.parametrize("name", DATASETS)
DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def two_spots(data_dir=None):
    """Two black or white pixels."""
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
    splits = {
        name: Split(name=name, images=pixels, labels=torch.tensor([0, 1]))
        for name in ("train", "validation", "test")
    }
    return Dataset(name="spots", class_names=("dark", "light"), source="", hashes={}, **splits)


@pytest.fixture
def registered():
    """Registers data sets for one test."""
    added = []

    def register(name, entry):
        DATASETS[name] = entry
        added.append(name)

    yield register
    for name in added:
        del DATASETS[name]


@each
def test_the_record_is_whole_and_says_how_the_data_come_here(name):
    record = DATASETS.spec(name)
    assert record.about and record.title and record.license and record.classes and record.shape
    if record.built_in:
        assert record.find is None and not record.downloads and "built in" in record.about
    else:
        assert record.find is not None and bool(record.downloads) != bool(record.by_hand)
    if record.downloads:
        assert record.known_files()


@each
def test_the_record_tells_the_shape_the_classes_and_the_sizes(name, opened):
    record = DATASETS.spec(name)
    height, width = record.shape[1:]
    color = {1: "gray", 3: "color"}[record.shape[0]]
    assert f"{height}x{width} {color}" in record.about
    assert re.search(rf"\b{record.classes} (classes|breeds)", record.about)
    data = opened(name)
    assert data.input_shape == record.shape
    if record.sizes is not None:
        assert tuple(map(len, data.splits)) == record.sizes
        assert len(data.class_names) == record.classes
        assert f"{sum(record.sizes):,}" in record.about
    else:
        assert len(data.class_names) <= record.classes


@each
def test_sizes_are_known_unless_people_bring_the_files(name):
    record = DATASETS.spec(name)
    assert (record.sizes is None) is bool(record.by_hand)


@each
def test_few_images_get_the_recipe_for_few(name):
    record = DATASETS.spec(name)
    assert record.few_images is (record.sizes is not None and record.sizes[0] < 5_000)
    numbers = RECIPES["fast"].few_images
    chosen = recipe("mnist-conv1", data=name, preset="fast")
    usual = recipe("mnist-conv1", data="a data set without a record", preset="fast")
    assert (chosen.epochs == numbers["epochs"] > usual.epochs) is record.few_images


@each
def test_an_empty_folder_holds_only_what_is_built_in(name, tmp_path):
    here = status(name, tmp_path)
    record = DATASETS.spec(name)
    assert here.ready is record.built_in is here.built_in and here.files == ()
    assert bool(here.download_bytes) is bool(record.downloads)
    if not here.ready:
        for ask in (download, open_dataset):
            with pytest.raises(ResourceError, match="is not on this machine"):
                ask(name, data_dir=tmp_path, offline=True)


@each
def test_the_documentation_names_it_with_its_shape_and_sizes(name):
    record = DATASETS.spec(name)
    row = next(line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    assert "x".join(map(str, record.shape)) in row and str(record.classes) in row
    assert record.license in row
    if record.sizes is not None:
        assert " / ".join(f"{size:,}" for size in record.sizes) in row


def rows_of_data_list(capsys):
    assert main(["data", "list", "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_a_function_alone_is_listed_without_a_claim(registered, capsys):
    registered("spots", two_spots)
    row = rows_of_data_list(capsys)["spots"]
    assert row["ready"] is None and row["about"] == "Two black or white pixels."
    assert not row["built_in"] and row["download_bytes"] == 0
    assert main(["data", "list"]) == 0
    assert "spots\tnot known\tTwo black" in capsys.readouterr().out
    assert main(["data", "--help"]) == 0
    assert "spots" in capsys.readouterr().out


def test_a_registered_data_set_opens_and_is_suggested(registered):
    registered("spots", two_spots)
    assert open_dataset("spots", offline=True).class_names == ("dark", "light")
    with pytest.raises(UsageError, match="did you mean spots"):
        choose_dataset("spot")
    with pytest.raises(UsageError, match=r"(?s)unknown data set.*spots"):
        choose_dataset("xyzzy")
    with pytest.raises(ResourceError, match="does not download it"):
        download("spots")


def test_a_record_that_finds_its_files_tells_whether_it_is_ready(registered, tmp_path, capsys):
    def find(data_dir):
        file = Path(data_dir) / "spots.npz"
        return Found((file,)) if file.exists() else Found(missing=(file.name,))

    served = Download(file="spots/spots.npz", urls=("https://a",), sha256="0", size=7)
    other = Download(file="spots/other.npz", urls=("https://b",), sha256="0", size=5)
    registered("spots", DatasetSpec(two_spots, find=find, downloads=(served, other)))
    assert status("spots", tmp_path).ready is False
    assert status("spots", tmp_path).download_bytes == 7  # the other one is not missing
    (tmp_path / "spots.npz").touch()
    here = status("spots", tmp_path)
    assert here.ready and here.files == (tmp_path / "spots.npz",) and here.download_bytes == 0
    assert here.about == "Two black or white pixels."


def test_a_function_gets_the_options_that_it_names_and_no_others(registered):
    heard = {}

    def some(*, data_dir, skip_bad=False):
        heard.update(data_dir=data_dir, skip_bad=skip_bad)
        return two_spots()

    def every(**options):
        heard.update(options)
        return two_spots()

    registered("some", some)
    open_dataset("some", data_dir="here", skip_bad=True, offline=True)
    assert heard == {"data_dir": "here", "skip_bad": True}
    registered("every", every)
    open_dataset("every", offline=True)
    assert heard["offline"] is True and heard["check_classes"] is None


@pytest.mark.parametrize("function", [lambda path: None, lambda data_dir, /: None])
def test_a_function_that_could_not_be_called_is_refused_at_registration(function):
    with pytest.raises(UsageError, match=r"which nobody would give it"):
        DATASETS["bad"] = function
    assert "bad" not in DATASETS


def test_a_function_that_returns_something_else_is_named(registered):
    registered("nothing", lambda: None)
    with pytest.raises(UsageError, match=r"(?s)nothing returned a NoneType.*Dataset"):
        open_dataset("nothing")


@pytest.mark.parametrize("prefix", ADDRESSES)
def test_every_address_is_listed_and_documented(prefix, capsys):
    spec = ADDRESSES.spec(prefix)
    assert spec.form.startswith(f"{prefix}:") and spec.about and spec.form in data_forms()
    assert bool(spec.library) == bool(spec.install)
    assert main(["data", "list"]) == 0
    assert spec.form in capsys.readouterr().out
    text = DOCS.read_text(encoding="utf-8")
    assert f"| `{spec.form.replace('DIRECTORY', 'DIR')}` |" in text
    with pytest.raises(UsageError, match="names no") as caught:
        open_dataset(f"{prefix}:")
    assert caught.value.code == "U02"


def test_an_address_of_ones_own_is_taken():
    digits = open_dataset("digits")
    ADDRESSES["yours"] = AddressSpec(lambda address, **options: digits, "mine", form="yours:NAME")
    try:
        assert open_dataset("yours:any") is digits and "yours:NAME" in data_forms()
        like = SimpleNamespace(input_shape=(1, 28, 28), class_names=digits.class_names)
        assert len(select_images("yours:any:test/0-2", like=like)) == 3
    finally:
        del ADDRESSES["yours"]
    with pytest.raises(UsageError):
        open_dataset("yours:any")
