"""The inception module: four branches, and what 1 x 1 reductions save."""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.figures import line_chart
from convscope.models import NetworkSummary, build, summarize
from convscope.scratch import Inception, convolve, dense
from convscope.studies._comparison import span
from convscope.studies._question import Question
from convscope.studies._snu_assignment_2._torch_twin import precisely, rounded
from convscope.studies._snu_assignment_2._training import FULL, trials
from convscope.studies._study import Study

Widths = dict[str, int]

GOOGLENET: tuple[Widths, int] = (
    {"in_channels": 192, "ones": 64, "reduce3": 96, "threes": 128, "reduce5": 16, "fives": 32,
     "pool": 32},
    28,
)  # fmt: skip
"""The first block of GoogLeNet ("inception (3a)") and the side of its images."""


def inception(study: Study, question: Question) -> None:
    """Weights and multiply-adds with and without reductions, shapes, and the whole network."""
    summary = summarize(build(FULL), (3, 32, 32))
    blocks = {"GoogLeNet, 3a": GOOGLENET, **network_blocks(summary)}
    rows, factors = [], {}
    for name, (widths, side) in blocks.items():
        reduced, plain = weights_of(widths), weights_of(widths, reduced=False)
        factors[name], area = plain / reduced, side**2
        rows.append([name, widths["in_channels"], _out(widths), f"{side} x {side}", reduced,
                     plain, reduced * area, plain * area, round(factors[name], 3)])  # fmt: skip
    own = [factor for name, factor in factors.items() if name != "GoogLeNet, 3a"]
    question.find(
        f"The 1 x 1 reductions save a factor of {factors['GoogLeNet, 3a']:.2f} in the first block "
        f"of GoogLeNet, and {span(min(own), max(own), 2)} in the four blocks of {FULL}: of "
        "weights and of multiply-adds alike."
    )
    question.tile("saved by 1 x 1 reductions", f"{factors['GoogLeNet, 3a']:.2f} x",
                  detail="first block of GoogLeNet")  # fmt: skip
    question.compare("inception module with 1 x 1 reductions", document="to be implemented",
                     words=f"twice: in NumPy with its gradients, and in {FULL}")  # fmt: skip
    question.compare("weights without reductions / with", document="fewer with reductions",
                     measured=factors["GoogLeNet, 3a"], at_least=1.0,
                     note="first block of GoogLeNet")  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "reductions",
        ["block", number | {"title": "channels in"}, number | {"title": "out"}, "maps",
         number | {"title": "weights with"}, number | {"title": "weights without"},
         number | {"title": "multiply-adds with"}, number | {"title": "multiply-adds without"},
         number | {"title": "factor"}],
        rows,
        caption="Weights of the convolutions (no biases) and products per image, with 1 x 1 "
        "reductions in front of the 3 x 3 and 5 x 5 kernels and without: the block puts out the "
        "same shape.",
        wide=True,
    )  # fmt: skip
    _branches(question)
    even = _reduction_chart(question)
    _network_table(question, summary)
    error = pixelwise_error(study.seed)
    question.number("factors", factors)
    question.number("parameters", summary.parameters)
    question.number("pixelwise_error", error)
    question.discuss(
        "A 1 x 1 convolution is a dense layer over the channels, the same for every pixel: the two "
        f"agree {precisely(error)} here. It mixes channels and sees no neighbors, so it can bring "
        "192 channels down to 16 before a 5 x 5 kernel, which costs 25 weights per pair of "
        "channels, has to look at them. The price is a bottleneck: what the 16 channels do not "
        f"carry, the kernel never sees. A reduction pays up to {even['threes']:.0f} channels "
        f"before the 3 x 3 and {even['fives']:.0f} before the 5 x 5 kernels of that block; "
        f"GoogLeNet takes {GOOGLENET[0]['reduce3']} and {GOOGLENET[0]['reduce5']}. "
        "The pool branch needs its 1 x 1 convolution behind the pooling, or its output would be as "
        "wide as its input and blocks would grow from one to the next."
    )
    if not study.fast:
        best = max(trials(study), key=lambda trial: trial.validation)
        question.compare(
            f"validation accuracy of {FULL} after {best.run.history[-1].epoch:g} epochs",
            document="none is given", measured=best.validation, unit="share",
        )  # fmt: skip


def weights_of(widths: Widths, *, reduced: bool = True) -> int:
    """Weights of an inception block's convolutions, without biases.

    Args:
        widths: Arguments of `convscope.scratch.Inception`.
        reduced: With the 1 x 1 reductions.

    Example:
        >>> weights_of(GOOGLENET[0]), weights_of(GOOGLENET[0], reduced=False)
        (163328, 393216)
    """
    block = _block(widths, reduced=reduced)
    return sum(a.size for name, a in block.parameters.items() if name.endswith("weight"))


def _block(widths: Widths, *, reduced: bool) -> Inception:
    used: dict[str, Any] = dict(widths)
    if not reduced:
        used |= {"reduce3": None, "reduce5": None}
    return Inception(**used, generator=np.random.default_rng(0))


def network_blocks(summary: NetworkSummary) -> dict[str, tuple[Widths, int]]:
    """The blocks of ``cifar-inception``: widths and side of the images, read off the network.

    Example:
        >>> blocks = network_blocks(summarize(build("cifar-inception"), (3, 32, 32)))
        >>> list(blocks), blocks["stage1.0"][1], blocks["stage1.0"][0]["in_channels"]
        (['stage1.0', 'stage1.1', 'stage2.0', 'stage2.1'], 16, 64)
    """
    shapes = {row.name: row.output_shape for row in summary.rows if row.kind == "Conv2d"}
    names = dict.fromkeys(
        ".".join(name.split(".")[:2]) for name in shapes if name.startswith("stage")
    )
    found: dict[str, tuple[Widths, int]] = {}
    channels = next(shape[0] for shape in shapes.values() if shape is not None)
    keys = {"ones": "branch1", "reduce3": "reduce3", "threes": "branch3", "reduce5": "reduce5",
            "fives": "branch5", "pool": "branch_pool"}  # fmt: skip
    for name in names:
        widths, side = {"in_channels": channels}, 0
        for key, part in keys.items():
            shape = shapes[f"{name}.{part}.conv"]
            assert shape is not None
            widths[key], side = shape[0], shape[-1]
        found[name] = (widths, side)
        channels = _out(widths)
    return found


def _out(widths: Widths) -> int:
    return sum(widths[key] for key in ("ones", "threes", "fives", "pool"))


def _branches(question: Question) -> None:
    """The branches of GoogLeNet's first block, convolution by convolution, with their shapes."""
    widths, side = GOOGLENET
    rows: list[list[Any]] = []
    images = np.zeros((1, widths["in_channels"], 7, 7), np.float32)
    for reduced in (True, False):
        block = _block(widths, reduced=reduced)
        for name, branch in block.branches.items():
            kernels = [a.shape for key, a in branch.parameters.items() if key.endswith("weight")]
            steps = [f"{k[2]}x{k[3]}: {k[1]} to {k[0]}" for k in kernels]
            out = branch.forward(images).shape[1]
            weights = sum(int(np.prod(shape)) for shape in kernels)
            rows.append(["with" if reduced else "without", name,
                         ("3x3 max-pool, " if name == "pool" else "") + ", ".join(steps),
                         f"{out} x {side} x {side}", weights, weights * side**2])  # fmt: skip
        whole = block.forward(images).shape[1]
        total = sum(row[4] for row in rows if row[0] == ("with" if reduced else "without"))
        rows.append(["with" if reduced else "without", "all, joined", "",
                     f"{whole} x {side} x {side}", total, total * side**2])  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "branches",
        ["reductions", "branch", "convolutions: channels", "output",
         number | {"title": "weights"}, number | {"title": "multiply-adds"}],
        rows,
        caption=f"The first block of GoogLeNet on {widths['in_channels']} maps of {side} x {side}: "
        "each branch reads the same maps, and their outputs are joined channel after channel.",
        wide=True,
    )  # fmt: skip


def weights_of_branch(channels: int, reduced: int, count: int, kernel: int) -> int:
    """Weights of a 1 x 1 reduction and the kernels behind it.

    Args:
        channels: That come in.
        reduced: That the reduction leaves; 0: there is none.
        count: Of the kernels.
        kernel: Their side.

    Example:
        >>> weights_of_branch(192, 16, 32, 5), weights_of_branch(192, 0, 32, 5)
        (15872, 153600)
    """
    if not reduced:
        return kernel**2 * channels * count
    return reduced * (channels + kernel**2 * count)


def _reduction_chart(question: Question) -> dict[str, float]:
    """Weights of both branches over the width of the reduction; where it stops to pay."""
    widths, channels = GOOGLENET[0], GOOGLENET[0]["in_channels"]
    places = list(range(8, channels + 1, 8))
    lines, even = {}, {}
    for branch, kernel in (("threes", 3), ("fives", 5)):
        count = widths[branch]
        plain = weights_of_branch(channels, 0, count, kernel)
        even[branch] = plain / weights_of_branch(channels, 1, count, kernel)
        lines[f"{kernel} x {kernel} with"] = [
            weights_of_branch(channels, r, count, kernel) for r in places
        ]
        lines[f"{kernel} x {kernel} without"] = [plain] * len(places)
    question.figure(
        "reductions",
        line_chart(lines, title="What a reduction costs and saves", places=places,
                   x="channels behind the 1 x 1 reduction", y="weights of the branch"),
        alt="Weights of the 3 x 3 and the 5 x 5 branch over the channels of their reduction",
        caption=f"Weights of two branches of the first block of GoogLeNet, 1 x 1 reduction and "
        f"kernels together, over the channels that the reduction leaves of {channels}; without a "
        "reduction the line is level. Where they cross, a reduction no longer pays.",
    )  # fmt: skip
    return even


def _network_table(question: Question, summary: NetworkSummary) -> None:
    """The whole network, a row per block."""
    parts: dict[str, list[Any]] = {}
    for row in summary.rows:
        steps = row.name.split(".")
        name = ".".join(steps[:2]) if steps[0].startswith("stage") else steps[0]
        found = parts.setdefault(name, [0, 0, None])
        found[0] += row.parameters
        found[1] += row.multiply_adds
        found[2] = row.output_shape or found[2]
    for name, (widths, side) in network_blocks(summary).items():
        parts[name][2] = (_out(widths), side, side)
    number = {"kind": "number"}
    question.table(
        "network",
        [{"title": "part", "kind": "code"}, "output", number | {"title": "parameters"},
         number | {"title": "multiply-adds"}],
        [[name, " x ".join(map(str, shape or ())), parameters, products]
         for name, (parameters, products, shape) in parts.items()],
        caption=f"{FULL} on 3 x 32 x 32: {summary.parameters:,} parameters and "
        f"{summary.multiply_adds:,} multiply-adds per image; a block is one part.",
    )  # fmt: skip


def pixelwise_error(seed: int) -> float:
    """How far a 1 x 1 convolution is from a dense layer that is applied to every pixel."""
    generator = np.random.default_rng(seed)
    images, weights = generator.standard_normal((2, 5, 4, 3)), generator.standard_normal((7, 5))
    one = convolve(images, weights[:, :, None, None])
    pixels = images.transpose(0, 2, 3, 1).reshape(-1, 5)
    other = dense(pixels, weights, np.zeros(7)).reshape(2, 4, 3, 7).transpose(0, 3, 1, 2)
    return rounded(float(np.abs(one - other).max()))
