"""A confusion matrix whose cells open their images."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.pages import show_confusions
from convscope.pages._confusion import MOST_IN_A_CELL, MOST_IN_ALL, SIDE, chosen_images, thumbnails
from convscope.reports import Report, render


def report(labels, predicted, *, side=(6, 5), channels=1, names="abc", **more):
    """A page whose image k is gray level k everywhere."""
    labels, predicted = torch.tensor(labels), torch.tensor(predicted)
    confusion = torch.zeros(3, 3, dtype=torch.long)
    for true, read in zip(labels.tolist(), predicted.tolist(), strict=True):
        confusion[true, read] += 1
    made = Report(title="t")
    show_confusions(
        made.section("performance", "Performance"), confusion, names, labels=labels,
        predicted=predicted,
        images=lambda rows: rows.to(torch.uint8)[:, None, None, None].expand(-1, channels, *side),
        **more,
    )  # fmt: skip
    return made


def test_every_image_of_a_cell_is_one_of_that_cell_and_the_sheet_shows_it():
    labels, predicted = [0, 0, 1, 1, 2, 0], [0, 1, 1, 1, 0, 1]
    made = report(labels, predicted, confidences=torch.tensor([0.9, 0.6, 0.5, 0.7, 0.8, 0.65]))
    block = made.sections[0].blocks[0]
    sheet = np.asarray(Image.open(io.BytesIO(made.files()[block["images"]["file"]])).convert("L"))
    place, found = 0, {}
    for cell in block["images"]["cells"]:
        for image in cell["images"]:
            row = int(image["name"].split()[-1])
            assert (labels[row], predicted[row]) == (cell["row"], cell["column"])
            assert (sheet[:6, place * 5 : place * 5 + 5] == row).all()
            found.setdefault((cell["row"], cell["column"]), []).append((row, image["confidence"]))
            place += 1
    assert found[0, 1] == [(5, "65.0\u00a0%"), (1, "60.0\u00a0%")], "the most confident mistake"
    assert found[1, 1] == [(2, "50.0\u00a0%"), (3, "70.0\u00a0%")], "the least confident hit"


def test_a_cell_shows_some_of_its_images_and_says_of_how_many(tmp_path):
    made = report([0] * 20 + [1], [0] * 20 + [2])
    text = render(made, tmp_path / "page.html").path.read_text()
    assert f"{MOST_IN_A_CELL} of 20 images" in text and ">1 image<" in text
    assert 'href="#confusion/0-0"' in text and 'id="confusion/1-2"' in text
    assert "confusion/0-2" not in text, "no images, nothing to open"


def test_many_cells_share_what_a_page_has_room_for():
    labels = torch.arange(20).repeat_interleave(400)
    predicted = torch.arange(20).repeat(400)
    chosen = chosen_images(labels, predicted, None)
    shown = [len(rows) for _, rows in chosen.values()]
    assert len(chosen) == 400 and set(shown) == {1}
    few = chosen_images(labels % 10, predicted % 10, None)
    assert sum(len(rows) for _, rows in few.values()) <= MOST_IN_ALL
    assert {total for total, _ in few.values()} == {80}


@pytest.mark.parametrize("shape", [(2, 3, 96, 64), (2, 1, 28, 28), (2, 3, 7, 300)])
def test_thumbnails_are_small_and_small_images_are_as_they_were(shape):
    images = torch.rand(shape)
    tiles = thumbnails(images)
    assert all(max(tile.shape[:2]) <= SIDE and tile.dtype == np.uint8 for tile in tiles)
    if max(shape[2:]) <= SIDE:
        assert np.abs(tiles[0] / 255 - images[0, 0].numpy()).max() <= 0.5 / 255 + 1e-6


def damaged(tmp_path, change):
    folder = report([0, 1], [0, 2]).write(tmp_path / "r")
    tree = json.loads((folder / "report.json").read_text())
    change(tree["sections"][0]["blocks"][0])
    (folder / "report.json").write_text(json.dumps(tree))
    return render(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block["images"].update(file="../../secret.png"),
        lambda block: block["images"].update(width=10**9),
        lambda block: block["images"].update(columns=0),
        lambda block: block["images"].update(scale=1e9),
        lambda block: block["images"]["cells"][0].update(row=-1),
        lambda block: block["images"]["cells"][0].update(row=99),
        lambda block: block["images"]["cells"].append(block["images"]["cells"][0]),
        lambda block: block["images"]["cells"][0]["images"].extend([{"name": "x"}] * 99),
        lambda block: block.update(images="x"),
        lambda block: block["images"].pop("cells"),
    ],
    ids=range(10),
)
def test_a_matrix_with_damaged_images_is_a_matrix_without(tmp_path, change):
    made = damaged(tmp_path, change)
    text = made.path.read_text()
    assert len(made.refused) == 1 and "images of a matrix cannot be shown" in made.refused[0]
    assert "<script" not in text and 'class="cell"' not in text and "script-src" not in text
    assert '<td class="d8">1</td>' in text, "the matrix is there"


def test_two_matrices_have_addresses_of_their_own(tmp_path):
    made = report([0, 1], [0, 2])
    made.sections.append(report([0, 1], [0, 2]).sections[0])
    made.sections[1].id = "other"
    text = render(made, tmp_path / "page.html").path.read_text()
    assert text.count('id="confusion/0-0"') == text.count('id="confusion-2/0-0"') == 1


def test_paper_opens_nothing(tmp_path):
    made = report([0, 1], [0, 2]).write(tmp_path / "r")
    text = render(made, tmp_path / "paper.html", enlarge=4).path.read_text()
    assert "<script" not in text and 'href="#confusion' not in text
