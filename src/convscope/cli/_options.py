"""Options of the commands: those that mean the same everywhere, and what is refused early."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from convscope.cli._output import fraction, progress, wrote
from convscope.data import check_specs, choose_dataset, data_forms
from convscope.devices import FORMS, check_device_name
from convscope.errors import ResourceError, UsageError, choose
from convscope.files import checked_path
from convscope.models import ADAPTERS, adapter_forms, check_model_name

if TYPE_CHECKING:
    from convscope.classifier import Classifier

Flag = Annotated[bool, cyclopts.Parameter(negative="")]
SplitName = Literal["train", "validation", "test", "all"]


def _read_device(kind: object, tokens: Sequence[cyclopts.Token]) -> str:
    return check_device_name(tokens[0].value)


COMMON = cyclopts.Group("Common options", help="The same in every command that has them.")
NETWORK = cyclopts.Group(
    "Your own network",
    help=f"For MODEL = package.module:factory, {' or '.join(adapter_forms(describable=True))}, and "
    "for a weight file without a description.",
)

# One option each, for commands that have some of `Common` and `Output` and not all.
Device = Annotated[
    str,
    cyclopts.Parameter(
        group=COMMON,
        converter=_read_device,
        help=f"Where networks run: {', '.join(FORMS[:-1])} or {FORMS[-1]}; auto is a GPU "
        "by CUDA if there is one.",
    ),
]
DataDir = Annotated[
    Path, cyclopts.Parameter(group=COMMON, help="Folder that holds the data files.")
]
Seed = Annotated[int, cyclopts.Parameter(group=COMMON, help="Seed of every random choice.")]
SkipBad = Annotated[
    bool,
    cyclopts.Parameter(
        group=COMMON,
        negative="",
        help="Leave files out that cannot be read; exit with 8 if there were any.",
    ),
]
AcceptModified = Annotated[
    bool,
    cyclopts.Parameter(
        name="--accept-modified-data",
        group=COMMON,
        negative="",
        help="Go on with data files whose checksum is not the known one.",
    ),
]
Offline = Annotated[bool, cyclopts.Parameter(group=COMMON, negative="", help="Never download.")]
Json = Annotated[
    bool, cyclopts.Parameter(name="--json", group=COMMON, negative="", help="Print JSON.")
]
Force = Annotated[
    bool, cyclopts.Parameter(group=COMMON, negative="", help="Write over what --out names.")
]

_PREFIXES = ", ".join(f"{prefix}:..." for prefix in ADAPTERS)
_DATA = data_forms()
# The help of these arguments follows the registries; it stands in for the line of the docstring.
ModelName = Annotated[
    str,
    cyclopts.Parameter(
        help="Run folder, .safetensors file, name of a network, "
        f"{_PREFIXES} or package.module:factory."
    ),
]
DataName = Annotated[str, cyclopts.Parameter(help=f"{_DATA}.")]
ReferenceData = Annotated[
    str,
    cyclopts.Parameter(
        help=f"{_DATA}: training images for priors and comparisons, test images for --trust "
        "(shapes and pets have true masks)."
    ),
]

FORMATS = ("png", "svg", "pdf")
"""Of figures in a folder."""

PAGES = (".html", ".htm")
FILES = (
    *(".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp", ".pdf", ".json", ".csv", ".txt", ".md"),
    *(".npz", ".npy", ".pt", ".pth", ".safetensors", ".zip", ".tar", ".gz", ".ckpt", ".toml"),
)


@dataclass(frozen=True, kw_only=True)
class Common:
    """Where data are, where the network runs, what is random, and the kind of output."""

    data_dir: DataDir | None = None
    seed: Seed = 0
    device: Device = "cpu"
    skip_bad: SkipBad = False
    accept_modified: AcceptModified = False
    offline: Offline = False
    as_json: Json = False


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where pictures, tables and results go."""

    out: Path | None = None
    "Folder, or FILE.html for one page, to write to."
    formats: Annotated[str | None, cyclopts.Parameter(name="--format")] = None
    "Format of figures in a folder: png (the default), svg or pdf; several with commas."
    force: Force = False

    def check(self) -> None:
        """Refuse a place that is taken or cannot be, and a format that there is not.

        Raises:
            UsageError: U13, U03, U02 or U11.
        """
        check_out(self.out, force=self.force)
        if self.formats is not None and (self.out is None or self.out.suffix.lower() in PAGES):
            raise UsageError(
                f"--format {self.formats} without a folder",
                code="U11",
                expected="--out FOLDER: figures of a page are part of it",
            )
        _ = self.kinds

    def write(self, result: Any, names: tuple[str, ...] = (), *, known: bool = True) -> None:
        """Write a result of attacking or judging, if a place was given, and say where.

        Args:
            result: What was found.
            names: One per image, if it is about images.
            known: Whether the labels are true classes.
        """
        if self.out is None:
            return
        from convscope.pages import write_result

        write_result(result, names, self.out, force=self.force, known=known, formats=self.kinds)
        wrote(self.out)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The formats of figures.

        Raises:
            UsageError: U01 for one that there is not.
        """
        names = [] if self.formats is None else self.formats.lower().split(",")
        found = [choose("format", name.strip().lstrip("."), FORMATS) for name in names]
        return tuple(dict.fromkeys(found)) or ("png",)


@dataclass(frozen=True)
class ModelOptions:
    """Flags that describe a network whose files do not."""

    weights: Path | None = None
    "Its state_dict: .safetensors, or .pt with tensors."
    input_shape: str | None = None
    "Channels, height and width of its images: 3,224,224."
    classes: Path | None = None
    "File with one class name per line, or JSON, in the order of the outputs."
    mean: str | None = None
    "Mean per channel that it subtracts from pixels in [0, 1]: 0.485,0.456,0.406."
    std: str | None = None
    "Standard deviation per channel that it divides by."

    def load(self, model: str, *, allow_nonfinite: bool = False, device: str = "cpu") -> Classifier:
        """The classifier that `model` names, with what the flags say.

        Raises:
            ResourceError: T27, the device is not there.
            UsageError: A flag makes no sense, or `model` describes itself.
            CheckpointError: C01 to C19, whatever is wrong with the files.
        """
        input_shape = None if self.input_shape is None else shape_of(self.input_shape)
        mean = None if self.mean is None else numbers_of("mean", self.mean)
        std = None if self.std is None else numbers_of("std", self.std)
        with progress(f"loading {model}", total=None, transient=True):
            from convscope.models import load

            return load(
                model,
                allow_nonfinite=allow_nonfinite,
                weights=self.weights,
                input_shape=input_shape,
                class_names=self.classes,
                mean=mean,
                std=std,
                device=device,
            )

    def again(self) -> list[str]:
        """The flags that were given, as words behind MODEL in a suggested command."""
        return [
            word
            for name, value in vars(self).items()
            if value is not None
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]

    def without(self, names: set[str]) -> tuple[ModelOptions, list[str]]:
        """Leave flags of these names to an attack that has settings of the same name.

        Returns:
            The other flags, and words such as ``["--mean", "0.5"]`` for the attack.
        """
        taken = [name for name in ("classes", "mean", "std", "weights") if name in names]
        words = [
            word
            for name in taken
            if getattr(self, name) is not None
            for word in (f"--{name}", str(getattr(self, name)))
        ]
        return replace(self, **dict.fromkeys(taken)), words


def shape_of(text: str) -> tuple[int, ...]:
    """``"3,224,224"`` and ``"3x224x224"`` as numbers.

    Raises:
        UsageError: U10.

    Example:
        >>> shape_of("1,28,28"), shape_of("3x224x224")
        ((1, 28, 28), (3, 224, 224))
    """
    parts = text.lower().replace("x", ",").split(",")
    if len(parts) != 3 or not all(p.strip().isascii() and p.strip().isdigit() for p in parts):
        raise UsageError(
            f"--input-shape {text!r}",
            code="U10",
            expected="channels, height and width: 3,224,224, or 1,28,28 for gray digits",
        )
    return tuple(int(part[:9]) for part in parts)


def numbers_of(name: str, text: str) -> tuple[float, ...]:
    """``"0.5,0.5,0.5"`` as numbers; fractions such as 127/255 too.

    Raises:
        UsageError: U03.
    """
    try:
        return tuple(fraction(part) for part in text.split(","))
    except UsageError as error:
        error.where = f"--{name}"
        raise


def check_names(
    *,
    models: Sequence[str | None] = (),
    data: str | None = None,
    images: Sequence[str] = (),
) -> None:
    """Refuse a model, a data set or images that are nothing.

    Raises:
        CheckpointError: C11.
        UsageError: U01.
        DataError: U02.
    """
    for model in models:
        if model is not None:
            check_model_name(model)
    if data is not None:
        choose_dataset(data)
    check_specs(images)


def check_out(out: Path | None, *, force: bool, page: bool = True, folder: bool = True) -> None:
    """Refuse a place for results that is taken, or whose ending promises another kind of file.

    Args:
        out: What was given.
        force: Whether it may be written over.
        page: Whether the command can write one HTML file.
        folder: Whether it can write a folder.

    Raises:
        UsageError: U13 if it is taken, U03 for an ending that is not written.
    """
    if out is None:
        return
    kinds = ["a folder"] * folder + ["FILE.html"] * page
    ending = out.suffix.lower()
    if ending in FILES or (ending in PAGES and not page) or (ending == ".htm" and folder):
        raise UsageError(
            f"--out {out.name!r}: this command writes no {ending} file",
            code="U03",
            expected=" or ".join(kinds),
            hint=f"--out {out.with_suffix('.html' if page else '')}",
        )
    checked_path(out)
    above = next(place for place in out.absolute().parents if place.exists())
    if not above.is_dir():
        raise UsageError("a file, so nothing can be written in it", code="U02", where=above)
    if not os.access(above, os.W_OK | os.X_OK):
        raise ResourceError("may not be written to", where=above, hint="choose another --out")
    if out.exists() and out.is_dir() != folder and not (folder and page):
        raise UsageError(
            f"is a {'folder' if out.is_dir() else 'file'} already",
            code="U13",
            where=out,
            expected=" or ".join(kinds),
        )
    taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if taken and not force:
        raise UsageError("already exists", code="U13", where=out, hint="another --out, or --force")


def check_seed(seed: int) -> None:
    """Refuse a seed that no generator takes.

    Raises:
        UsageError: U12.
    """
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed {seed}", code="U12", expected="0 to 2^63 - 1")


def check_number(
    option: str, value: float | None, *, least: float = 1, most: float | None = None
) -> None:
    """Refuse a count or size that cannot be.

    Raises:
        UsageError: U05.
    """
    if value is None:
        return
    if not value >= least or (most is not None and value > most) or value == float("inf"):
        wanted = f"at least {least:g}" if most is None else f"{least:g} to {most:g}"
        levels = most == 1 and 1 < value <= 255
        hint = f"pixels are in [0, 1]: did you mean {value:g}/255?" if levels else ""
        raise UsageError(f"{option} {value:g}", code="U05", expected=wanted, hint=hint)


CommonOptions = Annotated[Common, cyclopts.Parameter(name="*", group=COMMON)]
OutputOptions = Annotated[Output, cyclopts.Parameter(name="*", group=COMMON)]
OwnNetwork = Annotated[ModelOptions, cyclopts.Parameter(name="*", group=NETWORK)]
USUAL = Common()
NOWHERE = Output()
NOTHING = ModelOptions()
