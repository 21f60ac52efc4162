"""One copy of a data set for all processes of a machine: a file without a name, mapped by each."""

from __future__ import annotations

import math
import mmap
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_lab.data.arrays import IMAGE_SIDE
from mnist_lab.data.dataset import Split, TrainingData
from mnist_lab.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

# Where TensorFlow lets an array begin that it is to use without copying it: its Allocator's
# kAllocatorAlignment.
_ALIGNED_BYTES = 64


@contextmanager
def share(training: TrainingData, test: Split) -> Iterator[int]:
    """Write the arrays to where this process and its children can map them.

    The file never had a name, so nothing is left of it when the last of them ends, however it does.

    Yields:
        The file's descriptor, for children that inherit it and call :func:`attach`.

    Raises:
        StudyError: there is no room for it.
    """
    splits = (training.train, training.valid, test)
    counts = np.array([len(split) for split in splits], np.int64)
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, where its own errors are not
        for array in (counts, *(part for one in splits for part in (one.images, one.labels))):
            file.write(array.tobytes())
            file.write(bytes(-array.nbytes % _ALIGNED_BYTES))
        file.flush()
    except OSError as problem:
        raise StudyError(
            "the workers' copy of the data set fits into the folder for temporary files",
            received=problem,
            next_step="make room, or name another folder in the variable TMPDIR",
        ) from None
    with file:
        yield file.fileno()


def attach(file: int) -> tuple[TrainingData, Split]:
    """What another process shares: the training data and the test images.

    The pages are those of all processes. The arrays are writable, as TensorFlow wants them before
    it uses them in place; who writes gets a copy of that page for itself.

    Args:
        file: the descriptor that :func:`share` gave.
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
