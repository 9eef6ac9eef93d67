"""CIFAR-10."""

from convscope.data._dataset import Dataset


def open_cifar10(**_settings: object) -> Dataset:
    raise NotImplementedError
