"""``convscope attack evaluate`` and ``certify``: what withstands attacks, what provably does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from convscope.cli._model_options import NOTHING, OwnNetwork
from convscope.cli._opened import opened_data, opened_network, refuse_early, words
from convscope.cli._output import (
    Fraction,
    data_place,
    emit,
    fraction,
    next_step,
    progress,
    say,
    table,
    warn,
    wrote,
)
from convscope.errors import GateFailed, UsageError

Split = Literal["train", "validation", "test", "all"]
Flag = Annotated[bool, cyclopts.Parameter(negative="")]
Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="")]


def evaluate(
    model: str,
    /,
    *,
    data: str,
    epsilon: str = "8/255",
    norm: str = "linf",
    effort: str = "standard",
    split: Split | None = None,
    count: int = 1000,
    fail_under: str | None = None,
    skip_bad: Flag = False,
    data_dir: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    offline: Flag = False,
    force: Flag = False,
    as_json: Json = False,
    network: OwnNetwork = NOTHING,
) -> None:
    """Judge robustness: worst case over a ladder of attacks, with automatic checks.

    Args:
        model: Run folder, .safetensors file, name of a network, hf:..., package.module:factory.
        data: digits, mnist, cifar10 or folder:DIRECTORY.
        epsilon: Radius in pixel units, such as 0.3 or 8/255.
        norm: linf or l2.
        effort: quick, standard or full.
        split: train, validation, test or all; by default as for `convscope eval`.
        count: At most so many images: a sample with every class in proportion.
        fail_under: Exit with 1 if robust accuracy is less than this share, such as 0.4.
        skip_bad: Leave files out that cannot be read; exit with 8 if there were any.
        data_dir: Folder that holds the data files.
        out: Folder, or FILE.html.
        seed: Of every draw.
        offline: Never download.
        force: Write over what --out names.
        as_json: Print JSON.
        network: What the files of a network of your own do not say.
    """
    radius = fraction(epsilon)
    least = None if fail_under is None else fraction(fail_under)
    refuse_early(out, force=force)
    import torch

    from convscope.robustness import evaluate as judge

    classifier = opened_network(model, network=network)
    opened = opened_data(
        classifier, data, split=split, count=count, seed=seed, data_dir=data_dir, offline=offline,
        skip_bad=skip_bad,
    )  # fmt: skip
    part = opened.split
    with progress(f"attacking {len(part)} images, effort {effort}", total=None) as bar:
        result = judge(
            classifier,
            part.floats(),
            part.labels,
            epsilon=radius,
            norm=norm,  # type: ignore[arg-type]
            effort=effort,
            generator=torch.Generator().manual_seed(seed),
            on_rung=lambda name: bar.describe(f"now {name}"),
        )
    if as_json:
        emit(
            {**result.summary(), "model": classifier.source, "data": data, **opened.facts()},
            as_json=True,
        )
    else:
        table(
            ["attack", "attacked", "broken", "standing", "forwards", "backwards", "seconds"],
            [
                [r.attack, r.attacked, r.broken, r.standing, r.forwards, r.backwards, r.seconds]
                for r in result.ladder
            ],
            title=f"{norm} {epsilon}",
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
    if out is not None:
        from convscope.cli._attack_output import write

        write(result, (), out, force=force)
        wrote(out)
    again = words("convscope", "audit", model) + network.again()
    next_step(f"{again} {words('--data', data)}{data_place(data_dir)}")
    if least is not None and not result.robust_accuracy >= least:
        raise GateFailed(f"robust accuracy is {result.robust_accuracy:.4g}, under {least:g}")
    opened.raise_if_refused()


def certify(
    model: str,
    /,
    *,
    data: str,
    sigma: Fraction,
    draws: int = 10_000,
    alpha: float = 0.001,
    images: int = 500,
    split: Split | None = None,
    skip_bad: Flag = False,
    data_dir: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    offline: Flag = False,
    force: Flag = False,
    as_json: Json = False,
    network: OwnNetwork = NOTHING,
) -> None:
    """Certify the vote of noisy copies (randomized smoothing): L2 radii that no attack can break.

    The network should have been trained on noise of the same sigma. Takes images times draws
    forward passes.

    Args:
        model: Run folder, .safetensors file, name of a network, hf:..., package.module:factory.
        data: digits, mnist, cifar10 or folder:DIRECTORY.
        sigma: Standard deviation of the noise in pixel units, such as 0.5.
        draws: Noisy copies per image.
        alpha: Probability that a certificate is wrong.
        images: At most so many: a sample with every class in proportion.
        split: train, validation, test or all; by default as for `convscope eval`.
        skip_bad: Leave files out that cannot be read; exit with 8 if there were any.
        data_dir: Folder that holds the data files.
        out: Folder, or FILE.html.
        seed: Of every draw.
        offline: Never download.
        force: Write over what --out names.
        as_json: Print JSON.
        network: What the files of a network of your own do not say.
    """
    if images < 1:
        raise UsageError(f"--images {images}", code="U05", expected="at least 1")
    refuse_early(out, force=force)
    import torch

    from convscope.robustness import certify as judge

    classifier = opened_network(model, network=network)
    opened = opened_data(
        classifier, data, split=split, count=images, seed=seed, data_dir=data_dir, offline=offline,
        skip_bad=skip_bad,
    )  # fmt: skip
    part = opened.split
    with progress(f"certifying {len(part)} images", total=len(part) * draws) as bar:
        result = judge(
            classifier,
            part.floats(),
            part.labels,
            sigma=sigma,
            draws=draws,
            alpha=alpha,
            generator=torch.Generator().manual_seed(seed),
            on_draws=bar.advance,
        )
    summary = result.summary()
    if as_json:
        emit({**summary, "model": classifier.source, "data": data, **opened.facts()}, as_json=True)
    else:
        table(
            ["L2 radius", "certified and right"],
            [[radius, f"{share:.1%}"] for radius, share in summary["certified_accuracy"].items()],
            title=f"sigma {sigma:g}, {draws} draws, {len(part)} images",
        )
        say(
            f"abstained on {summary['abstained']} of {len(part)} images; {summary['seconds']:.0f} s"
        )
    if out is not None:
        from convscope.cli._attack_output import write

        write(result, (), out, force=force)
        wrote(out)
    again = words("convscope", "attack", "evaluate", model) + network.again()
    next_step(
        f"{again} {words('--data', data)}{data_place(data_dir)} --norm l2 --epsilon {sigma:g}"
    )
    opened.raise_if_refused()
