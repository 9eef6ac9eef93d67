"""The registries of data sets: `DATASETS` by name, `ADDRESSES` for data of one's own by prefix.

What is true of a data set stands in its record: `status`, ``convscope data list``, help texts,
errors, the table in docs/data.md and the contract tests read it there. Nothing heavy is imported:
what a record names as ``"_module:name"`` is fetched when it is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from convscope._registry import Registry, Spec
from convscope.errors import UsageError

if TYPE_CHECKING:
    from convscope.data._dataset import Dataset
    from convscope.data._items import Inventory

OPTIONS = (
    *("data_dir", "offline", "accept_modified", "skip_bad"),
    *("input_shape", "resize", "check_classes"),
)
"""What `open_dataset` can hand to the function of a data set; each takes those that it names."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """A downloadable file.

    Attributes:
        file: Where it goes, relative to the data folder.
        urls: Mirrors, the first one is asked first.
        sha256: What it must hash to.
        size: Its length in bytes.
    """

    file: str
    urls: tuple[str, ...]
    sha256: str
    size: int


@dataclass(frozen=True)
class Found:
    """Which files of a data set a data folder holds.

    Attributes:
        files: Those that are here.
        missing: Names of those without which it cannot be opened; for downloads the names under
            which they are served, with or without ``.gz``.

    Example:
        >>> Found((Path("a.npz"),)).ready, Found(missing=("a.npz",)).ready
        (True, False)
    """

    files: tuple[Path, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether it can be opened without a network."""
        return not self.missing


Find = Callable[["str | Path | None"], Found]
"""``find(data_dir)``: what is on this machine; files are looked for, not read."""


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """What `DATASETS` knows of a data set. Only `home`, the function that opens it, is needed.

    The function returns a `Dataset` and takes, by keyword, whichever of `OPTIONS` it needs. A
    record that says neither `built_in` nor `find` cannot tell whether the data set is ready.

    Attributes:
        title: What its makers call it.
        built_in: It needs no files.
        find: Says what is on this machine.
        downloads: The files that make it up, if convscope may download them.
        file_names: Base names by which its files are recognized where they are imported; empty:
            its files are neither imported nor exported.
        by_hand: Where its files come from and where they belong, if they are not downloaded.
        classes: Number of classes, or the most that there can be.
        shape: Channels, height and width of its images.
        sizes: Images for training, validation and test.
        license: As its makers state it.
        few_images: Whether it has so few images that recipes train for more epochs.

    Example:
        >>> spec = DatasetSpec(lambda data_dir=None: ..., "spots", find=lambda folder: Found())
        >>> spec.accepted({"data_dir": "here", "offline": True})
        {'data_dir': 'here'}
        >>> DatasetSpec(lambda path: ..., "spots")
        Traceback (most recent call last):
        convscope.errors.UsageError: a data set's function needs path, which nobody would give it
          expected: some of the keywords data_dir, offline, accept_modified, skip_bad, ...
    """

    title: str = field(default="", kw_only=True)
    built_in: bool = field(default=False, kw_only=True)
    find: Find | str | None = field(default=None, kw_only=True)
    downloads: tuple[Download, ...] | str = field(default=(), kw_only=True)
    file_names: Collection[str] | str = field(default=(), kw_only=True)
    by_hand: str = field(default="", kw_only=True)
    classes: int | None = field(default=None, kw_only=True)
    shape: tuple[int, int, int] | None = field(default=None, kw_only=True)
    sizes: tuple[int, int, int] | None = field(default=None, kw_only=True)
    license: str = field(default="", kw_only=True)
    few_images: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if callable(self.home):
            self._check(self.home)

    def found(self, data_dir: str | Path | None = None) -> Found | None:
        """What is on this machine; None if the record cannot tell."""
        if self.built_in:
            return Found()
        return None if self.find is None else cast(Find, _fetched(self.find))(data_dir)

    def needed(self, missing: Collection[str]) -> tuple[Download, ...]:
        """The downloads that bring the files of `Found.missing`."""
        names = {name.removesuffix(".gz") for name in missing}
        return tuple(
            one
            for one in _fetched(self.downloads)
            if Path(one.file).name.removesuffix(".gz") in names
        )

    def known_files(self) -> frozenset[str]:
        """Base names by which files of this data set are recognized."""
        return frozenset(_fetched(self.file_names))

    def accepted(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `options` that the function takes."""
        function = _fetched(self.home)
        self._check(function)
        parameters = inspect.signature(function).parameters.values()
        if any(one.kind is one.VAR_KEYWORD for one in parameters):
            return dict(options)
        return {one.name: options[one.name] for one in parameters if one.name in options}

    @staticmethod
    def _check(function: Callable[..., Any]) -> None:
        """Refuse a function that `open_dataset` could not call."""
        for one in inspect.signature(function).parameters.values():
            optional = one.default is not one.empty or one.kind in (
                one.VAR_KEYWORD,
                one.VAR_POSITIONAL,
            )
            if optional or (one.name in OPTIONS and one.kind is not one.POSITIONAL_ONLY):
                continue
            raise UsageError(
                f"a data set's function needs {one.name}, which nobody would give it",
                expected=f"some of the keywords {', '.join(OPTIONS[:4])}, ...",
            )


def _fetched(value: Any) -> Any:
    """What ``"_module:name"`` names; anything else as it is."""
    if not isinstance(value, str):
        return value
    module, _, member = value.partition(":")
    return getattr(import_module(f"convscope.data.{module}"), member)


DATASETS: Registry[Callable[..., Dataset], DatasetSpec] = Registry(
    "convscope.data",
    DatasetSpec,
    {
        "digits": DatasetSpec(
            "_digits:open_digits",
            "1,797 handwritten digits, 28x28 gray, 10 classes; built in",
            aliases=("digit", "sklearn-digits"),
            title="Optical Recognition of Handwritten Digits",
            built_in=True,
            classes=10,
            shape=(1, 28, 28),
            sizes=(1259, 179, 359),
            license="CC BY 4.0",
            few_images=True,
        ),
        "mnist": DatasetSpec(
            "_mnist:open_mnist",
            "70,000 handwritten digits, 28x28 gray, 10 classes",
            title="MNIST",
            find="_mnist:find",
            downloads="_mnist:DOWNLOADS",
            file_names="_mnist:FILE_NAMES",
            classes=10,
            shape=(1, 28, 28),
            sizes=(50_000, 10_000, 10_000),
            license="CC BY-SA 3.0",
        ),
        "cifar10": DatasetSpec(
            "_cifar10:open_cifar10",
            "60,000 small photos, 32x32 color, 10 classes",
            aliases=("cifar", "cifar-10"),
            title="CIFAR-10",
            find="_cifar10:find",
            downloads="_cifar10:DOWNLOADS",
            file_names="_cifar10:FILE_NAMES",
            classes=10,
            shape=(3, 32, 32),
            sizes=(40_000, 10_000, 10_000),
            license="none stated; made for research",
        ),
        "shapes": DatasetSpec(
            "_shapes:open_shapes",
            "13,000 drawn shapes with true masks, 32x32 color, 10 classes; built in",
            aliases=("shape",),
            title="shapes",
            built_in=True,
            classes=10,
            shape=(3, 32, 32),
            sizes=(10_000, 1_000, 2_000),
            license="drawn by convscope",
        ),
        "pets": DatasetSpec(
            "_pets:open_pets",
            "photos of cats and dogs with true masks, 224x224 color, up to 37 breeds",
            aliases=("oxford-iiit-pet", "oxford-pets", "pet"),
            title="Oxford-IIIT Pet",
            find="_pets:find",
            by_hand="unpack images.tar.gz and annotations.tar.gz of "
            "https://www.robots.ox.ac.uk/~vgg/data/pets/ into oxford-iiit-pet/ in that folder; "
            "or shapes in its place, which needs no files",
            classes=37,
            shape=(3, 224, 224),
            license="CC BY-SA 4.0",
        ),
    },
)


@dataclass(frozen=True)
class AddressSpec(Spec):
    """What `ADDRESSES` knows of a way to name data of one's own; its name is the prefix.

    The function takes what stands behind the prefix, and by keyword `skip_bad`, `input_shape`,
    `resize` and `check_classes`; it returns a `Dataset`.

    Attributes:
        form: How people write it.
        inventory: ``"_module:name"`` of a function that lists the image files without opening one;
            empty where images are no files. ``PREFIX:...@64`` then says the side of a square.
        library: The library that it needs.
        install: What to type to get the library.
    """

    form: str = field(default="", kw_only=True)
    inventory: str = field(default="", kw_only=True)
    library: str = field(default="", kw_only=True)
    install: str = field(default="", kw_only=True)

    def take_inventory(self, address: str) -> Inventory:
        """The image files at an address, none of which has been opened."""
        found = _fetched(self.inventory)(address)
        return cast("Inventory", found)


ADDRESSES: Registry[Callable[..., Dataset], AddressSpec] = Registry(
    "convscope.data",
    AddressSpec,
    {
        "folder": AddressSpec(
            "_folder:open_folder",
            "class folders, images with a list of labels, or images named by class",
            form="folder:DIRECTORY",
            inventory="_folder:folder_inventory",
        ),
        "npy": AddressSpec(
            "_npy:open_npy",
            "a NumPy array of bytes, (N, H, W), (N, H, W, C) or (N, C, H, W), and one of labels",
            form="npy:FILE",
        ),
        "tar": AddressSpec(
            "_tar:open_tar",
            "tar shards as WebDataset has them: 0001.jpg with 0001.cls or 0001.json",
            form="tar:PATTERN",
            inventory="_tar:tar_inventory",
        ),
        "hfdata": AddressSpec(
            "_arrow:open_hfdata",
            "a folder that save_to_disk of Hugging Face's datasets wrote",
            form="hfdata:DIRECTORY",
            inventory="_arrow:hfdata_inventory",
            library="pyarrow",
            install='pip install "convscope[hfdata]"',
        ),
    },
)


def address_forms() -> tuple[str, ...]:
    """How data of one's own can be named.

    Example:
        >>> address_forms()[0]
        'folder:DIRECTORY'
    """
    return tuple(spec.form for spec in ADDRESSES.specs().values())


def address_of(text: str) -> tuple[str, str] | None:
    """Prefix and address, if data of one's own are named; else None.

    Example:
        >>> address_of("folder:photos"), address_of("mnist:test")
        (('folder', 'photos'), None)
    """
    prefix, colon, address = text.partition(":")
    return (prefix, address) if colon and prefix in ADDRESSES else None


def data_forms() -> str:
    """What ``--data`` can be, in words.

    Example:
        >>> data_forms().split(", ")[0]
        'digits'
    """
    names = [*DATASETS, *address_forms()]
    return f"{', '.join(names[:-1])} or {names[-1]}"
