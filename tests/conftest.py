"""Fixtures: networks small enough to reason about, images that do not change."""

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from torch import nn

install_import_hook(
    [
        "convscope.probe",
        "convscope._network.chunks",
        "convscope._network.gradients",
        "convscope.ascent",
        "convscope.attacks",
        "convscope.explanations",
        "convscope.visualizations",
        "convscope.robustness",
        "convscope.defenses",
    ],
    "beartype.beartype",
).__enter__()

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_draws_alone_and_in_company():
    """No test sees what others drew: it passes or fails alone as it does among all."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)


def shared_folder():
    """Where real data and foreign weights are expected: beside the checkout."""
    here = Path(__file__).resolve().parents[1]
    return Path(os.environ.get("CONVSCOPE_SHARED", here.parent / "shared"))


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and foreign weights, if this machine has it."""
    folder = shared_folder()
    if not (folder / "data").is_dir():
        pytest.skip("needs the folder of shared data (set CONVSCOPE_SHARED)")
    return folder


@pytest.fixture(params=[1, 3], ids=["gray", "color"])
def channels(request):
    return request.param


@pytest.fixture
def case(channels):
    """A small network with batch norm, images of coprime sizes, and labels."""
    return make_case(channels)


def make_case(channels):
    from convscope.classifier import Classifier

    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 3 * 4, 5),
    )
    images, labels = torch.rand(7, channels, 6, 8), torch.arange(7) % 5
    classifier = Classifier(module=module, class_names=tuple("abcde"), input_shape=(channels, 6, 8))
    return classifier, images, labels


@pytest.fixture(params=["stand-in", "cuda"])
def device(request):
    """Another device than the CPU: one that every machine has, and a GPU if there is one."""
    from tests.stand_in import a_gpu, stand_in

    return stand_in() if request.param == "stand-in" else a_gpu()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A browser without a window, if this machine has one; everybody opens pages of their own."""
    from convscope.reports import find_browser

    program = find_browser()
    if program is None or sys.platform == "win32":
        pytest.skip("needs Chromium or Chrome, which pages are tested in")
    from tests.browser import Browser

    started = Browser(program, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()
