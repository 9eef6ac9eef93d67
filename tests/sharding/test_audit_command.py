"""`convscope audit` with several workers: tables and figures of one process, byte for byte."""

import csv
import json

import pytest

from convscope.attacks import AttackJudging
from convscope.cli import main
from convscope.robustness import CertificationJudging, CurveJudging, RobustnessJudging
from convscope.sharding import Part, Record
from convscope.studies import AuditJudging
from convscope.training import AccuracyJudging

AUDIT = ["audit", "mnist-conv1", "--data", "digits", "--count", "5", "--shown", "2", "--quiet"]
SOME = ["--only", "performance,fooling,robustness,reproduce"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch, tmp_path):
    """Blocks of few images; kept work goes to a cache of the test."""
    for kind in (AttackJudging, CurveJudging, RobustnessJudging, CertificationJudging):
        monkeypatch.setattr(kind, "size", 3)
    monkeypatch.setattr(AccuracyJudging, "size", 200)
    for name in ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["convscope", "audit", "mnist-conv1"])
    monkeypatch.chdir(tmp_path)


def without_seconds(path):
    """A table without the column of seconds."""
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    kept = [i for i, head in enumerate(rows[0]) if head != "seconds"]
    return [[row[i] for i in kept] for row in rows]


def report_of(folder):
    """Everything of a report that is no time."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "report.json"):
        name = str(path.relative_to(folder))
        found[name] = without_seconds(path) if path.suffix == ".csv" else path.read_bytes()
    tree = json.loads((folder / "report.json").read_text())
    assert all(section["status"] == "ok" for section in tree["sections"])
    del tree["created"], tree["subtitle"]
    tree["tiles"] = [tile for tile in tree["tiles"] if tile["label"] != "Time per image"]
    for section in tree["sections"]:
        for block in section["blocks"]:
            titles = [column["title"] for column in block.get("columns", ())
                      if isinstance(column, dict)]  # fmt: skip
            if "seconds" in titles:
                place = titles.index("seconds")
                block["rows"] = [[*row[:place], *row[place + 1 :]] for row in block["rows"]]
    return found | {"report.json": json.dumps(tree)}


def numbers_of(text):
    """What `--json` says, without times and the name of the page."""
    found = json.loads(text)
    return {k: v for k, v in found.items() if "seconds" not in k and k != "report"}


def run(capsys, *words):
    code = main([*words, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return numbers_of(out) if out else None


def workers(capsys, only, count):
    """The report of so many workers, and that of a merge."""
    words = [*AUDIT, *only, "--part", f"part{count}", "--out", f"out{count}.html"]
    said = [run(capsys, *words, "--shard", f"{i}/{count}") for i in range(count, 0, -1)]
    assert said[:-1] == [None] * (count - 1)
    return said[-1], run(capsys, "merge", f"part{count}", "--out", f"merged{count}.html", "--quiet")


def check_workers(capsys, tmp_path, only, counts):
    alone = run(capsys, *AUDIT, *only, "--out", "alone.html")
    whole = report_of(tmp_path / "alone")
    for count in counts:
        assert workers(capsys, only, count) == (alone, alone)
        for name in ("out", "merged"):
            found = report_of(tmp_path / f"{name}{count}")
            assert list(found) == list(whole)
            assert [name for name in found if found[name] != whole[name]] == []


def test_three_workers_and_a_merge_give_the_report_of_one(capsys, tmp_path):
    check_workers(capsys, tmp_path, SOME, (3,))


@pytest.mark.slow
def test_all_sections_are_those_of_one_process(capsys, tmp_path):
    check_workers(capsys, tmp_path, ["--certify", "0.1"], (1, 2))


def test_an_audit_goes_on_where_it_was_killed(capsys, monkeypatch, tmp_path):
    words = [*AUDIT, "--only", "performance,architecture,filters", "--resume", "--out", "r.html"]
    judge, predict, judged, predicted = AuditJudging.judge, AccuracyJudging.judge, [], []

    def dying(self, rows, head):
        judged.append(rows.start)
        if len(judged) == 2:
            raise KeyboardInterrupt
        return judge(self, rows, head)

    def counted(self, rows, head):
        predicted.append(rows.start)
        if len(predicted) == 2:
            raise KeyboardInterrupt
        return predict(self, rows, head)

    monkeypatch.setattr(AuditJudging, "judge", dying)
    monkeypatch.setattr(AccuracyJudging, "judge", counted)
    assert main(words) == main(words) == 130 and not (tmp_path / "r").exists()
    assert main(words) == 0
    capsys.readouterr()
    # Predictions of all images come first: the block that was killed is made again, and no other.
    assert predicted == [0, 200, 200]
    assert judged == [0, 1, 1, 2]
    assert report_of(tmp_path / "r")
    assert not list((tmp_path / "cache").rglob("*.npz")), "what is reported is not kept"


def test_another_audit_is_refused_and_missing_blocks_have_names(capsys):
    words = [*AUDIT, "--only", "architecture,filters,fooling", "--part", "p"]
    assert main([*words, "--shard", "1/2"]) == 0
    assert main(["merge", "p"]) == 2
    said = capsys.readouterr().err
    assert "error[T25]" in said and "not judged yet: filters" in said and "fooling:" in said
    assert main([*words, "--seed", "1"]) == 2
    assert "error[T23]" in capsys.readouterr().err


def test_a_section_that_fails_fails_in_every_report(capsys, monkeypatch, tmp_path):
    def fails(work, section):
        section.text("so far")
        raise RuntimeError("it broke")

    monkeypatch.setattr("convscope.studies._inside.filter_pictures", fails)
    words = [*AUDIT, "--only", "filters,architecture"]
    reports = []
    for more in ([], ["--part", "p"]):
        out = f"r{len(more)}.html"
        assert main([*words, *more, "--out", out]) == 8
        reports.append(json.loads((tmp_path / out).with_suffix("").joinpath(
            "report.json").read_text())["sections"])  # fmt: skip
    assert reports[0] == reports[1] and reports[0][0]["status"] == "failed"
    assert "it broke" in json.dumps(reports[0]) and "so far" in json.dumps(reports[0])


@pytest.mark.parametrize(
    "changed", [{"files": ["../../../outside"]}, {"piece": "[]"}, {"piece": 3}, {"files": 1}]
)
def test_a_piece_that_no_audit_has_written_is_damage(changed, capsys, tmp_path):
    words = [*AUDIT, "--only", "architecture", "--part", "p", "--out", "r.html"]
    assert main(words) == 0
    part = Part.opened(tmp_path / "p")
    record = part.read(0)
    part.write(0, Record({**record.numbers, **changed}, record.arrays))
    capsys.readouterr()
    assert main(["merge", "p", "--out", "m.html"]) == 3
    assert "error[T24]" in capsys.readouterr().err
    assert not (tmp_path / "m").exists() and not (tmp_path.parent / "outside").exists()
