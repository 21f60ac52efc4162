"""Folders and files as people have them: found, named, or refused with the way to a data set."""

from __future__ import annotations

import gzip
import pickle
import shlex
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import Arrays, assert_holds, make_arrays, write_idx, write_npz

from mnist_lab import data
from mnist_lab.errors import DataError
from mnist_lab.records import DIGITS, DatasetInfo


@pytest.mark.parametrize(
    ("given", "pattern", "name"),
    [
        ("", "FashionMNIST/raw/{n}", "FashionMNIST"),
        ("", "data/FashionMNIST/raw/{n}.gz", "FashionMNIST"),
        ("FashionMNIST", "FashionMNIST/raw/{n}", "FashionMNIST"),
        ("FashionMNIST/raw", "FashionMNIST/raw/{n}", "FashionMNIST"),
        ("KMNIST", "KMNIST/raw/{n}.gz", "KMNIST"),
        ("shapes", "shapes/{n}/{n}", "shapes"),
        ("shapes", "shapes/archive/{d}/{d}", "shapes"),
        ("shapes", "shapes/{n}-dir/{n}", None),
        ("gzip", "gzip/emnist-digits-{e}.gz", "EMNIST digits"),
        ("EMNIST", "EMNIST/raw/emnist-digits-{e}", "EMNIST digits"),
        ("MNIST", "MNIST/raw/{n}", "MNIST (not as published)"),
    ],
)
def test_layouts(
    tmp_path: Path, arrays: Arrays, given: str, pattern: str, name: str | None
) -> None:
    """The layouts of torchvision, Kaggle and EMNIST are read, and the name is a name."""
    write_idx(tmp_path, arrays, pattern)
    if name is None:  # each file in a folder of its own, called otherwise
        with pytest.raises(DataError, match=r"is missing .*; add what is missing"):
            data.load(str(tmp_path / given))
        return
    dataset = data.load(str(tmp_path / given))
    assert_holds(dataset, arrays)
    assert (dataset.info.name, dataset.info.notice) == (name, f"not MNIST: {name}")


def test_nearest_wins(tmp_path: Path, arrays: Arrays) -> None:
    """A data set in the folder itself is meant, whatever lies further down, or links back."""
    write_idx(tmp_path, arrays, "{n}")
    write_idx(tmp_path, make_arrays(seed=1), "older/{n}")
    assert_holds(data.load(str(tmp_path)), arrays)
    write_idx(tmp_path, arrays, "MNIST/raw/{n}")
    (tmp_path / "MNIST" / "again").symlink_to(tmp_path / "MNIST")
    assert_holds(data.load(str(tmp_path / "MNIST")), arrays)


def test_several(tmp_path: Path, arrays: Arrays) -> None:
    """Of several data sets the error says what to type for each, and that gets it."""
    others = {name: make_arrays(seed=seed) for seed, name in enumerate(("digits", "mnist"), 1)}
    write_idx(tmp_path, arrays, "my data/{n}")
    for name, its in others.items():
        write_idx(tmp_path, its, f"EMNIST/raw/emnist-{name}-{{e}}.gz")
    with pytest.raises(DataError, match=f"{tmp_path} holds 3 data sets") as raised:
        data.load(str(tmp_path))
    typed = shlex.split(raised.value.next_step.partition(": ")[2].replace(", ", " "))
    for path, its in zip(typed, [*others.values(), arrays], strict=True):
        assert_holds(data.load(path), its)


def test_none(tmp_path: Path, arrays: Arrays) -> None:
    """Where there is none the error says what was looked for and where, or which file to give."""
    with pytest.raises(DataError, match=rf"no IDX files in {tmp_path}, nor up to 3 folders below"):
        data.load(str(tmp_path))
    path = write_npz(tmp_path / "a.npz", arrays)
    with pytest.raises(DataError, match=f"; give {path}"):
        data.load(str(tmp_path))


@pytest.mark.parametrize(
    ("stem", "wanted"),
    [
        ("fashion_mnist", ("FashionMNIST", "class", "T-shirt/top")),
        ("fashion-mnist-small", ("fashion-mnist-small", "class", "T-shirt/top")),
        ("kmnist", ("KMNIST", "class", "o")),
        ("notMNIST", ("notMNIST", "class", "A")),
        ("mnist", ("mnist (not as published)", "class", "0")),
        ("darkmnist", ("darkmnist", "class", "0")),
    ],
)
def test_names(tmp_path: Path, arrays: Arrays, stem: str, wanted: tuple[str, str, str]) -> None:
    """A file is called by its stem or by the name that everybody knows; its classes as known."""
    info = data.load(str(write_npz(tmp_path / f"{stem}.npz", arrays))).info
    assert (info.name, info.noun, info.class_names[0]) == wanted
    assert len(info.class_names) == 10


def test_older_record() -> None:
    """A record from before there were classes and warnings is read: MNIST's classes are digits."""
    old = data.load("sample").info.model_dump(exclude={"classes", "warnings"})
    info = DatasetInfo.model_validate(old)
    assert (info.noun, info.class_names, info.notes) == ("digit", DIGITS, (old["notice"],))
    other = DatasetInfo.model_validate({**old, "source": "/a.npz"})
    assert (other.noun, other.class_names) == ("class", DIGITS)
    assert other.model_copy(update={"classes": ("a",)}).class_names == DIGITS


# --- files of other formats


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
    pairs = tuple(
        ((part.images.reshape(-1, 784) / divisor).astype("f4"), part.labels.astype(int))
        for part in (dataset.training.train, dataset.training.valid, dataset.test)
    )
    raw = pickle.dumps(pairs, protocol=2)
    (tmp_path / name).write_bytes(gzip.compress(raw, 1) if name.endswith(".gz") else raw)
    run(refused(tmp_path / name).partition("makes mnist.npz of it: ")[2], tmp_path)
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
    folder = write_idx(tmp_path / "four", arrays, "{n}.gz")
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


def test_others(tmp_path: Path) -> None:
    """Any other format is named, with what reads it and how an .npz is saved; torch's is a zip."""
    for name, reader in (
        ("training.pt", "torch.load"),
        ("mnist.joblib", "joblib.load"),
        ("emnist-letters.mat", "scipy.io.loadmat"),
        ("mnist_train.csv", "np.loadtxt"),
        ("train.csv.gz", "np.loadtxt"),
        ("train-00000-of-00001.parquet", "pandas.read_parquet"),
        ("x_train.npy", "np.load"),
        ("mnist.h5", "h5py.File"),
    ):
        path = tmp_path / name
        if name.endswith(".pt"):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", b"\x80\x02.")
        else:
            path.write_bytes(b"\x89HDF" + bytes(np.arange(9)))
        step = refused(path)
        assert reader in step
        assert "np.savez('mnist.npz', x_train=" in step
