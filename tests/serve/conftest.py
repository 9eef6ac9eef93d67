"""A served network small enough that every method is quick, and a browser's manners."""

import json
import math
import struct

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.cli import served_methods
from convscope.data import Dataset, Split
from convscope.serve import ServedNetwork, Shelf

TOKEN, PORT = "a-token-for-tests", 7860
ORIGIN = f"http://127.0.0.1:{PORT}"
HOSTILE = ("<script>alert(1)</script>", '"onload="x', "c", "d")


def small_network():
    """Two convolutions on 3 x 8 x 8."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4),
    )  # fmt: skip


def small_data(count=12):
    generator = torch.Generator().manual_seed(0)
    parts = {}
    for name in ("train", "validation", "test"):
        images = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
        parts[name] = Split(name=name, images=images, labels=torch.arange(count) % 4)
    return Dataset(name="tiny", class_names=HOSTILE, source="made up", hashes={}, **parts)


def packed(header, **arrays):
    """A frame, by the words of `_frames.py` and not by its code."""
    about = {**header, "arrays": [[name, list(value.shape)] for name, value in arrays.items()]}
    text = json.dumps(about).encode()
    body = b"".join(value.contiguous().numpy().astype("<f4").tobytes() for value in arrays.values())
    return struct.pack("<I", len(text)) + text + body


def frames(data):
    """All frames of an answer: header and tensors."""
    found = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        header, at, arrays = json.loads(data[4 : 4 + length]), 4 + length, {}
        for name, shape in header["arrays"]:
            count = math.prod(shape)
            values = torch.frombuffer(bytearray(data[at : at + 4 * count]), dtype=torch.float32)
            arrays[name] = values.view(shape)
            at += 4 * count
        data = data[at:]
        if header["part"] != "alive":
            found.append((header, arrays))
    return found


@pytest.fixture(autouse=True)
def _web():
    """Everything here needs the libraries of an extra."""
    for library in ("starlette", "uvicorn"):
        pytest.importorskip(library, reason="needs the extra web")


def serving(networks, methods, shelf=None):
    """What the application works with. Imported late: without the extra, all of this is skipped."""
    from convscope.serve import Served

    return Served(networks, methods, shelf)


def client_of(app, **options):
    """Somebody who has not shown the token yet."""
    from starlette.testclient import TestClient

    return TestClient(app, base_url=ORIGIN, **options)


class Page:
    """A page that has come in, with what it sends."""

    def __init__(self, served):
        from convscope.serve import application

        self.served = served
        self.app = application(served, token=TOKEN, port=PORT)
        self.client = client_of(self.app)
        self.client.get(f"/?token={TOKEN}")

    def post(self, path, body, **headers):
        return self.client.post(path, content=body, headers={"origin": ORIGIN, **headers})

    def look(self, want, image, panel="p", number=0, **request):
        usual = {"explained": None, "layer": None, "window": 3, "stride": 2, "epsilon": 0.1,
                 "target": None}  # fmt: skip
        body = packed({"want": want, **usual, **request}, image=image, changed=image[None])
        answer = self.post(f"/api/{number}/run?panel={panel}", body)
        assert answer.status_code == 200, answer.text
        return {header["part"]: (header, arrays) for header, arrays in frames(answer.content)}

    def method(self, name, image=None, panel="p", number=0, **request):
        arrays = {} if image is None else {"image": image}
        body = packed({"method": name, **request}, **arrays)
        answer = self.post(f"/api/{number}/method?panel={panel}", body)
        assert answer.status_code == 200, answer.text
        return {header["part"]: (header, arrays) for header, arrays in frames(answer.content)}


@pytest.fixture
def network():
    """A network with data whose class names are markup."""
    classifier = Classifier.wrap(small_network(), input_shape=(3, 8, 8), class_names=HOSTILE)
    data = small_data()
    return ServedNetwork(name="tiny", classifier=classifier, dataset=data, data=data.test)


@pytest.fixture
def black_box():
    """A function that answers, and nothing else."""
    module = small_network()

    def predict(images):
        with torch.no_grad():
            return module(torch.as_tensor(images)).softmax(dim=1)

    classifier = Classifier.from_function(predict, input_shape=(3, 8, 8))
    return ServedNetwork(name="box", classifier=classifier)


@pytest.fixture
def page(network, black_box, tmp_path):
    """Both networks and an empty shelf."""
    served = serving([network, black_box], served_methods(), Shelf(tmp_path))
    yield Page(served)
    served.close()


@pytest.fixture
def image(network):
    return network.some(1)[0]
