"""``convscope attack evaluate`` and ``certify``: what withstands attacks, what provably does."""

from __future__ import annotations

from typing import Annotated, Literal

import cyclopts

from convscope._metrics import gates_of
from convscope._registry import Effort
from convscope.cli._gates import failed_gates, gates_help, read_gates
from convscope.cli._opened import opened_data, opened_network, words
from convscope.cli._options import (
    NOTHING,
    NOWHERE,
    USUAL,
    CommonOptions,
    DataName,
    ModelName,
    OutputOptions,
    OwnNetwork,
    SplitName,
    check_names,
    check_number,
)
from convscope.cli._output import (
    Fraction,
    data_place,
    emit,
    next_step,
    say,
    table,
    warn,
    watching,
)
from convscope.cli._settings import shown_default
from convscope.errors import GateFailed, UsageError

Gates = Annotated[
    list[str],
    cyclopts.Parameter(help=gates_help("attack evaluate", "robust=0.4", bare="robust")),
]


def evaluate(
    model: ModelName,
    /,
    *,
    data: DataName,
    epsilon: Fraction = 8 / 255,
    norm: Literal["linf", "l2"] = "linf",
    effort: Effort = "standard",
    split: SplitName | None = None,
    count: int = 1000,
    fail_under: Gates | None = None,
    common: CommonOptions = USUAL,
    output: OutputOptions = NOWHERE,
    network: OwnNetwork = NOTHING,
) -> None:
    """Judge robustness: worst case over a suite of attacks, with automatic checks.

    Args:
        model: The network.
        data: The data set.
        epsilon: Radius in pixel units, such as 0.3 or 8/255.
        norm: linf or l2.
        effort: quick, standard or full.
        split: train, validation, test or all; by default as for `convscope eval`.
        count: At most this many images: a sample with every class in proportion.
        fail_under: Gates, as NAME=NUMBER.
        common: What is the same everywhere.
        output: What to write.
        network: What the files of a network of your own do not say.
    """
    gates = read_gates(fail_under or [], gates_of("attack evaluate"), bare="robust")
    check_number("--epsilon", epsilon, least=0)
    check_number("--count", count)
    common.check()
    output.check()
    check_names(models=[model], data=data)
    import torch

    from convscope.robustness import evaluate as judge

    classifier = opened_network(model, network=network, device=common.device)
    opened = opened_data(classifier, data, split=split, count=count, common=common)
    part = opened.split
    title = f"attacking {len(part)} images, effort {effort}"
    with watching(title):
        result = judge(
            classifier,
            part.to_float(),
            part.labels,
            epsilon=epsilon,
            norm=norm,
            effort=effort,
            generator=torch.Generator().manual_seed(common.seed),
        )
    if common.as_json:
        emit(
            {
                **result.summary(),
                "model": classifier.source,
                "data": data,
                **opened.facts(),
                "execution": classifier.describe()["execution"],
            },
            as_json=True,
        )
    else:
        table(
            ["attack", "attacked", "broken", "robust", "forwards", "backwards", "seconds"],
            [
                [r.attack, r.attacked, r.broken, r.robust, r.forwards, r.backwards, r.seconds]
                for r in result.suite
            ],
            title=f"{norm} {shown_default(epsilon)}",
        )
        table(["check", "verdict", "meaning"], [[c.name, c.verdict, c.sentence]
              for c in result.checks])  # fmt: skip
        say(
            f"robust accuracy {result.robust_accuracy:.1%} ({result.low:.1%} to {result.high:.1%})"
            f" of {len(part)} images; clean {result.clean_accuracy:.1%}"
        )
    for check in result.checks:
        if check.verdict == "warn":
            warn(f"{check.name}: {check.sentence}")
    output.write(result)
    again = words("convscope", "audit", model) + network.again()
    next_step(f"{again} {words('--data', data)}{data_place(common.data_dir)}")
    found = {"robust": result.robust_accuracy, "accuracy": result.clean_accuracy}
    if failed := failed_gates(gates, found):
        raise GateFailed("; ".join(failed))
    opened.raise_if_refused()


def certify(
    model: ModelName,
    /,
    *,
    data: DataName,
    std: Annotated[Fraction, cyclopts.Parameter(name=["--std", "--sigma"])],
    draws: int = 10_000,
    alpha: float = 0.001,
    count: int = 500,
    split: SplitName | None = None,
    common: CommonOptions = USUAL,
    output: OutputOptions = NOWHERE,
    network: OwnNetwork = NOTHING,
) -> None:
    """Certify the vote of noisy copies (randomized smoothing): L2 radii that no attack can break.

    The network should have been trained on such noise. Takes images times draws forward passes.

    Args:
        model: The network.
        data: The data set.
        std: Standard deviation of the noise in pixel units, such as 0.5.
        draws: Noisy copies per image.
        alpha: Probability that a certificate is wrong.
        count: At most this many images: a sample with every class in proportion.
        split: train, validation, test or all; by default as for `convscope eval`.
        common: What is the same everywhere.
        output: What to write.
        network: What the files of a network of your own do not say.
    """
    check_number("--count", count)
    check_number("--draws", draws)
    check_number("--std", std, least=1e-6)
    if not 0 < alpha < 1:
        raise UsageError(f"--alpha {alpha}", code="U05", expected="more than 0 and less than 1")
    common.check()
    output.check()
    check_names(models=[model], data=data)
    import torch

    from convscope.robustness import certify as judge

    classifier = opened_network(model, network=network, device=common.device)
    opened = opened_data(classifier, data, split=split, count=count, common=common)
    part = opened.split
    with watching(f"certifying {len(part)} images"):
        result = judge(
            classifier,
            part.to_float(),
            part.labels,
            std=std,
            draws=draws,
            alpha=alpha,
            generator=torch.Generator().manual_seed(common.seed),
        )
    summary = result.summary()
    if common.as_json:
        emit(
            {
                **summary,
                "model": classifier.source,
                "data": data,
                **opened.facts(),
                "execution": classifier.describe()["execution"],
            },
            as_json=True,
        )
    else:
        table(
            ["L2 radius", "certified and right"],
            [[radius, f"{share:.1%}"] for radius, share in summary["certified_accuracy"].items()],
            title=f"std {std:g}, {draws} draws, {len(part)} images",
        )
        say(
            f"abstained on {summary['abstained']} of {len(part)} images; {summary['seconds']:.0f} s"
        )
    output.write(result)
    again = words("convscope", "attack", "evaluate", model) + network.again()
    where = f"{words('--data', data)}{data_place(common.data_dir)}"
    next_step(f"{again} {where} --norm l2 --epsilon {std:g}")
    opened.raise_if_refused()
