"""The data set in memory: its types, its splits, its digests, and MNIST known by them."""

from __future__ import annotations

import os
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from data_checks import assert_holds
from data_files import IDX_NAMES, Arrays, make_arrays, md5s, write_idx, write_npz
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mnist_lab import data
from mnist_lab.data import dataset as dataset_module
from mnist_lab.errors import DataError
from mnist_lab.records import DatasetInfo

if TYPE_CHECKING:
    from collections.abc import Callable

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
    assert DatasetInfo.model_validate_json(info.model_dump_json()) == info
    with pytest.raises(ValidationError, match="frozen"):
        info.name = "MNIST"  # type: ignore[misc] # which is the point
    with pytest.raises(ValidationError, match="Extra inputs"):
        DatasetInfo.model_validate({**info.model_dump(), "shape": [28, 28]})


def test_training_sees_no_test_arrays() -> None:
    """What training takes has no way to the test images."""
    assert list(data.TrainingData.__dataclass_fields__) == ["train", "valid"]


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


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """120 images, passing for MNIST: the published digests and tenths are its own."""
    arrays = make_arrays(120, 30)
    monkeypatch.setattr(dataset_module, "MNIST_MD5", md5s(arrays))
    tenths = {
        IDX_NAMES[key]: "".join(
            f"{zlib.crc32(tenth.tobytes()):08x}" for tenth in np.split(arrays[key], 10)
        )
        for key in ("x_train", "x_test")
    }
    monkeypatch.setattr(dataset_module, "_MNIST_TENTHS", tenths)
    return arrays


@pytest.mark.parametrize("key", ["x_train", "x_test"])
def test_damaged_mnist(tmp_path: Path, tiny_mnist: Arrays, key: str) -> None:
    """MNIST's images with a fault in one place are damaged, and the array is named."""
    tiny_mnist[key][5, 3] ^= 1
    path = write_npz(tmp_path / "mnist.npz", tiny_mnist)
    with pytest.raises(
        DataError, match=f"byte for byte: got .*mnist.npz, damaged in {IDX_NAMES[key]}; get it"
    ):
        data.load(str(path))
    kept = {name: array[1:] if name[1:] == key[1:] else array for name, array in tiny_mnist.items()}
    assert not data.load(str(write_npz(path, kept))).info.is_mnist  # as the error says


ORDER = np.random.default_rng(0).permutation(120)
DERIVED: dict[str, tuple[Callable[[Arrays], Arrays], str, str]] = {
    "a part": (
        lambda a: {"x_train": a["x_train"][:50], "y_train": a["y_train"][:50]},
        "are not the published ones",
        "are MNIST's",
    ),
    "another order": (
        lambda a: {"x_train": a["x_train"][ORDER], "y_train": a["y_train"][ORDER]},
        "are not the published ones",
        "are MNIST's",
    ),
    "noise": (
        lambda a: {"x_train": a["x_train"] ^ 3},
        "are not the published ones, their labels are",
        "are MNIST's",
    ),
    "noise in what validates": (
        lambda a: {"x_train": np.concatenate([a["x_train"][:100], a["x_train"][100:] ^ 3])},
        "are not the published ones, their labels are",
        "are MNIST's",
    ),
    "a corrected label": (
        lambda a: {"y_test": np.where(np.arange(30) == 4, 5, a["y_test"])},
        "are MNIST's",
        "are MNIST's, with other labels",
    ),
    "other test images": (
        lambda _: {key: array for key, array in make_arrays(seed=1).items() if "test" in key},
        "are MNIST's",
        "are not the published ones",
    ),
}


@pytest.mark.parametrize(("change", "train", "test"), DERIVED.values(), ids=DERIVED)
def test_made_of_mnist(
    tmp_path: Path,
    tiny_mnist: Arrays,
    change: Callable[[Arrays], Arrays],
    train: str,
    test: str,
) -> None:
    """What somebody made of MNIST is used, and says in how far it is MNIST; it shows digits."""
    path = write_npz(tmp_path / "mine.npz", {**tiny_mnist, **change(tiny_mnist)})
    info = data.load(str(path)).info
    assert (info.name, info.is_mnist, info.noun) == ("mine", False, "digit")
    assert info.notice == (
        f"not the whole of MNIST: the training images {train}; the test images {test}"
    )
