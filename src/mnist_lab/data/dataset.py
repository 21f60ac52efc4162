"""A data set in memory: its parts, and how it is checked, split, recognised and shared."""

from __future__ import annotations

import hashlib
import math
import mmap
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mnist_lab.data.arrays import IMAGE_SIDE, checked
from mnist_lab.data.looking import look
from mnist_lab.errors import DataError, StudyError
from mnist_lab.records import DIGITS, DatasetInfo

if TYPE_CHECKING:
    from mnist_lab.config import FitOn

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

# CRC-32 of each tenth of the images, eight hexadecimal digits each: damage is in one place, what
# somebody does to images (noise, another order, a choice of them) is in many.
_MNIST_TENTHS = {
    "x_train": "de38d0692576b87e538395c97a5939fc4aee021740b1ed0757bd380398a5a359084869582212922e",
    "x_test": "87ab9190c7ab7eba231a7e3dfdf8cb1e1f21714164a65ddc73afad27d24ae19330df77bdc1412f08",
}

_VALID_DIVISOR = 6  # the last sixth of the training images validates: 10,000 of 60,000
_ALIGNED_BYTES = 64  # where an array begins that TensorFlow does not copy: kAllocatorAlignment


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Split:
    """Images with their labels, in the same order."""

    images: NDArray[np.uint8]  # (n, 28, 28), 0 to 255
    labels: NDArray[np.int32]  # (n,), 0 to 9

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class TrainingData:
    """The arrays that training and search may see: no test arrays."""

    train: Split
    valid: Split


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Dataset:
    """A data set, checked and split, with the test images apart."""

    training: TrainingData
    test: Split
    info: DatasetInfo

    def training_on(self, fit_on: FitOn) -> TrainingData:
        """The images for training and validation.

        `train+valid` trains on all of them, in the data set's own order, and validates on none.
        """
        if fit_on == "train":
            return self.training
        parts = (self.training.train, self.training.valid)
        images = np.concatenate([part.images for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        return TrainingData(train=_split(images, labels), valid=_split(images[:0], labels[:0]))


def make_dataset(
    raw: Mapping[str, NDArray[Any]],
    *,
    source: str,
    name: str,
    notice: str = "",
    classes: tuple[str, ...] = (),
) -> Dataset:
    """Check and split four arrays, given by their npz keys.

    `name`, `notice` and `classes` apply unless the arrays are MNIST's. Without a `notice`, it says
    how far they are.

    Raises:
        DataError: the arrays are no data set of this kind, clearly wrong, or a damaged MNIST.
    """
    arrays = checked(raw, source)
    digests = {NPZ_KEYS[key]: _digest(array) for key, array in arrays.items()}
    same = {key for key, idx_name in NPZ_KEYS.items() if digests[idx_name] == MNIST_MD5[idx_name]}
    is_mnist = len(same) == len(NPZ_KEYS)
    for key in ("x_train", "x_test"):
        if key not in same:
            _refuse_damaged(key, arrays[key], source)
    x, y, *test_part = arrays.values()
    n = len(x) - len(x) // _VALID_DIVISOR
    train, valid, test = _split(x[:n], y[:n]), _split(x[n:], y[n:]), _split(*test_part)
    info = DatasetInfo(
        name="MNIST" if is_mnist else name,
        source=source,
        is_mnist=is_mnist,
        n_train=len(train),
        n_valid=len(valid),
        n_test=len(test),
        digests=digests,
        notice="" if is_mnist else notice or _relation(same, name),
        warnings=() if is_mnist else look(train, valid, test, source),
        classes=DIGITS if same else classes,
    )
    return Dataset(training=TrainingData(train=train, valid=valid), test=test, info=info)


@contextmanager
def share(training: TrainingData, test: Split) -> Iterator[int]:
    """Write the arrays once per machine, where this process and its children can map them.

    The file never has a name, so nothing remains when the last process ends, in any way.

    Yields:
        The file's descriptor, for children that inherit it and call :func:`attach`.

    Raises:
        StudyError: there is no room for it.
    """
    splits = (training.train, training.valid, test)
    arrays: list[NDArray[Any]] = [np.array([*map(len, splits)], np.int64)]
    for split in splits:
        arrays += [split.images, split.labels]
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, where its own errors are not
        for array in arrays:
            file.write(array.tobytes() + bytes(-array.nbytes % _ALIGNED_BYTES))
        file.flush()
    except OSError as problem:
        room = f"no room for the workers' copy of the data set ({problem.strerror or problem})"
        way = "make room, or set TMPDIR to another folder"
        raise StudyError(room, next_step=way) from None
    with file:
        yield file.fileno()


def attach(file: int) -> tuple[TrainingData, Split]:
    """The training data and the test images that another process shares by :func:`share`.

    All processes use the same pages. The arrays are writable, because TensorFlow uses only such
    arrays in place; a process that writes gets its own copy of that page.
    """
    memory = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    offset = 0

    def take(dtype: DTypeLike, *shape: int) -> NDArray[Any]:
        nonlocal offset
        array = np.frombuffer(memory, dtype, math.prod(shape), offset).reshape(shape)
        offset += array.nbytes + -array.nbytes % _ALIGNED_BYTES
        return array

    train, valid, test = (
        Split(images=take(np.uint8, n, IMAGE_SIDE, IMAGE_SIDE), labels=take(np.int32, n))
        for n in map(int, take(np.int64, 3))
    )
    return TrainingData(train=train, valid=valid), test


def _split(images: NDArray[np.uint8], labels: NDArray[Any]) -> Split:
    split = Split(images=images, labels=labels.astype(np.int32))  # TensorFlow's losses: no uint8
    split.images.setflags(write=False)
    split.labels.setflags(write=False)
    return split


def _digest(array: NDArray[np.uint8]) -> str:
    """MD5 of the array as an uncompressed IDX file; detects damage, not malice."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    digest = hashlib.md5(head, usedforsecurity=False)
    digest.update(array.data)
    return digest.hexdigest()


def _refuse_damaged(key: str, images: NDArray[np.uint8], source: str) -> None:
    """Refuse MNIST's images with a fault in one place; other differences may be intended."""
    tenths = [zlib.crc32(tenth.data) for tenth in np.array_split(images, 10)]
    published = struct.unpack(">10I", bytes.fromhex(_MNIST_TENTHS[key]))
    if sum(map(int.__eq__, tenths, published)) == len(tenths) - 1:
        way = f"get it again, or save {key} without some of its images if you changed it on purpose"
        raise DataError(f"{source} is a damaged copy of MNIST ({NPZ_KEYS[key]})", next_step=way)


def _relation(same: set[str], name: str) -> str:
    """How far a data set is MNIST, of which the arrays `same` are MNIST's."""
    if not same:
        return f"not MNIST: {name}"
    of_same = ("are MNIST's, with other labels", "are MNIST's")
    of_others = ("are not the published ones", "are not the published ones, their labels are")
    train, test = (
        (of_same if f"x_{part}" in same else of_others)[f"y_{part}" in same]
        for part in ("train", "test")
    )
    return f"not the whole of MNIST: the training images {train}; the test images {test}"
