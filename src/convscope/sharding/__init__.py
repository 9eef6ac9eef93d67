"""Judging in blocks of images: by many processes, killed and started again, with one result.

A job is cut into blocks by the position of an image in the data, and by nothing else: neither the
number of workers nor what was finished before changes a block. What is found about a block is a
`Record`, a function of the network, the images of the block, the settings and the seed. A result
is made of the records of all blocks, by one process as by many.

A part is a folder with the records of some blocks. Each file of it appears whole or not at all, so
that a worker can be killed at any instant; whoever opens the folder again goes on where it ended.
"""

from __future__ import annotations

from convscope.sharding._job import BEFORE, Job, Judging, job_of, judge, judged_here
from convscope.sharding._parts import Part, collected, parts_below
from convscope.sharding._ray import judge_by_ray
from convscope.sharding._records import Record, joined
from convscope.sharding._shard import Shard, blocks_of, shard_of_environment, share_of

__all__ = [
    "BEFORE",
    "Job",
    "Judging",
    "Part",
    "Record",
    "Shard",
    "blocks_of",
    "collected",
    "job_of",
    "joined",
    "judge",
    "judge_by_ray",
    "judged_here",
    "parts_below",
    "shard_of_environment",
    "share_of",
]
