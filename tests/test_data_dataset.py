"""The data set in memory: its types, its splits, its digests, MNIST known by them; and shared."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import IDX_NAMES, Arrays, assert_holds, make_arrays, md5s, write_idx, write_npz
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mnist_lab import data
from mnist_lab.data import dataset as dataset_module
from mnist_lab.errors import DataError, StudyError
from mnist_lab.records import DatasetInfo

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


def test_types_and_orders(tmp_path: Path, arrays: Arrays) -> None:
    """Labels of other integer types, and images saved in Fortran's order, are the same data set."""
    x, y = arrays["x_train"], arrays["y_train"]
    for changed in (
        *({"y_train": y.astype(dtype)} for dtype in ("int64", "uint16", ">i4")),
        {"x_train": np.asfortranarray(x)},
    ):
        dataset = data.load(str(write_npz(tmp_path / "a.npz", arrays | changed)))
        assert_holds(dataset, arrays)
        assert dataset.info.digests == md5s(arrays)


def test_info_goes_through_json() -> None:
    """The record of a data set survives JSON, cannot be changed and has no unknown field.

    What training takes has no way to the test images.
    """
    assert list(data.TrainingData.__dataclass_fields__) == ["train", "valid"]
    info = data.load("sample").info
    assert DatasetInfo.model_validate_json(info.model_dump_json()) == info
    with pytest.raises(ValidationError, match="frozen"):
        info.name = "MNIST"  # type: ignore[misc] # which is the point
    with pytest.raises(ValidationError, match="Extra inputs"):
        DatasetInfo.model_validate({**info.model_dump(), "shape": [28, 28]})


@given(n_train=st.integers(12, 80), n_test=st.integers(1, 20))
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


# --- MNIST


@pytest.mark.real_data
def test_real_mnist(real_mnist: str, tmp_path: Path) -> None:
    """MNIST is known by its digests, split 50,000 : 10,000 : 10,000 in its order, in seconds.

    So it is as IDX files, and has the sample's digits among its training images, labels too. One
    flipped bit in 55 MB is seen, and the array that has it is named.
    """
    begin = time.perf_counter()
    dataset = data.load(real_mnist)
    assert time.perf_counter() - begin < 10  # 0.3 s on a machine that has nothing else to do
    info = dataset.info
    assert (info.name, info.is_mnist, info.notice) == ("MNIST", True, "")
    assert info.digests == dataset_module.MNIST_MD5
    assert (info.n_train, info.n_valid, info.n_test) == (50_000, 10_000, 10_000)
    with np.load(real_mnist) as npz:
        arrays = dict(npz)
    assert_holds(dataset, arrays)
    assert data.load(str(write_idx(tmp_path / "idx", arrays))).info.is_mnist
    labels = dict(zip(map(bytes, arrays["x_train"]), arrays["y_train"].tolist(), strict=True))
    sample = data.load("sample")
    for split in (sample.training.train, sample.training.valid, sample.test):
        assert [labels[bytes(image)] for image in split.images] == split.labels.tolist()
    arrays["x_test"][9_999, 27, 27] ^= 1
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(DataError, match=r"damaged copy of MNIST .t10k-images-idx3-ubyte.; get"):
        data.load(str(tmp_path / "mnist.npz"))


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """120 images, passing for MNIST: the published digests and tenths are its own."""
    arrays = make_arrays(120, 30)
    monkeypatch.setattr(dataset_module, "MNIST_MD5", md5s(arrays))
    tenths = {
        key: "".join(f"{zlib.crc32(tenth.tobytes()):08x}" for tenth in np.split(arrays[key], 10))
        for key in ("x_train", "x_test")
    }
    monkeypatch.setattr(dataset_module, "_MNIST_TENTHS", tenths)
    return arrays


@pytest.mark.parametrize("key", ["x_train", "x_test"])
def test_damaged_mnist(tmp_path: Path, tiny_mnist: Arrays, key: str) -> None:
    """MNIST's images with a fault in one place are damaged, and the array is named."""
    tiny_mnist[key][5, 3] ^= 1
    path = write_npz(tmp_path / "mnist.npz", tiny_mnist)
    told = f"mnist.npz is a damaged copy of MNIST .{IDX_NAMES[key]}.; get it"
    with pytest.raises(DataError, match=told):
        data.load(str(path))
    kept = {name: array[1:] if name[1:] == key[1:] else array for name, array in tiny_mnist.items()}
    assert not data.load(str(write_npz(path, kept))).info.is_mnist  # as the error says


Change = Callable[[Arrays], Arrays]
ORDER = np.random.default_rng(0).permutation(120)
OURS, NOISY = "are MNIST's", "are not the published ones, their labels are"
DERIVED: list[tuple[Change, str, str]] = [
    (
        lambda a: {"x_train": a["x_train"][:50], "y_train": a["y_train"][:50]},
        "are not the published ones",
        OURS,
    ),
    (
        lambda a: {"x_train": a["x_train"][ORDER], "y_train": a["y_train"][ORDER]},
        "are not the published ones",
        OURS,
    ),
    (lambda a: {"x_train": a["x_train"] ^ 3}, NOISY, OURS),
    (
        lambda a: {"x_train": np.concatenate([a["x_train"][:100], a["x_train"][100:] ^ 3])},
        NOISY,
        OURS,
    ),
    (
        lambda a: {"y_test": np.where(np.arange(30) == 4, 5, a["y_test"])},
        OURS,
        "are MNIST's, with other labels",
    ),
    (
        lambda _: {key: array for key, array in make_arrays(seed=1).items() if "test" in key},
        OURS,
        "are not the published ones",
    ),
]


@pytest.mark.parametrize(("change", "train", "test"), DERIVED)
def test_made_of_mnist(
    tmp_path: Path, tiny_mnist: Arrays, change: Change, train: str, test: str
) -> None:
    """What somebody made of MNIST is used, and says in how far it is MNIST; it shows digits."""
    path = write_npz(tmp_path / "mine.npz", {**tiny_mnist, **change(tiny_mnist)})
    info = data.load(str(path)).info
    assert (info.name, info.is_mnist, info.noun) == ("mine", False, "digit")
    told = f"the training images {train}; the test images {test}"
    assert info.notice == f"not the whole of MNIST: {told}"


# --- one copy for all processes of a machine


def same(one: data.Split, other: data.Split) -> bool:
    """Whether two splits hold the same values, of the same types and shapes."""
    return (
        np.array_equal(one.images, other.images)
        and np.array_equal(one.labels, other.labels)
        and (one.images.dtype, one.labels.dtype) == (other.images.dtype, other.labels.dtype)
    )


def test_same_arrays(sample: data.Dataset) -> None:
    """What is attached is what was shared, and begins where TensorFlow takes it as it is.

    What one process writes into its arrays no other sees.
    """
    with data.share(sample.training, sample.test) as file:
        (training, test), (others, _) = data.attach(file), data.attach(file)
    assert same(training.train, sample.training.train)
    assert same(training.valid, sample.training.valid)
    assert same(test, sample.test)
    for split in (training.train, training.valid, test):
        assert split.images.ctypes.data % 64 == split.labels.ctypes.data % 64 == 0
    training.train.images[:] = 255
    training.train.labels[:] = 9
    assert same(others.train, sample.training.train)


def test_nothing_to_validate(sample: data.Dataset) -> None:
    """A data set that trains on everything has an empty split, which stays empty."""
    joined = sample.training_on("train+valid")
    with data.share(joined, sample.test) as file:
        training, test = data.attach(file)
    assert same(training.train, joined.train)
    assert training.valid.images.shape == (0, 28, 28)
    assert same(test, sample.test)


def test_another_process_maps_the_same_pages(sample: data.Dataset) -> None:
    """A child that inherits the file has its pixels without memory of its own for them."""
    script = """
import sys, psutil
from mnist_lab import data
training, _ = data.attach(int(sys.argv[1]))
before = psutil.Process().memory_full_info().uss
total = int(training.train.images.sum(dtype="int64"))
print(total, psutil.Process().memory_full_info().uss - before)
"""
    images = np.tile(sample.training.train.images, (10, 1, 1))  # 28 MB, that show
    large = data.Split(images=images, labels=np.tile(sample.training.train.labels, 10))
    training = data.TrainingData(train=large, valid=sample.training.valid)
    with data.share(training, sample.test) as file:
        keeper = data.attach(file)[0].train.images
        total = int(keeper.sum(dtype="int64"))  # so that this process has mapped them too
        command = [sys.executable, "-c", script, str(file)]
        seen, own_bytes = map(int, subprocess.check_output(command, pass_fds=(file,)).split())
    assert seen == total
    assert own_bytes < images.nbytes / 10


def test_shared_file(sample: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no name, even while it is used, so a process that is killed leaves none.

    Where none can be written, one line says which folder to name instead.
    """
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with data.share(sample.training, sample.test) as file:
        assert os.fstat(file).st_size > sample.training.train.images.nbytes
        assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(StudyError, match=r"no room for the workers' copy.*TMPDIR"):
        data.share(sample.training, sample.test).__enter__()
