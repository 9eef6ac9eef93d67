"""The network and the images of the problems with photos: the user's own, or those that are here.

A full study needs an ImageNet network and photos, which are nobody's to give away: they are looked
for in the data folder. ``--fast`` uses what comes with the package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.data import (
    SHAPE_NAMES,
    catalog,
    class_number,
    data_folder,
    select_images,
    shape_scenes,
)
from convscope.errors import DataError, ResourceError, UsageError
from convscope.models import load
from convscope.studies._question import Question
from convscope.studies._study import Study

NETWORK, PHOTOS = "imagenet", "photos"
"""Folders inside of the data folder."""

STAND_IN = "cifar-resnet20"
"""The network of a fast study: it knows the ten classes of CIFAR-10, in color."""

SHUTTLE = 812
"""ImageNet's number of the class that the peppers become; 813 where class 0 is the background."""

IMAGES = 4
SCENES = 60
"""Generated images among which four are chosen in a fast study."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Photos:
    """Images for the network of the study.

    Attributes:
        images: ``(batch, 3, height, width)`` in [0, 1].
        names: What to call each.
    """

    images: Tensor
    names: tuple[str, ...]


def network(study: Study) -> Classifier:
    """The ImageNet network in the data folder, or with ``--fast`` the small one of the package.

    Raises:
        ResourceError: There is none; the text says how to get one.
    """
    if study.fast:
        return load(STAND_IN, device=study.device)
    for file in network_files(study):
        study.file(file)
    return load(f"hf:{data_folder(study.data_dir) / NETWORK}", device=study.device)


def network_files(study: Study) -> list[Path]:
    """The files of the ImageNet network in the data folder; with ``--fast`` none.

    Raises:
        ResourceError: There is none; the text says how to get one.
    """
    if study.fast:
        return []
    folder = data_folder(study.data_dir) / NETWORK
    if not (folder / "config.json").is_file():
        raise ResourceError(
            "an ImageNet network is not on this machine",
            where=folder,
            expected="a folder as Hugging Face has it: config.json, model.safetensors, "
            "preprocessor_config.json",
            hint="copy one there, such as google/mobilenet_v2_1.0_224 from huggingface.co; or "
            "--fast, which needs none",
        )
    return [file for file in sorted(folder.iterdir()) if file.suffix in (".json", ".safetensors")]


def pets(study: Study) -> list[Path]:
    """The photos of pets in the data folder; with ``--fast`` none.

    Raises:
        ResourceError: There are none; the text says how to get them.
    """
    if study.fast:
        return []
    listing = catalog("pets", data_dir=study.data_dir)
    if listing is None:
        study.dataset("pets")  # raises: nothing is there
        return []
    return [item.path for item in listing.items]


def photos(study: Study, classifier: Classifier) -> Photos:
    """Peppers and three other photos of the data folder, or with ``--fast`` four generated images.

    The other three are spread evenly over the names. Generated images are shapes of four kinds that
    the network predicts as anything but `target_class`.

    Raises:
        ResourceError: There are no photos, or no peppers among them.
    """
    if study.fast:
        return _shapes(classifier)
    files = photo_files(study)
    for file in files:
        study.file(file)
    found = select_images(files, like=classifier)
    return Photos(images=found.images, names=tuple(spoken_name(file) for file in files))


def photo_files(study: Study) -> list[Path]:
    """The four photos in the data folder; with ``--fast`` none.

    Raises:
        ResourceError: There are no photos, or no peppers among them.
    """
    return [] if study.fast else chosen_photos(data_folder(study.data_dir) / PHOTOS)


def chosen_photos(folder: Path) -> list[Path]:
    """Peppers first, then three others, evenly spread over the sorted names.

    Raises:
        ResourceError: There are too few, or no peppers.
    """
    kinds = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
    files = sorted(folder.glob("*")) if folder.is_dir() else []
    files = [file for file in files if file.suffix.lower() in kinds]
    peppers = [file for file in files if "peppers" in file.stem.lower()]
    others = [file for file in files if "pepper" not in file.stem.lower()]
    if not peppers or len(others) < IMAGES - 1:
        raise ResourceError(
            f"{len(peppers)} photos of peppers and {len(others)} others are on this machine",
            where=folder,
            expected="peppers.png (or .jpg) and at least three other photos",
            hint="copy them there: the picture of peppers that image-processing courses use, and "
            "any others; or --fast, which needs none",
        )
    spread = [others[round((i + 0.5) * len(others) / 3 - 0.5)] for i in range(IMAGES - 1)]
    return [peppers[0], *spread]


def spoken_name(file: Path) -> str:
    """A file's name for people.

    Example:
        >>> spoken_name(Path("photos/n02087394_Rhodesian_ridgeback.jpg"))
        'Rhodesian ridgeback'
    """
    stem = re.sub(r"^n\d{8}[_-]+", "", file.stem)
    return " ".join(stem.replace("_", " ").split()) or file.stem


def _shapes(classifier: Classifier) -> Photos:
    scenes = shape_scenes("test", SCENES, side=classifier.input_shape[1], difficulty="easy")
    images = scenes.images.float() / 255
    predicted = classifier.predict(images, top=1).labels[:, 0]
    taken: dict[int, int] = {}
    for row, label in enumerate(scenes.labels.tolist()):
        if int(predicted[row]) != target_class(classifier) and len(taken) < IMAGES:
            taken.setdefault(label, row)
    if len(taken) < IMAGES:
        raise DataError(f"{len(taken)} kinds of shapes to fool", expected=f"{IMAGES}")
    rows = list(taken.values())
    return Photos(images=images[rows], names=tuple(SHAPE_NAMES[label] for label in taken))


def target_class(classifier: Classifier) -> int:
    """The space shuttle, ImageNet's class 812; for the ten classes of CIFAR-10 the ship."""
    try:
        return class_number("space shuttle", classifier.class_names)
    except UsageError:
        return class_number("ship", classifier.class_names)


def say_stand_in(study: Study, question: Question) -> None:
    """In a fast study, that network and images are not those of the document."""
    if study.fast:
        question.deviate(
            "a network trained on ImageNet; photos",
            f"{STAND_IN}, which comes with the package and knows the ten classes of CIFAR-10; "
            "generated images of shapes, which belong to none of them",
            "--fast uses only what is in the package. In full the study takes the network in "
            f"{NETWORK}/ and the photos in {PHOTOS}/ of the data folder.",
        )


def gray(images: Tensor) -> Tensor:
    """Luma ``(batch, height, width)`` of color images."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1)
