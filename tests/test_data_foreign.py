"""Files of other formats: each is refused with the way from it to a data set."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from data_checks import assert_holds
from data_files import make_arrays, write_idx

from mnist_lab import data
from mnist_lab.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def refused(path: Path) -> str:
    """The next step of the one line that refuses the file."""
    with pytest.raises(DataError, match=r"never loaded|unpacked first|not a \.") as raised:
        data.load(str(path))
    assert "\n" not in str(raised.value)
    return raised.value.next_step


def run(command: str, folder: Path) -> None:
    """Run a command as its reader would, with this Python."""
    words = command.replace("python ", f"{sys.executable} ", 1)
    subprocess.run(words, shell=True, check=True, cwd=folder)  # noqa: S602 - as in a terminal


@pytest.mark.parametrize("divisor", [256, 255])  # deeplearning.net's, and others' copies
@pytest.mark.parametrize("name", ["mnist.pkl.gz", "my mnist.pkl", "mnist.pickle.gz", "mnist"])
def test_pickle_of_courses(tmp_path: Path, name: str, divisor: int) -> None:
    """The line for the pickle of courses makes the same arrays of it, to the last pixel."""
    dataset = data.load("sample")
    training = dataset.training
    pairs = tuple(
        (
            (part.images.reshape(-1, 784) / divisor).astype("f4"),
            part.labels.astype(int),
        )
        for part in (training.train, training.valid, dataset.test)
    )
    path = tmp_path / name
    raw = pickle.dumps(pairs, protocol=2)
    path.write_bytes(gzip.compress(raw, 1) if name.endswith(".gz") else raw)
    run(refused(path).partition("makes mnist.npz of it: ")[2], tmp_path)
    assert data.load(str(tmp_path / "mnist.npz")).info.digests == dataset.info.digests


def test_pickle_is_not_loaded(tmp_path: Path) -> None:
    """Nothing in a pickle runs, whatever it is called."""
    for name in ("a.pkl", "a.npz", "a"):
        (tmp_path / name).write_bytes(b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.")
        with pytest.raises(DataError):
            data.load(str(tmp_path / name))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tgz"])
def test_archives(tmp_path: Path, kind: str) -> None:
    """An archive of IDX files is unpacked by the line that refuses it, which says what to give."""
    arrays = make_arrays()
    folder = write_idx(tmp_path / "four", arrays, packed=True)
    path = tmp_path / f"my digits.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, f"raw/{file.name}")
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, "raw")
    command, _, given = refused(path).partition(", then give --data ")
    run(command, tmp_path)
    assert_holds(data.load(str(tmp_path / given.strip("'"))), arrays)


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("training.pt", "torch.load"),
        ("mnist.joblib", "joblib.load"),
        ("emnist-letters.mat", "scipy.io.loadmat"),
        ("mnist_train.csv", "np.loadtxt"),
        ("train.csv.gz", "np.loadtxt"),
        ("train-00000-of-00001.parquet", "pandas.read_parquet"),
        ("x_train.npy", "np.load"),
        ("mnist.h5", "h5py.File"),
    ],
)
def test_others(tmp_path: Path, name: str, reader: str) -> None:
    """Any other format is named, with what reads it and how an .npz is saved; torch's is a zip."""
    path = tmp_path / name
    if name.endswith(".pt"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02.")
    else:
        path.write_bytes(b"\x89HDF" + bytes(np.arange(9)))
    step = refused(path)
    assert reader in step
    assert "np.savez('mnist.npz', x_train=" in step
