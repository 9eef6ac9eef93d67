"""Downloads against a small server that breaks in every way we could think of."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from convscope.data import _mnist, open_dataset
from convscope.data._download import Download, fetch
from convscope.errors import ResourceError
from convscope.progress import watch

CONTENT = np.random.default_rng(0).bytes(300_000)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        data = self.server.files.get(self.path.rsplit("/", 1)[-1], CONTENT)
        kind = self.path.split("/")[1]
        if kind == "missing":
            return self.send_error(404)
        if kind == "page":
            data = b"<html>please log in</html>"
        if kind == "wrong":
            data = bytes(len(data))
        if kind == "endless":
            data = data + bytes(10_000_000)
        start = 0
        if asked and kind not in ("no-range", "lying-range"):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        body = data[start:]
        self.send_response(206 if asked and kind != "no-range" else 200)
        if start or kind == "lying-range":
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if kind == "endless":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind == "breaks":
            self.wfile.write(body[:100_000])
            self.wfile.flush()
            self.connection.close()
            return None
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        return None


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.files = [], {}
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def wanted(server, *kinds, content=CONTENT):
    return Download(
        file="set/file.gz",
        urls=tuple(f"{server.url}/{kind}/file.gz" for kind in kinds),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


def test_a_file_arrives_whole_with_progress(server, tmp_path):
    steps = []
    with watch(lambda *step: steps.append(step)):
        path = fetch(wanted(server, "good"), tmp_path)
    assert path == tmp_path / "set" / "file.gz"
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (1.0, "set/file.gz") and len(steps) > 1
    assert [one.name for one in path.parent.iterdir()] == ["file.gz"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("bad", ["missing", "page", "wrong", "breaks"])
def test_the_next_mirror_is_asked(server, tmp_path, bad):
    path = fetch(wanted(server, bad, "good"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [asked[0] for asked in server.asked] == [f"/{bad}/file.gz", "/good/file.gz"]


def test_what_arrived_is_not_fetched_again(server, tmp_path):
    fetch(wanted(server, "breaks", "good"), tmp_path)
    assert server.asked[1] == ("/good/file.gz", "bytes=100000-")


def test_the_next_attempt_goes_on_too(server, tmp_path):
    with pytest.raises(ResourceError, match="stopped after 100,000 of 300,000 bytes") as caught:
        fetch(wanted(server, "breaks"), tmp_path)
    assert "in another folder: --data-dir DIRECTORY" in caught.value.hint
    assert not (tmp_path / "set" / "file.gz").exists()
    fetch(wanted(server, "good"), tmp_path)
    assert server.asked[-1][1] == "bytes=100000-"


@pytest.mark.parametrize("kind", ["no-range", "lying-range"])
def test_servers_that_cannot_go_on_start_again(server, tmp_path, kind):
    path = fetch(wanted(server, "breaks", kind), tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_damaged_part_is_thrown_away(server, tmp_path):
    (tmp_path / "set").mkdir()
    part = tmp_path / "set" / ".file.gz.part"
    part.write_bytes(b"x" * 5000)
    assert fetch(wanted(server, "good"), tmp_path).read_bytes() == CONTENT
    assert [asked[1] for asked in server.asked] == ["bytes=5000-", None]
    assert not part.exists()


def test_a_part_that_is_too_long_is_thrown_away(server, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / ".file.gz.part").write_bytes(bytes(400_000))
    assert fetch(wanted(server, "good"), tmp_path).read_bytes() == CONTENT


def test_endless_answers_are_cut(server, tmp_path):
    path = fetch(wanted(server, "endless"), tmp_path)
    assert path.read_bytes() == CONTENT


def test_answers_of_another_size_are_not_even_begun(server, tmp_path):
    with pytest.raises(ResourceError, match="offers 26 bytes, not the file"):
        fetch(wanted(server, "page"), tmp_path)
    assert list((tmp_path / "set").iterdir()) == []


def test_two_processes_do_not_write_into_one_file(server, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "set").mkdir()
    part = tmp_path / "set" / ".file.gz.part"
    part.write_bytes(CONTENT[:1000])
    with (tmp_path / "set" / ".file.gz.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert fetch(wanted(server, "good"), tmp_path).read_bytes() == CONTENT
    assert part.read_bytes() == CONTENT[:1000]
    assert server.asked == [("/good/file.gz", None)]


def test_every_mirror_is_named_when_none_helps(server, tmp_path, refused):
    error = refused("D24", ResourceError, fetch, wanted(server, "missing", "wrong"), tmp_path)
    assert error.exit_code == 6
    assert "Not Found" in str(error)
    assert "wrong checksum" in str(error)
    assert "or digits in its place" in str(error)
    assert list((tmp_path / "set").iterdir()) == []


def test_no_network_is_said_in_words(tmp_path, refused):
    nowhere = Download(file="set/x", urls=("http://127.0.0.1:9/x",), sha256="0" * 64, size=9)
    error = refused("", ResourceError, fetch, nowhere, tmp_path)
    assert "convscope data import set.tar" in str(error)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_only_web_addresses(tmp_path, refused, url):
    download = Download(file="set/x", urls=(url,), sha256="0" * 64, size=9)
    assert "not a web address" in str(refused("", ResourceError, fetch, download, tmp_path))


def test_a_folder_that_cannot_be_written(server, tmp_path, refused):
    (tmp_path / "set").write_text("a file in the way")
    error = refused("D26", ResourceError, fetch, wanted(server, "good"), tmp_path)
    assert "--data-dir" in str(error)


def test_a_full_disk_is_said_in_words(server, tmp_path, refused, monkeypatch):
    from convscope.data import _download

    def full(self, url, have):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_download._Resuming, "_receive", full)
    error = refused("D26", ResourceError, fetch, wanted(server, "good"), tmp_path)
    assert "No space left on device" in str(error)


def test_mnist_comes_from_the_mirrors_in_order(server, tmp_path, make_mnist, monkeypatch):
    files = make_mnist(tmp_path / "source")
    server.files = {path.name: path.read_bytes() for path in files.iterdir()}
    downloads = tuple(
        Download(
            file=f"mnist/{name}",
            urls=(f"{server.url}/missing/{name}", f"{server.url}/good/{name}"),
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
        )
        for name, data in sorted(
            server.files.items(), key=lambda item: list(_mnist.CONTENT_SHA256).index(item[0][:-3])
        )
    )
    monkeypatch.setattr(_mnist, "DOWNLOADS", downloads)
    steps = []
    with watch(lambda *step: steps.append(step)):
        data = open_dataset("mnist", data_dir=tmp_path / "data", accept_modified=True)
    assert len(data.test) == 10
    assert [share for share, _ in steps] == sorted(share for share, _ in steps)
    assert steps[-1][0] == 1.0 and {what for _, what in steps} == {one.file for one in downloads}
    assert len(server.asked) == 8
    open_dataset("mnist", data_dir=tmp_path / "data", accept_modified=True, offline=True)
    assert len(server.asked) == 8


def test_the_original_site_is_asked_last():
    assert all("lecun" in one.urls[-1] and "lecun" not in one.urls[0] for one in _mnist.DOWNLOADS)
    assert all(len(one.urls) >= 3 for one in _mnist.DOWNLOADS)
