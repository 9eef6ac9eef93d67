"""The door for small files: what is no file, too large, too deep or unreadable is refused."""

import errno
import json
import os
import re
import socket
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from convscope import files, results
from convscope.cli import main
from convscope.errors import (
    CheckpointError,
    ConvscopeError,
    DataError,
    ResourceError,
    UsageError,
)
from convscope.models import build, load, save_model
from convscope.reports import render
from convscope.training import read_history, read_settings
from tests.fuzz.damage import small_run
from tests.reports.conftest import full_report

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices of Unix")


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def listening(path):
    where = os.open(path.parent, os.O_RDONLY)
    here = Path.cwd()
    os.chdir(where)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)
        os.close(where)


def circle(path):
    path.symlink_to(path.name)


SPECIAL = {
    "pipe": pipe,
    "device": device,
    "socket": listening,
    "folder": Path.mkdir,
    "circle": circle,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("small"))


@pytest.fixture
def copy(run, tmp_path):
    """A copy of a run to damage, its data and its settings."""
    import shutil

    folder, data, settings = run
    shutil.copytree(folder, tmp_path / "run")
    return tmp_path / "run", data, settings


def replaced(path, what):
    path.unlink()
    SPECIAL[what](path)
    return path


@pytest.mark.parametrize("what", SPECIAL)
@pytest.mark.parametrize("kind", [files.SETTINGS, files.METRICS, files.TENSORS])
def test_what_is_no_file_is_refused_without_waiting(what, kind, tmp_path):
    SPECIAL[what](tmp_path / "x")
    with pytest.raises(kind.error):
        files.read_bytes(tmp_path / "x", kind)


def test_a_name_that_is_exchanged_between_looking_and_opening(tmp_path, monkeypatch):
    """What was a file when it was looked at may be a pipe when it is opened."""
    whole = tmp_path / "x"
    whole.write_text("text")
    real = os.open

    def exchanged(path, flags, *more):
        assert flags & os.O_NONBLOCK
        whole.unlink()
        os.mkfifo(whole)
        return real(path, flags, *more)

    monkeypatch.setattr("convscope.files._door.os.open", exchanged)
    with pytest.raises(DataError, match="a pipe"):
        files.read_bytes(whole, files.METRICS)


@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("config.toml", lambda run: read_settings(run / "config.toml")),
        ("metrics.csv", read_history),
        ("config.json", load),
        ("model.safetensors", load),
    ],
)
def test_every_file_of_a_run_is_read_through_the_door(what, name, read, copy):
    folder, *_ = copy
    replaced(folder / name, what)
    with pytest.raises(ConvscopeError, match="not a regular file"):
        read(folder)


@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize("name", ["config.toml", "env.json", "run.lock", "MANIFEST.json"])
def test_c6_a_run_with_a_pipe_goes_on_or_says_why_not(what, name, copy):
    from convscope.training import Warned, train

    folder, data, settings = copy
    newest = max((folder / "checkpoints").iterdir())
    target = (newest if name == "MANIFEST.json" else folder) / name
    target.unlink(missing_ok=True)
    SPECIAL[what](target)
    heard = []
    if name in ("config.toml", "run.lock"):
        with pytest.raises(UsageError, match="not a regular file"):
            train(settings, data, out=folder, resume=True)
        return
    train(settings, data, out=folder, resume=True, on_event=heard.append)
    said = " ".join(event.text for event in heard if isinstance(event, Warned))
    assert "not a regular file" in said


@pytest.mark.parametrize("text", ['{"sessions": 5}', "[" * 5000, '{"sessions": [1]}', "{}", ""])
def test_c3_a_damaged_environment_is_said_and_voids_the_promise(text, copy):
    from convscope.training import Warned, train

    folder, data, settings = copy
    (folder / "env.json").write_text(text)
    heard = []
    train(settings, data, out=folder, resume=True, on_event=heard.append)
    said = " ".join(event.text for event in heard if isinstance(event, Warned))
    assert "env.json cannot be used" in said
    assert json.loads((folder / "env.json").read_text())["bit_exact"] is False


@pytest.mark.parametrize(
    "line",
    [
        "seed = " + "9" * 5000,
        "seed = " + "[" * 5000,
        "a" + ".a" * 5000 + " = 1",
        "model" + ".a" * 100 + " = 1",
        "[" + "a." * 50_000 + "a]\n" + "".join(f"k{i} = 1\n" for i in range(9_000)),
        'x = """' + '"\\"' * 100_000,
        "seed = 99999999999999999999",
        "model = 1979-05-27",
    ],
)
def test_c3_settings_beyond_all_measure(line):
    from convscope.training import settings_from_toml

    with pytest.raises(UsageError):
        settings_from_toml(f'model = "m"\ndata = "d"\n{line}')


def test_ordinary_depth_passes():
    deep = files.REPORT.deepest
    text = "[" * deep + "]" * deep
    assert files.parse_json(text, files.REPORT, where="x") != []
    with pytest.raises(DataError, match="deeper than"):
        files.parse_json(f"[{text}]", files.REPORT, where="x")
    brackets = json.dumps({"text": "[" * 10_000 + '"\\'})
    assert files.parse_json(brackets, files.REPORT, where="x")["text"].startswith("[[")


def test_unfinished_strings_take_no_time():
    import time

    start = time.perf_counter()
    for text in ('["' + '\\"' * 500_000, '"' * 1_000_001 + "[" * 100):
        with pytest.raises(DataError):
            files.parse_json("[" * 100 + text, files.REPORT, where="x")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"a": 1, "a": 2}', "twice"),
        ("1" * 5000, "digits"),
        ("NaN", "no number"),
        ("1." + "1" * 5000, "characters"),
        (b"\xff\xfe{\0}\0", "codec"),
    ],
)
def test_json_that_means_two_things_or_none(text, match):
    with pytest.raises(DataError, match=match):
        files.parse_json(text, files.REPORT, where="x")


@pytest.mark.parametrize("damage", ["manifest", "state", "numbers", "metrics", "weights", "shape"])
def test_c4_a_damaged_newest_checkpoint_is_passed_over_whatever_its_damage(damage, copy):
    import hashlib

    import safetensors.torch

    from convscope.training import Warned, train

    folder, data, settings = copy
    newest = max((folder / "checkpoints").iterdir())
    deep = b"[" * 100_000 + b"]" * 100_000
    name, content = {
        "manifest": ("MANIFEST.json", deep),
        "state": ("state.json", deep),
        "numbers": ("state.json", b'{"step": 4, "numbers": {"tally": 3, "guard": []}}'),
        "metrics": ("metrics.csv", b"step,epoch\n1,x\n"),
        "weights": ("model.safetensors", b"\x80\x04."),
        "shape": ("optimizer.safetensors", safetensors.torch.save({"0.first.0": torch.ones(1)})),
    }[damage]
    (newest / name).write_bytes(content)
    if damage != "manifest":
        manifest = json.loads((newest / "MANIFEST.json").read_text())
        manifest["files"][name] = hashlib.sha256(content).hexdigest()
        (newest / "MANIFEST.json").write_text(json.dumps(manifest))
    before = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    heard = []
    train(settings, data, out=folder, resume=True, on_event=heard.append)
    assert any(isinstance(e, Warned) and f"{newest.name} is damaged" in e.text for e in heard)
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ["step\n1\n", "a,b\n1,2\n", '"', "step,epoch\n" + "9" * 200_000 + "\n", "\0\n", "x\n1\n"],
)
def test_c5_a_damaged_history_names_the_line(text, tmp_path):
    (tmp_path / "metrics.csv").write_text(text + ("\n" if text == '"' else ""))
    with pytest.raises(DataError) as caught:
        read_history(tmp_path)
    assert caught.value.hint


LONG = "x" * 300
PATHS = (LONG, "~nouser-of-this-name/x", "a\0b", f"{'y/' * 3000}z")


@pytest.mark.parametrize("path", PATHS, ids=["long name", "unknown home", "NUL", "long path"])
@pytest.mark.parametrize(
    "use",
    [
        load,
        read_history,
        lambda p: read_settings(Path(p)),
        lambda p: render(p),
        lambda p: results.load(Explained, p),
        lambda p: __import__("convscope").open_dataset(f"folder:{p}"),
        lambda p: __import__("convscope").open_dataset("mnist", data_dir=p, offline=True),
        lambda p: __import__("convscope").scratch.load_network(p),
    ],
)
def test_c2_paths_that_no_file_can_have(path, use):
    with pytest.raises(ConvscopeError) as caught:
        use(path)
    assert caught.value.exit_code in (2, 3, 4)


class Explained:
    """Stands for a result class."""


@pytest.mark.parametrize("out", [LONG, f"{LONG}/x", "no\0name"])
@pytest.mark.parametrize("kind", ["model", "result", "report", "run", "page"])
def test_c2_names_too_long_to_write(out, kind, tmp_path, run, monkeypatch):
    from convscope.training import train

    monkeypatch.chdir(tmp_path)
    _, data, settings = run
    write = {
        "model": lambda: saved_model(Path(out)),
        "result": lambda: results.save(settings, out),
        "report": lambda: full_report().write(out),
        "run": lambda: train(settings, data, out=Path(out)),
        "page": lambda: render(full_report().write(tmp_path / "r"), out),
    }[kind]
    with pytest.raises((UsageError, ResourceError)):
        write()
    assert [p.name for p in tmp_path.iterdir()] in ([], ["r"])


def test_c2_on_the_command_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        ["eval", LONG, "--data", "digits"],
        ["models", "show", "~nouser-of-this-name/x"],
        ["train", "mnist-conv1", "--data", "digits", "--out", LONG],
        ["train", "--config", LONG],
        ["train", "mnist-conv1", "--data", f"folder:{LONG}"],
        ["inspect", "mnist-conv1", LONG],
        ["inspect", "mnist-conv1", "digits:test/0", "--out", LONG],
        ["report", LONG],
        ["data", "verify", "--data-dir", LONG],
    ):
        assert main(words) in (2, 3, 4, 6), words
        assert "bug in convscope" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def saved_model(folder):
    return save_model(folder, module=build("mnist-conv1", num_classes=3, input_shape=(1, 8, 8)),
                      architecture="mnist-conv1", class_names=tuple("abc"),
                      input_shape=(1, 8, 8))  # fmt: skip


class FullDisk:
    """Every write fails from the `left`-th byte on, as on a disk that is full."""

    def __init__(self, monkeypatch, left):
        self.left = left
        real = os.fsync

        def fsync(descriptor):
            self.left -= os.fstat(descriptor).st_size
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("left", [0, 300, 2000, 20_000])
def test_c1_a_full_disk_leaves_no_half_made_folder(left, tmp_path, run, monkeypatch):
    from convscope.training import train

    _, data, settings = run
    FullDisk(monkeypatch, left)
    with pytest.raises(ResourceError, match="No space left") as caught:
        train(settings, data, out=tmp_path / "runs" / "mine")
    assert caught.value.exit_code == 6
    assert not list(tmp_path.rglob(".tmp-*"))
    assert not (tmp_path / "runs").exists()


def test_c1_models_leave_nothing_behind(tmp_path, monkeypatch):
    FullDisk(monkeypatch, 0)
    with pytest.raises(ResourceError, match="No space left"):
        saved_model(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


TMPFS = """
import os, sys
from convscope.cli import main
full = sys.argv[1]
taken = 0
with open(os.path.join(full, "ballast"), "wb", buffering=0) as file:
    try:
        while True:
            taken += file.write(bytes(4096))
    except OSError:
        os.truncate(file.fileno(), os.fstat(file.fileno()).st_size - int(sys.argv[2]))
codes = [main(words.split()) for words in (
    f"train mnist-conv1 --data digits --epochs 1 --out {full}/run",
    f"attack fgsm mnist-conv1 digits:test/0-3 --epsilon 0.1 --out {full}/folder",
    f"inspect mnist-conv1 digits:test/0 --show saliency --out {full}/look",
    f"inspect mnist-conv1 digits:test/0 --show saliency --out {full}/page.html",
    f"adder 11 100 --figure {full}/adder.png",
)]
print(codes, sorted(os.listdir(full)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 8192, 65536, 400_000])
def test_c1_a_disk_that_is_really_full(left, tmp_path):
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        done = subprocess.run(
            [sys.executable, "-c", TMPFS, tmp_path, str(left)],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    codes, there = done.stdout.splitlines()[-1].split("] [")
    assert "run" not in there and ".tmp" not in there, done.stderr
    assert codes.startswith("[6"), done.stderr
    if not left:
        assert (codes, there) == ("[6, 6, 6, 6, 6", "'ballast']"), done.stderr


def bomb(path, megabytes):
    """An .npz of a few kB that inflates to so many megabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        header = np.lib.format.header_data_from_array_1_0(np.zeros(1, np.uint8))
        header["shape"] = (megabytes << 20,)
        with archive.open("maps.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array_header_1_0(entry, header)
            for _ in range(megabytes):
                entry.write(bytes(1 << 20))
    return path


def test_c7_an_archive_that_inflates_beyond_measure_is_refused_before(tmp_path, monkeypatch):
    monkeypatch.setattr("convscope.files._arrays.INFLATED", 16 << 20)
    small = bomb(tmp_path / "bomb.npz", 40)
    assert small.stat().st_size < 1 << 17
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="inflate to"):
            files.read_arrays(small)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_c7_zeros_that_were_saved_can_be_loaded(tmp_path, monkeypatch):
    """What compresses a thousandfold is stored as it is, so that it is not taken for a bomb."""
    from convscope.training import Examples

    monkeypatch.setattr("convscope.files._arrays.INFLATED", 1000)
    rows = torch.zeros(100_000, dtype=torch.int64)
    whole = Examples(rows=rows, labels=rows, predicted=rows, confidences=rows.float())
    folder = results.save(whole, tmp_path / "zeros")
    assert torch.equal(results.load(Examples, folder).rows, rows)


def test_c7_an_array_that_declares_more_than_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("a.npy", "w") as entry:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        np.lib.format.write_array_header_1_0(entry, header)
    with pytest.raises(DataError, match="declares"):
        files.read_arrays(tmp_path / "a.npz")


def test_c7_pictures_and_drawings_of_a_report_beyond_measure(tmp_path):
    from PIL import Image

    folder = full_report().write(tmp_path / "report")
    picture = next((folder / "images").iterdir())
    Image.new("1", (20_000, 20_000)).save(picture, format="PNG")
    assert picture.stat().st_size < 100_000
    drawing = next((folder / "figures").iterdir())
    inner = "<g>" * 1500 + "</g>" * 1500
    drawing.write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{inner}</svg>')
    made = render(folder)
    assert any("too many pixels" in why for why in made.refused)
    assert any("nested deeper" in why for why in made.refused)


@pytest.mark.parametrize("what", ["pipe", "device", "folder"])
def test_c6_a_report_with_a_pipe_in_it(what, tmp_path):
    folder = full_report().write(tmp_path / "report")
    for part in ("images", "figures"):
        replaced(next((folder / part).iterdir()), what)
    assert all(re.search("not a regular file|outside", why) for why in render(folder).refused)
    assert len(render(folder).refused) >= 2
    replaced(folder / "report.json", what)
    with pytest.raises(DataError, match="not a regular file"):
        render(folder)


def test_c8_an_absent_checksum_of_the_description_is_said(tmp_path):
    saved_model(tmp_path)
    path = tmp_path / "config.json"
    body = json.loads(path.read_text())
    assert load(tmp_path).flags == ()
    del body["config_sha256"]
    path.write_text(json.dumps(body))
    assert len(load(tmp_path).flags) == 1
    assert "has no config_sha256" in load(tmp_path).flags[0]
    path.write_text(json.dumps(body | {"mean": [0.4]}))
    assert "mean is (0.4,), the weight file itself says None" in load(tmp_path).flags[0]


def test_c8_shipped_weights_load_without_a_flag():
    from convscope.models import shipped

    assert shipped()
    for name in shipped():
        assert load(name).flags == ()


def test_unreadable_permissions_are_one_error(tmp_path):
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        pytest.skip("root may read everything")
    saved_model(tmp_path)
    (tmp_path / "config.json").chmod(0)
    with pytest.raises(ResourceError, match="no permission"):
        load(tmp_path)


def test_no_permission_is_one_error(tmp_path, monkeypatch):
    """The same for root, whom the system lets read everything."""

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    saved_model(tmp_path)
    monkeypatch.setattr("convscope.files._door.os.open", forbidden)
    for read in (load, read_settings):
        with pytest.raises(ResourceError, match="no permission"):
            read(tmp_path if read is load else tmp_path / "config.json")
    with pytest.raises(CheckpointError):
        files.read_bytes(tmp_path / "nothing", files.TENSORS)


def test_a_pipe_is_not_replaced_by_a_page(tmp_path):
    os.mkfifo(tmp_path / "out.html")
    with pytest.raises(UsageError, match="not a regular file"):
        files.write_whole(tmp_path / "out.html", b"page")
    assert (tmp_path / "out.html").is_fifo()


def test_a_folder_that_fails_half_way_is_not_there(tmp_path):
    with pytest.raises(KeyError), files.whole_folder(tmp_path / "a" / "b") as draft:
        (draft / "first").write_text("x")
        raise KeyError
    assert not list(tmp_path.iterdir())
    with files.whole_folder(tmp_path / "a" / "b") as draft:
        (draft / "first").write_text("x")
    with files.whole_folder(tmp_path / "a" / "b", force=True) as draft:
        (draft / "second").write_text("y")
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["first", "second"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
