"""A job of plain numbers, which can be judged without a network."""

import time

import numpy as np
import pytest

from convscope.sharding import Record, job_of


class Squares:
    """The judging of numbers: each is squared, and a block knows its sum."""

    kind = "squares"

    def __init__(self, rows=23, size=4, factor=1, pause=0.0):
        self.rows, self.size, self.factor, self.pause = rows, size, factor, pause
        self.judged = []

    @property
    def settings(self):
        return {"factor": self.factor}

    def head(self):
        return Record({"offset": 7})

    def judge(self, rows, head):
        time.sleep(self.pause)
        self.judged.append(rows.start)
        values = self.factor * np.arange(rows.start, rows.stop) ** 2 + head.numbers["offset"]
        return Record({"sum": int(values.sum()), "none": float("nan")}, {"values": values})

    def inputs(self, rows):
        return {"names": np.frombuffer(f"{rows.start}".encode(), dtype=np.uint8)}


def job(judging, **changed):
    given = {
        "network": "n",
        "data": "d",
        "device": "cpu",
        "version": "1",
        "answers": [[0.0, 1.0], [2.0, -1.0]],
        "machine": {"threads": 1},
        "facts": {"a": 1},
    }
    return job_of(judging, **(given | changed))  # fmt: skip


@pytest.fixture
def squares():
    return Squares()
