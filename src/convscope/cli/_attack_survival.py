"""``convscope attack survival``: fool photos toward a class, and transform what came out."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from convscope.cli._opened import opened_images, opened_network, said_class
from convscope.cli._options import (
    NOTHING,
    NOWHERE,
    USUAL,
    CommonOptions,
    ModelName,
    OutputOptions,
    OwnNetwork,
    check_names,
    check_number,
    check_seed,
)
from convscope.cli._output import (
    Fraction,
    counted,
    emit,
    not_kept,
    say,
    table,
    warn,
    watching,
    wrote,
)
from convscope.errors import PartlyRefused, UsageError


def survival(
    model: ModelName,
    /,
    *images: str,
    target: Annotated[list[str], cyclopts.Parameter(name=["--target"])],
    epsilon: Fraction = 2 / 255,
    steps: int = 40,
    eot_samples: int = 8,
    common: CommonOptions = USUAL,
    output: OutputOptions = NOWHERE,
    network: OwnNetwork = NOTHING,
) -> None:
    """Fool images toward a class, then mirror, crop, rotate and gray what came out.

    Twice: by PGD, and by PGD over random transformations, whose images are made to survive.
    Example: convscope attack survival hf:mobilenet peppers.png --target "space shuttle".

    Args:
        model: The network.
        images: IMAGES (photo.png, a folder, mnist:test/7).
        target: Class to reach, by name or number; given once, or once per image in their order.
        epsilon: Largest change of a pixel, such as 2/255.
        steps: Steps of both attacks; all are taken.
        eot_samples: Random transformations per step of the second attack.
        common: What is the same everywhere.
        output: What to write.
        network: What the files of a network of your own do not say.
    """
    if not images:
        raise UsageError("no images given", expected="such as photo.png or mnist:test/0-3")
    check_number("--epsilon", epsilon, least=0)
    check_number("--steps", steps)
    check_number("--eot-samples", eot_samples)
    check_seed(common.seed)
    output.check()
    check_names(models=[model], images=list(images))
    import torch

    from convscope.data import class_number
    from convscope.robustness import survival as fool_and_transform

    classifier = opened_network(model, network=network, device=common.device)
    given = [class_number(name, classifier.class_names) for name in target]
    targets = [
        said_class(number, classifier.class_names, typed=typed)
        for number, typed in zip(given, target, strict=True)
    ]
    found = opened_images(classifier, list(images), common)
    names, pixels = found.names, found.images.to(torch.float32)
    if len(given) not in (1, len(names)):
        raise UsageError(
            f"{len(given)} targets for {len(names)} images",
            code="U08",
            expected="one --target for all, or one for each",
        )
    labels = found.labels
    if labels is None:
        labels = classifier.predict(pixels, top=1).labels[:, 0]
        say("true classes are not known: the predictions before the attack stand for them")
    with watching(f"fooling {counted(len(names))}"):
        result = fool_and_transform(
            classifier,
            pixels,
            labels,
            targets=torch.tensor(given * (len(names) if len(given) == 1 else 1)),
            epsilon=epsilon,
            steps=steps,
            eot_samples=eot_samples,
            generator=torch.Generator().manual_seed(common.seed),
        )
    summary = {**result.summary(), "targets": targets, "model": classifier.source}
    from convscope.pages import survival_rows, survival_table, write_survival

    if common.as_json:
        emit({**summary, "rows": survival_rows(result, names)}, as_json=True)
    else:
        for chosen in targets:
            say(f"target {chosen['number']} {chosen['name']!r}")
        headers, lines = survival_table(result, names)
        table(headers, lines, title="predicted as, after each transformation")
        say(result.headline())
    for flag in dict.fromkeys(map(str, summary["flags"])):
        warn(flag)
    if output.out is not None:
        write_survival(
            result,
            names,
            output.out,
            force=output.force,
            known=found.labels is not None,
            formats=output.kinds,
        )
        wrote(output.out)
    not_kept("pictures", output.out, name="survival")
    if found.refused:
        for reason in found.refused:
            warn(reason)
        raise PartlyRefused(f"{counted(len(found.refused))} could not be read; the rest is done")
