"""Images that stay on the disk: the same images, in any number of processes, and no hanging."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import StoredImages, match_dataset, open_dataset, open_folder
from convscope.data import _decoders as decoders
from convscope.data import _stored as stored
from convscope.data._decoders import Decoders, shared_decoders, worker_count
from convscope.errors import DataError, ImageError, ResourceError, UsageError

WORKERS = ["0", "1", "2"]


@pytest.fixture(params=WORKERS)
def streaming(request, monkeypatch):
    """No image stays in memory, whatever the number of processes."""
    monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
    monkeypatch.setenv("CONVSCOPE_WORKERS", request.param)
    return int(request.param)


@pytest.fixture
def alone(monkeypatch):
    """One process of this test's own decodes."""
    monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
    monkeypatch.setenv("CONVSCOPE_WORKERS", "1")
    monkeypatch.setattr(decoders, "_shared", {})
    yield
    shared_decoders(1).close()


@pytest.fixture
def in_memory(image_folder):
    (image_folder / "bees" / "2.png").write_bytes(b"<html>")
    Image.new("L", (20, 31), 7).save(image_folder / "cats" / "gray.png")
    return open_folder(image_folder, skip_bad=True, input_shape=(3, 16, 16))


def test_the_data_set_is_the_same(in_memory, image_folder, streaming):
    data = open_folder(image_folder, skip_bad=True, input_shape=(3, 16, 16))
    assert data.refused == in_memory.refused and len(data.refused) == 1
    for name in ("class_names", "source", "hashes", "warnings", "cut", "input_shape"):
        assert getattr(data, name) == getattr(in_memory, name)
    assert data.mean_std() == in_memory.mean_std()
    for one, other in zip(data.splits, in_memory.splits, strict=True):
        assert isinstance(one.images, StoredImages) and not isinstance(other.images, StoredImages)
        assert one.names == other.names and torch.equal(one.labels, other.labels)
        assert torch.equal(one.pixels(), other.pixels())
        assert torch.equal(one.to_float([1, 0]), other.to_float([1, 0]))


def test_parts_of_a_data_set_are_the_same(in_memory, image_folder, streaming):
    data = open_folder(image_folder, skip_bad=True, input_shape=(3, 16, 16))
    rows = torch.tensor([9, 2, 2, 5])
    same = [(data.split("all"), in_memory.split("all"))]
    same += [tuple(each.with_all_trained_on().train for each in (data, in_memory))]
    same += [tuple(each.subset(rows).subset([3, 0]) for each in same[0])]
    for one, other in same:
        assert torch.equal(one.pixels(), other.pixels()) and one.names == other.names
        parts = torch.split(torch.arange(len(one)).flip(0), 3)
        assert torch.equal(torch.cat(list(one.parts(parts))), other.pixels().flip(0))
    assert len(data.train.subset([])) == 0 and len(data.train.subset([]).pixels()) == 0


class Two:
    class_names = ("bees", "ants")
    input_shape = (3, 16, 16)


def test_matching_classes_reads_nothing(image_folder, streaming, monkeypatch):
    data = open_folder(image_folder)
    expected = data.train.pixels()[(data.train.labels < 2)]
    monkeypatch.setattr(stored.EncodedImages, "parts", None)
    matched, _ = match_dataset(data, Two())
    monkeypatch.undo()
    assert matched.train.labels.tolist() == [1] * 4 + [0] * 4
    assert torch.equal(matched.train.pixels(), expected)


def test_only_the_next_part_is_read_ahead(image_folder, streaming, monkeypatch):
    data = open_folder(image_folder)
    read = []
    source = data.train.images.source

    class Counted:
        def __init__(self, item):
            self.item = item

        def __getattr__(self, name):
            return getattr(self.item, name)

        def read(self):
            read.append(self.item.name)
            return self.item.read()

    object.__setattr__(source, "items", [Counted(item) for item in source.items])
    parts = data.train.parts(torch.split(torch.arange(12), 2))
    next(parts)
    time.sleep(0.3)
    assert len(read) == 4
    parts.close()
    assert len(read) == 4


def test_a_file_that_changes_is_noticed(image_folder, streaming, refused):
    data = open_folder(image_folder)
    first = image_folder / data.train.names[0]
    Image.new("RGB", (16, 16)).save(first)
    error = refused("D24", DataError, data.train.pixels, [0])
    assert "another one" in str(error) and first.name in str(error)
    first.unlink()
    assert "no such file" in str(refused("D24", DataError, data.train.pixels))


def test_errors_and_notes_are_those_of_this_process(tmp_path):
    Image.new("RGBA", (9, 5), (1, 2, 3, 40)).save(tmp_path / "a.png")
    cases = [b"", b"<html>", (tmp_path / "a.png").read_bytes()[:-9]]
    with Decoders(0) as here, Decoders(1) as there:
        for data in cases:
            errors = []
            for one in (here, there):
                with pytest.raises(ImageError) as caught:
                    one.decode(data, "strange\nname\udce9.png", shape=(3, 4, 4), ending=".png")
                errors.append((str(caught.value), caught.value.code))
            assert errors[0] == errors[1]
        data = (tmp_path / "a.png").read_bytes()
        for shape in ((3, 4, 6), (1, 5, 9)):
            pixels, notes = here.decode(data, "a", shape=shape, ending=".jpg")
            again, others = there.decode(data, "a", shape=shape, ending=".jpg")
            assert np.array_equal(pixels, again) and notes == others and notes


def test_rules_of_networks_reach_the_processes(image_folder, streaming):
    from convscope.resizing import Resize

    rule = Resize(shortest=20, crop=(12, 14), resample="bicubic")
    one = open_folder(image_folder, input_shape=(3, 12, 14), resize=rule)
    os.environ["CONVSCOPE_IMAGE_MEMORY"] = "1"
    other = open_folder(image_folder, input_shape=(3, 12, 14), resize=rule)
    assert torch.equal(one.train.pixels(), other.train.pixels()) and one.source == other.source


def test_a_process_that_is_killed_is_one_error(image_folder, alone, refused):
    data = open_folder(image_folder)
    process = shared_decoders(1)._all[0].process
    os.kill(process.pid, signal.SIGKILL)
    error = refused("T26", ResourceError, data.train.pixels)
    assert "SIGKILL" in str(error) and "CONVSCOPE_WORKERS=0" in str(error)
    assert len(data.train.pixels()) == 12  # Others were started.


def test_a_lost_process_is_no_bad_image(image_folder, alone, refused, monkeypatch):
    """Otherwise --skip-bad would leave good images out."""
    monkeypatch.setattr(decoders, "START", "import os; os._exit(3)")
    error = refused("T26", ResourceError, open_folder, image_folder, skip_bad=True)
    assert "exit code 3" in str(error)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals")
def test_a_process_that_does_not_answer_is_given_up(image_folder, alone, refused, monkeypatch):
    data = open_folder(image_folder)
    monkeypatch.setattr(decoders, "PATIENCE", 0.5)
    process = shared_decoders(1)._all[0].process
    os.kill(process.pid, signal.SIGSTOP)
    assert "did not answer" in str(refused("T26", ResourceError, data.train.pixels))
    assert process.poll() is not None


def test_a_process_that_is_killed_at_work_ends_whoever_waits(image_folder, alone):
    data = open_folder(image_folder)
    found = []

    def wait():
        try:
            for _ in range(10_000):
                data.train.pixels()
        except ResourceError as error:
            found.append(error.code)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    os.kill(shared_decoders(1)._all[0].process.pid, signal.SIGKILL)
    thread.join(20)
    assert not thread.is_alive() and found == ["T26"]


SCRIPT = """
import signal
import sys
from pathlib import Path
from convscope.data import open_folder
from convscope.data import _decoders
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs of the background
data = open_folder(Path(sys.argv[1]))
print(*(one.process.pid for one in next(iter(_decoders._shared.values()))._all), flush=True)
while True:
    for part in data.train.parts([[0, 1, 2], [3, 4, 5]] * 50):
        pass
"""


def alive(pid):
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("sign", ["SIGINT", pytest.param("SIGKILL", marks=pytest.mark.slow)])
def test_nothing_is_left_running(image_folder, sign):
    environment = {**os.environ, "CONVSCOPE_IMAGE_MEMORY": "0", "CONVSCOPE_WORKERS": "2"}
    program = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(image_folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    pids = [int(word) for word in program.stdout.readline().split()]
    assert pids and all(map(alive, pids))
    time.sleep(0.3)
    program.send_signal(getattr(signal, sign))
    try:
        _, words = program.communicate(timeout=20)
    finally:
        program.kill()
    if sign == "SIGINT":
        assert "KeyboardInterrupt" in words and "lost" not in words
    limit = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(alive, pids))


def test_a_file_in_the_current_folder_is_not_run(image_folder, alone, monkeypatch):
    (image_folder / "json.py").write_text("import os; os._exit(9)")
    (image_folder / "PIL.py").write_text("import os; os._exit(9)")
    monkeypatch.chdir(image_folder)
    assert len(open_folder(image_folder).train.pixels()) == 12


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("CONVSCOPE_WORKERS", value) for value in ("x", "-1", "1.5", "65", "9" * 5000, "²")),
        *(("CONVSCOPE_IMAGE_MEMORY", value) for value in ("x", "-1", "nan", "inf", "2GB")),
    ],
)
def test_settings_without_meaning(image_folder, refused, monkeypatch, name, value):
    monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
    monkeypatch.setenv(name, value)
    assert name in str(refused("U12", UsageError, open_folder, image_folder))


def test_processes_of_torchrun_share_the_cores(monkeypatch):
    monkeypatch.delenv("CONVSCOPE_WORKERS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert worker_count() == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert worker_count() == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "99")
    assert worker_count() == 1


def test_few_images_start_no_process(image_folder, monkeypatch):
    monkeypatch.setattr(decoders, "_shared", {})
    monkeypatch.delenv("CONVSCOPE_IMAGE_MEMORY", raising=False)
    open_dataset(f"folder:{image_folder}").train.pixels()
    assert all(not count for _, count in decoders._shared)


def test_more_than_fits_is_not_read_at_once(image_folder, streaming, refused, monkeypatch):
    data = open_folder(image_folder)
    monkeypatch.setattr("convscope.data._file.free_memory", lambda: 5000)
    refused("", ResourceError, data.train.pixels)
    refused("", ResourceError, data.train.to_float, slice(0, 2))
    assert len(data.train.pixels([0])) == 1
