"""The playground as a block of a report: what goes into the page, and what is refused."""

import json
import re

import pytest
import torch

from convscope.cli import main
from convscope.models import load
from convscope.playground import example, page_data, playable_network
from convscope.reports import Report, render


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report folder with a playground."""
    classifier = load("mnist-conv1")
    images = torch.rand(4, 1, 28, 28).mul(255).round() / 255
    made = playable_network(classifier, images)
    report = Report(title="t")
    section = report.section("playground", "Playground")
    section.playground(
        page_data(made, [example(images[0], "test image 0", 3)], epsilon=0.1), made.weights
    )
    return report.write(tmp_path_factory.mktemp("report") / "r")


def copied(folder, tmp_path, name, change):
    """The folder with one file changed."""
    for file in folder.rglob("*"):
        if file.is_file():
            to = tmp_path / "r" / file.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            data = file.read_bytes()
            to.write_bytes(change(data) if file.name == name else data)
    return tmp_path / "r"


def test_the_page_is_the_same_bytes_and_its_policy_names_each_script(folder, tmp_path):
    one, two = (render(folder, tmp_path / f"{n}.html") for n in "ab")
    assert one.refused == () and one.path.read_bytes() == two.path.read_bytes()
    text = one.path.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert "connect-src" not in policy and "http" not in policy
    scripts = re.findall(r"<script(?: id=\"playground-engine\")?>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 2 == len(re.search(r"script-src ([^;]*)", policy)[1].split())
    for script in scripts:
        assert not re.search(r"\beval\(|new Function|innerHTML|document\.write|https?:", script)


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("weights.txt", lambda data: data[:50] + b"</script><script>alert(1)</script>", "damaged"),
        ("weights.txt", lambda data: data + "é".encode(), "damaged"),
        ("playground.json", lambda data: data[:-30], "Expecting|Unterminated|cannot be shown"),
        ("playground.json", lambda data: b"[1]", "holds no network"),
        ("playground.json", lambda data: b"\xff\xfe", "cannot be shown"),
    ],
)
def test_damaged_files_of_a_playground_leave_a_remark(folder, tmp_path, name, change, why):
    made = render(copied(folder, tmp_path, name, change))
    assert len(made.refused) == 1 and re.search(why, made.refused[0]), made.refused
    text = made.path.read_text()
    assert "<script" not in text and "script-src" not in text and "alert(1)" not in text


def test_texts_of_the_network_cannot_leave_their_place(folder, tmp_path):
    def change(data):
        tree = json.loads(data)
        tree["graph"]["classes"][0] = "</script><img src=x onerror=alert(1)>"
        tree["examples"][0]["name"] = "<!--<script>"
        return json.dumps(tree).encode()

    text = render(copied(folder, tmp_path, "playground.json", change)).path.read_text()
    assert text.count("</script>") == 5 and "<img src=x" not in text and "<!--" not in text
    held = re.search(r'id="playground-data">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(held)["graph"]["classes"][0] == "</script><img src=x onerror=alert(1)>"


def test_one_page_has_one_playground_and_paper_has_none(folder, tmp_path):
    def change(data):
        tree = json.loads(data)
        tree["sections"][0]["blocks"] *= 2
        return json.dumps(tree).encode()

    made = render(copied(folder, tmp_path, "report.json", change))
    assert "one playground" in made.refused[0]
    assert made.path.read_text().count('id="playground-root"') == 1
    paper = render(folder, tmp_path / "paper.html", enlarge=4)
    assert "<script" not in paper.path.read_text() and "not on paper" in paper.path.read_text()


def test_the_command_writes_a_playable_report(tmp_path, capsys):
    out = tmp_path / "play.html"
    code = main(
        ["audit", "mnist-conv1", "--data", "digits", "--only", "limits", "--playable",
         "--out", str(out), "--no-progress"]
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    assert 'id="playground-root"' in out.read_text()
    assert (tmp_path / "play" / "playground" / "weights.txt").is_file()
