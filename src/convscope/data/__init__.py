"""Data sets as bytes in memory, image files, and augmentation of whole batches.

`open_dataset` gives a `Dataset` of three `Split`s; `select_images` and `read_image` give float
images for the methods; `augment` varies a batch. `DATASETS` is the registry.
"""

from convscope.data._augment import Augmentation, Draws, augment
from convscope.data._augment import apply as apply_augmentation
from convscope.data._augment import draw as draw_augmentation
from convscope.data._check import check_images
from convscope.data._dataset import Dataset, Split
from convscope.data._folder import open_folder
from convscope.data._image import ImageNotice, read_image
from convscope.data._open import DATASETS, open_dataset
from convscope.data._places import data_folder
from convscope.data._select import select_images
from convscope.data._selection import Selection, TakesImages
from convscope.data._shapes import DIFFICULTIES, Difficulty, Scenes, open_shapes, shape_scenes
from convscope.data._store import Stored, add, get, pack, stored

__all__ = [
    "DATASETS",
    "DIFFICULTIES",
    "Augmentation",
    "Dataset",
    "Difficulty",
    "Draws",
    "ImageNotice",
    "Scenes",
    "Selection",
    "Split",
    "Stored",
    "TakesImages",
    "add",
    "apply_augmentation",
    "augment",
    "check_images",
    "data_folder",
    "draw_augmentation",
    "get",
    "open_dataset",
    "open_folder",
    "open_shapes",
    "pack",
    "read_image",
    "select_images",
    "shape_scenes",
    "stored",
]
