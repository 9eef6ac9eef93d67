"""What is called float32 has all its bits: torch's settings during a run, and after it."""

import threading

import pytest
import torch

from convscope._float32 import whole_float32
from convscope.data import open_dataset
from convscope.training import find_learning_rate, recipe, train

BACKENDS = torch.backends
PLACES = {
    "cudnn.conv": BACKENDS.cudnn.conv,
    "cudnn.rnn": BACKENDS.cudnn.rnn,
    "cuda.matmul": BACKENDS.cuda.matmul,
    "mkldnn.conv": BACKENDS.mkldnn.conv,
    "mkldnn.matmul": BACKENDS.mkldnn.matmul,
}
ASKED = {
    "nothing": lambda: None,
    "everything": lambda: setattr(BACKENDS, "fp32_precision", "tf32"),
    "of CUDA": lambda: setattr(BACKENDS.cudnn, "fp32_precision", "tf32"),
    "products": lambda: torch.set_float32_matmul_precision("medium"),
    "products of CUDA": lambda: setattr(BACKENDS.cuda.matmul, "allow_tf32", True),
    "products, newly": lambda: setattr(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "no convolutions": lambda: setattr(BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
    "none": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
}
OLDER = {
    "cudnn": lambda: BACKENDS.cudnn.allow_tf32,
    "cublas": lambda: BACKENDS.cuda.matmul.allow_tf32,
    "products": torch.get_float32_matmul_precision,
}


def read(setting):
    try:
        return setting()
    except RuntimeError:
        return "torch refuses to say"


def settings():
    older = {name: read(setting) for name, setting in OLDER.items()}
    return {name: place.fp32_precision for name, place in PLACES.items()} | older


@pytest.fixture(params=ASKED)
def asked(request):
    """What a program may have chosen before it trains; put back for other tests."""
    yield ASKED[request.param]()
    BACKENDS.fp32_precision = BACKENDS.cudnn.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    for place in PLACES.values():
        place.fp32_precision = "none"
    BACKENDS.cudnn.allow_tf32 = True


class Noting:
    """Listens to a run, and ends it if it is to."""

    def __init__(self, ending=None):
        self.seen, self.ending = [], ending

    def __call__(self, event):
        self.seen.append([place.fp32_precision for place in PLACES.values()])
        if self.ending is not None and len(self.seen) == 3:
            raise self.ending

    @property
    def whole(self):
        return bool(self.seen) and {one for some in self.seen for one in some} <= {"none", "ieee"}


def trained(tmp_path, noting, **changes):
    run = recipe("mnist-conv1", data="digits", epochs=1, **changes)
    return train(run, open_dataset("digits"), out=tmp_path / "run", on_event=noting)


def test_a_run_is_in_whole_float32_and_leaves_the_settings(asked, tmp_path):
    before, noting = settings(), Noting()
    trained(tmp_path, noting, precision="fp32")
    assert noting.whole and settings() == before


@pytest.mark.parametrize("ending", [ValueError("mine"), KeyboardInterrupt()], ids=repr)
def test_the_settings_come_back_whatever_ends_a_run(ending, tmp_path):
    before, noting = settings(), Noting(ending)
    assert before["cudnn.conv"] == "tf32"
    with pytest.raises(type(ending)):
        trained(tmp_path, noting, precision="fp32")
    assert noting.whole and settings() == before


def test_validation_and_what_autocast_leaves_are_whole_in_bfloat16_too(tmp_path):
    noting = Noting()
    trained(tmp_path, noting, precision="bf16")
    assert noting.whole


def test_a_search_for_a_learning_rate_is_in_whole_float32(monkeypatch):
    from convscope.training import _loop

    before, seen = settings(), Noting()
    update = _loop.Engine.update

    def noted(engine, state, scale):
        seen(None)
        return update(engine, state, scale)

    monkeypatch.setattr(_loop.Engine, "update", noted)
    find_learning_rate(recipe("mnist-conv1", data="digits"), open_dataset("digits"), steps=10)
    assert seen.whole and settings() == before


def test_the_last_of_several_threads_puts_the_settings_back():
    before = settings()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with whole_float32():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with whole_float32():
        thread.start()
        assert entered.wait(60)
    assert BACKENDS.cudnn.conv.fp32_precision == "none"
    leave.set()
    thread.join()
    assert settings() == before


def test_importing_changes_no_setting():
    import subprocess
    import sys

    program = (
        "import torch; before = torch.backends.cudnn.conv.fp32_precision; "
        "import convscope.training, convscope.probe, convscope.cli._train; "
        "assert torch.backends.cudnn.conv.fp32_precision == before == 'tf32'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
