"""The data folder, and the command that looks after it."""

import gzip
import io
import json
import tarfile

import pytest

from convscope.cli import main
from convscope.data import _cifar10, _mnist, add, data_folder, get, open_dataset, pack, stored
from convscope.errors import DataError, ResourceError, UsageError


@pytest.fixture
def official(monkeypatch, make_mnist, tmp_path):
    """A small MNIST whose checksums are registered, as the real one's are."""
    folder = make_mnist(tmp_path / "source" / "mnist")
    import hashlib

    content = {
        path.name[:-3]: hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        for path in folder.iterdir()
    }
    monkeypatch.setattr(
        _mnist, "CONTENT_SHA256", {stem: content[stem] for stem in _mnist.CONTENT_SHA256}
    )
    return tmp_path / "source"


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_what_is_here(official, tmp_path):
    assert stored("digits").ready
    assert not stored("mnist", tmp_path).ready
    assert stored("mnist", tmp_path).download_bytes == 11_594_722
    here = stored("mnist", official)
    assert here.ready and len(here.files) == 4 and here.download_bytes == 0
    with pytest.raises(UsageError, match="did you mean mnist"):
        stored("mnsit")


def test_half_a_set_is_not_ready(official):
    (official / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert not stored("mnist", official).ready


def test_pack_here_add_there(official, tmp_path):
    package = pack("mnist", tmp_path / "mnist.tar", data_dir=official)
    name, files = add(package, data_dir=tmp_path / "there")
    assert name == "mnist"
    assert sorted(path.name for path in files) == sorted(
        f"{stem}.gz" for stem in _mnist.CONTENT_SHA256
    )
    assert open_dataset("mnist", data_dir=tmp_path / "there", offline=True).hashes
    assert [one.name for one in (tmp_path / "there").iterdir()] == ["mnist"]


def test_a_folder_can_be_added(official, tmp_path):
    add(official, data_dir=tmp_path / "there")
    assert stored("mnist", tmp_path / "there").ready


@pytest.mark.parametrize("suffix", [".bin", ""])
def test_cifar_batches_can_be_packed_and_added(make_cifar, tmp_path, suffix):
    make_cifar(tmp_path / "here" / "cifar10", suffix=suffix)
    package = pack("cifar10", tmp_path / "c.tar", data_dir=tmp_path / "here")
    add(package, data_dir=tmp_path / "there")
    assert len(open_dataset("cifar10", data_dir=tmp_path / "there", offline=True).test) == 12


def test_an_official_archive_can_be_added(make_cifar, tmp_path, monkeypatch, refused):
    import hashlib

    folder = make_cifar(tmp_path / "cifar-10-batches-bin")
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    refused("D24", DataError, add, archive, data_dir=tmp_path / "there")
    monkeypatch.setitem(
        _cifar10.ARCHIVE_SHA256, archive.name, hashlib.sha256(archive.read_bytes()).hexdigest()
    )
    assert add(archive, data_dir=tmp_path / "there")[0] == "cifar10"
    data = open_dataset("cifar10", data_dir=tmp_path / "there", offline=True)
    assert data.warnings == ()


def test_damaged_and_modified_files_never_arrive(make_mnist, tmp_path, refused):
    package = pack_any(make_mnist(tmp_path / "m"), tmp_path / "m.tar")
    refused("D24", DataError, add, package, data_dir=tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []
    add(package, data_dir=tmp_path / "there", accept_modified=True)
    assert stored("mnist", tmp_path / "there").ready


def pack_any(folder, target):
    with tarfile.open(target, "w") as tar:
        tar.add(folder, "mnist")
    return target


def test_what_is_no_data_set_is_refused(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    assert "holds no known" in str(refused("U02", DataError, add, tmp_path / "empty"))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        entry = tarfile.TarInfo("x")
        tar.addfile(entry, io.BytesIO())
    refused("U02", DataError, add, tmp_path / "x.tar", data_dir=tmp_path / "there")
    refused("U02", DataError, add, tmp_path / "missing.tar", data_dir=tmp_path / "there")
    with tarfile.open(tmp_path / "y.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../../escape"), io.BytesIO())
    refused("D20", DataError, add, tmp_path / "y.tar", data_dir=tmp_path / "there")


def test_getting_what_is_here_or_cannot_come(official, tmp_path, refused):
    assert get("mnist", data_dir=official, offline=True).ready
    assert get("digits", offline=True).ready
    refused("", ResourceError, get, "cifar10", data_dir=tmp_path, offline=True)
    with pytest.raises(UsageError, match="built in"):
        pack("digits", tmp_path / "d.tar")
    refused("", ResourceError, pack, "mnist", tmp_path / "m.tar", data_dir=tmp_path)


def test_the_folder_is_the_argument_then_the_environment_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVSCOPE_DATA", str(tmp_path / "b"))
    assert data_folder(tmp_path / "a") == tmp_path / "a"
    assert data_folder() == tmp_path / "b"
    monkeypatch.delenv("CONVSCOPE_DATA")
    assert data_folder().name == "convscope"


def test_command_list(official, capsys):
    code, out, err = run(capsys, "data", "list", "--data-dir", official, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["mnist"]["ready"] and rows["digits"]["ready"] and not rows["cifar10"]["ready"]
    code, out, err = run(capsys, "data", "list", "--data-dir", official)
    assert code == 0 and "folder:DIRECTORY" in out and "next: convscope data get cifar10" in err


def test_command_get_and_add(official, tmp_path, capsys):
    package = tmp_path / "mnist.tar"
    code, out, err = run(capsys, "data", "get", "mnist", "--data-dir", official, "--to", package)
    assert code == 0 and "mnist is here already" in err and package.exists()
    code, out, err = run(capsys, "data", "add", package, "--data-dir", tmp_path / "there")
    assert code == 0 and "wrote" in err
    code, out, err = run(capsys, "data", "where", "mnist", "--data-dir", tmp_path / "there")
    assert code == 0 and len(out.splitlines()) == 4


def test_command_get_offline_exits_with_6(tmp_path, capsys):
    code, out, err = run(capsys, "data", "get", "mnist", "--data-dir", tmp_path, "--offline")
    assert code == 6 and out == ""
    assert err.startswith("error") and len(err.strip().splitlines()) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("data", "get"),
        ("data", "add"),
        ("data", "get", "x"),
        ("data", "get", "a", "b", "--to", "c"),
    ],
)
def test_command_usage_errors_exit_with_2(words, capsys):
    assert run(capsys, *words)[0] == 2


def test_command_verify(official, capsys):
    code, out, _ = run(
        capsys, "data", "verify", "digits", "mnist", "--data-dir", official, "--json"
    )
    facts = {fact["name"]: fact for fact in json.loads(out)}
    assert code == 0
    assert facts["mnist"]["verdict"] == "ok"
    assert facts["digits"]["sizes"] == {"train": 1259, "validation": 179, "test": 359}
    code, out, _ = run(capsys, "data", "verify", "mnist", "--data-dir", official)
    assert code == 0 and "20 / 4 / 10" in out


def test_command_verify_finds_damage(official, capsys):
    path = official / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    code, _out, err = run(capsys, "data", "verify", "mnist", "--data-dir", official)
    assert code == 3 and err.startswith("error[D13]")


def test_command_verify_wants_modified_data_accepted(make_mnist, tmp_path, capsys):
    make_mnist(tmp_path / "mnist")
    assert run(capsys, "data", "verify", "mnist", "--data-dir", tmp_path)[0] == 3
    words = ("data", "verify", "mnist", "--data-dir", tmp_path, "--accept-modified-data", "--json")
    code, out, err = run(capsys, *words)
    assert code == 0 and json.loads(out)[0]["verdict"] == "modified"
    assert "warning: mnist: D24" in err


def test_command_verify_skips_bad_images_and_exits_with_8(image_folder, capsys):
    (image_folder / "ants" / "0.png").write_bytes(b"")
    assert run(capsys, "data", "verify", f"folder:{image_folder}")[0] == 3
    code, _out, err = run(capsys, "data", "verify", f"folder:{image_folder}", "--skip-bad")
    assert code == 8
    assert "ants/0.png: I01 file is empty" in err
    assert "1 files were left out" in err
