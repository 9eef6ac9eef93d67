import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from convscope.cli import _audit, _doctor, main
from convscope.models import build, save_model
from convscope.reports import read_report
from convscope.studies import AuditResult

SMALL = ["--images", "2", "--attacked", "4", "--only", "performance,architecture,robustness"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(
        tmp_path_factory.mktemp("model") / "m",
        module=build("mnist-conv1", generator=torch.Generator().manual_seed(0)),
        architecture="mnist-conv1",
        class_names=[str(i) for i in range(10)],
        input_shape=(1, 28, 28),
    )


def test_audit_writes_one_page_and_a_folder(model, tmp_path, capsys):
    out = tmp_path / "r.html"
    assert main(["audit", str(model), "--data", "digits", "--out", str(out), "--json", *SMALL]) == 0
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert 0 <= facts["accuracy"] <= 1 and facts["parameters"] == 63050
    assert "wrote" in printed.err and "in a browser" in printed.err
    assert out.is_file() and read_report(tmp_path / "r")["title"]


def test_the_heading_names_a_run_by_its_folder_and_a_file_by_what_is_in_it(model, tmp_path):
    words = ["--data", "digits", "--only", "limits"]
    shipped = "mnist-conv1 on digits"
    places = {model: "m on digits", model / "model.safetensors": shipped, "mnist-conv1": shipped}
    for place, title in places.items():
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.html"
        assert main(["audit", str(place), *words, "--out", str(out)]) == 0
        assert read_report(out.with_suffix(""))["title"] == title


@pytest.mark.parametrize(
    ("command", "option", "words"),
    [
        ("audit", "--force", "Replace an earlier report."),
        ("attack", "--force", "Write over what --out names."),
        ("data download", "--data-dir", "Folder to put the data files into."),
        ("data import", "--data-dir", "Folder to put the data files into."),
        ("data list", "--data-dir", "Folder that holds the data files."),
        ("data verify", "--skip-bad", "Leave unreadable images of a folder out"),
        ("scratch check", "--seed", "Decides weights and inputs."),
        ("scratch train", "--seed", "Decides the first weights and the order of the images."),
        ("adder", "--json", "Print the sum, the hidden units and the outputs as JSON."),
    ],
)
def test_help_says_what_a_common_option_means_in_this_command(command, option, words, capsys):
    assert main([*command.split(), "--help"]) == 0
    plain = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert words in plain[plain.index(option) :]


def test_a_gate_that_is_missed_exits_1_after_writing(model, tmp_path, capsys):
    out = tmp_path / "r.html"
    words = ["audit", str(model), "--data", "digits", "--out", str(out), *SMALL]
    assert main([*words, "--fail-under", "accuracy=0.98,robust=0.1"]) == 1
    assert "accuracy is" in capsys.readouterr().err and out.is_file()


def test_a_gate_on_the_number_of_weights_is_an_upper_limit(model, tmp_path):
    words = ["audit", str(model), "--data", "digits", "--only", "architecture"]
    assert main([*words, "--out", str(tmp_path / "a"), "--fail-under", "parameters=70000"]) == 0
    assert main([*words, "--out", str(tmp_path / "b"), "--fail-under", "parameters=60000"]) == 1


def test_an_earlier_report_is_replaced_only_with_force(model, tmp_path, capsys):
    words = ["audit", str(model), "--data", "digits", "--only", "architecture"]
    words += ["--out", str(tmp_path / "r.html")]
    assert main(words) == 0
    assert main(words) == 2 and "--force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--fail-under", "acurracy=1"], 2, "did you mean accuracy"),
        (["--only", "filter"], 2, "did you mean filters"),
        (["--epsilon", "8"], 2, "did you mean 8/255"),
        (["--effort", "huge"], 2, "effort"),
    ],
)
def test_a_refused_audit_says_what_would_be_right(model, tmp_path, capsys, words, code, text):
    words = ["audit", str(model), "--data", "digits", "--out", str(tmp_path / "r.html"), *words]
    assert main(words) == code
    assert text in capsys.readouterr().err.lower()
    assert not list(tmp_path.iterdir())


def test_report_renders_again_and_reports_lost_pictures(model, tmp_path, capsys):
    out = tmp_path / "r.html"
    words = ["audit", str(model), "--data", "digits", "--out", str(out), "--only", "filters"]
    assert main(words) == 0
    first = out.read_bytes()
    assert main(["report", str(tmp_path / "r")]) == 0
    assert out.read_bytes() == first
    next((tmp_path / "r" / "images").iterdir()).unlink()
    assert main(["report", str(tmp_path / "r"), "--out", str(tmp_path / "again.html")]) == 8
    assert "missing" in capsys.readouterr().err
    assert "the file is missing" in (tmp_path / "again.html").read_text()


def test_report_of_nothing_exits_3(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 3
    assert "report.json" in capsys.readouterr().err


def test_pages_hold_no_trace_of_this_machine(model, tmp_path):
    out = tmp_path / "r.html"
    assert main(["audit", str(model), "--data", "digits", "--out", str(out), *SMALL]) == 0
    assert str(tmp_path) not in out.read_text()


def test_doctor_finds_this_machine_fit(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    names = {finding["what"] for finding in facts["findings"]}
    assert facts["ok"] and {"python", "torch", "threads", "data digits", "disk"} <= names


@pytest.fixture
def broken_torchvision(tmp_path, monkeypatch):
    """A torchvision that was built for another torch."""
    (tmp_path / "torchvision").mkdir()
    text = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))


def test_doctor_names_a_broken_torchvision_without_importing_it(
    broken_torchvision, monkeypatch, capsys
):
    monkeypatch.setattr(_doctor, "CHECKS", (_doctor.check_torchvision,))
    assert main(["doctor"]) == 1
    printed = capsys.readouterr()
    assert "nms does not exist" in printed.out and "pip uninstall torchvision" in printed.out
    assert "torchvision" not in sys.modules


@pytest.mark.slow
def test_the_demo_reaches_98_percent_and_can_be_repeated(tmp_path):
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "convscope.cli", "demo", "--out", str(tmp_path / "d")],
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    accuracy = float(done.stdout.split("accuracy")[1].split("%")[0])
    assert accuracy >= 98
    assert (tmp_path / "d" / "report.html").stat().st_size < 300_000


@pytest.mark.parametrize(
    ("failed", "refused", "code", "says"),
    [
        (("Fooling",), (), 8, "section 'Fooling' is incomplete"),
        ((), ("a picture is damaged",), 8, "a picture is damaged"),
        ((), (), 0, "in a browser"),
    ],
)
def test_a_demo_with_an_incomplete_section_does_not_pass_for_whole(
    tmp_path, monkeypatch, capsys, failed, refused, code, says
):
    found = AuditResult(
        folder=tmp_path, numbers={"robust": 0.35}, alerts=(), failed=failed, seconds=1.0,
        epsilon=0.1,
    )  # fmt: skip
    trained = SimpleNamespace(classifier=SimpleNamespace(module=torch.nn.Identity()))
    monkeypatch.setattr("convscope.training.train", lambda *_, **__: trained)
    heard = {}
    monkeypatch.setattr(
        "convscope.studies.audit", lambda *_, **given: (heard.update(given), found)[1]
    )
    monkeypatch.setattr(_audit, "write_pages", lambda *_, **__: refused)
    assert main(["demo", "--out", str(tmp_path / "d")]) == code
    printed = capsys.readouterr()
    assert says in printed.err and heard["title"] == "mnist-conv2-fc-bn on digits"
    assert "robust (L∞ ≤ 0.1)" in printed.out and "35.00 %" in printed.out


def test_the_demo_replaces_nothing_but_a_demo(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("x")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "no demo" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
