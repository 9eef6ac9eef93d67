"""Data sets as bytes in memory, image files, and augmentation of whole batches.

`open_dataset` gives a `Dataset` of three `Split`s; `select_images` and `read_image` give float
images for the methods; `augment` varies a batch. `DATASETS` is the registry.
"""

from typing import TYPE_CHECKING

from convscope._registry import lazy
from convscope.data._open import DATASETS, choose_dataset, open_dataset
from convscope.data._places import data_folder
from convscope.data._spec import SPLITS, check_specs

if TYPE_CHECKING:
    from convscope.data._augment import Augmentation, Draws, augment
    from convscope.data._augment import apply as apply_augmentation
    from convscope.data._augment import draw as draw_augmentation
    from convscope.data._check import check_images
    from convscope.data._classes import (
        ClassMatch,
        about_class,
        absent_sentence,
        class_number,
        match_classes,
        match_dataset,
    )
    from convscope.data._dataset import Dataset, Split
    from convscope.data._folder import open_folder
    from convscope.data._image import ImageNotice, read_image
    from convscope.data._memory import check_memory
    from convscope.data._sample import sample_rows
    from convscope.data._select import select_images
    from convscope.data._selection import Selection, TakesImages
    from convscope.data._shapes import DIFFICULTIES, Difficulty, Scenes, open_shapes, shape_scenes
    from convscope.data._store import Stored, add, get, pack, stored

__all__ = [
    "DATASETS",
    "DIFFICULTIES",
    "SPLITS",
    "Augmentation",
    "ClassMatch",
    "Dataset",
    "Difficulty",
    "Draws",
    "ImageNotice",
    "Scenes",
    "Selection",
    "Split",
    "Stored",
    "TakesImages",
    "about_class",
    "absent_sentence",
    "add",
    "apply_augmentation",
    "augment",
    "check_images",
    "check_memory",
    "check_specs",
    "choose_dataset",
    "class_number",
    "data_folder",
    "draw_augmentation",
    "get",
    "match_classes",
    "match_dataset",
    "open_dataset",
    "open_folder",
    "open_shapes",
    "pack",
    "read_image",
    "sample_rows",
    "select_images",
    "shape_scenes",
    "stored",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_augment": "Augmentation Draws augment apply:apply_augmentation "
            "draw:draw_augmentation",
            "_check": "check_images",
            "_classes": "ClassMatch about_class absent_sentence class_number match_classes "
            "match_dataset",
            "_dataset": "Dataset Split",
            "_folder": "open_folder",
            "_image": "ImageNotice read_image",
            "_memory": "check_memory",
            "_sample": "sample_rows",
            "_select": "select_images",
            "_selection": "Selection TakesImages",
            "_store": "Stored add get pack stored",
            "_shapes": "DIFFICULTIES Difficulty Scenes open_shapes shape_scenes",
        },
    )
