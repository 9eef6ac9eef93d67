"""Callbacks, writers for TensorBoard, MLflow and Weights & Biases, the learning-rate finder."""

import sys
import types
from dataclasses import replace
from importlib.util import find_spec

import pytest

from convscope.errors import NumericalError, UsageError
from convscope.training import (
    WRITERS,
    Measured,
    MLflowWriter,
    Saved,
    Started,
    Stepped,
    TensorBoardWriter,
    WandbWriter,
    find_learning_rate,
    train,
    writers_of,
)
from convscope.training._callbacks import SCALARS


@pytest.mark.parametrize("kind", [Started, Measured, Stepped, Saved])
def test_what_a_callback_raises_comes_out_after_the_state_is_saved(
    tmp_path, dataset, settings, digest, kind
):
    settings = replace(settings, checkpoint_steps=0)
    closed = []

    class Broken:
        def __call__(self, event):
            if isinstance(event, kind) and (kind is Started or event.step >= 3):
                raise KeyError("mine")

        def close(self):
            closed.append(True)

    heard = []
    with pytest.raises(KeyError, match="mine"):
        train(settings, dataset, out=tmp_path / "run", on_event=heard.append, callbacks=[Broken()])
    assert closed == [True]
    saved = max((tmp_path / "run" / "checkpoints").iterdir()).name
    last = [event.step for event in heard if isinstance(event, Stepped)]
    assert int(saved.removeprefix("step-")) == (last[-1] if last else 0)
    train(settings, dataset, out=tmp_path / "run", resume=True)
    train(settings, dataset, out=tmp_path / "calm")
    assert digest(tmp_path / "run") == digest(tmp_path / "calm")


def test_callbacks_hear_what_on_event_hears(tmp_path, dataset, settings):
    first, second = [], []
    train(settings, dataset, out=tmp_path / "r", on_event=first.append, callbacks=[second.append])
    assert first == second and len(first) > 10


@pytest.mark.skipif(not find_spec("tensorboard"), reason="needs TensorBoard")
def test_tensorboard_reads_back_every_number_once(tmp_path, dataset, settings):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, run = tmp_path / "tb", tmp_path / "run"

    def stop(event):
        if isinstance(event, Stepped) and event.step == 8:
            raise KeyError("stop")

    settings = replace(settings, checkpoint_steps=5)
    with pytest.raises(KeyError):  # the checkpoint of step 5 is the last one
        train(
            settings, dataset, out=run, on_event=stop,
            callbacks=[TensorBoardWriter(folder, settings)],
        )  # fmt: skip
    result = train(
        settings, dataset, out=run, resume=True, callbacks=[TensorBoardWriter(folder, settings)]
    )
    read = EventAccumulator(str(folder))
    read.Reload()
    steps = [event.step for event in read.Scalars("loss/step")]
    assert steps == list(range(1, 13))
    by_tag = {
        "learning_rate": "learning_rate",
        **{f"{part}/{kind}": f"{kind}_{part}" for part in ("loss", "accuracy")
           for kind in ("train", "validation")},
    }  # fmt: skip
    assert set(by_tag.values()) == set(SCALARS)
    for tag, name in by_tag.items():
        written = read.Scalars(tag)
        assert [event.step for event in written] == [point.step for point in result.history]
        for event, point in zip(written, result.history, strict=True):
            assert event.value == pytest.approx(getattr(point, name), rel=1e-6)
    assert read.Tags()["tensors"] == ["settings/text_summary"]


class Recorder:
    """Stands in for a library: notes what is called."""

    def __init__(self, number):
        self.calls, self.number = [], number

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            result = types.SimpleNamespace(id=self.number, log=self.log, finish=self.finish)
            result.info = types.SimpleNamespace(run_id=self.number)
            return result

        return call

    def log(self, *args, **kwargs):
        self.calls.append(("log", args, kwargs))

    def finish(self, *args, **kwargs):
        self.calls.append(("finish", args, kwargs))


def crashed_and_resumed(settings, dataset, run, make):
    def stop(event):
        if isinstance(event, Stepped) and event.step == 8:
            raise KeyError("stop")

    with pytest.raises(KeyError):
        train(settings, dataset, out=run, on_event=stop, callbacks=[make()])
    return train(settings, dataset, out=run, resume=True, callbacks=[make()])


def test_mlflow_gets_settings_once_and_every_row(tmp_path, dataset, settings, monkeypatch):
    library = Recorder("abc123")
    monkeypatch.setitem(sys.modules, "mlflow", library)
    run = tmp_path / "run"
    result = crashed_and_resumed(settings, dataset, run, lambda: MLflowWriter(run, settings))
    names = [name for name, _, _ in library.calls]
    assert names.count("log_params") == 1
    starts = [kwargs["run_id"] for name, _, kwargs in library.calls if name == "start_run"]
    assert starts == [None, "abc123"]
    assert names.count("end_run") == 2 and names[-1] == "end_run"
    logged = {kw["step"]: args[0] for name, args, kw in library.calls if name == "log_metrics"}
    assert sorted(logged) == [point.step for point in result.history]
    last = result.history[-1]
    assert logged[last.step]["validation_loss"] == pytest.approx(last.validation_loss, rel=1e-6)


def test_wandb_gets_settings_and_goes_on_in_the_same_run(tmp_path, dataset, settings, monkeypatch):
    library = Recorder("xyz789")
    monkeypatch.setitem(sys.modules, "wandb", library)
    run = tmp_path / "run"
    result = crashed_and_resumed(settings, dataset, run, lambda: WandbWriter(run, settings))
    begun = [kwargs for name, _, kwargs in library.calls if name == "init"]
    assert [kwargs["id"] for kwargs in begun] == [None, "xyz789"]
    assert begun[0]["config"]["augment.shift"] == 1 and begun[0]["resume"] == "allow"
    logged = {kw["step"] for name, _, kw in library.calls if name == "log"}
    assert sorted(logged) == [point.step for point in result.history]
    assert [name for name, _, _ in library.calls][-1] == "finish"


@pytest.mark.parametrize("name", WRITERS)
def test_a_library_that_is_not_there_is_named(tmp_path, settings, monkeypatch, name):
    for module in ("torch.utils.tensorboard", "tensorboard", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match="not installed") as caught:
        list(writers_of(name, tmp_path, settings))
    assert caught.value.code == "M22" and f"convscope[{name}]" in caught.value.hint


def test_only_the_first_process_logs(tmp_path, settings, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert list(writers_of("mlflow", tmp_path, settings)) == []


def test_the_suggested_rate_trains_and_equal_calls_agree(dataset, settings, tmp_path):
    settings = replace(settings, schedule="constant", ema=0.0)
    curve = find_learning_rate(settings, dataset)
    assert curve == find_learning_rate(settings, dataset)
    assert list(curve.rates) == sorted(curve.rates) and curve.rates[0] == 1e-6
    assert curve.steepest <= curve.lowest
    assert 1e-4 < curve.suggested < 1
    assert not list(tmp_path.iterdir())
    good = train(replace(settings, learning_rate=curve.suggested), dataset, out=tmp_path / "a")
    bad = train(replace(settings, learning_rate=1e-5), dataset, out=tmp_path / "b")
    assert good.history[-1].validation_loss < bad.history[-1].validation_loss


def test_the_search_ends_when_the_loss_diverges(dataset, settings):
    settings = replace(settings, optimizer="sgd", model="mnist-conv1")
    curve = find_learning_rate(settings, dataset, high=1e4)
    assert len(curve.rates) < 100


def test_rates_that_are_no_range_are_refused(dataset, settings):
    with pytest.raises(UsageError, match=r"rates from 1 to 0\.1"):
        find_learning_rate(settings, dataset, low=1, high=0.1)
    with pytest.raises(UsageError, match="steps is 3"):
        find_learning_rate(settings, dataset, steps=3)
    with pytest.raises(NumericalError, match="not finite"):
        find_learning_rate(
            replace(settings, optimizer="sgd", model="mnist-conv1"), dataset, low=1e20, high=1e30
        )
