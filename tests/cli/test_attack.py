"""``convscope attack`` as typed."""

import base64
import inspect
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from convscope import results
from convscope.attacks import ATTACKS, AttackResult, pgd
from convscope.classifier import Classifier
from convscope.cli import main
from convscope.cli._attack import within
from convscope.cli._settings import meanings_in, settings_of
from convscope.cli._words import read_settings
from convscope.data import open_dataset
from convscope.errors import UsageError
from convscope.models import build, load, save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    net = build("mnist-conv1", num_classes=10, input_shape=(1, 28, 28),
                generator=torch.Generator().manual_seed(0))  # fmt: skip
    save_model(folder, module=net, architecture="mnist-conv1", input_shape=(1, 28, 28),
               class_names=["zero", *"123456789"], source="a test")  # fmt: skip
    return str(folder)


def test_json_is_what_was_asked_for(model, capsys):
    words = ["attack", "pgd", model, "digits:test/0-4", "--epsilon", "8/255",
             "--steps", "3", "--json"]  # fmt: skip
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 5 and found["epsilon"] == pytest.approx(8 / 255)
    assert {"success_rate", "forwards_per_image", "backwards_per_image", "seconds"} <= set(found)


def test_nan_becomes_null(model, capsys):
    """All five images are predicted as the target already: there is no success rate."""
    network = load(model)
    images = open_dataset("digits").split("test").to_float()
    predicted = network.predict(images, top=1).labels[:, 0]
    target = int(predicted.mode().values)
    rows = ",".join(map(str, (predicted == target).nonzero()[:5, 0].tolist()))
    words = ["attack", "pgd", model, f"digits:test/{rows}", "--target", str(target), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == found["already_misclassified"] == 5
    assert found["success_rate"] is None and found["success_rate_quantized"] is None
    assert {flag["code"] for flag in found["flags"]} >= {"target-predicted"}


def test_what_was_wrong_before_is_not_counted_as_fooled_within_a_budget():
    """Rows: moved little, moved far, not fooled, wrong already."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    images = torch.full((4, 1, 2, 2), 0.5)
    found = pgd(Classifier.wrap(net, input_shape=(1, 2, 2)), images, torch.zeros(4).long(), steps=1)
    moves = torch.tensor([0.1, 0.3, 0.1, 0.1]).view(4, 1, 1, 1)
    right, wrong = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    found = replace(
        found,
        adversarials=images + moves,
        logits_before=torch.stack([right, right, right, wrong]),
        logits_after=torch.stack([wrong, wrong, right, wrong]),
    )
    assert within(found, 0.15) == {"epsilon": 0.15, "task": 3, "linf": 1, "l2": 0}
    assert within(found, 0.35) == {"epsilon": 0.35, "task": 3, "linf": 2, "l2": 1}


def test_a_folder_holds_the_8_bit_images_that_were_judged(model, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["attack", "l2-gradient-ascent", model, "digits:test/0-2", "--target", "zero",
             "--steps=5",
             "--out", str(out)]  # fmt: skip
    assert main(words) == 0
    result = results.load(AttackResult, out / "result")
    assert result.targets.tolist() == [0, 0, 0]
    for row in range(3):
        read = np.asarray(Image.open(out / f"adversarial-{row:04d}.png"))
        assert np.array_equal(read, result.quantized[row, 0].numpy())
    assert (out / "figure.png").is_file() and (out / "images.csv").is_file()
    assert main(words) == 2 and "U13" in capsys.readouterr().err


def test_a_page_is_one_file(model, tmp_path):
    out = tmp_path / "page.html"
    words = [
        "attack",
        "fgsm",
        model,
        "digits:test/0-2",
        "--epsilon=0.1",
        "--out",
        str(out),
    ]
    assert main(words) == 0
    text = out.read_text()
    assert 'src="http' not in text and "data:image/png" in text


@pytest.mark.parametrize(
    "words,code,says",
    [
        (["projected-gradien"], "U01", "did you mean pgd"),
        (["pgd", "--stepsiz", "1"], "U11", "step-size"),
        (["pgd", "--steps", "many"], "U11", "whole number"),
        (["pgd", "--steps", "-3"], "U05", "at least 0"),
        (["pgd", "--step-size", "0"], "U06", "positive"),
        (["pgd", "--epsilon", "8"], "U03", "did you mean 8/255"),
        (["pgd", "--epsilon", "-0.1"], "U03", "at least 0"),
        (["pgd", "--epsilon", "nan"], "U03", "NaN"),
        (["pgd", "--epsilon", "0.1", "--epsilon", "0.2"], "U11", "twice"),
        (["pgd", "--target", "cat"], "U08", "unknown class"),
        (["pgd", "--target", "10"], "U08", "0 to 9"),
        (["pgd", "--target", "-1"], "U08", "0 to 9"),
        (["from-noise"], "U08", "needs --target"),
        (["ddn", "--momentum", "0.1"], "U11", "unknown setting of ddn"),
        (["ddn", "--epsilon", "-1"], "U03", "at least 0"),
        (["pgd", "--seed", "-1", "--random-start"], "U12", "2^63"),
    ],
)
def test_refusals_say_what_is_wrong_and_what_is_right(model, capsys, words, code, says):
    line = ["attack", words[0], model, "digits:test/0", *words[1:]]
    assert main(line) == 2
    text = capsys.readouterr().err
    assert says in text
    lines = [line for line in text.splitlines() if line.strip()]
    begin = next(i for i, line in enumerate(lines) if line.startswith(f"error[{code}]"))
    assert len(lines) - begin <= 4
    assert all(line.startswith("warning: ") for line in lines[:begin]) and begin <= 1


def test_no_images_are_refused(model, capsys):
    assert main(["attack", "ddn", model]) == 2
    assert "no images" in capsys.readouterr().err


@pytest.mark.parametrize("name", ATTACKS)
def test_every_setting_can_be_read_from_its_default(name):
    for option, parameter in settings_of(ATTACKS[name]).items():
        if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool):
            given = read_settings(name, ATTACKS[name], [f"--{option}", str(parameter.default)])
            assert given == {parameter.name: parameter.default}


def test_flags_need_no_value():
    attack = ATTACKS["pgd"]
    assert read_settings("x", attack, ["--random-start"]) == {"random_start": True}
    assert read_settings("x", attack, ["--no-random-start"]) == {"random_start": False}
    with pytest.raises(UsageError, match="needs a value"):
        read_settings("x", attack, ["--steps"])


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_takes_a_target_and_an_epsilon(model, capsys, name):
    few = {"steps": "2", "queries": "3", "search-steps": "1"}
    more = [w for k, v in few.items() if k in settings_of(ATTACKS[name]) for w in (f"--{k}", v)]
    words = ["attack", name, model, "digits:test/0-1", "--target", "zero", "--epsilon", "8/255"]
    assert main([*words, *more, "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    bounded = "epsilon" in settings_of(ATTACKS[name])
    assert (found["epsilon"] is not None) is bounded
    assert ("has no budget" in printed.err) is ("within_epsilon" in found) is not bounded


def test_random_transforms_are_given_by_name(model, capsys):
    words = ["attack", "apgd", model, "digits:test/0-2", "--epsilon=0.2", "--steps=2",
             "--transforms", "rotation,crop", "--eot-samples=2", "--json"]  # fmt: skip
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["eot_samples"] == 2
    assert main([*words[:6], "--views", "rotations"]) == 2
    assert "did you mean rotation" in capsys.readouterr().err


@pytest.mark.parametrize("share,code", [("0", 0), ("robust=1", 1)])
def test_a_robust_accuracy_under_the_gate_ends_with_1(model, capsys, share, code):
    words = ["attack", "evaluate", model, "--data", "digits", "--epsilon", "0.01", "--effort",
             "quick", "--count", "2", "--fail-under", share]  # fmt: skip
    assert main(words) == code
    assert ("under" in capsys.readouterr().err) is bool(code)


def test_evaluate_prints_the_suite(model, capsys):
    words = ["attack", "evaluate", model, "--data", "digits", "--epsilon", "0.1",
             "--effort", "quick", "--count", "4", "--json"]  # fmt: skip
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["suite"][0]["attack"] == "fgsm"
    assert found["images"] == 4


def test_certify_prints_the_curve_and_writes_a_page(model, tmp_path, capsys):
    out = tmp_path / "certified.html"
    words = ["attack", "certify", model, "--data", "digits", "--sigma", "1/4", "--draws", "50",
             "--images", "3", "--json", "--out", str(out)]  # fmt: skip
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 3 and found["std"] == 0.25 and found["draws"] == 50
    shares = list(found["certified_accuracy"].values())
    assert shares == sorted(shares, reverse=True)
    text = out.read_text()
    assert "<svg" in text and "certified accuracy" in re.sub("<[^>]*>", "", text)
    assert main([*words[:4], "digits", "--sigma", "0", "--draws", "50"]) == 2


def test_transfer_prints_the_matrix_and_writes_a_page(tmp_path, capsys):
    out = tmp_path / "matrix.html"
    words = ["attack", "transfer", "mnist-conv1", "mnist-conv2", "--data", "digits",
             "--epsilon", "0.3", "--count", "20"]  # fmt: skip
    assert main([*words, "--json", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "mnist-conv1" in str(found) and "mnist-conv2" in str(found)
    assert "<svg" in out.read_text()
    assert main([*words, "--method", "deepfool"]) == 0
    assert "no budget" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["mnist-conv1"], "two or more"),
        (["mnist-conv1", "mnist-conv1"], "two or more"),
        (["mnist-conv1", "cifar-resnet20"], "different sizes"),
        (["mnist-conv1", "mnist-conv2", "--method", "from-noise"], "needs --target"),
        (["mnist-conv1", "mnist-conv2", "--count", "0"], "at least 1"),
        (["mnist-conv1", "mnist-conv2", "--method", "magic"], "unknown"),
    ],
)
def test_transfer_refuses_with_a_sentence(words, why, capsys):
    assert main(["attack", "transfer", *words, "--data", "digits"]) == 2
    assert why in capsys.readouterr().err


def test_people_are_told_shares_of_what_and_counts_of_how_many(model, capsys):
    words = [
        "attack",
        "l2-gradient-ascent",
        model,
        "digits:test/0-4",
        "--target",
        "zero",
        "--steps=5",
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    told = {line[:40].split("  ")[0].strip(): line for line in out.splitlines() if line}
    assert "images that were not the target already)" in told["fooled"] and "%" in told["fooled"]
    assert "0 'zero'" in told["target"]
    assert "of 5 images" in told["nothing to fool"]
    assert "_" not in out.replace("convscope", "").split("next:")[0], "names of fields"


def test_a_page_does_not_say_where_an_image_lay(model, tmp_path, capsys):
    folder = tmp_path / "ada lovelace" / "secret"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((28, 28), 90, np.uint8)).save(folder / "photo.png")
    page, photo = tmp_path / "page.html", str(folder / "photo.png")
    assert main(["attack", "fgsm", model, photo, "--out", str(page)]) == 0
    text = page.read_text()
    tables = re.findall(r'href="data:text/csv;charset=utf-8;base64,([A-Za-z0-9+/=]+)"', text)
    inside = [base64.b64decode(table).decode() for table in tables]
    assert len(inside) == 1
    assert (
        main(["inspect", model, photo, "--show", "occlusion", "--out", str(page), "--force"]) == 0
    )
    for one in (text, *inside, page.read_text()):
        assert "photo.png" in one and "secret" not in one and str(tmp_path) not in one


def test_a_prediction_is_no_true_class(model, tmp_path, capsys):
    """Without labels the predictions stand for them, but in no column of that name."""
    picture = tmp_path / "photo.png"
    Image.fromarray(np.full((28, 28), 90, np.uint8)).save(picture)
    words = ["attack", "fgsm", model, str(picture), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    heads = (tmp_path / "out" / "images.csv").read_text().splitlines()[0].split(",")
    assert "true" not in heads and "before" in heads
    page = tmp_path / "page.html"
    assert main([*words[:-1], str(page)]) == 0
    text = page.read_text()
    assert "True classes are not known" in text and ">true<" not in text
    assert main(["attack", "fgsm", model, "digits:test/0", "--out",
                 str(tmp_path / "known")]) == 0  # fmt: skip
    assert "true" in (tmp_path / "known" / "images.csv").read_text().splitlines()[0]


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_help_has_a_meaning_for_every_parameter(attack):
    meanings = meanings_in(inspect.getdoc(attack))
    missing = [name for name in inspect.signature(attack).parameters if not meanings.get(name)]
    assert not missing, f"undocumented: {missing}"


@pytest.mark.parametrize("name", ATTACKS)
def test_help_says_whether_a_target_is_taken(name, capsys):
    assert main(["attack", name, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    takes = "targets" in inspect.signature(ATTACKS[name]).parameters
    words = "needed." if ATTACKS.spec(name).needs_target else "by default any wrong class."
    assert (f"--target CLASS: the class to reach, by name or number; {words}" in said) is takes


def test_survival_writes_both_attacks_their_tables_and_the_bytes_that_were_judged(
    model, tmp_path, capsys
):
    out = tmp_path / "fooled"
    words = ["attack", "survival", model, "digits:test/0-1", "--target", "zero", "--epsilon",
             "0.2", "--steps", "3", "--eot-samples", "2"]  # fmt: skip
    assert main([*words, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "target 0 'zero'" in printed.err and "rotate 30" in printed.out
    for kind, ending in (("plain", ""), ("eot", "-eot")):
        made = results.load(AttackResult, out / f"result{ending}")
        for row in range(2):
            read = np.asarray(Image.open(out / f"{kind}-{row:04d}.png"))
            assert np.array_equal(read, made.quantized[row, 0].numpy())
        assert (out / f"fooled{ending}.png").is_file()
        assert (out / f"transformed{ending}.png").is_file()
    lines = (out / "survival.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 2 * 5
    page = tmp_path / "page.html"
    assert main([*words, "--out", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["targets"] == [{"number": 0, "name": "zero"}] and len(told["rows"]) == 20
    assert set(told["target_probability"]) == {"none", "flip", "crop 80 %", "rotate 30",
                                               "grayscale"}  # fmt: skip
    assert page.read_text(encoding="utf-8").count("<svg") >= 5


def test_survival_takes_a_target_for_all_images_or_one_for_each(model, capsys):
    words = ["attack", "survival", model, "digits:test/0-2", "--steps", "1", "--eot-samples", "1"]
    assert main([*words, "--target", "1", "--target", "2"]) == 2
    assert "2 targets for 3 images" in capsys.readouterr().err
    three = [word for target in "123" for word in ("--target", target)]
    assert main([*words, *three, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [target["number"] for target in told["targets"]] == [1, 2, 3]
