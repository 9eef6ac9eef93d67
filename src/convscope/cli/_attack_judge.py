"""``convscope attack evaluate`` and ``certify``: what withstands attacks, what provably does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from convscope.cli._attack_settings import shown_default
from convscope.cli._early import check_names, check_number, check_out, check_seed
from convscope.cli._gates import failed_gates, read_gates
from convscope.cli._model_options import NOTHING, OwnNetwork
from convscope.cli._opened import opened_data, opened_network, words
from convscope.cli._output import (
    Fraction,
    data_place,
    emit,
    next_step,
    progress,
    say,
    table,
    warn,
    watching,
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
    epsilon: Fraction = 8 / 255,
    norm: Literal["linf", "l2"] = "linf",
    effort: Literal["quick", "standard", "full"] = "standard",
    split: Split | None = None,
    count: int = 1000,
    fail_under: list[str] | None = None,
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
        fail_under: Exit with 1 unless reached: robust=0.4, accuracy=0.98 (without an attack).
            Several with commas; a number alone means robust.
        skip_bad: Leave files out that cannot be read; exit with 8 if there were any.
        data_dir: Folder that holds the data files.
        out: Folder, or FILE.html.
        seed: Of every draw.
        offline: Never download.
        force: Write over what --out names.
        as_json: Print JSON.
        network: What the files of a network of your own do not say.
    """
    gates = read_gates(fail_under or [], ("robust", "accuracy"), bare="robust")
    check_number("--epsilon", epsilon, least=0)
    check_number("--count", count)
    check_seed(seed)
    check_out(out, force=force)
    check_names(models=[model], data=data)
    import torch

    from convscope.robustness import evaluate as judge

    classifier = opened_network(model, network=network)
    opened = opened_data(
        classifier, data, split=split, count=count, seed=seed, data_dir=data_dir, offline=offline,
        skip_bad=skip_bad,
    )  # fmt: skip
    part = opened.split
    title = f"attacking {len(part)} images, effort {effort}"
    with watching(title) as bar:
        result = judge(
            classifier,
            part.to_float(),
            part.labels,
            epsilon=epsilon,
            norm=norm,
            effort=effort,
            generator=torch.Generator().manual_seed(seed),
            on_rung=lambda name: bar.describe(f"{title}: {name}"),
        )
    if as_json:
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
            ["attack", "attacked", "broken", "standing", "forwards", "backwards", "seconds"],
            [
                [r.attack, r.attacked, r.broken, r.standing, r.forwards, r.backwards, r.seconds]
                for r in result.ladder
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
    if out is not None:
        from convscope.cli._attack_output import write

        write(result, (), out, force=force)
        wrote(out)
    again = words("convscope", "audit", model) + network.again()
    next_step(f"{again} {words('--data', data)}{data_place(data_dir)}")
    found = {"robust": result.robust_accuracy, "accuracy": result.clean_accuracy}
    if failed := failed_gates(gates, found):
        raise GateFailed("; ".join(failed))
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
    check_number("--images", images)
    check_number("--draws", draws)
    check_number("--sigma", sigma, least=1e-6)
    if not 0 < alpha < 1:
        raise UsageError(f"--alpha {alpha}", code="U05", expected="more than 0 and less than 1")
    check_seed(seed)
    check_out(out, force=force)
    check_names(models=[model], data=data)
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
            part.to_float(),
            part.labels,
            sigma=sigma,
            draws=draws,
            alpha=alpha,
            generator=torch.Generator().manual_seed(seed),
            on_draws=bar.advance,
        )
    summary = result.summary()
    if as_json:
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
