"""One copy of a data set for all processes of a machine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnist_lab import data
from mnist_lab.errors import StudyError

if TYPE_CHECKING:
    from pathlib import Path

    from mnist_lab.data import Split


@pytest.fixture(scope="module")
def sample() -> data.Dataset:
    """The bundled digits."""
    return data.load(data.SAMPLE)


def same(one: Split, other: Split) -> bool:
    """Whether two splits hold the same values, of the same types and shapes."""
    return (
        np.array_equal(one.images, other.images)
        and np.array_equal(one.labels, other.labels)
        and (one.images.dtype, one.labels.dtype) == (other.images.dtype, other.labels.dtype)
    )


def test_same_arrays(sample: data.Dataset) -> None:
    """What is attached is what was shared, and begins where TensorFlow takes it as it is."""
    with data.share(sample.training, sample.test) as file:
        training, test = data.attach(file)
    assert same(training.train, sample.training.train)
    assert same(training.valid, sample.training.valid)
    assert same(test, sample.test)
    for split in (training.train, training.valid, test):
        assert split.images.ctypes.data % 64 == split.labels.ctypes.data % 64 == 0


def test_nothing_to_validate(sample: data.Dataset) -> None:
    """A data set that trains on everything has an empty split, which stays empty."""
    joined = sample.training_on("train+valid")
    with data.share(joined, sample.test) as file:
        training, test = data.attach(file)
    assert same(training.train, joined.train)
    assert training.valid.images.shape == (0, 28, 28)
    assert same(test, sample.test)


def test_writing_is_private(sample: data.Dataset) -> None:
    """What one process writes into its arrays no other sees."""
    with data.share(sample.training, sample.test) as file:
        mine, yours = data.attach(file)[0].train, data.attach(file)[0].train
        mine.images[:] = 255
        mine.labels[:] = 9
        assert same(yours, sample.training.train)


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
    labels = np.tile(sample.training.train.labels, 10)
    large = data.TrainingData(
        train=data.Split(images=images, labels=labels), valid=sample.training.valid
    )
    with data.share(large, sample.test) as file:
        keeper = data.attach(file)[0].train.images
        total = int(keeper.sum(dtype="int64"))  # so that this process has mapped them too
        done = subprocess.run(
            [sys.executable, "-c", script, str(file)],
            pass_fds=(file,),
            capture_output=True,
            text=True,
            check=True,
        )
    seen, own_bytes = map(int, done.stdout.split())
    assert seen == total
    assert own_bytes < images.nbytes / 10


def test_leaves_nothing(
    sample: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file has a name, even while it is used, so a process that is killed leaves none."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with data.share(sample.training, sample.test) as file:
        assert os.fstat(file).st_size > sample.training.train.images.nbytes
        assert list(tmp_path.iterdir()) == []


def test_no_room(sample: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no temporary file can be written, one line says which folder to name instead."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with (
        pytest.raises(StudyError, match=r"folder for temporary files.*TMPDIR"),
        data.share(sample.training, sample.test),
    ):
        pass
