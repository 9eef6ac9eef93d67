import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from convscope._metrics import gates_of
from convscope.classifier import Classifier
from convscope.data import Dataset, Split
from convscope.errors import DataError, ModelContractError, UsageError
from convscope.figures import percent
from convscope.progress import watch
from convscope.reports import Report, read_report, render
from convscope.robustness import RobustnessCurve
from convscope.sharding import BEFORE
from convscope.studies import AUDIT_SECTIONS, SectionSpec, _inside, audit
from convscope.studies._robustness import _curve_table
from tests.figures.results import all_results
from tests.reports.conftest import dark_colors


def split(name, n, seed, channels=1, size=12, classes=4):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 90, (n, channels, size, size), generator=generator)
    labels = torch.arange(n) % classes
    for i, label in enumerate(labels.tolist()):
        images[i, :, 3 * label : 3 * label + 3] += 120
    return Split(name=name, images=images.to(torch.uint8), labels=labels)


def dataset(channels=1, names=("bar", "$5_{x}$", "<b>cat</b>", "猫")):
    parts = {n: split(n, k, i, channels) for i, (n, k) in enumerate(
        (("train", 40), ("validation", 8), ("test", 24)))}  # fmt: skip
    return Dataset(name="bars", class_names=names, source="made here", hashes={"a": "b"}, **parts)


def classifier(data):
    """Trained for a moment: a bar's row decides."""
    torch.manual_seed(0)
    channels, height, width = data.input_shape
    net = nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(6 * (height // 2) * (width // 2), 4),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    x, y = data.train.to_float(), data.train.labels
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return Classifier(
        module=net, class_names=data.class_names, input_shape=data.input_shape, source="a net"
    )


def test_true_masks_reach_the_trust_section(tmp_path):
    data = dataset()
    masked = replace(data, test=replace(data.test, masks=data.test.images[:, 0] > 110))
    for chosen, columns in ((masked, {"relevance mass", "pointing accuracy"}), (data, set())):
        folder = tmp_path / str(len(columns))
        audit(classifier(chosen), chosen, out_folder=folder, sections=["trust"])
        text = (folder / "report.json").read_text()
        assert {
            name for name in ("relevance mass", "pointing accuracy") if f'"{name}"' in text
        } == columns


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One whole audit, shared by the tests that only read it."""
    data = dataset()
    folder = tmp_path_factory.mktemp("audit") / "report"
    steps = []
    with watch(lambda share, what: steps.append((share, what))):
        result = audit(
            classifier(data), data, out_folder=folder, images_per_section=3, attacked_images=8,
            command="convscope audit x", playable=True,
        )  # fmt: skip
    return result, steps


def test_every_section_succeeds(made):
    result, _ = made
    assert result.failed == ()
    tree = read_report(result.folder)
    assert [section["id"] for section in tree["sections"]] == list(AUDIT_SECTIONS)
    assert all(section["blocks"] for section in tree["sections"])


def test_the_network_is_in_the_page_for_those_who_ask(made, tmp_path):
    data = dataset()
    audit(classifier(data), data, out_folder=tmp_path / "r", sections=["limits"])
    plain, playable = tmp_path / "plain.html", tmp_path / "playable.html"
    render(tmp_path / "r", plain)
    render(made[0].folder, playable)
    assert "<script" not in plain.read_text() and "script-src" not in plain.read_text()
    text = playable.read_text()
    assert text.count("<script") == 6 and "worker-src blob:" in text
    assert not (tmp_path / "r" / "playground").exists()


def test_a_network_that_no_page_can_run_stops_before_the_work(tmp_path):
    data = dataset()
    net = nn.Sequential(nn.Flatten(), nn.LayerNorm(data.input_shape[1] ** 2), nn.Linear(144, 4))
    strange = Classifier.wrap(net, input_shape=data.input_shape, class_names=data.class_names)
    with pytest.raises(ModelContractError, match="LayerNorm"):
        audit(strange, data, out_folder=tmp_path / "r", playable=True)
    assert not (tmp_path / "r").exists()


def blocks_of(tree, name):
    """The blocks of a section, those inside of details too."""
    (section,) = [section for section in tree["sections"] if section["id"] == name]
    flat = list(section["blocks"])
    for block in flat:
        flat.extend(block.get("blocks", ()))
    return section["finding"], flat


def column(blocks, name, title):
    """The values of a column of the table that is also the CSV file of this name."""
    (table,) = [b for b in blocks if b.get("csv", "").endswith(f"-{name}.csv")]
    place = [head["title"] for head in table["columns"]].index(title)
    return [
        cell["value"] if isinstance(cell, dict) else cell
        for cell in (row[place] for row in table["rows"])
    ]


def test_the_curve_in_numbers_begins_without_a_change(tmp_path):
    report = Report(title="t")
    found = next(result for result in all_results() if isinstance(result, RobustnessCurve))
    _curve_table(report.section("robustness", "Robustness"), found)
    _, blocks = blocks_of(read_report(report.write(tmp_path / "r")), "robustness")
    assert column(blocks, "curve", "budget") == ["no change", "L∞ ≤ 0.1", "L∞ ≤ 0.3"]


def test_sections_that_measure_say_what_was_found(made):
    result, _ = made
    found = {s["id"] for s in read_report(result.folder)["sections"] if s["finding"]}
    assert found == set(AUDIT_SECTIONS) - {"training", "limits", "reproduce"}


def test_findings_say_the_numbers_of_the_tables_below(made):
    result, _ = made
    tree = read_report(result.folder)

    said, blocks = blocks_of(tree, "performance")
    (matrix,) = [block["values"] for block in blocks if block["type"] == "matrix"]
    right = sum(row[i] for i, row in enumerate(matrix))
    verb = "is" if right == 1 else "are"
    assert said.startswith(f"{right} of {sum(map(sum, matrix))} images {verb} classified correctly")
    assert percent(result.numbers["accuracy"], 2) in said

    said, blocks = blocks_of(tree, "architecture")
    parameters = column(blocks, "layers", "parameters")
    assert f"{sum(parameters):,} parameters" in said
    most = parameters.index(max(parameters))
    assert (
        f"{percent(max(parameters) / sum(parameters))} of the parameters are in `4 (Linear)`."
        in said
    )
    assert column(blocks, "layers", "layer")[most] == "4"

    said, blocks = blocks_of(tree, "filters")
    assert said.startswith("The only convolution, `0 (Conv2d)`, has 6 filters of 1 x 3 x 3 weights")
    low, high = re.search(r"weights, from (\S+) to (\S+)\.$", said).groups()
    assert f"weights range from {low} to {high}." in blocks[0]["caption"]

    said, blocks = blocks_of(tree, "feature-maps")
    dead, every = (sum(column(blocks, "maps", title)) for title in ("dead", "maps"))
    assert said.startswith(f"{dead} of {every} maps ") and "on 24 test images" in said

    said, blocks = blocks_of(tree, "class-images")
    pairs = list(
        zip(
            column(blocks, "classes", "class"),
            column(blocks, "classes", "predicted as"),
            strict=True,
        )
    )
    assert said.startswith(f"{sum(a == b for a, b in pairs)} of {len(pairs)} optimized images ")

    said, blocks = blocks_of(tree, "neurons")
    titles = ("activation reached", "largest on real images")
    reached, real = (column(blocks, "effects", title) for title in titles)
    above = sum(a > b for a, b in zip(reached, real, strict=True))
    assert said.startswith(f"{above} of {len(reached)} neurons ") and "40 reference images" in said


def test_findings_on_attacks_say_the_numbers_of_the_tables_below(made):
    result, _ = made
    tree = read_report(result.folder)

    said, blocks = blocks_of(tree, "fooling")
    titles = ("attack", "budget", "fooled", "median L2")
    rows = list(zip(*(column(blocks, "attacks", title) for title in titles), strict=True))
    best = max((row for row in rows if row[1] != "none"), key=lambda row: row[2])
    assert said.startswith(f"`{best[0]}` fools {percent(best[2])} of the images")
    size, method = min((row[3], row[0]) for row in rows if row[1] == "none" and row[2] >= 0.95)
    assert f"`{method}` needs the smallest changes: median L2 {size:.3g}." in said

    said, blocks = blocks_of(tree, "noises")
    (rates,) = [
        [float(item["detail"].removesuffix("\u00a0%")) for item in block["items"]]
        for block in blocks
        if block["type"] == "gallery" and "one noise" in block["caption"]
    ]
    assert f"{percent(result.numbers['uap'], 0)} of unseen images of other classes" in said
    assert sum(rates) / len(rates) == pytest.approx(100 * result.numbers["uap"], abs=0.6)
    assert f"{min(rates):.0f}\u00a0% for the hardest class, {max(rates):.0f}\u00a0%" in said

    said, blocks = blocks_of(tree, "robustness")
    budgets, shares = (column(blocks, "curve", t) for t in ("budget", "classified correctly"))
    share = shares[budgets.index("L∞ ≤ 0.1")]
    assert (
        share == result.numbers["robust"] and percent(shares[0]) in said and percent(share) in said
    )

    said, blocks = blocks_of(tree, "trust")
    *scores, random = column(blocks, "trust", "insertion - deletion")
    better = sum(score > random for score in scores)
    assert said.startswith(f"{better} of {len(scores)} methods ")

    said, _ = blocks_of(tree, "looking")
    mean, low, high = map(int, re.search(r"share (\d+) % .*\((\d+) to (\d+) %", said).groups())
    assert 0 <= low <= mean <= high <= 100


@pytest.mark.parametrize(("effort", "most"), [("quick", 5), ("standard", 10), ("full", 10)])
def test_a_quick_audit_shows_fewer_neurons(monkeypatch, effort, most):
    asked = []

    def neuron_images(classifier, units, **settings):
        asked.append(units)
        raise StopIteration

    monkeypatch.setattr(_inside, "neuron_images", neuron_images)
    layer = SimpleNamespace(is_leaf=True, output_shape=(32, 4, 4), kind="MaxPool2d", name="pool")
    classifier = SimpleNamespace(layers=lambda: [layer])
    work = SimpleNamespace(
        classifier=classifier, effort=effort, reference=None, generator=id,
        sized=lambda usual, if_large: usual,
    )  # fmt: skip
    with pytest.raises(StopIteration):
        _inside.neurons(work, Report(title="t").section("neurons", "Neurons"))
    assert asked == [f"pool:0-{most - 1}"]


def test_a_carried_noise_is_marked_where_it_made_another_class_the_target(made):
    result, _ = made
    _, blocks = blocks_of(read_report(result.folder), "noises")
    (carried,) = [b for b in blocks if b["type"] == "gallery" and "added to others" in b["caption"]]
    target = re.search(r"be predicted as (.*), added to others", carried["caption"])[1]
    for item in carried["items"]:
        true, got = item["title"].split(" → ")
        assert (item.get("tone") == "bad") is (got == target != true)
    assert len({item["title"].split(" → ")[0] for item in carried["items"]}) > 1


def test_test_images_of_one_class_are_audited_without_false_numbers(tmp_path):
    data = dataset()
    ones = data.test.subset((data.test.labels == 1).nonzero()[:, 0])
    data = replace(data, test=ones)
    result = audit(
        classifier(data), data, out_folder=tmp_path / "r", attacked_images=2,
        sections=["performance", "feature-maps", "noises"],
    )  # fmt: skip
    assert result.failed == ()
    tree = read_report(result.folder)
    _, blocks = blocks_of(tree, "noises")
    details = {item["title"]: item["detail"] for item in blocks[0]["items"]}
    assert details["$5_{x}$"] == "–" and details["bar"].endswith("%")


def test_the_heading_names_the_network_and_the_data(tmp_path):
    data = dataset()
    for title, expected in (("", "a net on bars"), ("Mine", "Mine")):
        folder = tmp_path / expected
        audit(classifier(data), data, out_folder=folder, sections=["limits"], title=title)
        assert read_report(folder)["title"] == expected


def test_the_page_is_complete_and_small(made):
    result, _ = made
    page = render(result.folder)
    text = page.path.read_text()
    assert page.refused == () and page.size < 350_000
    assert "<b>cat</b>" not in text and "&lt;b&gt;cat&lt;/b&gt;" in text
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text


def test_headline_numbers_are_in_tiles_and_for_machines(made):
    result, _ = made
    assert result.numbers["accuracy"] >= 0.9
    assert 0 <= result.numbers["robust"] <= result.numbers["accuracy"]
    labels = [tile["label"] for tile in read_report(result.folder)["tiles"]]
    assert labels[:2] == ["Test accuracy", "Mean per class"] and "Robust accuracy" in labels
    said = json.loads(json.dumps(result.summary()))
    assert said.items() >= result.numbers.items() and said["failed_sections"] == []


def test_alerts_point_to_sections_that_exist(made):
    result, _ = made
    tree = read_report(result.folder)
    known = {section["id"] for section in tree["sections"]}
    assert tree["alerts"] and all(a["section"] in known for a in tree["alerts"])


def test_progress_names_every_section_and_never_falls(made):
    _, steps = made
    named = [what for _, what in steps]
    assert {spec.title for spec in AUDIT_SECTIONS.specs().values()} <= set(named)
    shares = [share for share, _ in steps]
    assert shares == sorted(shares) and steps[-1] == (1.0, "writing")


def test_colors_of_figures_adapt_to_dark_pages(made):
    result, _ = made
    used = set()
    for path in (result.folder / "figures").iterdir():
        used |= set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', path.read_text()))
    assert used <= dark_colors(), used - dark_colors()


def test_color_images_are_audited(tmp_path):
    data = dataset(channels=3)
    result = audit(
        classifier(data), data, out_folder=tmp_path / "r", images_per_section=2, attacked_images=4,
        sections=["performance", "filters", "feature-maps", "looking", "fooling"],
    )  # fmt: skip
    assert result.failed == ()


def test_a_section_that_fails_says_why_and_the_others_go_on(tmp_path, monkeypatch):
    def fails(work, section):
        section.text("so far")
        raise RuntimeError("the disk of /home/ada/net.py ate it")

    monkeypatch.setattr("convscope.studies._inside.filter_pictures", fails)
    data = dataset()
    result = audit(
        classifier(data), data, out_folder=tmp_path / "r", sections=["filters", "architecture"]
    )
    assert result.failed == ("Filters",)
    text = render(result.folder).path.read_text()
    assert "so far" in text and "ate it" in text and "ada" not in text
    assert "Layer by layer" in text


def test_the_classifier_is_left_as_it_was(tmp_path):
    data = dataset()
    net = classifier(data)
    net.module.train()
    before = {k: v.clone() for k, v in net.module.state_dict().items()}
    gradients = [p.grad.clone() for p in net.module.parameters()]
    state = torch.get_rng_state()
    audit(
        net, data, out_folder=tmp_path / "r", images_per_section=2, attacked_images=4,
        sections=["performance", "feature-maps", "looking", "fooling"],
    )  # fmt: skip
    assert net.module.training
    assert all(torch.equal(v, before[k]) for k, v in net.module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    after = [p.grad for p in net.module.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(after, gradients, strict=True))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"epsilon": 8}, UsageError, "did you mean 8/255"),
        ({"epsilon": float("nan")}, UsageError, "above 0"),
        ({"sections": ["performanse"]}, UsageError, "did you mean performance"),
    ],
)
def test_bad_settings_are_refused_before_any_work(tmp_path, change, error, words):
    data = dataset()
    with pytest.raises(error) as found:
        audit(classifier(data), data, out_folder=tmp_path / "r", **change)
    assert words in str(found.value)
    assert not (tmp_path / "r").exists()


def test_data_of_other_classes_or_sizes_are_refused(tmp_path):
    data = dataset()
    net = classifier(data)
    with pytest.raises(DataError, match="none of the 3 classes") as found:
        audit(net, dataset(names=("a", "b", "c")), out_folder=tmp_path / "r")
    assert found.value.code == "M21"
    with pytest.raises(ModelContractError, match="the network takes"):
        audit(net, dataset(channels=3), out_folder=tmp_path / "r")


def test_a_taken_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    data = dataset()
    with pytest.raises(UsageError, match="already exists"):
        audit(classifier(data), data, out_folder=tmp_path, force=True)


def test_every_gate_of_the_audit_is_a_number_of_it(made):
    result, _ = made
    assert set(gates_of("audit")) - set(result.numbers) == {"certified"}  # it was not asked for


def test_a_registered_section_is_in_the_audit(tmp_path):
    def shapes(audit, section):
        """Say what goes in."""
        section.text(f"input {audit.classifier.input_shape}")

    AUDIT_SECTIONS["shapes"] = SectionSpec(shapes, title="Shapes")
    try:
        data = dataset()
        result = audit(classifier(data), data, out_folder=tmp_path / "r", sections=["shapes"])
        assert "input (1, 12, 12)" in render(result.folder).path.read_text()
    finally:
        del AUDIT_SECTIONS["shapes"]


@pytest.mark.parametrize(
    ("line", "raises"),
    [
        ("import convscope.no_such_part", True),
        ("from convscope.flags import no_such_name", True),
        ("import no_such_library", False),
    ],
)
def test_a_missing_part_of_the_package_is_no_incomplete_section(tmp_path, line, raises):
    def broken(audit, section):
        exec(line)

    AUDIT_SECTIONS["broken"] = SectionSpec(broken, title="Broken", about="Breaks.")
    data, words = dataset(), {"out_folder": tmp_path / "r", "sections": ["broken"]}
    try:
        if raises:
            with pytest.raises(ImportError):
                audit(classifier(data), data, **words)
        else:
            assert audit(classifier(data), data, **words).failed == ("Broken",)
    finally:
        del AUDIT_SECTIONS["broken"]


def test_certificates_are_there_when_asked_for(tmp_path, monkeypatch):
    from convscope.studies import _robustness

    monkeypatch.setattr(_robustness, "DRAWS", {"quick": 60})
    for part in ("_suite", "_transforms", "_defenses"):
        monkeypatch.setattr(_robustness, part, lambda *_: None)
    data = dataset()
    result = audit(
        classifier(data), data, out_folder=tmp_path / "report", attacked_images=2,
        sections=["robustness"], certify_sigma=0.1,
    )  # fmt: skip
    assert result.failed == () and 0 <= result.numbers["certified"] <= 1
    assert "Randomized smoothing" in json.dumps(read_report(result.folder))
    with pytest.raises(UsageError, match="sigma"):
        audit(classifier(data), data, out_folder=tmp_path / "other", certify_sigma=-1.0)


def test_certificates_take_no_time_when_not_asked_for(made):
    result, _ = made
    assert "certified" not in result.numbers


def test_names_of_the_data_stand_in_for_names_that_nobody_gave(tmp_path):
    data = dataset(names=("a", "b", "c", "d"))
    named = classifier(data)
    unnamed = Classifier.wrap(named.module, input_shape=data.input_shape)
    other = Classifier.wrap(named.module, input_shape=data.input_shape, class_names=list("wxyz"))
    result = audit(unnamed, data, out_folder=tmp_path / "r", sections=["limits"])
    assert any("classes have no names; their order is taken" in alert for alert in result.alerts)
    with pytest.raises(DataError, match="none of the 4 classes"):
        audit(other, data, out_folder=tmp_path / "s", sections=["limits"])


def test_a_judge_that_numbers_the_classes_otherwise_is_refused(tmp_path):
    data = dataset(names=("a", "b", "c", "d"))
    net = classifier(data)
    other = Classifier.wrap(net.module, input_shape=data.input_shape, class_names=list("badc"))
    with pytest.raises(UsageError, match="numbers the classes otherwise"):
        audit(net, data, out_folder=tmp_path / "r", sections=["limits"], judge=other)
    unnamed = Classifier.wrap(net.module, input_shape=data.input_shape)
    audit(net, data, out_folder=tmp_path / "s", sections=["limits"], judge=unnamed)


def test_a_failure_of_several_lines_is_one_sentence():
    from convscope.reports import Report

    report = Report(title="t")
    section = report.section("s", "S")
    report.fail(section, UsageError("it broke", expected="a whole one", hint="mend it"))
    text = section.blocks[-1]["text"]
    assert "it broke; expected: a whole one; fix: mend it" in text and "\\n" not in text


def test_an_audit_of_a_black_box_does_what_it_can_and_names_the_rest(tmp_path):
    data = dataset()
    module = classifier(data).module
    box = Classifier.from_function(
        lambda pixels: module(torch.from_numpy(pixels)).detach(),
        input_shape=data.input_shape, class_names=data.class_names,
    )  # fmt: skip
    result = audit(box, data, out_folder=tmp_path / "box", attacked_images=6, images_per_section=2)
    plain = audit(classifier(data), data, out_folder=tmp_path / "net", sections=["performance"])
    assert result.failed == ()
    assert result.numbers["accuracy"] == plain.numbers["accuracy"] and "robust" in result.numbers
    text = (tmp_path / "box" / "report.json").read_text()
    for spec in AUDIT_SECTIONS.specs().values():
        assert (
            (f"a black box has no {spec.needs}, only answers" in text)
            or not spec.needs
            or spec.asked
        )
    assert "`saliency`" in text and "`pgd`" in text and "Only the answers of this" in text
    render(tmp_path / "box")


@pytest.mark.parametrize(("size", "attacked"), [(12, 200), (128, 24)])
def test_large_images_are_attacked_in_smaller_numbers_and_the_report_says_so(
    size, attacked, tmp_path
):
    parts = {n: split(n, 8, i, size=size) for i, n in enumerate(("train", "validation", "test"))}
    data = Dataset(name="bars", class_names=("a", "b", "c", "d"), source="made here", hashes={},
                   **parts)  # fmt: skip
    net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 4))
    network = Classifier.wrap(net, input_shape=(1, size, size), class_names=data.class_names)
    audit(network, data, out_folder=tmp_path / "r", sections=["reproduce"])
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert f'{{"label": "Images attacked", "value": {attacked}}}' in json.dumps(report)
    codes = [alert.get("code") for alert in report["alerts"]]
    assert ("small-samples" in codes) is (size == 128)


@pytest.mark.parametrize("name", ["looking", "fooling", "noises", "robustness"])
def test_a_section_of_many_parts_says_how_far_it_is_in_all_of_them(made, name):
    """A part that begins at 0 again would be silent: shares do not fall."""
    names, rest = list(AUDIT_SECTIONS), 1 - BEFORE  # predictions of all images come before
    start, length = BEFORE + rest * names.index(name) / len(names), rest / len(names)
    heard = [round((share - start) / length, 9) for share, _ in made[1]]
    quarters = [sum(low <= share < low + 0.25 for share in heard) for low in (0, 0.25, 0.5, 0.75)]
    assert min(quarters) >= 1, quarters
