"""Parts: shared by workers, killed at any instant, refused when they do not fit."""

import os
import random
import signal
import time

import numpy as np
import pytest

from convscope.errors import DataError, RunBusyError, UsageError
from convscope.sharding import (
    Part,
    Record,
    Shard,
    blocks_of,
    collected,
    judge,
    judged_here,
    parts_below,
    shard_of_environment,
    share_of,
)
from tests.sharding.conftest import Squares, job


def values(records):
    return np.concatenate([record.arrays["values"] for record in records])


def begun(folder, judging, **changed):
    return Part.begun(folder, job(judging, **changed))[0]


def finished(folder):
    judging = Squares()
    part = begun(folder, judging)
    assert judge(judging, part, Shard())
    return part


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
def test_the_number_of_workers_changes_nothing(tmp_path, count):
    alone = values(judged_here(Squares())[1])
    ends = []
    for index in range(count):
        judging = Squares()
        part = begun(tmp_path, judging)
        ends.append(judge(judging, part, Shard(index, count)))
        assert judging.judged == [4 * b for b in range(6) if b % count == index]
    assert ends == [False] * (count - 1) + [True] if count <= 6 else ends[5:] == [True] * 3
    head, records, notes = collected([part])
    assert values(records).tolist() == alone.tolist() and head.numbers == {"offset": 7}
    assert [bytes(r.arrays["names"]) for r in records][:2] == [b"0", b"4"] and not notes
    assert all(record.numbers["none"] != record.numbers["none"] for record in records)


def test_what_is_finished_is_not_judged_again_whatever_the_number_of_workers(tmp_path):
    first = Squares()
    judge(first, begun(tmp_path, first), Shard(0, 2))
    again = Squares()
    assert judge(again, begun(tmp_path, again), Shard())
    assert first.judged == [0, 8, 16] and again.judged == [4, 12, 20]


def killed_after(folder, seconds):
    """Judge in a child process that is killed; whether it was through before."""
    child = os.fork()
    if child == 0:
        try:
            judging = Squares(pause=0.004)
            judge(judging, begun(folder, judging), Shard())
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_workers_that_are_killed_at_random_moments_lose_nothing(tmp_path):
    draws = random.Random(0)
    for trial in range(4):
        folder = tmp_path / str(trial)
        for _ in range(4):
            killed_after(folder, draws.uniform(0.0, 0.04))
        part = finished(folder)
        assert values(collected([part])[1]).tolist() == values(judged_here(Squares())[1]).tolist()
        part.reported()
        assert not list(folder.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("judging", "changed", "named"),
    [
        (Squares(factor=2), {}, "setting factor is 1 there and 2 here"),
        (Squares(rows=24), {}, "images is 23 there and 24 here"),
        (Squares(size=5), {}, "images of a block is 4 there"),
        (Squares(), {"network": "m"}, 'network is "n" there'),
        (Squares(), {"data": "e"}, "data is"),
        (Squares(), {"version": "2"}, "convscope is"),
        (Squares(), {"answers": [[0.0, 1.0], [2.0, -1.1]]}, "gives other logits"),
        (Squares(), {"answers": [[0.0, 1.0]]}, "gives other logits"),
        (Squares(), {"answers": [[0.0, 1.0], [2.0, float("nan")]]}, "gives other logits"),
    ],
)
def test_another_job_is_refused_and_the_difference_named(tmp_path, judging, changed, named):
    finished(tmp_path)
    with pytest.raises(UsageError, match="another job") as caught:
        begun(tmp_path, judging, **changed)
    assert caught.value.code == "T23" and named in caught.value.what


def test_another_machine_is_a_warning(tmp_path):
    finished(tmp_path)
    same = [[0.0, 1.0], [2.0, -1.0]]
    _, notes = Part.begun(tmp_path, job(Squares(), answers=same, facts={"b": 2}))
    assert notes == []
    near = [[0.0, 1.0], [2.0, -1.00001]]
    _, notes = Part.begun(tmp_path, job(Squares(), answers=near, machine={"threads": 2}))
    assert len(notes) == 1 and "threads 1 -> 2" in notes[0] and "rounding" in notes[0]


def damaged(path, change):
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(bytes(data))


def flip(data):
    data[data.index(b"of.values.npy") + 160] ^= 1


@pytest.mark.parametrize("change", [flip, lambda data: data.__delitem__(slice(300, None)),
                                    lambda data: data.clear()])  # fmt: skip
def test_a_damaged_block_is_refused_by_name_and_judged_anew_without_it(tmp_path, change):
    part = finished(tmp_path)
    path = tmp_path / "block-000002.npz"
    damaged(path, change)
    with pytest.raises(DataError, match="damaged") as caught:
        collected([part])
    assert caught.value.code == "T24" and caught.value.where == str(path)
    assert "remove it" in caught.value.hint
    path.unlink()
    assert values(collected([finished(tmp_path)])[1]).tolist() == values(
        judged_here(Squares())[1]
    ).tolist()  # fmt: skip


def test_a_block_under_the_name_of_another_is_damaged(tmp_path):
    part = finished(tmp_path)
    (tmp_path / "block-000001.npz").replace(tmp_path / "block-000002.npz")
    with pytest.raises(DataError, match=r"SHA-256") as caught:
        part.read(2)
    assert caught.value.code == "T24"


def test_a_changed_job_is_damaged(tmp_path):
    finished(tmp_path)
    path = tmp_path / "job.json"
    path.write_text(path.read_text().replace('"factor": 1', '"factor": 2'))
    with pytest.raises(DataError, match="SHA-256") as caught:
        Part.opened(tmp_path)
    assert caught.value.code == "T24" and caught.value.where == str(path)


def test_parts_of_several_folders_are_one_job(tmp_path):
    for index in range(3):
        judging = Squares()
        judge(judging, begun(tmp_path / f"node {index}", judging), Shard(index, 3))
    parts = parts_below([tmp_path])
    assert len(parts) == 3
    assert values(collected(parts)[1]).tolist() == values(judged_here(Squares())[1]).tolist()


def test_missing_rows_are_named(tmp_path):
    judging = Squares()
    part = begun(tmp_path, judging)
    judge(judging, part, Shard(0, 2))
    with pytest.raises(UsageError, match="rows 4 to 7, rows 12 to 15, rows 20 to 22") as caught:
        collected([part])
    assert caught.value.code == "T25" and "3 of 6 blocks" in caught.value.what


def test_overlapping_parts_are_named(tmp_path):
    parts = [finished(tmp_path / name) for name in ("a", "b")]
    with pytest.raises(UsageError, match="rows 0 to 3: judged here and in") as caught:
        collected(parts)
    assert caught.value.code == "T25" and caught.value.where == str(tmp_path / "b")
    assert str(tmp_path / "a") in caught.value.what


def test_parts_of_different_jobs_do_not_merge(tmp_path):
    first = finished(tmp_path / "a")
    other = Squares(factor=3)
    part = begun(tmp_path / "b", other)
    with pytest.raises(UsageError, match="setting factor") as caught:
        collected([first, part])
    assert caught.value.code == "T23"


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.txt") as caught:
        begun(tmp_path, Squares())
    assert caught.value.code == "U13" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(UsageError, match="holds no part"):
        parts_below([tmp_path])


def test_two_processes_do_not_judge_one_shard(tmp_path):
    part = begun(tmp_path, Squares())
    here, there, again = (part.working(Shard(index, 2)) for index in (0, 1, 0))
    with here, there, pytest.raises(RunBusyError, match="works here"), again:
        pass
    assert not list(tmp_path.glob("*.lock"))


def test_one_worker_reports(tmp_path):
    part = finished(tmp_path)
    with part.reporting() as first, part.reporting() as second:
        assert first and not second
        part.reported()
    with part.reporting() as late:
        assert not late


def test_blocks_are_cut_by_position_and_samples_shared_out():
    assert blocks_of(0, 4) == (slice(0, 0),)
    for rows, size, most in ((1000, 128, 200), (7, 3, 200), (95, 16, 10)):
        blocks = blocks_of(rows, size)
        assert [b.start for b in blocks] == list(range(0, rows, size)) and blocks[-1].stop == rows
        shares = [share_of(most, block, rows) for block in blocks]
        assert sum(shares) == min(most, rows)
        assert all(0 <= s <= b.stop - b.start for s, b in zip(shares, blocks, strict=True))


ARRAY = {"SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "10",
         "SLURM_ARRAY_TASK_MAX": "14", "SLURM_ARRAY_TASK_STEP": "2"}  # fmt: skip


def test_the_environment_says_which_worker_this_is():
    assert str(shard_of_environment({})) == "1/1"
    torchrun = shard_of_environment({"RANK": "3", "WORLD_SIZE": "4"})
    assert (torchrun.index, torchrun.count, torchrun.source) == (3, 4, "torchrun")
    array = shard_of_environment(ARRAY)
    assert (array.index, array.count, array.source) == (1, 3, "SLURM array")
    both = shard_of_environment(ARRAY | {"RANK": "1", "WORLD_SIZE": "2"})
    assert (both.index, both.count) == (3, 6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"RANK": "-1", "WORLD_SIZE": "4"},
        {"WORLD_SIZE": "many"},
        ARRAY | {"SLURM_ARRAY_TASK_ID": "13"},
        ARRAY | {"SLURM_ARRAY_TASK_COUNT": "2"},
        ARRAY | {"SLURM_ARRAY_TASK_STEP": "1"},
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError) as caught:
        shard_of_environment(wrong)
    assert caught.value.code == "U05"


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", "²/3"])
def test_a_shard_that_cannot_be_is_refused(text):
    with pytest.raises(UsageError) as caught:
        Shard.parse(text)
    assert caught.value.code == "U05"


def test_a_record_survives_its_file(tmp_path):
    record = Record({"a": 0.1, "b": [float("inf")]}, {"x": np.zeros((0, 3), np.float32)})
    record.write(tmp_path / "r.npz", "place")
    found = Record.read(tmp_path / "r.npz", "place")
    assert found.numbers == record.numbers and found.arrays["x"].shape == (0, 3)
    with pytest.raises(DataError, match="SHA-256"):
        Record.read(tmp_path / "r.npz", "another place")
