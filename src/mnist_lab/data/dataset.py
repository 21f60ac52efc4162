"""A data set in memory: what it consists of, how it is checked, split and known again."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_lab.errors import DataError
from mnist_lab.records import DatasetInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnist_lab.config import FitOn

IMAGE_SIDE = 28  # pixels
N_CLASSES = 10
SAMPLE = "sample"  # the word for the bundled digits; a folder of that name is ./sample

# MD5 of the four published files, unpacked. An IDX file is a header and the bytes of its array, so
# these name the arrays, however they are packed.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
# The same four arrays in an .npz of keras.datasets.mnist.
NPZ_KEYS = dict(zip(("x_train", "y_train", "x_test", "y_test"), MNIST_MD5, strict=True))

_VALID_DIVISOR = 6  # the last sixth of the training images validates: 10,000 of 60,000
_MIN_TRAIN = 12  # images; enough for two to validate


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Split:
    """Images with their labels, in the same order."""

    images: NDArray[np.uint8]  # (n, 28, 28), 0 to 255
    labels: NDArray[np.int32]  # (n,), 0 to 9

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class TrainingData:
    """What training and search may see: no test arrays."""

    train: Split
    valid: Split

    def joined(self) -> TrainingData:
        """All images to train on, in the data set's own order, and none to validate."""
        parts = (self.train, self.valid)
        images = np.concatenate([part.images for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        return TrainingData(train=_split(images, labels), valid=_split(images[:0], labels[:0]))


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Dataset:
    """A data set, checked and split, the test images apart."""

    training: TrainingData
    test: Split
    info: DatasetInfo

    def training_on(self, fit_on: FitOn) -> TrainingData:
        """What is trained on and validated with: `train+valid` leaves nothing to validate."""
        return self.training if fit_on == "train" else self.training.joined()


def make_dataset(
    raw: Mapping[str, NDArray[Any]], *, source: str, name: str, notice: str = ""
) -> Dataset:
    """Check and split four arrays; `name` and `notice` are for what is not MNIST."""
    x_train, y_train = _checked(raw["x_train"], raw["y_train"], "training", source)
    x_test, y_test = _checked(raw["x_test"], raw["y_test"], "test", source)
    arrays = zip(MNIST_MD5, (x_train, y_train, x_test, y_test), strict=True)
    digests = {idx_name: _digest(array) for idx_name, array in arrays}
    is_mnist = _is_mnist(digests, source)
    n = len(x_train) - len(x_train) // _VALID_DIVISOR
    train, valid = _split(x_train[:n], y_train[:n]), _split(x_train[n:], y_train[n:])
    test = _split(x_test, y_test)
    info = DatasetInfo(
        name="MNIST" if is_mnist else name,
        source=source,
        is_mnist=is_mnist,
        n_train=len(train),
        n_valid=len(valid),
        n_test=len(test),
        digests=digests,
        notice="" if is_mnist else notice or f"not MNIST: {name}",
    )
    return Dataset(training=TrainingData(train=train, valid=valid), test=test, info=info)


def _split(images: NDArray[np.uint8], labels: NDArray[Any]) -> Split:
    split = Split(images=images, labels=labels.astype(np.int32))  # TensorFlow's losses: no uint8
    split.images.setflags(write=False)
    split.labels.setflags(write=False)
    return split


def _checked(
    images: NDArray[Any], labels: NDArray[Any], part: str, source: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,), both as bytes; `part` is "training" or "test"."""

    def refusal(rule: str, received: str, next_step: str) -> DataError:
        where = f"{received} in {source}"
        return DataError(f"the {part} {rule}", received=where, next_step=next_step)

    n, side = len(images) if images.ndim else 0, IMAGE_SIDE
    if images.shape != (n, side, side) or images.dtype != np.uint8:
        raise refusal(
            f"images are an array (n, {side}, {side}) of bytes from 0 to 255 (uint8)",
            f"{images.dtype} {images.shape}",
            f"save x.reshape(-1, {side}, {side}), or resize the images"
            if images.shape != (n, side, side)
            else "save x.astype('uint8'), or (x * 255).round().astype('uint8') if x goes to 1",
        )
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        step = f"save ({n},) labels" if labels.shape != (n,) else "save y.astype('uint8')"
        raise refusal(
            "labels stay integers, one for each image, not one-hot",
            f"{labels.dtype} {labels.shape} for {n} images",
            "save y.argmax(axis=1)" if labels.shape == (n, N_CLASSES) else step,
        )
    least = _MIN_TRAIN if part == "training" else 1
    if n < least:
        raise refusal(f"images number at least {least}", f"{n}", "give a larger data set")
    if labels.min() < 0 or labels.max() >= N_CLASSES:
        raise refusal(
            f"labels go from 0 to {N_CLASSES - 1}",
            f"{labels.min()} to {labels.max()}",
            "leave the other classes out",
        )
    return np.ascontiguousarray(images), labels.astype(np.uint8)


def _digest(array: NDArray[np.uint8]) -> str:
    """MD5 of the array as an uncompressed IDX file; against damage, not against malice."""
    axes = array.ndim
    digest = hashlib.md5(bytes((0, 0, 8, axes)), usedforsecurity=False)
    digest.update(struct.pack(f">{axes}I", *array.shape))
    digest.update(array.data)
    return digest.hexdigest()


def _is_mnist(digests: Mapping[str, str], source: str) -> bool:
    """Whether all four are MNIST's; some of them and not all is a damaged copy, refused."""
    wrong = [name for name, digest in MNIST_MD5.items() if digests[name] != digest]
    if 0 < len(wrong) < len(MNIST_MD5):
        raise DataError(
            "a copy of MNIST equals the published one, byte for byte",
            received=f"{source}, damaged in {', '.join(wrong)}",
            next_step="get it again",
        )
    return not wrong
