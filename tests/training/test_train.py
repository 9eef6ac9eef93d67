"""One run: what it writes, what it refuses, what it leaves alone."""

import contextlib
import json
import signal
from dataclasses import replace

import pytest
import torch

from convscope.errors import NumericalError, ResourceError, RunBusyError, UsageError
from convscope.models import load
from convscope.training import (
    Interrupted,
    Measured,
    Saved,
    Started,
    Stepped,
    Terminated,
    Warned,
    _faults,
    read_history,
    read_settings,
    train,
)
from convscope.training._checkpoints import Checkpoints
from convscope.training._run_folder import locked


@pytest.fixture(scope="module")
def done(dataset, tmp_path_factory):
    """A finished run: result, events, settings."""
    from convscope.training import TrainSettings

    settings = TrainSettings(
        model="mnist-conv1-bn",
        data="stripes",
        epochs=6,
        batch_size=20,
        learning_rate=0.01,
        precision="fp32",
        evals_per_epoch=2,
        validation_images=20,
    )
    events = []
    folder = tmp_path_factory.mktemp("done") / "run"
    return train(settings, dataset, out=folder, on_event=events.append), events, settings


def test_it_learns(done):
    result, _, _ = done
    assert result.history[-1].validation_accuracy > 0.9
    assert result.history[-1].train_loss < result.history[0].train_loss / 2


def test_the_run_folder_holds_everything(done):
    result, _, settings = done
    names = {path.name for path in result.run_folder.iterdir()}
    assert names == {
        "config.toml",
        "metrics.csv",
        "model.safetensors",
        "config.json",
        "checkpoints",
        "README.md",
        "env.json",
    }
    assert read_settings(result.run_folder / "config.toml") == settings
    env = json.loads((result.run_folder / "env.json").read_text())
    assert env["sessions"][0]["torch"] == torch.__version__
    assert len(env["data"]["sha256"]) == 64
    card = (result.run_folder / "README.md").read_text()
    assert "200 training, 60 validation images" in card
    assert str(result.run_folder) not in card


def test_metrics_are_by_step(done):
    result, _, _ = done
    assert [point.step for point in result.history] == [5 * k for k in range(1, 13)]
    assert [point.validation_images for point in result.history] == [20, 60] * 6
    for point in result.history:
        assert point.train_error + point.train_accuracy == pytest.approx(1)
        assert point.validation_error + point.validation_accuracy == pytest.approx(1)
    header = (result.run_folder / "metrics.csv").read_text().splitlines()[0]
    assert header == (
        "step,epoch,learning_rate,train_loss,train_error,train_accuracy,validation_loss,"
        "validation_error,validation_accuracy,validation_images"
    )
    read = read_history(result.run_folder)
    assert [p.step for p in read] == [p.step for p in result.history]
    assert read[-1].train_loss == pytest.approx(result.history[-1].train_loss, rel=1e-6)


def test_a_half_written_last_line_of_metrics_is_left_out(done, tmp_path):
    result, _, _ = done
    text = (result.run_folder / "metrics.csv").read_text()
    (tmp_path / "metrics.csv").write_text(text[:-5])
    assert len(read_history(tmp_path)) == len(result.history) - 1


def test_events_come_in_order(done):
    _, events, _ = done
    assert isinstance(events[0], Started)
    assert (events[0].steps, events[0].steps_per_epoch, events[0].step) == (60, 10, 0)
    steps = [event.step for event in events if isinstance(event, Stepped)]
    assert steps == list(range(1, 61))
    assert sum(isinstance(event, Measured) for event in events) == 12
    assert [event.step for event in events if isinstance(event, Saved)] == [10, 20, 30, 40, 50, 60]


def test_the_classifier_is_the_average_with_the_normalization_inside(done, dataset):
    result, _, _ = done
    classifier = load(str(result.run_folder))
    mean, std = dataset.mean_std()
    assert classifier.mean == pytest.approx(mean)
    assert classifier.std == pytest.approx(std)
    assert classifier.class_names == dataset.class_names
    assert not classifier.module.training
    with torch.no_grad():
        logits = classifier.logits(dataset.validation.to_float())
        assert torch.equal(logits, result.classifier.logits(dataset.validation.to_float()))
    accuracy = (logits.argmax(1) == dataset.validation.labels).float().mean().item()
    assert accuracy == pytest.approx(result.history[-1].validation_accuracy)
    average = max((result.run_folder / "checkpoints").iterdir()) / "average.safetensors"
    from safetensors.torch import load_file

    for name, value in load_file(average).items():
        assert torch.equal(value, classifier.module.state_dict()[name])


def test_nothing_global_changes(tmp_path, dataset, settings):
    before = (
        torch.get_rng_state(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        signal.getsignal(signal.SIGINT),
        signal.getsignal(signal.SIGTERM),
    )
    train(settings, dataset, out=tmp_path / "run")
    after = (
        torch.get_rng_state(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        signal.getsignal(signal.SIGINT),
        signal.getsignal(signal.SIGTERM),
    )
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_zero_epochs_save_the_untrained_network(tmp_path, dataset, settings):
    result = train(replace(settings, epochs=0), dataset, out=tmp_path / "run")
    assert result.history == ()
    assert (tmp_path / "run" / "checkpoints" / "step-00000000").is_dir()
    assert "not trained" in (tmp_path / "run" / "README.md").read_text()


def test_a_batch_larger_than_the_data_is_refused(tmp_path, dataset, settings):
    with pytest.raises(UsageError, match="batch_size is 201, the training split has 200 images"):
        train(replace(settings, batch_size=201), dataset, out=tmp_path / "run")


@pytest.mark.parametrize(("point", "code"), [("step.loss", "T01"), ("step.grad", "T02")])
def test_not_a_number_stops_before_the_update(tmp_path, dataset, settings, point, code):
    folder = tmp_path / "run"
    _faults.arm(f"{point}:8:nan")
    with pytest.raises(NumericalError, match="not finite at step 7") as caught:
        train(settings, dataset, out=folder)
    assert (caught.value.code, caught.value.exit_code) == (code, 5)
    report = json.loads((folder / "nan-report.json").read_text())
    assert (report["step"], report["epoch"], report["batch"]) == (7, 1, 1)
    assert (report["seed"], len(report["rows"])) == (0, 32)
    assert report["non_finite_gradients"]
    snapshot, notes = Checkpoints(folder / "checkpoints").newest()
    assert (snapshot.step, notes) == (6, [])
    assert all(t.isfinite().all() for t in snapshot.tensors["model"].values())


def test_after_a_passing_fault_the_run_goes_on(tmp_path, dataset, settings, digest):
    train(settings, dataset, out=tmp_path / "calm")
    _faults.arm("step.loss:8:nan")
    with pytest.raises(NumericalError):
        train(settings, dataset, out=tmp_path / "run")
    _faults.arm("")
    train(settings, dataset, out=tmp_path / "run", resume=True)
    assert digest(tmp_path / "run") == digest(tmp_path / "calm")


def test_an_exploding_loss_is_said_once(tmp_path, dataset, settings):
    heard = []
    wild = replace(settings, optimizer="sgd", learning_rate=1e6, momentum=0.0, ema=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convscope.training._train.EXPLODED", 1e-3)
        with contextlib.suppress(NumericalError):
            train(wild, dataset, out=tmp_path / "run", on_event=heard.append)
    assert sum(isinstance(e, Warned) and "the loss is" in e.text for e in heard) == 1


@pytest.mark.parametrize(
    ("action", "kind", "code"), [("sigint", Interrupted, 130), ("sigterm", Terminated, 143)]
)
def test_signals_finish_the_step_and_save(tmp_path, dataset, settings, digest, action, kind, code):
    train(settings, dataset, out=tmp_path / "calm")
    folder = tmp_path / "run"
    _faults.arm(f"step.forward:8:{action}")
    with pytest.raises(kind, match="stopped after step 8 of 12; everything is saved") as caught:
        train(settings, dataset, out=folder)
    assert caught.value.exit_code == code
    assert Checkpoints(folder / "checkpoints").newest()[0].step == 8
    _faults.arm("")
    train(settings, dataset, out=folder, resume=True)
    assert digest(folder) == digest(tmp_path / "calm")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals that hang up here")
def test_a_closed_terminal_is_like_sigterm_unless_nohup(request, tmp_path, dataset, settings):
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, previous))

    def hang_up(event):
        if isinstance(event, Stepped) and event.step == 4:
            signal.raise_signal(signal.SIGHUP)

    with pytest.raises(Terminated):
        train(settings, dataset, out=tmp_path / "run", on_event=hang_up)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train(settings, dataset, out=tmp_path / "nohup", on_event=hang_up)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_stops_at_once(tmp_path, dataset, settings):
    folder = tmp_path / "run"
    _faults.arm("step.forward:8:sigint,step.loss:8:sigint")
    with pytest.raises(KeyboardInterrupt):
        train(settings, dataset, out=folder)
    assert Checkpoints(folder / "checkpoints").newest()[0].step == 6


@pytest.mark.parametrize("point", ["log.append", "ckpt.write.average", "model.write"])
def test_a_full_disk_is_a_resource_error_and_the_run_goes_on_later(
    tmp_path, dataset, settings, digest, point
):
    train(settings, dataset, out=tmp_path / "calm")
    folder = tmp_path / "run"
    _faults.arm(f"{point}:{1 if point == 'model.write' else 2}:enospc")
    with pytest.raises(ResourceError, match="No space left") as caught:
        train(settings, dataset, out=folder)
    assert caught.value.exit_code == 6
    assert not list(folder.rglob(".tmp-*"))
    _faults.arm("")
    train(settings, dataset, out=folder, resume=True)
    assert digest(folder) == digest(tmp_path / "calm")


def test_a_second_process_is_told_who_is_there(tmp_path, dataset, settings):
    import os

    folder = tmp_path / "run"
    folder.mkdir()
    with locked(folder), pytest.raises(RunBusyError, match=f"process {os.getpid()} on ") as caught:
        train(settings, dataset, out=folder)
    assert caught.value.exit_code == 7
    assert not list(folder.iterdir())


def test_the_lock_of_a_dead_process_is_taken_over_with_a_note(tmp_path, dataset, settings):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.lock").write_text('{"pid": 4000000, "host": "h", "started": "2026-01-01"}')
    heard = []
    train(settings, dataset, out=folder, on_event=heard.append)
    assert "process 4000000" in heard[0].text
    assert not (folder / "run.lock").exists()


def test_a_folder_that_cannot_be_written_is_found_at_once(tmp_path, dataset, settings):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ResourceError, match="cannot write") as caught:
            train(settings, dataset, out=out)
        assert caught.value.code == "T11"


def test_a_folder_with_other_things_is_left_alone(tmp_path, dataset, settings):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is no run folder"):
        train(settings, dataset, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_training_does_not_import_the_compiler(tmp_path):
    """`torch.optim` would: more than a second for nothing."""
    import subprocess
    import sys

    program = (
        "import sys; from convscope.cli import main;"
        "main(['train', 'mnist-conv1', '--data', 'digits', '--epochs', '1', '--out', sys.argv[1]]);"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "run")], capture_output=True
        ).returncode
        == 0
    )


def test_constant_images_and_no_validation_images_are_survived(tmp_path, dataset, settings):
    import math

    from convscope.data import Dataset

    def gray(split, count):
        rows = split.subset(range(count))
        return replace(rows, images=torch.full_like(rows.images, 7))

    odd = Dataset(
        name="gray",
        class_names=dataset.class_names,
        train=gray(dataset.train, 64),
        validation=gray(dataset.validation, 0),
        test=dataset.test,
        source="one gray",
        hashes={},
    )
    result = train(settings, odd, out=tmp_path / "run")
    assert result.classifier.std == (1.0,)
    assert math.isnan(result.history[-1].validation_accuracy)
    assert result.history[-1].validation_images == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_run_learns_and_resumes(tmp_path, dataset, settings, crash_after):
    longer = replace(settings, device="cuda", epochs=6)
    with pytest.raises(RuntimeError, match="crash"):
        train(longer, dataset, out=tmp_path / "run", on_event=crash_after(8))
    result = train(longer, dataset, out=tmp_path / "run", resume=True)
    assert result.history[-1].validation_accuracy > 0.8


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_said(tmp_path, dataset, settings):
    with pytest.raises(ResourceError, match="no device"):
        train(replace(settings, device="cuda"), dataset, out=tmp_path / "run")
