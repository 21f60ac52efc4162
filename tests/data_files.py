"""Files that data sets come in, built apart from the code that reads them; what they hold."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab import data

Arrays = dict[str, NDArray[Any]]

IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def make_arrays(n_train: int = 24, n_test: int = 6, seed: int = 0) -> Arrays:
    """Random images (n, 28, 28) uint8 and labels (n,) uint8 in turn, by their npz keys."""
    rng = np.random.default_rng(seed)
    return {
        "x_train": rng.integers(0, 256, (n_train, 28, 28), dtype=np.uint8),
        "y_train": np.arange(n_train, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (n_test, 28, 28), dtype=np.uint8),
        "y_test": np.arange(n_test, dtype=np.uint8) % 10,
    }


def sample_arrays() -> Arrays:
    """The bundled digits by their npz keys, 4,286 to train and to validate."""
    sample = data.load(data.SAMPLE)
    train, test = sample.training_on("train+valid").train, sample.test
    arrays = (train.images, train.labels, test.images, test.labels)
    return dict(zip(data.dataset.NPZ_KEYS, arrays, strict=True))


def idx_bytes(array: NDArray[Any]) -> bytes:
    """The array as an uncompressed IDX file of bytes."""
    axes = b"".join(int(length).to_bytes(4, "big") for length in array.shape)
    return b"\x00\x00\x08" + bytes([array.ndim]) + axes + array.astype(np.uint8).tobytes()


def md5s(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """The MD5 of each array's IDX file, by the file's name."""
    return {
        name: hashlib.md5(idx_bytes(arrays[key]), usedforsecurity=False).hexdigest()
        for key, name in IDX_NAMES.items()
    }


def npz_bytes(arrays: Mapping[str, Any], *, compress: bool = False) -> bytes:
    """The bytes of an .npz."""
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, **arrays)
    return file.getvalue()


def write_npz(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write an .npz, compressed."""
    np.savez_compressed(path, **arrays)
    return path


def write_idx(top: Path, arrays: Mapping[str, NDArray[Any]], pattern: str = "{n}") -> Path:
    """Write the four IDX files; {n} is a name, {e} as EMNIST has it, {d} dotted; packed if .gz."""
    for key, name in IDX_NAMES.items():
        emnist, dotted = name.replace("t10k", "test"), name.replace("-idx", ".idx")
        path = top / pattern.format(n=name, e=emnist, d=dotted)
        path.parent.mkdir(parents=True, exist_ok=True)
        body = idx_bytes(arrays[key])
        path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return top


def assert_holds(dataset: data.Dataset, arrays: Arrays) -> None:
    """The data set has exactly these arrays, in their order, as the types say."""
    training = dataset.training
    joined = dataset.training_on("train+valid")
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
