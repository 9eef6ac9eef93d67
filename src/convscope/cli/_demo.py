"""``convscope demo``: a tour in a minute, without network or downloads."""

from __future__ import annotations

import time
from pathlib import Path

import cyclopts

from convscope.cli._audit import headline, write_pages
from convscope.cli._opened import words
from convscope.cli._options import Flag, check_out, check_seed
from convscope.cli._output import emit, fresh_name, next_step, say, watching, wrote
from convscope.errors import UsageError

MODEL = "mnist-conv2-fc-bn"
MARK = "demo.txt"


def demo(
    *,
    out: Path = Path("runs/demo"),
    seed: int = 0,
    pdf: Flag = False,
) -> None:
    """Train on real handwritten digits, judge, look inside, attack, and write a report.

    The data are built in (1,797 digits of scikit-learn); nothing is downloaded.

    Args:
        out: Folder for the run and the report. An earlier demo there is replaced.
        seed: Of training and of every random choice.
        pdf: Also print a PDF.
    """
    start = time.perf_counter()
    run, folder, page = out / "run", out / "report", out / "report.html"
    check_seed(seed)
    check_out(out, force=True, page=False)
    _make_room(out)
    from convscope.cli._train import shown
    from convscope.data import open_dataset
    from convscope.studies import audit
    from convscope.training import recipe, train, tune_allocator

    tune_allocator()
    dataset = open_dataset("digits")
    settings = recipe(MODEL, data="digits", seed=seed)
    steps = settings.epochs * (len(dataset.train) // settings.batch_size)
    say(f"1 of 2: training {MODEL} on {len(dataset.train):,} digits")
    with shown(settings, steps) as on_event:
        trained = train(settings, dataset, out=run, on_event=on_event)
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
            command=words("convscope", "demo", "--out", str(out)),
        )
    write_pages(folder, page, pdf=pdf)
    wrote(run)
    emit({**headline(result), "all in": f"{time.perf_counter() - start:.0f} s"})
    for alert in result.alerts:
        say(f"- {alert}")
    say(f"open {page} in a browser")
    look = fresh_name(str(out / "inspect.html"))
    next_step(words("convscope", "inspect", str(run), "digits:test/0-3") + f" --out {look}")


def _make_room(out: Path) -> None:
    """Remove what an earlier demo wrote, and nothing else."""
    import shutil

    from convscope.files import write_whole

    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UsageError(
            "already exists and is no demo", code="U13", where=out, hint="choose another --out"
        )
    for part in ("run", "report"):
        shutil.rmtree(out / part, ignore_errors=True)
    write_whole(out / MARK, b"Written by `convscope demo`, which replaces run/ and report/ here.\n")


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(demo, name="demo")
