"""Folders as people have them: where the four files are found, and what they are called."""

from __future__ import annotations

import gzip
import shlex
from typing import TYPE_CHECKING

import pytest
from data_checks import assert_holds
from data_files import IDX_NAMES, Arrays, idx_bytes, make_arrays, write_npz

from mnist_lab import data
from mnist_lab.errors import DataError
from mnist_lab.records import DIGITS, DatasetInfo

if TYPE_CHECKING:
    from pathlib import Path


def write(top: Path, pattern: str, arrays: Arrays) -> Path:
    """Write the four files; {n} is a name, {e} as EMNIST has it, {d} dotted."""
    for key, name in IDX_NAMES.items():
        emnist, dotted = name.replace("t10k", "test"), name.replace("-idx", ".idx")
        path = top / pattern.format(n=name, e=emnist, d=dotted)
        path.parent.mkdir(parents=True, exist_ok=True)
        body = idx_bytes(arrays[key])
        path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return top


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
    write(tmp_path, pattern, arrays)
    if name is None:  # each file in a folder of its own, called otherwise
        with pytest.raises(DataError, match=r"without .*; add what is missing"):
            data.load(str(tmp_path / given))
        return
    dataset = data.load(str(tmp_path / given))
    assert_holds(dataset, arrays)
    assert (dataset.info.name, dataset.info.notice) == (name, f"not MNIST: {name}")


def test_nearest_wins(tmp_path: Path, arrays: Arrays) -> None:
    """A data set in the folder itself is meant, whatever lies further down."""
    write(tmp_path, "{n}", arrays)
    write(tmp_path, "older/{n}", make_arrays(seed=1))
    assert_holds(data.load(str(tmp_path)), arrays)


def test_several(tmp_path: Path, arrays: Arrays) -> None:
    """Of several data sets the error says what to type for each, and that gets it."""
    others = {name: make_arrays(seed=seed) for seed, name in enumerate(("digits", "mnist"), 1)}
    write(tmp_path, "my data/{n}", arrays)
    for name, its in others.items():
        write(tmp_path, f"EMNIST/raw/emnist-{name}-{{e}}.gz", its)
    with pytest.raises(DataError, match=f"holds one data set: got 3 in {tmp_path}") as raised:
        data.load(str(tmp_path))
    typed = shlex.split(raised.value.next_step.partition(": ")[2].replace(", ", " "))
    for path, its in zip(typed, [*others.values(), arrays], strict=True):
        assert_holds(data.load(path), its)


def test_none(tmp_path: Path, arrays: Arrays) -> None:
    """Where there is none the error says what was looked for and where, or which file to give."""
    with pytest.raises(DataError, match=rf"none of them in {tmp_path}, nor up to 3 folders below"):
        data.load(str(tmp_path))
    path = write_npz(tmp_path / "a.npz", arrays)
    with pytest.raises(DataError, match=f"; give {path}"):
        data.load(str(tmp_path))


def test_links(tmp_path: Path, arrays: Arrays) -> None:
    """A link in a circle below the folder is no end to the search."""
    write(tmp_path, "MNIST/raw/{n}", arrays)
    (tmp_path / "MNIST" / "again").symlink_to(tmp_path)
    assert_holds(data.load(str(tmp_path / "MNIST")), arrays)


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
