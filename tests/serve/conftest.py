"""A served network small enough that every method is quick, and a browser's manners."""

import json
import math
import shutil
import struct
import threading
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.cli import served_methods
from convscope.data import Dataset, Split, open_dataset
from convscope.models import load
from convscope.progress import at_step
from convscope.reports import Report
from convscope.serve import Method, ServedNetwork, Shelf

TOKEN, PORT = "a-token-for-tests", 7860
ORIGIN = f"http://127.0.0.1:{PORT}"
COLUMNS = (
    "step,epoch,learning_rate,train_loss,train_error,train_accuracy,validation_loss,"
    "validation_error,validation_accuracy,validation_images"
)
MARKUP = "<script>alert(1)</script>"
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


def row(step):
    return f"{step},{step / 10},0.1,{1 / step},0.5,0.5,{2 / step},0.25,0.75,100\n"


def make_run(folder, steps=3, **settings):
    folder.mkdir(parents=True)
    lines = {"model": "mnist-conv1", "data": "digits", "epochs": 3, **settings}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    (folder / "config.toml").write_text(text)
    rows = "".join(row(step) for step in range(1, steps + 1))
    (folder / "metrics.csv").write_text(f"{COLUMNS}\n{rows}")
    return folder


def make_report(folder, title="A report"):
    report = Report(title=title)
    report.section("numbers", "Numbers").text("Three of them.")
    report.write(folder)
    return folder


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


class Slow:
    """A method that takes steps until it is let go, and says how it ended."""

    def __init__(self):
        self.began, self.ended = threading.Semaphore(0), []

    def __call__(self, classifier, images, targets=None):
        self.began.release()
        try:
            for step in range(3_000):
                at_step(step % 100, 100)
                threading.Event().wait(0.002)
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise

    def method(self):
        usual = next(method for method in served_methods() if method.name == "saliency")
        return Method(**{**vars(usual), "name": "slow", "call": lambda: self, "fields": ()})


@contextmanager
def listening_for_real(served):
    """A server in a thread; its address with the token."""
    import uvicorn

    from convscope.serve import application
    from convscope.serve._server import listening

    listener = listening(0)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        application(served, token=TOKEN, port=port), log_config=None, access_log=False,
        lifespan="off", timeout_graceful_shutdown=1, ws="none",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        served.close()
        thread.join(20)
        listener.close()


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


# ---- A server that a browser talks to --------------------------------------------------------


@pytest.fixture(scope="session")
def slow_method():
    return Slow()


@pytest.fixture(scope="session")
def digits():
    """A served network of digits with its data."""
    dataset = open_dataset("digits")
    return ServedNetwork(
        name="mnist-conv2", classifier=load("mnist-conv2"), dataset=dataset, data=dataset.test
    )


@pytest.fixture(scope="session")
def _runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def runs(_runs):
    """The folder of the shelf, empty."""
    yield _runs
    for place in _runs.iterdir():
        shutil.rmtree(place) if place.is_dir() else place.unlink()


@pytest.fixture(scope="session")
def address(slow_method, digits, browser, _runs):
    """A server of one network and a shelf, to which the browser has shown the token."""
    for library in ("starlette", "uvicorn"):
        pytest.importorskip(library, reason="needs the extra web")
    methods = [*served_methods(), slow_method.method()]
    with listening_for_real(serving([digits], methods, Shelf(_runs))) as address:
        browser.servers.append(address)
        browser.open(f"{address}/?token={TOKEN}")
        yield address
