"""``convscope attack``: fool a classifier, and judge how much it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from convscope.attacks import ATTACKS, SHARED
from convscope.cli._attack_judge import certify, evaluate
from convscope.cli._attack_survival import survival
from convscope.cli._attack_transfer import transfer
from convscope.cli._judged import (
    JudgedCommand,
    Rehearsal,
    Settings,
    Trials,
    are_texts,
    run_judged,
)
from convscope.cli._large import AT_ONCE, LargeOptions, Pictures
from convscope.cli._methods import chosen_attack, list_attack_settings, list_attacks, registry_of
from convscope.cli._opened import opened_images, opened_network, said_class
from convscope.cli._options import (
    NOTHING,
    NOWHERE,
    USUAL,
    CommonOptions,
    ModelName,
    Output,
    OutputOptions,
    OwnNetwork,
    check_names,
    check_seed,
)
from convscope.cli._output import (
    counted,
    data_place,
    emit,
    next_step,
    say,
    warn,
)
from convscope.cli._settings import settings_written, shown_default, takes_target
from convscope.cli._words import split_words, values_of, without_budget
from convscope.data import DATASETS
from convscope.errors import PartlyRefused, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.attacks import AttackResult
    from convscope.classifier import Classifier
    from convscope.sharding import Job, Record

COPIES = 20
"""Copies of its images that an attack holds, as measured for pgd."""


def attack(
    method: str,
    model: ModelName,
    /,
    *words: Annotated[str, cyclopts.Parameter(allow_leading_hyphen=True)],
    target: str | None = None,
    large: LargeOptions = AT_ONCE,
    common: CommonOptions = USUAL,
    output: OutputOptions = NOWHERE,
    network: OwnNetwork = NOTHING,
) -> None:
    """Attack images with a method of `convscope attack list`.

    Example: convscope attack pgd runs/m mnist:test/0-99 --epsilon 8/255 --steps 40.
    `convscope attack METHOD --help` explains a method and its settings.

    Args:
        method: Such as pgd, fgsm, apgd, ddn, square.
        model: The network.
        words: IMAGES (mnist:test/7, "mnist:test?class=7/0-4", photo.png, a folder) and settings
            of the method as --name value.
        target: Class to reach, by name or number; all: every other class in turn. By default any
            wrong class.
        large: Going on after a kill, and many workers.
        common: What is the same everywhere.
        output: What to write.
        network: What the files of a network of your own do not say. A setting of the method that
            has the same name (--mean, --classes) goes first.
    """
    chosen = chosen_attack(method)
    registry = registry_of(chosen)
    known = settings_written(registry, chosen)
    specs, options = split_words(words)
    network, more = network.without(set(known))
    options, budget = without_budget(known, options + more)
    settings = values_of(chosen, known, options)
    if "eot_samples" in settings and settings.get("transforms") is None:
        raise UsageError("--eot-samples without --transforms does nothing", code="U11",
                         hint="--transforms rotation,crop, or leave --eot-samples out")  # fmt: skip
    check_target(target, takes_target(registry, chosen), chosen)
    check_seed(common.seed)
    if not specs:
        raise UsageError("no images given", expected="such as mnist:test/0-99 or photo.png")
    output.check()
    check_names(models=[model], images=specs)
    if budget is not None:
        warn(
            f"{chosen} has no budget: it changes as much as it needs; --epsilon only counts what "
            "came out within it"
            if chosen in ATTACKS
            else f"{chosen} has no budget: --epsilon is not used"
        )
    shared = chosen in SHARED
    large.chosen()
    import torch

    from convscope.attacks import AttackJudging

    run = registry[chosen]
    classifier = opened_network(model, network=network, device=common.device)
    images = opened_images(classifier, specs, common)
    labels = images.labels
    if labels is None:
        labels = classifier.predict(images.images, top=1).labels[:, 0]
        say("true classes are not known: the predictions before the attack stand for them")
    names, pixels = images.names, images.images.to(torch.float32)
    if target == "all" and chosen in ATTACKS and "all" not in classifier.class_names:
        names, pixels, labels, settings["targets"] = _toward_all(classifier, names, pixels, labels)
    about = _add_targets(settings, classifier, target, len(names))

    def judging_of(some: Pictures) -> AttackJudging:
        cut = {
            name: value[some.rows] if isinstance(value, torch.Tensor) and not shared else value
            for name, value in settings.items()
        }
        return AttackJudging(
            classifier=classifier, pixels=some.to_float, labels=some.labels, method=chosen,
            run=run, arguments=cut, seed=common.seed, whole=shared, said=options,
        )  # fmt: skip

    data = specs[0].partition(":")[0]
    radius = settings.get("epsilon", budget)
    again = [
        model, *network.again(), "--data", data, *data_place(common.data_dir),
        "--epsilon", shown_default(0.1 if radius is None else radius),
    ]  # fmt: skip
    everyone = Pictures(pixels, labels, torch.arange(len(names)))
    run_judged(
        ATTACK,
        judging_of(everyone),
        title=f"attacking {counted(len(names))} by {chosen}",
        classifier=classifier,
        subject=everyone,
        facts={
            "about": {
                **about,
                "model": classifier.source,
                "execution": classifier.describe()["execution"],
            },
            "names": list(names),
            "known": images.labels is not None,
            "budget": budget if chosen in ATTACKS else None,
            "next": again if data in DATASETS else [],
            "refused": list(images.refused),
        },
        large=large,
        as_json=common.as_json,
        output=output,
        rehearsal=Trials() if shared else Rehearsal(of=judging_of, copies=COPIES, few=4, more=12),
    )


def show_attack(
    result: Any,
    facts: Mapping[str, Any],
    gates: Mapping[str, float],
    *,
    as_json: bool,
    output: Output,
) -> None:
    """Print and write the result of a method, whoever attacked.

    Args:
        result: Of the method.
        facts: What the job says about itself.
        gates: None: the command has no gates.
        as_json: For machines.
        output: What to write.

    Raises:
        PartlyRefused: Files were left out.
    """
    about, budget = facts["about"], facts["budget"]
    summary = {**result.summary(), **about}
    if budget is not None:
        summary["within_epsilon"] = within(result, budget)
    for flag in getattr(result, "flags", ()):
        warn(str(flag))
    if as_json:
        emit(summary, as_json=True)
    else:
        from convscope.pages import spoken

        within_budget = summary.get("within_epsilon")
        shown = {"target": f"{t['number']} {t['name']!r}"} if (t := about.get("target")) else {}
        inside = {} if within_budget is None else _spoken_within(within_budget)
        emit(spoken(result) | shown | inside)
    output.write(result, tuple(facts["names"]), known=facts["known"])
    if facts["next"]:
        next_step("convscope attack evaluate", *facts["next"])
    if facts["refused"]:
        for reason in facts["refused"]:
            warn(reason)
        raise PartlyRefused(f"{counted(len(facts['refused']))} could not be read; the rest is done")


def _attacked(settings: Settings, facts: Settings, head: Record, records: Sequence[Record]) -> Any:
    from convscope.attacks import attack_of, shared_result_of

    return shared_result_of(records) if settings["whole"] else attack_of(records)


def _is_attack(job: Job) -> bool:
    """Whether a job says which images were attacked."""
    facts, budget = job.facts, job.facts.get("budget")
    return (
        isinstance(facts.get("about"), dict)
        and isinstance(facts.get("known"), bool)
        and (budget is None or isinstance(budget, int | float))
        and all(are_texts(facts.get(name)) for name in ("names", "next", "refused"))
        and (job.settings.get("whole") is True or len(facts["names"]) == job.rows)
    )


ATTACK = JudgedCommand(kind="attack", combine=_attacked, show=show_attack, knows=_is_attack)


def check_target(target: str | None, takes: str, name: str) -> None:
    """Refuse a class for a method that goes for none, and none for a method that needs one.

    Raises:
        UsageError: U11 or U08.
    """
    if target is not None and not takes:
        raise UsageError(f"{name} has no target", code="U11", hint="leave --target out")
    if target is None and takes == "required":
        raise UsageError(
            f"{name} needs --target",
            code="U08",
            expected="a class of the network, by name or number; --target all tries each",
        )


def within(result: AttackResult, epsilon: float) -> dict[str, Any]:
    """How many adversarial rows moved at most `epsilon`; rows that were no task left out."""
    hit = result.success & ~result.already_misclassified
    return {"epsilon": epsilon, "task": int((~result.already_misclassified).sum())} | {
        norm: int((hit & (result.distance(norm) <= epsilon)).sum()) for norm in ("linf", "l2")
    }


def _spoken_within(found: dict[str, Any]) -> dict[str, str]:
    return {
        f"fooled within {sign} {found['epsilon']:g}": f"{found[norm]:,} of {found['task']:,} images"
        for norm, sign in (("linf", "L∞"), ("l2", "L2"))
    }


def _add_targets(
    settings: dict[str, Any], classifier: Classifier, target: str | None, count: int
) -> dict[str, Any]:
    """Targets, where one is given; the target for the reader."""
    import torch

    from convscope.data import class_number

    if target is None:
        return {}
    if target == "all" and "all" not in classifier.class_names:
        settings.setdefault("targets", torch.arange(classifier.num_classes))
        return {}
    chosen = class_number(target, classifier.class_names)
    settings["targets"] = torch.full((1 if count == 0 else count,), chosen)[:count]
    return {"target": said_class(chosen, classifier.class_names, typed=target)}


def _toward_all(
    classifier: Classifier,
    names: tuple[str, ...],
    images: Tensor,
    labels: Tensor,
) -> tuple[tuple[str, ...], Tensor, Tensor, Tensor]:
    """Each image once for every class but its own: names, images, labels, targets."""
    import torch

    from convscope.data import check_memory

    classes = classifier.num_classes
    rows = torch.arange(len(images)).repeat_interleave(classes)
    targets = torch.arange(classes).repeat(len(images))
    other = targets != labels[rows].cpu()
    rows, targets = rows[other], targets[other]
    what = f"{len(rows):,} attacks ({len(images)} images toward {classes - 1} classes)"
    check_memory(COPIES * 4 * len(rows) * images[0].numel() if len(images) else 0, what)
    pairs = zip(rows.tolist(), targets.tolist(), strict=True)
    shown = tuple(f"{names[row]} to {classifier.class_names[to]}" for row, to in pairs)
    return shown, images[rows], labels[rows], targets


def register(app: cyclopts.App) -> None:
    """Add the command."""
    names = ", ".join((*ATTACKS, *SHARED))
    group = cyclopts.App(
        name="attack",
        help=f"Fool a classifier, and judge what it takes.\n\nMethods: {names}. "
        "Each has its page: `convscope attack METHOD --help`.",
    )
    group.default(attack)
    group.command(list_attacks, name="list")
    group.command(list_attack_settings, name="settings")
    group.command(evaluate, name="evaluate")
    group.command(certify, name="certify")
    group.command(transfer, name="transfer")
    group.command(survival, name="survival")
    app.command(group)
