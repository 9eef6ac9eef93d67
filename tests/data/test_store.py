"""The data folder, and the command that looks after it."""

import gzip
import io
import json
import socket
import tarfile

import pytest

from convscope.cli import main
from convscope.data import (
    _cifar10,
    _mnist,
    data_folder,
    download,
    export_data,
    import_data,
    open_dataset,
    status,
)
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
    assert status("digits").ready
    assert not status("mnist", tmp_path).ready
    assert status("mnist", tmp_path).download_bytes == 11_594_722
    here = status("mnist", official)
    assert here.ready and len(here.files) == 4 and here.download_bytes == 0
    with pytest.raises(UsageError, match="did you mean mnist"):
        status("mnsit")


def test_half_a_set_is_not_ready(official):
    (official / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert not status("mnist", official).ready


def test_export_here_import_there(official, tmp_path):
    package = export_data("mnist", tmp_path / "mnist.tar", data_dir=official)
    name, files = import_data(package, data_dir=tmp_path / "there")
    assert name == "mnist"
    assert sorted(path.name for path in files) == sorted(
        f"{stem}.gz" for stem in _mnist.CONTENT_SHA256
    )
    assert open_dataset("mnist", data_dir=tmp_path / "there", offline=True).hashes
    assert [one.name for one in (tmp_path / "there").iterdir()] == ["mnist"]


def test_a_folder_can_be_imported(official, tmp_path):
    import_data(official, data_dir=tmp_path / "there")
    assert status("mnist", tmp_path / "there").ready


@pytest.mark.parametrize("suffix", [".bin", ""])
def test_cifar_batches_can_be_exported_and_imported(make_cifar, tmp_path, suffix):
    make_cifar(tmp_path / "here" / "cifar10", suffix=suffix)
    package = export_data("cifar10", tmp_path / "c.tar", data_dir=tmp_path / "here")
    import_data(package, data_dir=tmp_path / "there")
    assert len(open_dataset("cifar10", data_dir=tmp_path / "there", offline=True).test) == 12


def test_an_official_archive_can_be_imported(make_cifar, tmp_path, monkeypatch, refused):
    import hashlib

    folder = make_cifar(tmp_path / "cifar-10-batches-bin")
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    refused("D24", DataError, import_data, archive, data_dir=tmp_path / "there")
    monkeypatch.setitem(
        _cifar10.ARCHIVE_SHA256, archive.name, hashlib.sha256(archive.read_bytes()).hexdigest()
    )
    assert import_data(archive, data_dir=tmp_path / "there")[0] == "cifar10"
    data = open_dataset("cifar10", data_dir=tmp_path / "there", offline=True)
    assert data.warnings == ()


def test_damaged_and_modified_files_never_arrive(make_mnist, tmp_path, refused):
    package = pack_any(make_mnist(tmp_path / "m"), tmp_path / "m.tar")
    refused("D24", DataError, import_data, package, data_dir=tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []
    import_data(package, data_dir=tmp_path / "there", accept_modified=True)
    assert status("mnist", tmp_path / "there").ready


def pack_any(folder, target):
    with tarfile.open(target, "w") as tar:
        tar.add(folder, "mnist")
    return target


def test_what_is_no_data_set_is_refused(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    assert "holds no known" in str(refused("U02", DataError, import_data, tmp_path / "empty"))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        entry = tarfile.TarInfo("x")
        tar.addfile(entry, io.BytesIO())
    refused("U02", DataError, import_data, tmp_path / "x.tar", data_dir=tmp_path / "there")
    refused("U02", DataError, import_data, tmp_path / "missing.tar", data_dir=tmp_path / "there")
    with tarfile.open(tmp_path / "y.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../../escape"), io.BytesIO())
    refused("D20", DataError, import_data, tmp_path / "y.tar", data_dir=tmp_path / "there")


def test_getting_what_is_here_or_cannot_come(official, tmp_path, refused):
    assert download("mnist", data_dir=official, offline=True).ready
    assert download("digits", offline=True).ready
    refused("", ResourceError, download, "cifar10", data_dir=tmp_path, offline=True)
    with pytest.raises(UsageError, match="built in"):
        export_data("digits", tmp_path / "d.tar")
    refused("", ResourceError, export_data, "mnist", tmp_path / "m.tar", data_dir=tmp_path)


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
    assert (
        code == 0 and "folder:DIRECTORY" in out and "next: convscope data download cifar10" in err
    )


def test_command_download_and_import(official, tmp_path, capsys):
    package = tmp_path / "mnist.tar"
    code, out, err = run(
        capsys, "data", "download", "mnist", "--data-dir", official, "--to", package
    )
    assert code == 0 and "mnist is here already" in err and package.exists()
    code, out, err = run(capsys, "data", "import", package, "--data-dir", tmp_path / "there")
    assert code == 0 and "wrote" in err
    code, out, err = run(capsys, "data", "where", "mnist", "--data-dir", tmp_path / "there")
    assert code == 0 and len(out.splitlines()) == 4


def test_command_export_packs_what_is_here_and_the_old_words_still_work(official, tmp_path, capsys):
    package = tmp_path / "mnist.tar"
    code, _out, err = run(capsys, "data", "export", "mnist", package, "--data-dir", official)
    assert code == 0 and "convscope data import mnist.tar" in err
    assert run(capsys, "data", "add", package, "--data-dir", tmp_path / "there")[0] == 0
    code, _out, err = run(capsys, "data", "get", "mnist", "--data-dir", tmp_path / "there")
    assert code == 0 and "mnist is here already" in err
    assert run(capsys, "data", "export", "mnist", package, "--data-dir", tmp_path / "no")[0] == 6


def test_command_download_offline_exits_with_6(tmp_path, capsys):
    code, out, err = run(capsys, "data", "download", "mnist", "--data-dir", tmp_path, "--offline")
    assert code == 6 and out == ""
    assert err.startswith("error") and len(err.strip().splitlines()) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("data", "download"),
        ("data", "import"),
        ("data", "download", "x"),
        ("data", "download", "a", "b", "--to", "c"),
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


def test_command_verify_never_downloads(tmp_path, capsys, monkeypatch):
    tried = []
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: tried.append(a))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: tried.append(a) or [])
    code, _out, err = run(capsys, "data", "verify", "mnist", "--data-dir", tmp_path)
    assert code == 6 and "is not on this machine" in err and not tried


@pytest.mark.parametrize(
    "words",
    [
        ("attack", "fgsm", "mnist-conv2-fc", "mnist:test/0", "--epsilon", "0.1"),
        ("eval", "mnist-conv2-fc", "--data", "mnist", "--split", "test"),
    ],
    ids=["images", "a part"],
)
def test_commands_take_modified_data_if_told_so(make_mnist, tmp_path, capsys, words):
    make_mnist(tmp_path / "mnist")
    words = (*words, "--data-dir", tmp_path)
    assert run(capsys, *words)[0] == 3
    assert run(capsys, *words, "--accept-modified-data")[0] == 0
