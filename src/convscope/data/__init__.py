"""Data sets as uint8 tensors in memory, image files, and augmentation of batches."""

from convscope.data._augment import Augmentation, Draws, augment
from convscope.data._augment import apply as apply_augmentation
from convscope.data._augment import draw as draw_augmentation

__all__ = ["Augmentation", "Draws", "apply_augmentation", "augment", "draw_augmentation"]
