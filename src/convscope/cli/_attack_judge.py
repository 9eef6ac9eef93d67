"""``convscope attack evaluate``, ``certify`` and ``transfer``: robustness on a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from convscope._metrics import gates_of
from convscope._registry import Effort
from convscope.attacks import ATTACKS
from convscope.cli._gates import failed_gates, gates_help, read_gates
from convscope.cli._large import AT_ONCE, LargeOptions, judged
from convscope.cli._methods import chosen_attack
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
    watching,
)
from convscope.cli._plan import show_plan
from convscope.cli._settings import REQUIRED, settings_written, shown_default, takes_target
from convscope.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.data import Split
    from convscope.robustness import Certification, RobustnessEvaluation

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
    shard = large.chosen()
    import torch

    from convscope._random import seed_of
    from convscope.robustness import RobustnessJudging, robustness_of

    classifier = opened_network(model, network=network, device=common.device)
    opened = opened_data(classifier, data, split=split, count=count, common=common)
    part = opened.split

    def judging_of(images: Split, of: int | None = None) -> RobustnessJudging:
        return RobustnessJudging(
            classifier, images.to_float, images.labels, epsilon=epsilon, norm=norm, effort=effort,
            seed=seed_of(torch.Generator().manual_seed(common.seed)), of=of,
        )  # fmt: skip

    judging = judging_of(part)
    if large.dry_run:
        show_plan(
            classifier, part, judging, lambda few: judging_of(few, len(part)), shard, copies=4,
            as_json=common.as_json,
        )  # fmt: skip
        return
    facts = {
        "about": _about(classifier, data, opened),
        "audit": [model, *network.again(), "--data", data, *data_place(common.data_dir)],
    }
    title = f"attacking {len(part)} images, effort {effort}"
    with judged(judging, large, title, classifier=classifier, split=part, facts=facts) as found:
        if found is not None:
            result = robustness_of(judging.settings, *found, part.to_float(), part.labels)
            show_evaluation(result, facts, gates, as_json=common.as_json, output=output)


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
    shard = large.chosen()
    import torch

    from convscope._random import seed_of
    from convscope.robustness import CertificationJudging, certification_of

    classifier = opened_network(model, network=network, device=common.device)
    opened = opened_data(classifier, data, split=split, count=count, common=common)
    part = opened.split

    def judging_of(images: Split, draws: int) -> CertificationJudging:
        return CertificationJudging(
            classifier, images.to_float, images.labels, std=std, draws=draws, alpha=alpha,
            seed=seed_of(torch.Generator().manual_seed(common.seed)),
        )  # fmt: skip

    judging = judging_of(part, draws)
    if large.dry_run:
        # Noise comes by the hundreds: a few of them tell the time of all.
        less = min(draws, 400)
        times = (draws + judging.first_draws) / (less + judging.first_draws)
        show_plan(
            classifier, part, judging, lambda few: judging_of(few, less), shard, times=times,
            few=1, more=2, as_json=common.as_json,
        )  # fmt: skip
        return
    place = data_place(common.data_dir)
    facts = {
        "about": _about(classifier, data, opened),
        "evaluate": [model, *network.again(), "--data", data, *place, "--norm", "l2",
                     "--epsilon", f"{std:g}"],
    }  # fmt: skip
    title = f"certifying {len(part)} images"
    with judged(judging, large, title, classifier=classifier, split=part, facts=facts) as found:
        if found is not None:
            result = certification_of(judging.settings, found[1], part.labels)
            show_certification(result, facts, {}, as_json=common.as_json, output=output)


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


def transfer(
    *models: str,
    data: DataName,
    method: str = "mi-fgsm",
    epsilon: Fraction = 8 / 255,
    split: SplitName | None = None,
    count: int = 200,
    common: CommonOptions = USUAL,
    output: OutputOptions = NOWHERE,
) -> None:
    """Make adversarial images on each of several networks and show them to all the others.

    Counted are images that both networks classify correctly before.

    Args:
        models: Two or more networks, each as in the other commands.
        data: The data set.
        method: The attack; mi-fgsm is made for transfer.
        epsilon: Radius in pixel units, such as 0.3 or 8/255.
        split: train, validation, test or all; by default as for `convscope eval`.
        count: At most this many images: a sample with every class in proportion.
        common: What is the same everywhere.
        output: What to write.
    """
    if len(models) < 2 or len(set(models)) < len(models):
        raise UsageError(
            f"transfer of {', '.join(models) or 'nothing'}",
            code="U01",
            expected="two or more different networks",
            hint="convscope attack transfer mnist-conv1 mnist-conv2 --data mnist --epsilon 0.2",
        )
    check_number("--count", count)
    check_number("--epsilon", epsilon, least=0)
    check_seed(common.seed)
    output.check()
    check_names(models=models, data=data)
    method = chosen_attack(method, shared=False)
    settings = _budget_of(method, epsilon)
    from convscope.robustness import model_transfer

    classifiers = {name: opened_network(name, named=True, device=common.device) for name in models}
    shapes = {classifier.input_shape for classifier in classifiers.values()}
    if len(shapes) > 1:
        raise UsageError("the networks take images of different sizes", code="M14")
    first = next(iter(classifiers.values()))
    opened = opened_data(first, data, split=split, count=count, common=common)
    _same_classes(classifiers, opened)
    part = opened.split
    with watching(f"{method} on {len(models)} networks, {len(part)} images"):
        found = model_transfer(
            classifiers,
            part.to_float(),
            part.labels,
            attack=method,
            **settings,
        )
    if common.as_json:
        emit({**found.summary(), "data": data, **opened.facts()}, as_json=True)
    else:
        table(
            ["made on", *found.names],
            [
                [name, *(f"{float(share):.1%}" for share in found.rates[i])]
                for i, name in enumerate(found.names)
            ],
            title=f"share of images fooled by {method}, epsilon {shown_default(epsilon)}",
        )
    output.write(found)
    next_step(
        "convscope attack evaluate", models[0], "--data", data, *data_place(common.data_dir),
        "--epsilon", shown_default(epsilon),
    )  # fmt: skip
    opened.raise_if_refused()


def _same_classes(classifiers: dict[str, Classifier], opened: OpenedData) -> None:
    """Refuse networks that give the classes of these data other numbers than the first one does.

    Raises:
        UsageError: M21, or what `match_classes` says.
    """
    from convscope.data import match_classes

    names = opened.dataset.class_names
    here = sorted(set(opened.split.labels.tolist()))
    for name, classifier in classifiers.items():
        numbers = match_classes(names, classifier.class_names, where=name).numbers
        wrong = [label for label in here if numbers[label] != label]
        if wrong:
            raise UsageError(
                f"{name} has no class {wrong[0]} called {names[wrong[0]]!r}",
                code="M21",
                expected="networks that give the classes of these data the same numbers",
            )


def _budget_of(method: str, epsilon: float) -> dict[str, float]:
    """The budget, for methods that have one; methods that need more than labels are refused."""
    known = settings_written(ATTACKS, method)
    needed = [f"--{name}" for name, setting in known.items() if setting.default is REQUIRED]
    needed += ["--target"] * (takes_target(ATTACKS, method) == "required")
    if needed:
        raise UsageError(
            f"{method} needs {', '.join(needed)}",
            code="U01",
            expected="an attack that needs no more than images and labels",
        )
    if "epsilon" in known:
        return {"epsilon": epsilon}
    warn(f"{method} has no budget: --epsilon is not used")
    return {}
