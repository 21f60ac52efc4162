"""Where the four IDX files of a data set are: as published, torchvision, Kaggle or EMNIST lay them.

A data set is four files in one folder whose names begin alike. Kaggle unpacks each file into a
folder of the file's name; torchvision puts them two folders further down.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from mnist_lab.data.dataset import MNIST_MD5, NPZ_KEYS
from mnist_lab.data.foreign import is_foreign
from mnist_lab.errors import DataError

_DEPTH = 3  # folders below the given one
# train-images-idx3-ubyte, or with dots; EMNIST says test for t10k, and puts a name before it.
_NAME = re.compile(
    r"(?:(?P<prefix>.+)[-_.])?(?P<part>train|t10k|test)[-_.](?P<what>images|labels)[-_.]"
    r"(?P<idx>idx[13])[-_.]ubyte(\.gz)?",
    re.IGNORECASE,
)
_TYPED = (
    f"({', '.join(MNIST_MD5)}; gzipped or not; or with dots, with test for t10k, with a prefix)"
)


class IdxFiles(NamedTuple):
    """The four files of a data set by npz key, the folder that they share, and their prefix."""

    folder: Path
    prefix: str
    files: dict[str, Path]

    @property
    def typed(self) -> str:
        """What to type for it and no other, as a shell wants it."""
        return shlex.quote(str(self.files["x_train"] if self.prefix else self.folder))


def find_idx(place: Path) -> IdxFiles:
    """The data set in a folder, or the one that a file of it is given for.

    What lies in the folder itself wins over what lies further down.

    Raises:
        DataError: there is none, or more than one.
    """
    found = _sets(place if place.is_dir() else _place(place)[0])
    if not place.is_dir():
        found = [one for one in found if (one.folder, one.prefix) == _place(place)]
    whole = [one for one in found if len(one.files) == len(NPZ_KEYS)]
    if nearest := [one for one in whole if one.folder == place]:
        whole = nearest
    if len(whole) == 1:
        return whole[0]
    if whole:
        raise DataError(
            "a folder holds one data set",
            received=f"{len(whole)} in {place}",
            next_step=f"give one of them: {', '.join(one.typed for one in whole)}",
        )
    raise _incomplete(place, found)


def _incomplete(place: Path, found: list[IdxFiles]) -> DataError:
    rule = f"a data folder holds the four IDX files {_TYPED}"
    if found:
        most = max(found, key=lambda one: len(one.files))
        missing = [name for key, name in NPZ_KEYS.items() if key not in most.files]
        return DataError(
            rule,
            received=f"{most.folder} without {', '.join(missing)}, with "
            f"{', '.join(path.name for path in most.files.values())}",
            next_step="add what is missing, or give the folder that has all four",
        )
    others = sorted(path for path in place.iterdir() if path.suffix == ".npz" or is_foreign(path))
    return DataError(
        rule,
        received=f"none of them in {place}, nor up to {_DEPTH} folders below",
        next_step=f"give {others[0]}" if others else "give the folder that has them",
    )


def _sets(top: Path) -> list[IdxFiles]:
    """All data sets, whole or not, in a folder and those below it."""

    def refuse(error: OSError) -> None:
        if error.filename == str(top):
            raise error

    candidates = []
    for name, folders, files in os.walk(top, onerror=refuse, followlinks=True):
        folder = Path(name)
        if len(folder.relative_to(top).parts) >= _DEPTH:
            folders.clear()
        candidates += [path for file in files if idx_key(path := folder / file) and path.is_file()]
    sets: dict[tuple[Path, str], dict[str, Path]] = {}
    # Of one file in several forms: unpacked before gzipped, as published before with dots.
    candidates.sort(key=lambda path: (path.suffix == ".gz", len(path.parts), path.name))
    seen = set()  # a link leads to the same file again
    for path in candidates:
        if (real := path.resolve()) in seen:
            continue
        seen.add(real)
        sets.setdefault(_place(path), {}).setdefault(idx_key(path), path)
    return [IdxFiles(*place, sets[place]) for place in sorted(sets)]


def idx_key(path: Path) -> str:
    """Which of the four a file is by its name, as npz key; "" if none."""
    match = _NAME.fullmatch(path.name.lower())
    if not match or (match["what"] == "images") != (match["idx"] == "idx3"):
        return ""
    return f"{'x' if match['what'] == 'images' else 'y'}_{match['part'].replace('t10k', 'test')}"


def _place(path: Path) -> tuple[Path, str]:
    """The folder that the four files share, not one called as the file is, and their prefix."""
    match = _NAME.fullmatch(path.name)
    prefix = (match and match["prefix"]) or ""
    return path.parent.parent if idx_key(path.parent) else path.parent, prefix
