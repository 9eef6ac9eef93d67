"""What is saved comes back to the bit, or the folder says why not."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from convscope.errors import CheckpointError, NumericalError, ResourceError, UsageError
from convscope.models import MODELS, build, load, save_model, shipped

DIGITS = tuple("0123456789")


def numbered(seed):
    return torch.Generator().manual_seed(seed)


def save(folder, name="mnist-conv1", *, seed=0, change=None, **settings):
    net = build(name, generator=numbered(seed))
    if change is not None:
        with torch.no_grad():
            change(net)
    described = {
        "module": net,
        "architecture": name,
        "class_names": DIGITS,
        "input_shape": MODELS[name].input_shape,
    }
    save_model(folder, **(described | settings))
    return net


def edit(folder, **changes):
    """Change keys of config.json and take its signature away, as an editor would not."""
    path = folder / "config.json"
    body = json.loads(path.read_text()) | changes
    body.pop("config_sha256")
    path.write_text(json.dumps({k: v for k, v in body.items() if v != "absent"}))


@pytest.mark.parametrize("name", MODELS)
def test_every_network_comes_back_to_the_bit(name, tmp_path):
    net = save(tmp_path / "run", name, mean=[0.1], std=[0.3], source="a test").eval()
    classifier = load(tmp_path / "run")
    assert not classifier.module.training
    images = torch.rand(3, *MODELS[name].input_shape, generator=numbered(1))
    assert torch.equal(classifier.logits(images), net((images - 0.1) / 0.3))
    assert classifier.class_names == DIGITS
    assert classifier.input_shape == MODELS[name].input_shape
    assert classifier.flags == ()
    assert name in classifier.source and "a test" in classifier.source
    assert all(p.requires_grad for p in classifier.module.parameters())


def test_same_network_same_bytes(tmp_path):
    for folder in ("a", "b"):
        save(tmp_path / folder, mean=[0.13], std=[0.3], extra={"epochs": 2})
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_config_with_numbers_for_keys_is_as_it_was_written(tmp_path):
    save(tmp_path, extra={"id2label": {2: "cat", 10: "dog"}})  # As texts, "10" is before "2".
    assert load(tmp_path).flags == ()


def test_config_has_the_agreed_keys(tmp_path):
    save(tmp_path, mean=[0.13], std=[0.3])
    config = json.loads((tmp_path / "config.json").read_text())
    assert {
        "schema", "architecture", "num_classes", "class_names", "input_shape", "mean", "std",
        "sha256",
    } <= set(config)  # fmt: skip
    digest = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert config["sha256"] == digest
    assert config["schema"] == 1 and config["num_classes"] == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_numbers_survive_as_they_are(tmp_path):
    def change(net):
        net.conv1.bias[:3] = torch.tensor([-0.0, 1e-42, 3.4e38])

    save(tmp_path, change=change, mean=[0.1 + 0.2], std=[1 / 3])
    classifier = load(tmp_path)
    bias = classifier.module.conv1.bias
    assert bias[0].item() == 0 and torch.signbit(bias[0]) and bias[1] > 0 and bias[2] > 3e38
    assert classifier.mean == (0.1 + 0.2,) and classifier.std == (1 / 3,)


@pytest.mark.parametrize("hostile", ["</script>\n\x1b[31m", "$\\int$", "\udc80", "", "猫 ‮"])
def test_any_text_may_be_a_class_name(hostile, tmp_path):
    save(tmp_path, class_names=(hostile, *DIGITS[1:]))
    assert load(tmp_path).class_names[0] == hostile


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path):
    net = save(tmp_path / "half", dtype=torch.float16)
    save(tmp_path / "full")
    sizes = [(tmp_path / f / "model.safetensors").stat().st_size for f in ("half", "full")]
    assert sizes[0] < 0.51 * sizes[1] + 1000
    weight = load(tmp_path / "half").module.conv1.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, net.conv1.weight.half().float())


def test_saving_what_the_name_does_not_say_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"1 missing|missing: conv2"):
        save(tmp_path / "x", module=build("mnist-conv1"), architecture="mnist-conv2")
    with pytest.raises(UsageError, match="shape differs"):
        save(tmp_path / "x", class_names=DIGITS[:4])
    with pytest.raises(UsageError, match="unknown network"):
        save(tmp_path / "x", architecture="mnist-conv3")
    assert not (tmp_path / "x").exists()


def test_saving_only_reads_the_module(tmp_path):
    net = build("mnist-conv1-bn")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    save_model(
        tmp_path,
        module=net,
        architecture="mnist-conv1-bn",
        class_names=DIGITS,
        input_shape=(1, 28, 28),
    )
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("survived", range(4))
def test_a_stop_at_any_point_leaves_a_folder_that_loads(survived, tmp_path, monkeypatch):
    """Four acts: write both, rename both. Whichever is the last, old or new loads whole."""
    from convscope.models import _weights

    folder = tmp_path / "run"
    old = save(folder, seed=1)
    acts = []

    def stop_after(act):
        def maybe(*arguments):
            if len(acts) == survived:
                raise KeyboardInterrupt
            acts.append(act)
            act(*arguments)

        return maybe

    monkeypatch.setattr(_weights, "write_durably", stop_after(_weights.write_durably))
    monkeypatch.setattr(_weights, "replace_durably", stop_after(_weights.replace_durably))
    with pytest.raises(KeyboardInterrupt):
        save(folder, seed=2)
    monkeypatch.undo()
    new = build("mnist-conv1", generator=numbered(2))
    weight = load(folder).module.fc1.weight
    assert torch.equal(weight, (old if survived < 3 else new).fc1.weight)
    save(folder, seed=3)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_stop_during_the_first_save_leaves_no_model(tmp_path, monkeypatch):
    from convscope.models import _weights

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(_weights, "replace_durably", stop)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load(tmp_path / "run")


def test_a_full_disk_is_a_resource_error_and_leaves_the_old(tmp_path, monkeypatch):
    from convscope.models import _safetensors as _files

    folder = tmp_path / "run"
    save(folder, seed=1)
    before = load(folder).module.fc1.weight

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left"):
        save(folder, seed=2)
    monkeypatch.undo()
    assert torch.equal(load(folder).module.fc1.weight, before)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_weight_file_is_found_by_its_own_path(tmp_path):
    net = save(tmp_path)
    classifier = load(tmp_path / "model.safetensors")
    assert torch.equal(classifier.module.conv1.weight, net.conv1.weight)
    assert classifier.flags == ()


def test_a_weight_file_that_travels_alone_still_says_what_it_is(tmp_path):
    save(tmp_path / "run", mean=[0.1], std=[0.2], class_names=tuple("abcdefghij"))
    shutil.copy(tmp_path / "run" / "model.safetensors", tmp_path / "lost.safetensors")
    classifier = load(tmp_path / "lost.safetensors")
    assert classifier.class_names == tuple("abcdefghij")
    assert (classifier.mean, classifier.std) == ((0.1,), (0.2,))
    assert classifier.flags == ("no checksum: lost.safetensors cannot be checked for damage",)


def test_foreign_weights_without_description_are_recognized(tmp_path):
    from safetensors.torch import save_file

    net = build("mnist-conv2-fc", num_classes=7, generator=numbered(0))
    save_file(net.state_dict(), tmp_path / "foreign.safetensors")
    classifier = load(tmp_path / "foreign.safetensors")
    assert classifier.source.startswith("mnist-conv2-fc")
    assert classifier.num_classes == 7
    assert any("normalization" in flag for flag in classifier.flags)


def test_weights_that_fit_two_networks_are_not_guessed(tmp_path):
    from safetensors.torch import save_file

    save_file(build("cifar-11x11").state_dict(), tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="cifar-11x11 and cifar-11x11-same") as caught:
        load(tmp_path / "foreign.safetensors")
    assert caught.value.code == "C11"


def test_a_named_pair_of_files_loads(tmp_path):
    net = save(tmp_path, name="mnist-conv1", seed=4)
    save_model(
        tmp_path / "weights",
        module=net,
        architecture="mnist-conv1",
        class_names=DIGITS,
        input_shape=(1, 28, 28),
        name="mine",
    )
    assert sorted(p.name for p in (tmp_path / "weights").iterdir()) == [
        "mine.json",
        "mine.safetensors",
    ]
    assert load(tmp_path / "weights" / "mine.safetensors").flags == ()


def test_a_moved_folder_still_loads(tmp_path):
    save(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b c")
    assert load(str(tmp_path / "b c")).num_classes == 10


def test_an_edit_by_hand_is_allowed_and_said(tmp_path):
    save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"0"', '"zero"'))
    classifier = load(tmp_path)
    assert classifier.class_names[0] == "zero"
    assert len(classifier.flags) == 1
    assert classifier.flags[0].startswith(
        "config.json was edited after it was written: class_names is ('zero', "
    )


REFUSED = {
    "newer schema": ("C17", "needs convscope >= 9.1", {"schema": 2, "requires": "9.1"}),
    "schema is a text": ("C17", "no schema", {"schema": "1"}),
    "no schema": ("C17", "no schema", {"schema": "absent"}),
    "names are absent": ("C12", "class names are absent", {"class_names": "absent"}),
    "names are empty": ("C12", "class names are absent", {"class_names": []}),
    "names are numbers": ("C12", "class names are absent", {"class_names": [1, 2]}),
    "names and number differ": ("C12", "10 classes but 2", {"class_names": ["a", "b"]}),
    "other class count": (
        "C12",
        "for 10 classes, the configuration names 3",
        {"class_names": ["a", "b", "c"], "num_classes": 3},
    ),
    "file outside": ("C19", "etc/passwd", {"weights": "../../etc/passwd"}),
    "absolute file": ("C19", "weight file", {"weights": "/etc/passwd"}),
    "backslashes": ("C19", "weight file", {"weights": "..\\x"}),
    "hidden file": ("C19", "weight file", {"weights": ".ssh"}),
    "newline": ("C19", "weight file", {"weights": "model.safetensors\n"}),
    "unknown network": ("C11", "look like mnist-conv1", {"architecture": "lenet"}),
    "code as network": ("C11", "unknown architecture", {"architecture": "os:system"}),
    "other network": ("C10", "missing: conv2", {"architecture": "mnist-conv2"}),
    "other size": ("C10", "shape differs", {"input_shape": [1, 32, 32]}),
    "strange network": ("C11", "missing", {"architecture": "cifar-resnet20"}),
    "huge input": ("C10", "shape differs", {"input_shape": [1, 16384, 16384]}),
    "negative input": ("C17", "input_shape", {"input_shape": [1, -1, 28]}),
    "input is a text": ("C17", "input_shape", {"input_shape": "28"}),
    "input of bools": ("C17", "input_shape", {"input_shape": [True, 28, 28]}),
    "mean is a text": ("C17", "mean", {"mean": "0.1"}),
    "mean of two": ("C17", "2 values for 1 channel", {"mean": [0.1, 0.2]}),
    "std is zero": ("C17", "std", {"std": [0.0]}),
    "std is NaN": ("C17", "std", {"std": [float("nan")]}),
    "digest of another": ("C08", "damaged or from another run", {"sha256": "0" * 64}),
    "digest is a number": ("C17", "sha256", {"sha256": 3}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_configs_that_do_not_fit(case, tmp_path):
    code, match, changes = REFUSED[case]
    save(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert caught.value.code == code
    assert match in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def test_a_layer_before_the_head_is_no_matter_of_classes(tmp_path):
    """Its bias alone has another length: the file is damaged, not made for other classes."""
    save(tmp_path, "mnist-conv2")
    tensors = load_file(tmp_path / "model.safetensors")
    name = [key for key in tensors if key.endswith("bias")][1]
    tensors[name] = torch.zeros(3)
    save_file(tensors, tmp_path / "model.safetensors")
    edit(tmp_path, sha256="absent")
    with pytest.raises(CheckpointError, match="shape differs") as caught:
        load(tmp_path)
    assert caught.value.code == "C10"


def test_a_hostile_class_count_allocates_nothing(tmp_path):
    save(tmp_path, "mnist-conv2-fc")
    edit(tmp_path, class_names=["x"] * 1_000_000, num_classes=1_000_000)
    with pytest.raises(CheckpointError, match="1000000"):
        load(tmp_path)


def test_weights_absent(tmp_path):
    save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path)


def test_weights_that_are_a_folder(tmp_path):
    save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="not a regular file"):
        load(tmp_path)


def test_a_pipe_is_refused_without_waiting(tmp_path):
    import os

    os.mkfifo(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="not a regular file"):
        load(tmp_path / "net.safetensors")


def test_unfinished_training_says_how_to_go_on(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="--resume"):
        load(tmp_path)


def test_files_of_two_runs_are_not_mixed(tmp_path):
    save(tmp_path)
    (tmp_path / "config.toml").write_text('model = "mnist-conv2"\n')
    with pytest.raises(CheckpointError, match=r"mnist-conv2.*mnist-conv1") as caught:
        load(tmp_path)
    assert caught.value.code == "C16"
    (tmp_path / "config.toml").write_text('model = "mnist-conv1"\n')
    assert load(tmp_path).num_classes == 10


def nan(net):
    net.conv1.weight[0, 0, :2, 0] = torch.nan
    net.conv1.weight[1, 0, 0, 0] = torch.inf


def test_nan_weights_are_refused_unless_asked_for(tmp_path):
    save(tmp_path, change=nan)
    with pytest.raises(NumericalError, match=r"2 NaN and 1 infinite in conv1\.weight") as caught:
        load(tmp_path)
    assert caught.value.code == "C13" and caught.value.exit_code == 5
    assert load(tmp_path, allow_nonfinite=True).module.conv1.weight.isnan().sum() == 2


def test_a_negative_variance_is_refused_and_a_zero_one_is_said(tmp_path):
    save(tmp_path / "a", "mnist-conv1-bn", change=lambda net: net.bn1.running_var[3].fill_(-1))
    with pytest.raises(CheckpointError, match=r"bn1\.running_var") as caught:
        load(tmp_path / "a")
    assert caught.value.code == "C15"
    save(tmp_path / "b", "mnist-conv1-bn", change=lambda net: net.bn1.running_var[:4].fill_(0))
    assert load(tmp_path / "b").flags == ("bn1.running_var is zero in 4 channels",)


def test_an_all_zero_layer_is_said(tmp_path):
    save(tmp_path, change=lambda net: net.fc1.weight.zero_())
    assert load(tmp_path).flags == ("fc1.weight is all zero",)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_floating_point_types_become_float32(dtype, tmp_path):
    net = save(tmp_path, dtype=dtype)
    weight = load(tmp_path).module.conv1.weight
    assert torch.equal(weight, net.conv1.weight.to(dtype).float())


def test_whole_numbers_are_not_weights(tmp_path):
    from safetensors.torch import save_file

    state = build("mnist-conv1").state_dict() | {"conv1.bias": torch.zeros(32, dtype=torch.int8)}
    save_file(state, tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match=r"conv1\.bias holds int8") as caught:
        load(tmp_path / "net.safetensors")
    assert caught.value.code == "C14"


def test_differences_of_names_come_as_one_table(tmp_path):
    from safetensors.torch import save_file

    state = build("mnist-conv1").state_dict()
    state["extra.weight"] = torch.zeros(2)
    del state["conv1.bias"]
    state["fc1.bias"] = torch.zeros(12)
    save_file(state, tmp_path / "net.safetensors")
    shutil.copy(_config(tmp_path), tmp_path / "net.json")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "net.safetensors")
    text = str(caught.value)
    assert caught.value.code == "C10"
    for part in ("1 missing: conv1.bias", "1 extra: extra.weight", "1 shape differs: fc1.bias"):
        assert part in text
    assert "the weights look like mnist-conv1" in text
    assert caught.value.__notes__[0].splitlines() == [
        "missing       conv1.bias",
        "extra         extra.weight",
        "shape differs fc1.bias: (12,) in the file, (10,) here",
    ]


def _config(tmp_path):
    save(tmp_path / "other")
    body = json.loads((tmp_path / "other" / "config.json").read_text())
    body |= {"weights": "net.safetensors", "sha256": ""}
    path = tmp_path / "other" / "edited.json"
    path.write_text(json.dumps(body))
    return path


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_common_prefix_is_removed_and_said(prefix, tmp_path):
    from safetensors.torch import save_file

    net = build("mnist-conv1", generator=numbered(0))
    save_file(
        {f"{prefix}{k}": v for k, v in net.state_dict().items()}, tmp_path / "net.safetensors"
    )
    classifier = load(tmp_path / "net.safetensors")
    assert torch.equal(classifier.module.fc1.weight, net.fc1.weight)
    assert any(prefix in flag for flag in classifier.flags)


def test_every_architecture_is_the_closest_to_itself():
    from convscope.models._matching import closest

    for name in MODELS:
        near, share = closest(build(name, num_classes=4).state_dict())
        assert share == 1
        assert near.removesuffix("-bn").removesuffix("-same") == name.removesuffix(
            "-bn"
        ).removesuffix("-same")


def test_a_network_without_shipped_weights_says_how_to_train_it():
    missing = next(name for name in MODELS if name not in shipped())
    with pytest.raises(CheckpointError, match=f"convscope train {missing}"):
        load(missing)


def ship_from(folder, monkeypatch):
    """Let `folder` be the one whose weights come with the package."""
    from convscope.models import _shipped

    monkeypatch.setattr(_shipped, "weights_folder", lambda: folder)


def test_shipped_weights_load(monkeypatch, tmp_path):
    ship_from(tmp_path, monkeypatch)
    assert shipped() == ()
    net = save(tmp_path / "run", seed=9)
    save_model(
        tmp_path,
        module=net,
        architecture="mnist-conv1",
        class_names=DIGITS,
        input_shape=(1, 28, 28),
        name="mnist-conv1",
    )
    assert shipped() == ("mnist-conv1",)
    assert torch.equal(load("mnist-conv1").module.fc1.weight, net.fc1.weight)


def test_shipping_takes_a_run_as_it_is(monkeypatch, tmp_path):
    from convscope.models._shipped import ship

    ship_from(tmp_path / "weights", monkeypatch)
    net = save(tmp_path / "run", seed=9, mean=[0.13], std=[0.31])
    ship(tmp_path / "run", source="two epochs, 98.6 % on the test images")
    classifier = load("mnist-conv1")
    assert torch.equal(classifier.module.fc1.weight, net.fc1.weight.half().float())
    assert classifier.mean == (0.13,) and "98.6 %" in classifier.source
    save(tmp_path / "odd", change=lambda net: net.fc1.weight.zero_())
    with pytest.raises(CheckpointError, match="all zero"):
        ship(tmp_path / "odd", source="")


def test_an_architecture_has_several_shipped_weights(monkeypatch, tmp_path, capsys):
    from convscope.cli import main
    from convscope.models import shipped_config
    from convscope.models._shipped import ship

    ship_from(tmp_path / "weights", monkeypatch)
    nets = {seed: save(tmp_path / f"run{seed}", seed=seed) for seed in (1, 2)}
    ship(tmp_path / "run1", source="one")
    ship(tmp_path / "run2", source="two", name="mnist-conv1-robust", extra={"seed": 2})
    assert shipped() == ("mnist-conv1", "mnist-conv1-robust")
    for name, seed in (("mnist-conv1", 1), ("mnist-conv1-robust", 2)):
        classifier = load(name)
        assert torch.equal(classifier.module.fc1.weight, nets[seed].fc1.weight.half().float())
        assert classifier.source.startswith("mnist-conv1, ") and classifier.flags == ()
    assert shipped_config("mnist-conv1-robust").extra == {"seed": 2}
    with pytest.raises(CheckpointError, match="did you mean mnist-conv1-robust"):
        load("mnist-conv1-robst")
    assert main(["models", "list", "mnist-conv1*", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == ["mnist-conv1", "mnist-conv1-robust", "mnist-conv1-bn"]
    assert (
        rows["mnist-conv1-robust"]["shipped"] and "two" in rows["mnist-conv1-robust"]["description"]
    )
    assert main(["models", "show", "mnist-conv1-robust", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model_card"] == {"seed": 2}


@pytest.mark.parametrize(
    "name", ["mnist-conv1-bn", "mnist-conv2", "../mnist-conv1", "mnist-conv1-"]
)
def test_weights_are_not_shipped_under_the_name_of_another_network(monkeypatch, tmp_path, name):
    from convscope.models._shipped import ship

    ship_from(tmp_path / "weights", monkeypatch)
    save(tmp_path / "run")
    with pytest.raises(UsageError, match="cannot be called"):
        ship(tmp_path / "run", source="", name=name)
    assert shipped() == ()


def test_shipped_weights_have_a_size_in_all(monkeypatch, tmp_path):
    from convscope.models import _shipped

    ship_from(tmp_path / "weights", monkeypatch)
    monkeypatch.setattr(_shipped, "LIMIT", 200_000)
    save(tmp_path / "run")
    _shipped.ship(tmp_path / "run", source="")
    _shipped.ship(tmp_path / "run", source="again")
    with pytest.raises(UsageError, match=r"mnist-conv1-b has 0.13 MB: with the others 0.25"):
        _shipped.ship(tmp_path / "run", source="", name="mnist-conv1-b")
    assert shipped() == ("mnist-conv1",)


@pytest.mark.parametrize(
    ("broken", "name"),
    [("weights", name) for name in shipped()]
    + [(how, "mnist-conv2") for how in ("card", "edited", "no card", "unsigned")],
)
def test_shipped_weights_that_are_not_as_shipped_are_one_error(monkeypatch, tmp_path, name, broken):
    from convscope.models import _shipped

    shutil.copytree(_shipped.weights_folder(), tmp_path / "weights")
    ship_from(tmp_path / "weights", monkeypatch)
    weights = tmp_path / "weights" / f"{name}.safetensors"
    card = weights.with_suffix(".json")
    if broken in ("weights", "card"):
        path = weights if broken == "weights" else card
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif broken == "edited":
        card.write_text(card.read_text().replace("fast preset", "my preset"))
    elif broken == "unsigned":
        body = json.loads(card.read_text())
        del body["sha256"], body["config_sha256"]
        card.write_text(json.dumps(body))
    else:
        card.unlink()
    with pytest.raises(CheckpointError, match="the installed convscope is damaged") as caught:
        load(name)
    assert "pip install --force-reinstall" in caught.value.hint
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", shipped())
def test_each_shipped_network_reads_without_a_flag(name):
    classifier = load(name)
    assert classifier.flags == ()
    assert classifier.predict(torch.zeros(1, *classifier.input_shape)).labels.shape[0] == 1
    assert "(shipped, sha256 " in classifier.source and "/" not in classifier.source


def test_a_run_folder_called_like_a_network_is_that_run(tmp_path, monkeypatch):
    net = save(tmp_path / "mnist-conv1", seed=11)
    monkeypatch.chdir(tmp_path)
    assert torch.equal(load("mnist-conv1").module.fc1.weight, net.fc1.weight)


@pytest.mark.parametrize("spec", ["nothing", "no/such/folder", "hf:", ":x", "a b:c", ""])
def test_specs_that_mean_nothing(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load(spec)
    assert caught.value.exit_code == 4


def test_a_missing_file_is_named():
    with pytest.raises(CheckpointError, match="no such file"):
        load(Path("runs") / "none" / "model.safetensors")


def test_a_misspelled_network_names_the_closest():
    with pytest.raises(CheckpointError, match="did you mean mnist-conv2-fc"):
        load("mnist-conv2-cf")


def test_a_folder_of_transformers_says_its_prefix(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    with pytest.raises(CheckpointError, match="hf:"):
        load(tmp_path)
