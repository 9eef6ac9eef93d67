"""Data sets as bytes in memory, image files, and augmentation of whole batches.

`open_dataset` gives a `Dataset` of three `Split`s; `select_images` and `read_image` give float
images for the methods; `augment` varies a batch. `DATASETS` is the registry, `status` says what of
it is on this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convscope._registry import lazy
from convscope.data._download import cache_folder, data_folder
from convscope.data._open import SPLITS, check_specs, choose_dataset, open_dataset
from convscope.data._registry import (
    ADDRESSES,
    DATASETS,
    AddressSpec,
    DatasetSpec,
    Download,
    Found,
    address_of,
    data_forms,
)

if TYPE_CHECKING:
    from convscope.data._augment import Augmentation, Draws, augment
    from convscope.data._augment import apply as apply_augmentation
    from convscope.data._augment import draw as draw_augmentation
    from convscope.data._classes import (
        ClassMatch,
        absent_sentence,
        match_classes,
        match_dataset,
    )
    from convscope.data._dataset import Dataset
    from convscope.data._file import check_memory
    from convscope.data._folder import open_folder
    from convscope.data._image import ImageNotice, decode_image, read_image
    from convscope.data._items import refuse_problems
    from convscope.data._names import about_class, class_number
    from convscope.data._select import Selection, sample_rows, select_images
    from convscope.data._shapes import CLASS_NAMES as SHAPE_NAMES
    from convscope.data._shapes import DIFFICULTIES, Difficulty, Scenes, open_shapes, shape_scenes
    from convscope.data._split import Split, check_images
    from convscope.data._store import Status, download, export_data, import_data, status
    from convscope.data._stored import StoredImages, known_digest
    from convscope.data._stream import (
        Catalog,
        ImageStream,
        ReadFile,
        catalog,
        read_files,
        refuse_nothing_read,
        stream_images,
    )
    from convscope.types import TakesImages

__all__ = [
    "ADDRESSES",
    "DATASETS",
    "DIFFICULTIES",
    "SHAPE_NAMES",
    "SPLITS",
    "AddressSpec",
    "Augmentation",
    "Catalog",
    "ClassMatch",
    "Dataset",
    "DatasetSpec",
    "Difficulty",
    "Download",
    "Draws",
    "Found",
    "ImageNotice",
    "ImageStream",
    "ReadFile",
    "Scenes",
    "Selection",
    "Split",
    "Status",
    "StoredImages",
    "TakesImages",
    "about_class",
    "absent_sentence",
    "address_of",
    "apply_augmentation",
    "augment",
    "cache_folder",
    "catalog",
    "check_images",
    "check_memory",
    "check_specs",
    "choose_dataset",
    "class_number",
    "data_folder",
    "data_forms",
    "decode_image",
    "download",
    "draw_augmentation",
    "export_data",
    "import_data",
    "known_digest",
    "match_classes",
    "match_dataset",
    "open_dataset",
    "open_folder",
    "open_shapes",
    "read_files",
    "read_image",
    "refuse_nothing_read",
    "refuse_problems",
    "sample_rows",
    "select_images",
    "shape_scenes",
    "status",
    "stream_images",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_augment": "apply:apply_augmentation augment Augmentation draw:draw_augmentation "
            "Draws",
            "_classes": "absent_sentence ClassMatch match_classes match_dataset",
            "_dataset": "Dataset",
            "_file": "check_memory",
            "_folder": "open_folder",
            "_image": "decode_image ImageNotice read_image",
            "_items": "refuse_problems",
            "_names": "about_class class_number",
            "_select": "sample_rows select_images Selection TakesImages",
            "_shapes": "CLASS_NAMES:SHAPE_NAMES DIFFICULTIES Difficulty open_shapes Scenes "
            "shape_scenes",
            "_stream": "Catalog catalog ImageStream read_files ReadFile refuse_nothing_read "
            "stream_images",
            "_split": "check_images Split",
            "_stored": "known_digest StoredImages",
            "_store": "download export_data import_data Status status",
        },
    )
