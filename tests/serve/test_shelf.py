"""Runs, reports and studies of a folder: found, shown, followed, and only read."""

import json
import os
import socket
from pathlib import Path

import pytest

from convscope.serve import ServedNetwork, Shelf
from tests.serve.conftest import COLUMNS, MARKUP, Page, make_report, make_run, row, serving


def listed(page):
    return {item["name"]: item for item in page.client.get("/api/shelf").json()["items"]}


def test_runs_reports_studies_and_pages_are_found(page, tmp_path):
    make_run(tmp_path / "one")
    make_run(tmp_path / "more" / "two")
    make_report(tmp_path / "audit")
    study = make_report(tmp_path / "study", "A study")
    (study / "result.json").write_text("{}")
    (tmp_path / "look.html").write_text("<p>hello")
    (tmp_path / ".hidden").mkdir()
    make_run(tmp_path / ".hidden" / "run")
    (tmp_path / "notes.txt").write_text("x")
    found = listed(page)
    assert {name: item["kind"] for name, item in found.items()} == {
        "one": "run", "more/two": "run", "audit": "report", "study": "study", "look.html": "page",
    }  # fmt: skip
    assert "mnist-conv1, digits" in found["one"]["about"]
    assert "75.00%" in found["one"]["about"]
    assert found["study"]["about"] == "A study"


def test_links_that_lead_out_are_not_followed(page, tmp_path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    make_run(outside / "run")
    (outside / "a.html").write_text("secret")
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "a.html").symlink_to(outside / "a.html")
    assert listed(page) == {}
    for name in ("link/run", "../outside0/run", str(outside / "run"), "a.html", "/etc/passwd", ""):
        assert page.client.get("/api/shelf/run", params={"name": name}).status_code == 422
        assert page.client.get("/shelf/show", params={"name": name}).status_code == 422


def test_a_run_in_progress_is_followed_row_by_row(page, tmp_path):
    folder = make_run(tmp_path / "run", steps=2)
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": "now"}
    (folder / "run.lock").write_text(json.dumps(owner))

    def ask(after, mark=""):
        where = {"name": "run", "after": after, "mark": mark}
        return page.client.get("/api/shelf/run", params=where).json()

    first = ask(0)
    assert [line["step"] for line in first["rows"]] == [1, 2]
    assert first["owner"] == f"process {os.getpid()}"
    assert first["epochs"] == 3
    with (folder / "metrics.csv").open("a") as file:
        file.write(row(3) + row(4)[:7])  # a line that is being written
    later = ask(2, first["mark"])
    assert [line["step"] for line in later["rows"]] == [3]
    assert later["count"] == 3
    assert listed(page)["run"]["live"]
    (folder / "run.lock").unlink()
    assert ask(3, later["mark"])["owner"] == ""
    assert ask(3, later["mark"])["rows"] == []
    assert len(ask(3, first["mark"])["rows"]) == 3
    assert not listed(page)["run"]["live"]


def test_the_lock_of_a_dead_process_is_no_progress(page, tmp_path):
    folder = make_run(tmp_path / "run")
    dead = {"pid": 2**22 + 1, "host": socket.gethostname(), "started": "then"}
    (folder / "run.lock").write_text(json.dumps(dead))
    assert not listed(page)["run"]["live"]
    (folder / "run.lock").write_text(json.dumps({**dead, "host": "another-machine"}))
    assert page.client.get("/api/shelf/run?name=run").json()["owner"] == (
        "a process on another-machine"
    )
    (folder / "run.lock").write_text("[]")
    assert not listed(page)["run"]["live"]


def test_a_report_is_rendered_anew_and_can_send_nothing(page, tmp_path):
    folder = make_report(tmp_path / "audit", MARKUP)
    (folder / "report.html").write_text("<script>steal()</script>")
    answer = page.client.get("/shelf/show?name=audit")
    assert answer.status_code == 200
    assert "steal" not in answer.text
    assert MARKUP not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy
    assert "default-src 'none'" in policy


def test_scripts_of_a_foreign_page_do_not_run(page, tmp_path):
    (tmp_path / "look.html").write_text(MARKUP)
    policy = page.client.get("/shelf/show?name=look.html").headers["content-security-policy"]
    assert policy.startswith("sandbox;")
    assert "script-src" not in policy
    assert "allow-scripts" not in policy


def test_damage_is_said_and_spoils_nothing_else(page, tmp_path):
    make_run(tmp_path / "good")
    bad = make_run(tmp_path / "bad")
    (bad / "metrics.csv").write_text(f"{COLUMNS}\n1,x,y\n")
    (bad / "config.toml").write_text("= nonsense")
    report = make_report(tmp_path / "broken")
    (report / "report.json").write_text("{")
    assert set(listed(page)) == {"good", "bad", "broken"}
    assert page.client.get("/api/shelf/run?name=bad").json()["error"]["what"]
    assert page.client.get("/shelf/show?name=broken").status_code == 422
    assert page.client.get("/api/shelf/run?name=good").status_code == 200
    assert page.client.get("/api/shelf/run?name=broken").status_code == 422
    assert page.client.get("/shelf/show?name=good").status_code == 422


def test_the_folder_is_only_read(page, tmp_path):
    make_run(tmp_path / "run")
    make_report(tmp_path / "audit")

    def state():
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.rglob("*")
        }

    before = state()
    listed(page)
    page.client.get("/api/shelf/run?name=run")
    page.client.get("/shelf/show?name=audit")
    assert state() == before


def test_a_folder_that_comes_later_is_no_error(network):
    served = serving([], [], Shelf(Path("/nowhere/at/all")))
    try:
        page = Page(served)
        assert listed(page) == {}
        assert "Experiments" in page.client.get("/").text
    finally:
        served.close()


@pytest.mark.parametrize("name", [MARKUP, '"><img src=x onerror=alert(1)>', "a&b=c#d"])
def test_hostile_names_stay_text(network, tmp_path, name):
    folder = name.replace("/", "_")
    make_run(tmp_path / folder, model=MARKUP)
    served = serving(
        [ServedNetwork(name=name, classifier=network.classifier), network], (), Shelf(tmp_path)
    )
    try:
        page = Page(served)
        for path in ("/", "/network/1", "/shelf"):
            assert name not in page.client.get(path).text or "<" not in name
        answer = page.client.get("/api/shelf/run", params={"name": folder})
        assert answer.json()["settings"]["model"] == MARKUP
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
    finally:
        served.close()
