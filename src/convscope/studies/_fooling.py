"""The section on attacks: success, distances and costs, with pictures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from convscope._registry import Effort
from convscope.attacks import ATTACKS, AttackJudging, AttackResult, at_effort, attack_of
from convscope.errors import ConvscopeError
from convscope.figures import (
    budget,
    difference_tile,
    difference_words,
    lossless,
    percent,
    tone_of,
    verdict,
)
from convscope.pages import keep_image, name_of
from convscope.progress import stage
from convscope.reports import Section
from convscope.studies._context import Audit, legend
from convscope.studies._stages import Found, JudgedSection, Shown, Stage

COMPARABLE = 0.95
"""Success rate from which the median distance of an attack without a budget is compared."""

MINIMAL_IMAGES = (50, 8)
"""Images, in a quick audit, for attacks without a radius: they never stop early. Small, large."""

NOT_COUNTED = ("target-predicted", "target-is-label")
"""Flags that say which images were no task: the table leaves them out anyway."""

MOST = 4
FEW = 2
"""Images in pictures where images are large."""


LEFT_OUT, PICTURES = "left out", "pictures"
"""Stages that are no attack on many images."""


def _stages(audit: Audit) -> dict[str, Stage]:
    """Attacks on many images, then a few images in pictures."""
    wanted = _wanted(audit)
    stages: dict[str, Stage] = {LEFT_OUT: partial(_left_out, names=list(wanted))}
    plan = {name: wanted[name] for name in _fit(audit, wanted)}
    rows = audit.attacked_rows
    minimal = audit.sized(*MINIMAL_IMAGES) if audit.effort == "quick" else len(rows)
    for method, settings in plan.items():
        attack, arguments = _with_budget(audit, method, settings)
        some = rows if "epsilon" in arguments else rows[:minimal]
        stages[method] = AttackJudging(
            classifier=audit.classifier,
            pixels=partial(_pixels, audit, some),
            labels=audit.test.labels[some],
            method=method,
            run=attack,
            arguments=arguments,
        )
    return stages | {PICTURES: _pictures}


def _show(shown: Shown, section: Section, found: Mapping[str, Found]) -> None:
    """A table of the attacks, then the pictures."""
    done = []
    for name, one in found.items():
        if name == LEFT_OUT:
            one.put(shown, section)
        elif name != PICTURES and one.usable(section, f"`{name}` stopped"):
            done.append(attack_of(one.records))
    section.finding = finding(done)
    _table(section, done)
    found[PICTURES].put(shown, section)
    _alerts(shown, section, done)


fooling = JudgedSection(stages=_stages, show=_show)
"""A table of attacks on many images, then a few images in pictures."""


def _wanted(audit: Audit) -> dict[str, dict[str, Any]]:
    return planned("standard" if audit.classifier.black_box else audit.effort)


def _fit(audit: Audit, names: Iterable[str]) -> list[str]:
    return audit.applicable(Section("fooling", ""), ATTACKS, names)


def _left_out(audit: Audit, section: Section, *, names: Sequence[str]) -> None:
    """Say which methods a black box has no gradients for."""
    audit.applicable(section, ATTACKS, names)


def _pixels(audit: Audit, rows: Tensor, block: slice) -> Tensor:
    return audit.test.to_float(rows[block])


def _with_budget(
    audit: Audit, method: str, settings: Mapping[str, Any]
) -> tuple[Callable[..., AttackResult], dict[str, Any]]:
    """An attack and its settings, with the radius if it has one."""
    attack = ATTACKS[method]
    bounded = "epsilon" in inspect.signature(attack).parameters
    return attack, {**settings, **({"epsilon": audit.epsilon} if bounded else {})}


def _pictures(audit: Audit, section: Section) -> None:
    """A few images before and after."""
    wanted = _wanted(audit)
    quick = wanted if audit.classifier.black_box else planned("quick")
    few = audit.sized(MOST, FEW)
    images, labels = audit.shown
    images, labels, done = images[:few], labels[:few], []
    names = [name for name in _fit(audit, wanted) if name in quick]
    for number, method in enumerate(names):
        attack, arguments = _with_budget(audit, method, wanted[method])
        try:
            with stage(number / len(names), (number + 1) / len(names)):
                done.append(attack(audit.classifier, images, labels, **arguments))
        except ConvscopeError as error:
            section.note(f"`{method}` stopped: {error}", level="warning")
    _grid(audit, section, done)
    _differences(audit, section, done)


def planned(effort: Effort) -> dict[str, dict[str, Any]]:
    """Attacks of an effort and their settings, weak before strong: what their records say."""
    found = {name: at_effort(spec.audit, effort) for name, spec in ATTACKS.specs().items()}
    return {name: dict(settings) for name, settings in found.items() if settings is not None}


def _table(section: Section, done: list[AttackResult]) -> None:
    rows = []
    for found in done:
        s = found.summary()
        rows.append(
            [
                found.method,
                len(found),
                "none" if found.epsilon is None else f"L∞ ≤ {budget(found.epsilon)}",
                s["success_rate"],
                s["median_l2"],
                s["median_linf"],
                s["lost_to_quantization"],
                f"{s['forwards_per_image']:.1f} + {s['backwards_per_image']:.1f}",
                s["seconds"],
            ]
        )
    number = {"kind": "number"}
    section.table(
        [
            {"title": "attack", "kind": "code"},
            number | {"title": "images"},
            "budget",
            {"title": "fooled", "kind": "percent"},
            number | {"title": "median L2"},
            number | {"title": "median L∞"},
            number | {"title": "lost to quantization"},
            number | {"title": "forwards + backwards"},
            number | {"title": "seconds"},
        ],
        rows,
        caption="Untargeted attacks on random test images. “Fooled” "
        "counts images that were classified correctly before. “Lost to quantization” are "
        "adversarial as floats but not as 8-bit images. Passes are per image; images that are done "
        "cost nothing more.",
        name="attacks",
        addresses=[f"attack/{found.method}" for found in done],
    )


def finding(done: list[AttackResult]) -> str:
    """The attack within the budget that fools most images, and the smallest changes without one.

    Distances are compared among attacks without a budget that fool nearly all images: the others
    use up what they may, or count easy images only.
    """
    if not done:
        return ""
    rates = [
        (found.success_rate, found) for found in done if found.success_rate == found.success_rate
    ]
    if not rates:
        return "No attacked image was classified correctly before."
    bounded = [pair for pair in rates if pair[1].epsilon is not None]
    rate, best = max(bounded or rates, key=lambda pair: pair[0])
    words = "without a budget" if best.epsilon is None else f"within L∞ ≤ {budget(best.epsilon)}"
    text = (
        f"`{best.method}` fools {percent(rate, 1)} of the images that were classified correctly "
        f"{words}"
    )
    sizes = [
        (found.summary()["median_l2"], found.method)
        for rate, found in rates
        if found.epsilon is None and rate >= COMPARABLE
    ]
    if sizes:
        size, method = min(sizes)
        free = "" if best.epsilon is None else "without a budget, "
        text += f"; {free}`{method}` needs the smallest changes: median L2 {size:.3g}"
    return f"{text}."


def _grid(audit: Audit, section: Section, few: list[AttackResult]) -> None:
    if not few:
        return
    names = audit.classifier.class_names
    first, rows = few[0], []
    for row in range(len(first)):
        true = name_of(names, int(first.labels[row]))
        cells: list[dict[str, Any]] = [
            {
                "file": keep_image(section, f"original-{row}", first.originals[row]),
                "alt": f"Test image, {true}",
                "detail": verdict(first, row, 40)[0].replace("\\$", "$"),
            }
        ]
        for found in few:
            after = predicted(found, row)
            cells.append(
                {
                    "file": keep_image(
                        section, f"{found.method}-{row}", found.quantized[row].float() / 255
                    ),
                    "alt": f"{true} after {found.method}, predicted as {after}",
                    "detail": after,
                    "tone": tone_of(found, row),
                }
            )
        rows.append({"title": true, "cells": cells})
    section.grid(
        ["original", *(found.method for found in few)],
        rows,
        scale=audit.scale,
        caption=f"What the images look like afterwards (as saved in 8 bits) and what they are "
        f"predicted as. Bounded attacks stay within L∞ ≤ {budget(audit.epsilon)}; the others take "
        "what they need.",
    )


def _differences(audit: Audit, section: Section, few: list[AttackResult]) -> None:
    names = audit.classifier.class_names
    chosen = [f for f in few if f.method in ("pgd", "ddn")]
    if not chosen:
        return
    rows = []
    for row in range(min(2, len(chosen[0]))):
        cells: list[dict[str, Any]] = []
        for found in chosen:
            size = float(found.distance("linf")[row])
            cells.append(
                {
                    "file": section.image(
                        f"{found.method}-{row}-change", lossless(difference_tile(found, row))
                    ),
                    "alt": f"Difference made by {found.method}",
                    "detail": f"{difference_words(found, row)}, L∞ {size:.3g}",
                }
            )
        rows.append({"title": name_of(names, int(chosen[0].labels[row])), "cells": cells})
    section.grid(
        [found.method for found in chosen],
        rows,
        scale=audit.scale,
        caption="What was added to the first images, magnified by the factor written below. "
        + legend(audit.classifier.input_shape[0]),
    )


def predicted(found: AttackResult, row: int) -> str:
    """The predicted class of the attacked image, with its probability."""
    logits = found.logits_after[row]
    share = float(logits.softmax(dim=0).max())
    return f"{name_of(found.class_names, int(logits.argmax()))} {percent(share, 0)}"


def _alerts(shown: Shown, section: Section, done: list[AttackResult]) -> None:
    """What a method noticed; what casts doubt on its figures goes to the top of the report."""
    for found in done:
        for flag in found.flags:
            if flag.code in NOT_COUNTED:
                continue
            section.note(f"`{found.method}`: {flag}.")
            if flag.severity != "note":
                text = f"{found.method}: {flag}."
                shown.report.alert(text, level="warning", section="fooling", code=flag.code)
