"""What any loaded data set is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from data_files import Arrays

    from mnist_lab import data


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
