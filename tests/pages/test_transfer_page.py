"""Pages of transfer learning, at the edges: no mistake, a class without images, many classes."""

from dataclasses import replace

import pytest
import torch

from convscope.pages import class_table, mistake_rows, write_transfer
from tests.figures.results import transferred


def written(result, folder):
    write_transfer(result, folder / "t.html")
    return (folder / "t.html").read_text(encoding="utf-8")


def test_a_page_without_a_mistake(tmp_path):
    result = transferred(("cat", "dog"))
    none = replace(
        result.mistakes, names=(), images=torch.empty(0, 1, 8, 8).byte(),
        labels=torch.empty(0).long(), predicted=torch.empty(0).long(), margins=torch.empty(0),
    )  # fmt: skip
    page = written(replace(result, mistakes=none), tmp_path)
    assert mistake_rows(replace(result, mistakes=none)) == [] and "Worst mistakes" in page


def test_a_class_without_test_images_has_no_accuracy(tmp_path):
    result = transferred(("cat", "dog", "emu"))
    confusion = result.confusion.clone()
    confusion[1] = 0
    per_class = result.per_class.clone()
    per_class[1] = torch.nan
    result = replace(result, confusion=confusion, per_class=per_class)
    row = class_table(result)[1]
    assert (row["test images"], row["correct"], row["from"], row["to"]) == (0, None, 0.0, 1.0)
    assert "dog has the lowest" not in written(result, tmp_path)
    assert result.worst_class == pytest.approx(10 / 12)


def test_many_classes_and_hostile_names(tmp_path):
    names = tuple(f"<b>breed {number}</b>" for number in range(37))
    page = written(transferred(names), tmp_path)
    assert "<b>breed" not in page and "breed 36" in page
