"""``convscope attack evaluate`` and ``certify``: robustness on a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from convscope._metrics import gates_of
from convscope._registry import Effort
from convscope.cli._gates import failed_gates, gates_help, read_gates
from convscope.cli._judged import (
    JudgedCommand,
    Rehearsal,
    Settings,
    about_is_known,
    run_judged,
)
from convscope.cli._large import AT_ONCE, LargeOptions
from convscope.cli._opened import OpenedData, opened_data, opened_network, raise_if_left_out
from convscope.cli._options import (
    NOTHING,
    NOWHERE,
    USUAL,
    CommonOptions,
    DataName,
    ModelName,
    Output,
    OutputOptions,
    OwnNetwork,
    SplitName,
    check_names,
    check_number,
    check_seed,
)
from convscope.cli._output import (
    Fraction,
    data_place,
    emit,
    next_step,
    say,
    table,
    warn,
)
from convscope.cli._settings import shown_default
from convscope.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.data import Split
    from convscope.robustness import Certification, RobustnessEvaluation
    from convscope.sharding import Record

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
    large: LargeOptions = AT_ONCE,
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
        large: Going on after a kill, and many workers.
        common: What is the same everywhere.
        output: What to write.
        network: What the files of a network of your own do not say.
    """
    gates = read_gates(fail_under or [], gates_of("attack evaluate"), bare="robust")
    check_number("--epsilon", epsilon, least=0)
    check_number("--count", count)
    check_seed(common.seed)
    output.check()
    check_names(models=[model], data=data)
    large.chosen()
    import torch

    from convscope._random import seed_of
    from convscope.robustness import RobustnessJudging

    classifier = opened_network(model, network=network, device=common.device)
    opened = opened_data(classifier, data, split=split, count=count, common=common)
    part = opened.split

    def judging_of(images: Split, of: int | None = None) -> RobustnessJudging:
        return RobustnessJudging(
            classifier, images.to_float, images.labels, epsilon=epsilon, norm=norm, effort=effort,
            seed=seed_of(torch.Generator().manual_seed(common.seed)), of=of,
        )  # fmt: skip

    run_judged(
        EVALUATE,
        judging_of(part),
        title=f"attacking {len(part)} images, effort {effort}",
        classifier=classifier,
        subject=part,
        facts={
            "about": _about(classifier, data, opened),
            "audit": [model, *network.again(), "--data", data, *data_place(common.data_dir)],
        },
        large=large,
        gates=gates,
        as_json=common.as_json,
        output=output,
        rehearsal=Rehearsal(of=lambda few: judging_of(few, len(part)), copies=4),
    )


def show_evaluation(
    result: RobustnessEvaluation,
    facts: Mapping[str, Any],
    gates: Mapping[str, float],
    *,
    as_json: bool,
    output: Output,
) -> None:
    """Print and write an evaluation, whoever judged it.

    Args:
        result: What was found.
        facts: What the job says about itself.
        gates: Thresholds by name.
        as_json: For machines.
        output: What to write.

    Raises:
        GateFailed: A threshold was not reached.
        PartlyRefused: D21, files were left out.
    """
    if as_json:
        emit(result.summary() | dict(facts["about"]), as_json=True)
    else:
        table(
            ["attack", "attacked", "broken", "robust", "forwards", "backwards", "seconds"],
            [
                [r.attack, r.attacked, r.broken, r.robust, r.forwards, r.backwards, r.seconds]
                for r in result.suite
            ],
            title=f"{result.norm} {shown_default(result.epsilon)}",
        )
        table(["check", "verdict", "meaning"], [[c.name, c.verdict, c.sentence]
              for c in result.checks])  # fmt: skip
        say(
            f"robust accuracy {result.robust_accuracy:.1%} ({result.low:.1%} to {result.high:.1%})"
            f" of {len(result.labels)} images; clean {result.clean_accuracy:.1%}"
        )
    for check in result.checks:
        if check.verdict == "warn":
            warn(f"{check.name}: {check.sentence}")
    output.write(result)
    next_step("convscope audit", *facts["audit"])
    found = {"robust": result.robust_accuracy, "accuracy": result.clean_accuracy}
    if failed := failed_gates(gates, found):
        raise GateFailed("; ".join(failed))
    raise_if_left_out(facts["about"]["refused"])


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
    large: LargeOptions = AT_ONCE,
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
        large: Going on after a kill, and many workers.
        common: What is the same everywhere.
        output: What to write.
        network: What the files of a network of your own do not say.
    """
    check_number("--count", count)
    check_number("--draws", draws)
    check_number("--std", std, least=1e-6)
    if not 0 < alpha < 1:
        raise UsageError(f"--alpha {alpha}", code="U05", expected="more than 0 and less than 1")
    check_seed(common.seed)
    output.check()
    check_names(models=[model], data=data)
    large.chosen()
    import torch

    from convscope._random import seed_of
    from convscope.robustness import CertificationJudging

    classifier = opened_network(model, network=network, device=common.device)
    opened = opened_data(classifier, data, split=split, count=count, common=common)
    part = opened.split

    def judging_of(images: Split, draws: int) -> CertificationJudging:
        return CertificationJudging(
            classifier, images.to_float, images.labels, std=std, draws=draws, alpha=alpha,
            seed=seed_of(torch.Generator().manual_seed(common.seed)),
        )  # fmt: skip

    judging = judging_of(part, draws)
    # Noise comes by the hundreds: a few of them tell the time of all.
    less = min(draws, 400)
    times = (draws + judging.first_draws) / (less + judging.first_draws)
    place = data_place(common.data_dir)
    run_judged(
        CERTIFY,
        judging,
        title=f"certifying {len(part)} images",
        classifier=classifier,
        subject=part,
        facts={
            "about": _about(classifier, data, opened),
            "evaluate": [model, *network.again(), "--data", data, *place, "--norm", "l2",
                         "--epsilon", f"{std:g}"],
        },
        large=large,
        as_json=common.as_json,
        output=output,
        rehearsal=Rehearsal(of=lambda few: judging_of(few, less), times=times, few=1, more=2),
    )  # fmt: skip


def show_certification(
    result: Certification,
    facts: Mapping[str, Any],
    gates: Mapping[str, float],
    *,
    as_json: bool,
    output: Output,
) -> None:
    """Print and write certificates, whoever judged.

    Args:
        result: What was found.
        facts: What the job says about itself.
        gates: None: the command has no gates.
        as_json: For machines.
        output: What to write.

    Raises:
        PartlyRefused: D21, files were left out.
    """
    summary, count = result.summary(), len(result.labels)
    if as_json:
        emit(summary | dict(facts["about"]), as_json=True)
    else:
        table(
            ["L2 radius", "certified and right"],
            [[radius, f"{share:.1%}"] for radius, share in summary["certified_accuracy"].items()],
            title=f"std {result.std:g}, {result.draws} draws, {count} images",
        )
        say(f"abstained on {summary['abstained']} of {count} images; {summary['seconds']:.0f} s")
    output.write(result)
    next_step("convscope attack evaluate", *facts["evaluate"])
    raise_if_left_out(facts["about"]["refused"])


def _about(classifier: Classifier, data: str, opened: OpenedData) -> dict[str, Any]:
    """For machines: which network, on which images, on which path it ran."""
    execution = classifier.describe()["execution"]
    return {"model": classifier.source, "data": data, **opened.facts(), "execution": execution}


def _evaluation(
    settings: Settings, facts: Settings, head: Record, records: Sequence[Record]
) -> RobustnessEvaluation:
    from convscope.robustness import robustness_of

    return robustness_of(settings, head, records)


def _certification(
    settings: Settings, facts: Settings, head: Record, records: Sequence[Record]
) -> Certification:
    from convscope.robustness import certification_of

    return certification_of(settings, records)


EVALUATE = JudgedCommand(
    kind="attack evaluate",
    combine=_evaluation,
    show=show_evaluation,
    knows=lambda job: about_is_known(job, "audit"),
    gates="attack evaluate",
    bare="robust",
)
CERTIFY = JudgedCommand(
    kind="attack certify",
    combine=_certification,
    show=show_certification,
    knows=lambda job: about_is_known(job, "evaluate"),
)
