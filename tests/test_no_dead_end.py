"""What the program says next can be pasted, and what it refuses names what would do."""

import os
import shlex

import numpy as np
import pytest
from PIL import Image

from convscope.cli import main
from convscope.models import build, save_model

NETWORK = "mnist-conv2-fc"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with names that a shell would split."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVSCOPE_DATA", str(tmp_path / "my data"))
    (tmp_path / "my data").mkdir()
    save_model(
        tmp_path / "run one",
        module=build("mnist-conv1"),
        architecture="mnist-conv1",
        class_names=tuple("0123456789"),
        input_shape=(1, 28, 28),
        source="a test",
    )
    for name in "01":
        folder = tmp_path / "my photos" / name
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = np.full((28, 28), 40 * number + int(name), np.uint8)
            Image.fromarray(pixels).save(folder / f"a {number}.png")
    return tmp_path


SAYS_NEXT = [
    "inspect 'run one' digits:test/7 --show saliency",
    "inspect 'run one' 'my photos/0/a 1.png' --show gradcam",
    "inspect 'run one' --units logits --steps 1",
    "inspect 'run one' --units logits --steps 1 --data digits --out u.html",
    "inspect 'run one' --trust --data digits --count 2 --show saliency --out t.html",
    "inspect 'run one' --trust --data 'folder:my photos' --count 2 --show saliency",
    "attack fgsm 'run one' digits:test/0-3",
    "attack evaluate 'run one' --data digits --epsilon 0.1 --effort quick --count 4",
    "attack certify 'run one' --data digits --sigma 0.1 --draws 20 --alpha 0.05 --images 2",
    "attack transfer 'run one' mnist-conv1 --data 'folder:my photos' --method fgsm --eps 0.1",
    "attack list",
    "attack settings from-noise",
    "eval 'run one' --data 'folder:my photos'",
    "train mnist-conv1 --data 'folder:my photos' --epochs 0 --out 'run two'",
    "scratch train mnist-conv1 --epochs 1 --data 'folder:my photos'",
    "scratch train mnist-conv1 --epochs 1 --data 'folder:my photos' --out 'run three'",
    "scratch check",
    "models list",
    "adder 100111 110010",
    "doctor",
]
SLOW = ("convscope demo", "convscope audit", "convscope attack evaluate", "convscope scratch train")
"""What is parsed instead of run: it takes a minute or more at full size."""


@pytest.mark.parametrize("line", SAYS_NEXT)
def test_what_is_said_next_can_be_pasted(here, capsys, line):
    assert main(shlex.split(line)) == 0
    said = capsys.readouterr().err
    lines = [text.removeprefix("next: ") for text in said.splitlines() if text[:6] == "next: "]
    assert lines
    for text in lines:
        program, *words = shlex.split(text)
        assert program == "convscope"
        if text.startswith(SLOW):
            from convscope.cli._app import build_app

            build_app().parse_args(words, exit_on_error=False, print_error=False)
        else:
            assert main(words) in (0, 1), text
    assert "..." not in " ".join(lines) and "DATA" not in " ".join(lines)


def test_maps_are_not_thrown_away_in_silence(here, capsys):
    assert main(["inspect", "run one", "my photos/0/a 1.png", "--show", "grad-cam"]) == 0
    said = capsys.readouterr().err
    assert "not written" in said and "--out look.html" in said
    assert main(["inspect", "run one", "digits:test/7", "--show", "ig", "--out", "look.html"]) == 0
    assert "wrote look.html" in capsys.readouterr().err


def test_a_table_of_windows_is_a_screenful(here, capsys):
    assert main(["inspect", "run one", "digits:test/7", "--show", "occlusion"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) <= 24 and "of 64 rows" in err and "--json" in err


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("attack pgd M digits:test/0 --keep bset", 2, "did you mean best"),
        ("attack pgd M digits:test/0 --objective crossentropy", 2, "did you mean cross-entropy"),
        ("attack from-noise M digits:test/0 --target 3 --step adm", 2, "did you mean adam"),
        ("attack pgd M digits:test/0 --draws 3", 2, "--eot-samples without --transforms"),
        ("attack pgd M digits:test/0 --transforms rotation --eot-samples 0", 2, "eot_samples"),
        ("attack ddn M digits:test/0 --change 5", 2, "below 1"),
        ("attack pgd M digits:test/0 --steps 3 more", 2, "'more' follows the settings"),
        ("attack pgd M digits:test/0 --steps --keep best", 2, "--steps needs a value"),
        ("attack pgd M digits:test/0 --out fooled.png", 2, "fooled.html"),
        ("attack evaluate M --data digits --norm l3", 2, "l2"),
        ("attack evaluate M --data digits --effort hard", 2, "standard"),
        ("inspect M digits:test/7 --show saliency --window 4", 2, "saliency has no --window"),
        ("inspect M digits:test/7 --show saliency --layer conv9", 2, "no --layer"),
        ("inspect M digits:test/7 --show saliency --fill blur", 2, "occlusion, rise"),
        ("inspect M digits:test/7 --recipe nonsense --count 3", 2, "--recipe or --count"),
        ("inspect M digits:test/7 --data digits", 2, "DATA:SPLIT/ROWS"),
        ("inspect M --units logits --show saliency", 2, "--units takes no --show"),
        ("inspect M --trust --data digits --layer conv1", 2, "--trust takes no --layer"),
        ("inspect M digits:test/7 --show occlusion --fill blurr", 2, "did you mean blur"),
        ("inspect M digits:test/7 --show occlusion --preset 12/5", 2, "12/4"),
        ("inspect M digits:test/7 --show occlusion --fill 128", 2, "128/255"),
        ("inspect M --units pool2:0 --at middle", 2, "center"),
        ("inspect M --units logits --at mean", 2, "layers of maps"),
        ("inspect M --units pool2:0 --judge mnist-conv1", 2, "a judge says nothing"),
        ("--threads 99999 models list", 2, "1 to 1024"),
        ("inspect M --units '' --steps 1", 2, "--units is empty"),
        ("inspect M digits", 3, "did you mean digits:test/0-9"),
        ("inspect M mnsit:test/7", 3, "did you mean mnist:test/7"),
        ("inspect M digits:val/7", 2, "did you mean validation"),
        ("eval M --data 'my photos'", 2, "did you mean 'folder:my photos'?"),
        ("eval M --data digits:test", 2, "--data digits --split test"),
        ("eval M --data cifar-10", 2, "did you mean cifar10"),
        ("eval mnist-conv2-fd --data digits", 4, "did you mean mnist-conv2-fc"),
        ("eval mnist-tiny --data digits", 4, "convscope train mnist-tiny"),
        ("eval M --data digits --fail-under acuracy=0.9", 2, "did you mean accuracy"),
        ("eval M --data digits --fail-under robust=0.4", 2, "convscope attack evaluate computes"),
        ("attack evaluate M --data digits --fail-under ece=0.1", 2, "convscope eval or convscope"),
        ("eval M --data digits --fail-under 98", 2, "did you mean accuracy=0.98"),
        ("eval M --data mnist --offline", 6, "convscope data download mnist"),
        ("audit M --data digits --only ,", 2, "--only names no section"),
        ("audit M --data digits --out report.pdf", 2, "report.html"),
        ("audit M --data digits --out 'run one/config.json/x.html'", 2, "nothing can be written"),
        ("audit M --data digits --fail-under 0.5", 2, "NAME=NUMBER"),
        ("train mnist-conv1 --out model.pt", 2, "a folder"),
        ("train --resume --out nowhere", 2, "no run to go on with"),
        ("train --resume", 2, "--out RUN"),
        ("report .", 3, "report.json"),
        ("models show mnist-tiny --mean 0.5", 2, "says nothing about it"),
        ("data download pets", 6, "does not download it"),
        ("data verify folder:nowhere", 3, "nowhere"),
        ("scratch train --epochs 0", 2, "at least 1"),
        ("eval", 2, "convscope eval needs MODEL"),
        ("eval M --data digits surplus", 2, "nothing takes 'surplus'"),
    ],
)
def test_what_is_refused_names_what_would_do(here, capsys, line, code, says):
    words = [NETWORK if word == "M" else word for word in shlex.split(line)]
    assert main(words) == code
    err = capsys.readouterr().err
    begin = next(i for i, text in enumerate(err.splitlines()) if text.startswith("error"))
    assert says in err and len(err.splitlines()) - begin <= 4 and "Traceback" not in err


@pytest.mark.parametrize(
    "line",
    [
        "attack fgsm M digits:test/0-1 --eps 0.1 --norm L2",
        "attack bim M digits:test/0-1 --eps 8/255 --alpha 0.01 --iters 2",
        "attack mifgsm M digits:test/0-1 --eps 0.1",
        "attack cw M digits:test/0-1 --steps 2 --search-steps 1 --kappa 0",
        "attack evaluate M --data digits --eps 0.1 --effort quick --limit 2 --gate robust=0",
        "inspect M digits:test/7 --show GradCAM,ig,smoothgrad --target 3",
        "eval M --dataset digits --count 20 --split val --fail-under acc=0.1,top3=0.2",
        "eval M --data digits --limit 20 --fail-under 0.1",
        "audit M --data digits --attacked 4 --images 2 --only architecture --gate parameters=1e9",
        "train mnist-conv1 --lr 0.01 --batch 64 --epoch 3 --optimizer AdamW --print-config",
    ],
)
def test_the_names_that_people_type_are_taken(here, capsys, line):
    words = [NETWORK if word == "M" else word for word in shlex.split(line)]
    assert main(words) == 0, capsys.readouterr().err


def test_aliases_set_what_they_say(here, capsys):
    assert main(["train", "mnist-conv1", "--lr=0.01", "--epoch", "3", "--print-config"]) == 0
    out = capsys.readouterr().out
    assert "learning_rate = 0.01" in out and "epochs = 3" in out


def test_the_page_of_a_method_is_about_the_method(here, capsys):
    assert main(["attack", "pgd", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "attack pgd MODEL" in out and "--step-size" in out and "8/255" in out
    assert "Projected gradient ascent on the loss" in out
    assert "Tensor" not in out and "`" not in out


def test_completion_is_installed_for_the_shell(here, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("SHELL", "/bin/bash")
    assert main(["--install-completion"]) == 0
    scripts = [path for path in here.rglob("*") if path.name == "convscope" and path.is_file()]
    assert len(scripts) == 1 and "inspect" in scripts[0].read_text()
    assert os.environ["HOME"] == str(here)


def test_doctor_proposes_what_helps(here, capsys):
    from convscope.cli._doctor import check_data

    found = {finding.what: finding for finding in check_data(None)}
    assert found["data mnist"].fix == "convscope data download mnist"
    assert found["data cifar10"].fix == "convscope data download cifar10"
    assert "does not download it" in found["data pets"].fix and "unpack" in found["data pets"].fix
    assert found["data digits"].fix == found["data shapes"].fix == ""
    assert not any("downloading is off" in one.found for one in found.values())
    assert check_data(here / "my data")[1].fix.endswith(f"--data-dir '{here / 'my data'}'")


@pytest.mark.parametrize(
    ("line", "said", "wanted"),
    [
        ("study 002 --seed x", "--seed 'x'", "a whole number"),
        ("audit mnist-conv1 --data digits --shown few", "--shown 'few'", "a whole number"),
        ("train mnist-conv1 --data digits --weight-decay y", "--weight-decay 'y'", "a number"),
        ("study 002 --fast=maybe", "--fast 'maybe'", "true or false"),
        ("eval mnist-conv1 --data digits --seed 1.5", "--seed '1.5'", "a whole number"),
        ("audit mnist-conv1 --data digits --shown=.5", "--shown '.5'", "a whole number"),
        ("attack evaluate mnist-conv1 --data digits --epsilon x", "--epsilon: 'x' is not a number",
         "a number such as 0.3 or 8/255"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_answered_with_the_kind(line, said, wanted, capsys):
    assert main(line.split()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[0] and lines[1] == f"  expected: {wanted}"
