"""``convscope audit``: everything about one classifier in one file; ``report``; ``demo``."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from convscope._metrics import METRICS, gates_of
from convscope._registry import Effort
from convscope.cli._gates import failed_gates, gates_help, read_gates
from convscope.cli._judged import JudgedCommand, Settings, Trials, are_texts, run_judged
from convscope.cli._large import AT_ONCE, LargeOptions, without_workers
from convscope.cli._opened import opened_network
from convscope.cli._options import (
    NOTHING,
    USUAL,
    CommonOptions,
    DataName,
    Device,
    Flag,
    Force,
    ModelName,
    Output,
    OwnNetwork,
    Seed,
    SplitName,
    check_names,
    check_number,
    check_out,
    check_seed,
)
from convscope.cli._output import (
    Fraction,
    emit,
    fresh_name,
    next_step,
    say,
    showing_progress,
    warn,
    watching,
    wrote,
)
from convscope.errors import (
    DataError,
    GateFailed,
    PartlyRefused,
    ResourceError,
    UsageError,
    choose,
)
from convscope.studies import AUDIT_SECTIONS

if TYPE_CHECKING:
    from convscope.sharding import Job, Record
    from convscope.studies import AuditFound, AuditResult

Gates = Annotated[
    list[str], cyclopts.Parameter(help=gates_help("audit", "accuracy=0.98,robust=0.4"))
]
DEMO_MODEL = "mnist-conv2-fc-bn"
DEMO_MARK = "demo.txt"
"""The file by which a later demo knows a folder as one of its own."""

REHEARSED = 128
"""Images that are predicted in a rehearsal, at least."""

SectionNames = Annotated[
    list[str],
    cyclopts.Parameter(help=f"Only these sections, with commas: {', '.join(AUDIT_SECTIONS)}."),
]


def audit_model(
    model: ModelName,
    /,
    *,
    data: DataName,
    out: Path = Path("report.html"),
    pdf: Flag = False,
    fail_under: Gates | None = None,
    epsilon: Fraction | None = None,
    effort: Effort = "quick",
    count: int | None = None,
    shown: int = 8,
    judge: str | None = None,
    certify: Fraction | None = None,
    playable: Flag = False,
    only: SectionNames | None = None,
    split: SplitName | None = None,
    force: Annotated[Force, cyclopts.Parameter(help="Replace an earlier report.")] = False,
    large: LargeOptions = AT_ONCE,
    common: CommonOptions = USUAL,
    network: OwnNetwork = NOTHING,
) -> None:
    """Judge, look into and attack a classifier; write one self-contained HTML report.

    Args:
        model: The network.
        data: The data set.
        out: The HTML file. Numbers, pictures and tables go to a folder of the same name beside it.
        pdf: Also print a PDF.
        fail_under: Gates, as NAME=NUMBER.
        epsilon: L-infinity budget of the headline robust accuracy; 0.1 for gray images and 8/255
            for color by default.
        effort: How hard attacks try.
        count: At most this many images are attacked: a sample with every class in proportion. By
            default 200, of large images (from 128 x 128 pixels) 24.
        shown: How many images to show where images are shown.
        judge: An independently trained MODEL of the same classes that predicts the
            optimized images.
        certify: Also certify for Gaussian noise of this standard deviation, such as 0.5 (randomized
            smoothing; thousands of passes per image).
        playable: Put the network itself into the page, where it can be played with offline: draw,
            explain, attack. Up to 1.5 MB of network.
        only: Only these sections.
        split: train, validation, test or all to judge on; by default as for `convscope eval`.
        force: Replace an earlier report.
        large: Going on after a kill, and many workers.
        common: What is the same everywhere.
        network: What the files of a network of your own do not say.
    """
    gates = read_gates(fail_under or [], gates_of("audit"))
    check_names(models=[model, judge], data=data)
    check_number("--count", count)
    check_number("--shown", shown)
    check_number("--epsilon", epsilon, least=0, most=1)
    check_number("--certify", certify, least=1e-6)
    check_seed(common.seed)
    check_out(out, force=True, folder=False)
    sections = [part.strip() for text in only or [] for part in text.split(",") if part.strip()]
    if only and not sections:
        raise UsageError("--only names no section", code="U01", expected="such as performance")
    sections = [choose("section", name, AUDIT_SECTIONS) for name in sections]
    large.chosen()
    from convscope.data import match_classes, open_dataset
    from convscope.studies import audit_judging

    out = html_path(out)
    _refuse_taken(out, force=force)
    classifier = opened_network(model, network=network, device=common.device)
    other = None if judge is None else opened_network(judge, named=True, device=common.device)
    with showing_progress("reading images"):
        dataset = open_dataset(
            data,
            data_dir=common.data_dir,
            offline=common.offline,
            accept_modified=common.accept_modified,
            skip_bad=common.skip_bad,
            input_shape=classifier.input_shape,
            resize=classifier.resize,
            check_classes=partial(match_classes, network=classifier.class_names, where=data),
        )
    judging = audit_judging(
        classifier,
        dataset,
        images_per_section=shown,
        attacked_images=count,
        epsilon=epsilon,
        effort=effort,
        run_folder=model if (Path(model) / "metrics.csv").is_file() else None,
        judge=other,
        certify_sigma=certify,
        sections=sections or None,
        split=split,
        seed=common.seed,
        command=shlex.join(["convscope", *without_workers(sys.argv[1:])]),
        title=_title(model, dataset.name),
        playable=playable,
    )
    about = {"model": model, "data": data, "refused": list(dataset.refused)}
    run_judged(
        replace(AUDIT, show=partial(show_audit, pdf=pdf)),
        judging,
        title="auditing",
        classifier=judging.audit.classifier,
        subject=judging.audit.test,
        facts={**about, **judging.facts},
        large=large,
        gates=gates,
        as_json=common.as_json,
        output=Output(out=out, force=force),
        rehearsal=Trials(of=lambda: judging.smaller(REHEARSED)),
    )


def show_audit(
    found: AuditFound,
    facts: Mapping[str, Any],
    gates: Mapping[str, float],
    *,
    as_json: bool,
    output: Output,
    pdf: bool = False,
) -> None:
    """Write a report and print its numbers, whoever judged.

    Args:
        found: The report in memory.
        facts: What the job says about itself.
        gates: Thresholds by name.
        as_json: For machines.
        output: Where the page goes; ``report.html`` by default.
        pdf: Also print a PDF.

    Raises:
        UsageError: U13, something is there; U11, formats were chosen.
        GateFailed: A threshold was not reached.
        PartlyRefused: Sections are incomplete, or files were left out.
    """
    if output.formats is not None:
        raise UsageError(
            "--format of an audit", code="U11", expected="none: its figures are SVG and PNG"
        )
    out = html_path(output.out or Path("report.html"))
    _refuse_taken(out, force=output.force)
    folder = out.with_suffix("")
    found.report.write(folder, force=output.force)
    result = found.result(folder)
    refused = write_pages(folder, out, pdf=pdf)
    if as_json:
        about = {"model": facts["model"], "data": facts["data"], "report": str(out)}
        emit({**about, **result.summary(), "refused": facts["refused"]}, as_json=True)
    else:
        emit(headline(result))
    for alert in result.alerts:
        say(f"- {alert}")
    say(f"open {out} in a browser")
    for reason in facts["refused"]:
        warn(reason)
    _judge(result, gates, (*refused, *(f"left out: {reason}" for reason in facts["refused"])))


def _refuse_taken(out: Path, *, force: bool) -> None:
    """Before hours of work: may page and folder be written?

    Raises:
        UsageError: U13.
    """
    from convscope.reports import refuse_taken

    refuse_taken(out.with_suffix(""), force=force)
    if out.exists() and not force:
        refuse_taken(out, force=False)


def _title(model: str, data: str) -> str:
    """The heading of a report: a run by its folder, a name as it was typed.

    A weight file is called ``model.safetensors`` like any other; the audit knows what is in it.
    """
    path = Path(model)
    if path.is_file():
        return ""
    return f"{path.resolve().name if path.is_dir() else model} on {data}"


def html_path(out: Path) -> Path:
    """``report`` and ``report.html`` both mean ``report.html``."""
    return out if out.suffix in (".html", ".htm") else out.with_name(out.name + ".html")


def write_pages(folder: Path, out: Path, *, pdf: bool) -> tuple[str, ...]:
    """Render a report folder to HTML, and to PDF if asked; what could not be shown."""
    from convscope.reports import print_pdf, render

    made = render(folder, out)
    wrote(made.path)
    say(f"wrote {folder}{'/'} (numbers, tables and pictures)")
    if made.size > 10_000_000:
        warn(f"the report has {made.size / 1e6:.0f} MB; fewer images make it smaller")
    if pdf:
        paper = out.with_suffix(".pdf")
        try:
            print_pdf(folder, paper)
            wrote(paper)
        except ResourceError as error:
            warn(f"no PDF: {error.what}. {error.hint}")
    return made.refused


def headline(result: AuditResult) -> dict[str, object]:
    """The numbers a person wants to see in the terminal."""
    titles: dict[str, str] = {}
    if result.epsilon is not None:
        from convscope.figures import budget

        titles["robust"] = f"robust (L∞ ≤ {budget(result.epsilon)})"
    shown: dict[str, object] = {
        titles.get(name, name if spec.unit == "share" else spec.title): spec.text(
            result.numbers[name]
        )
        for name, spec in METRICS.items()
        if name in result.numbers and spec.unit in ("share", "seconds")
    }
    return shown | {"audited in": f"{result.seconds:.0f} s"}


def _judge(result: AuditResult, gates: Mapping[str, float], refused: tuple[str, ...]) -> None:
    failed = failed_gates(gates, result.numbers, result.absent)
    if failed:
        raise GateFailed("; ".join(failed))
    if result.failed or refused:
        parts = [f"section {title!r} is incomplete" for title in result.failed]
        parts += [text for text in refused[:3]]
        raise PartlyRefused("; ".join(parts), hint="the report says why, where it happened")


def render_report(
    folder: Path,
    /,
    *,
    out: Path | None = None,
    pdf: Flag = False,
) -> None:
    """Render a report folder again: HTML from JSON, pictures and tables, without computing.

    Args:
        folder: What `convscope audit` wrote beside its HTML file.
        out: The HTML file; by default FOLDER.html beside the folder.
        pdf: Also print a PDF.
    """
    check_out(out, force=True, folder=False)
    whole = folder.resolve()
    target = html_path(out) if out is not None else whole.with_name(whole.name + ".html")
    if not (folder / "report.json").is_file():
        raise DataError(
            "holds no report.json",
            code="U02",
            where=folder,
            hint="give the folder that `convscope audit` wrote beside its HTML file",
        )
    refused = write_pages(folder, target, pdf=pdf)
    say(f"open {target} in a browser")
    if refused:
        raise PartlyRefused(
            f"{len(refused)} items could not be shown: {'; '.join(refused[:3])}",
            hint="the report has a box with the reason in their place",
        )


def demo(
    *,
    out: Path = Path("runs/demo"),
    seed: Seed = 0,
    device: Device = "auto",
    pdf: Flag = False,
) -> None:
    """Train on real handwritten digits, judge, look inside, attack, and write a report.

    The data are built in (1,797 digits of scikit-learn); nothing is downloaded.

    Args:
        out: Folder for the run and the report. An earlier demo there is replaced.
        seed: Of training and of every random choice.
        device: Where the network is trained and judged.
        pdf: Also print a PDF.
    """
    start = time.perf_counter()
    run, folder, page = out / "run", out / "report", out / "report.html"
    check_seed(seed)
    check_out(out, force=True, page=False)
    _make_room(out)
    from convscope.cli._train_progress import shown
    from convscope.data import open_dataset
    from convscope.devices import resolve_device
    from convscope.studies import audit
    from convscope.training import recipe, train, tune_allocator

    tune_allocator()
    place = resolve_device(device)
    dataset = open_dataset("digits")
    settings = recipe(DEMO_MODEL, data="digits", seed=seed, device=device)
    steps = settings.epochs * (len(dataset.train) // settings.batch_size)
    say(f"1 of 2: training {DEMO_MODEL} on {len(dataset.train):,} digits")
    with shown(settings, steps) as on_event:
        trained = train(settings, dataset, out=run, on_event=on_event)
    trained.classifier.module.to(place)
    say("2 of 2: judging, looking inside, attacking")
    with watching("auditing"):
        result = audit(
            trained.classifier,
            dataset,
            out_folder=folder,
            images_per_section=6,
            attacked_images=100,
            run_folder=run,
            seed=seed,
            command=shlex.join(["convscope", "demo", "--out", str(out)]),
            title=f"{DEMO_MODEL} on digits",
            playable=True,
        )
    refused = write_pages(folder, page, pdf=pdf)
    wrote(run)
    emit({**headline(result), "all in": f"{time.perf_counter() - start:.0f} s"})
    for alert in result.alerts:
        say(f"- {alert}")
    say(f"open {page} in a browser: the network runs in it, offline")
    look = fresh_name(str(out / "inspect.html"))
    next_step("convscope inspect", str(run), "digits:test/0-3", "--out", look)
    _judge(result, {}, refused)


def _make_room(out: Path) -> None:
    """Remove what an earlier demo wrote, and nothing else."""
    import shutil

    from convscope.files import write_whole

    if out.exists() and any(out.iterdir()) and not (out / DEMO_MARK).is_file():
        raise UsageError(
            "already exists and is no demo", code="U13", where=out, hint="choose another --out"
        )
    for part in ("run", "report"):
        shutil.rmtree(out / part, ignore_errors=True)
    write_whole(
        out / DEMO_MARK, b"Written by `convscope demo`, which replaces run/ and report/ here.\n"
    )


def _report(
    settings: Settings, facts: Settings, head: Record, records: Sequence[Record]
) -> AuditFound:
    from convscope.studies import audit_of

    return audit_of(settings, facts, head, records)


def _is_audit(job: Job) -> bool:
    """Whether a job says what the report of an audit says about itself."""
    facts = job.facts
    texts = (facts.get(name) for name in ("model", "data", "title", "generator", "split",
                                          "small samples"))  # fmt: skip
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(facts.get("images"), int)
        and isinstance(facts.get("left out"), list)
        and all(are_texts(facts.get(name)) for name in ("refused", "absent"))
    )


AUDIT = JudgedCommand(
    kind="audit", combine=_report, show=show_audit, knows=_is_audit, gates="audit", unit="blocks"
)


def register(app: cyclopts.App) -> None:
    """Add the commands."""
    app.command(demo, name="demo")
    app.command(audit_model, name="audit")
    app.command(render_report, name="report")
