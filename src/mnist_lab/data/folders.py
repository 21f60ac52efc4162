"""Files and folders as users have them: the four IDX files, their names, and other formats.

A data set is four files in one folder whose names begin alike. Kaggle unpacks each file into a
folder of the file's name; torchvision puts them two folders further down.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import defaultdict
from pathlib import Path

from mnist_lab.data.dataset import MNIST_MD5, NPZ_KEYS
from mnist_lab.errors import DataError
from mnist_lab.records import DIGITS

_DEPTH = 3  # folders below the given one
# train-images-idx3-ubyte, or with dots; EMNIST says test for t10k, and puts a name before it.
_NAME = re.compile(
    r"(?:(?P<prefix>.+)[-_.])?(?P<part>train|t10k|test)[-_.](?P<what>images|labels)[-_.]"
    r"(?P<idx>idx[13])[-_.]ubyte(\.gz)?",
    re.IGNORECASE,
)
_CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
_KANA = "o,ki,su,tsu,na,ha,ma,ya,re,wo"
# Data sets in MNIST's format, by the words of their names, in any spelling; and their classes.
_KNOWN = {
    ("fashion", "mnist"): ("FashionMNIST", tuple(_CLOTHES.split(","))),
    ("kmnist",): ("KMNIST", tuple(_KANA.split(","))),
    ("kuzushiji", "mnist"): ("KMNIST", tuple(_KANA.split(","))),
    ("not", "mnist"): ("notMNIST", tuple("ABCDEFGHIJ")),
    ("qmnist",): ("QMNIST", DIGITS),
    ("emnist", "digits"): ("EMNIST digits", DIGITS),
    ("emnist", "mnist"): ("EMNIST's MNIST", DIGITS),
    ("emnist", "letters"): ("EMNIST letters", ()),
    ("emnist", "balanced"): ("EMNIST balanced", ()),
}
# Names of folders that say nothing about what is in them.
_NO_NAMES = {"archive", "data", "dataset", "datasets", "files", "gzip", "idx", "processed", "raw"}
# The pickle of deeplearning.net, three pairs (images (n, 784), labels): what trains, validates and
# tests. Its pixels are bytes divided by 256, in copies by 255. The first two are MNIST's training
# images, in their order.
_FROM_PICKLE = (
    "import gzip, pickle, sys, numpy as np; "
    "(a, b), (c, d), (x, y) = pickle.load({open}(sys.argv[1], 'rb'), encoding='latin1'); "
    "k = 256 - (a.max() == 1); "
    "f = lambda x: (x * k).round().astype('uint8').reshape(-1, 28, 28); "
    "np.savez('mnist.npz', x_train=np.concatenate([f(a), f(c)]), y_train=np.concatenate([b, d]), "
    "x_test=f(x), y_test=y)"
)
_SAVE = (
    "np.savez('mnist.npz', x_train=..., y_train=..., x_test=..., y_test=...), images as "
    "(n, 28, 28) uint8 from 0 to 255, labels as (n,) integers from 0 to 9"
)
# What reads the others in Python, by the end of the name.
_READERS = {
    ".joblib": "joblib.load",
    ".pt": "torch.load",
    ".pth": "torch.load",
    ".mat": "scipy.io.loadmat",
    ".csv": "np.loadtxt(..., delimiter=',')",
    ".parquet": "pandas.read_parquet",
    ".h5": "h5py.File",
    ".hdf5": "h5py.File",
    ".npy": "np.load",
}
_ARCHIVES = {".zip": "zipfile", ".tar": "tarfile", ".tgz": "tarfile"}
_PICKLES = {".pkl", ".pickle"}
_FOREIGN = {*_PICKLES, *_READERS, *_ARCHIVES}
_ZIP, _GZIP = b"PK\3\4", b"\x1f\x8b"


def names(path: Path, prefix: str = "") -> tuple[str, tuple[str, ...]]:
    """The name of the data set in a file or folder, and its classes, empty if unknown."""
    telling = (part for part in reversed(path.parts) if part.lower() not in _NO_NAMES)
    name = prefix or next(telling, path.name).removesuffix(".npz")
    for words, (title, classes) in _KNOWN.items():
        if match := re.search(f"(?<![a-z]){'[-_ .]*'.join(words)}(?![a-z])", name.lower()):
            return (title if match.group() == name.lower() else name), classes
    return f"{name} (not as published)" if name.lower() == "mnist" else name, ()


def idx_key(path: Path) -> str:
    """Which of the four arrays a file is, by its name, as an npz key; "" if none."""
    match = _NAME.fullmatch(path.name.lower())
    if not match or (match["what"] == "images") != (match["idx"] == "idx3"):
        return ""
    return f"{'x' if match['what'] == 'images' else 'y'}_{match['part'].replace('t10k', 'test')}"


def find_idx(place: Path) -> tuple[Path, str, dict[str, Path]]:
    """The data set in a folder, or the one to which a given file belongs.

    Files in the folder itself win over those further down.

    Returns:
        The folder that the four files share, their prefix, and the files by npz key.

    Raises:
        DataError: there is none, or more than one.
    """
    sets = _sets(place if place.is_dir() else _place(place)[0])
    if not place.is_dir():
        sets = {one: files for one, files in sets.items() if one == _place(place)}
    whole = [one for one, files in sets.items() if len(files) == len(NPZ_KEYS)]
    whole = [one for one in whole if one[0] == place] or whole
    if len(whole) == 1:
        return *whole[0], sets[whole[0]]
    if whole:
        # What to type for each and no other, as a shell wants it.
        typed = [str(sets[one]["x_train"] if one[1] else one[0]) for one in whole]
        way = f"give one of them: {', '.join(map(shlex.quote, typed))}"
        raise DataError(f"{place} holds {len(whole)} data sets", next_step=way)
    if sets:
        (folder, _), files = max(sets.items(), key=lambda one: len(one[1]))
        missing = [name for key, name in NPZ_KEYS.items() if key not in files]
        has = ", ".join(path.name for path in files.values())
        problem = f"{folder} is missing {', '.join(missing)}; it has {has}"
        way = "add what is missing, or give the folder that has all four"
    else:
        near = sorted(x for x in place.iterdir() if x.suffix == ".npz" or _kind(x) in _FOREIGN)
        problem = f"no IDX files in {place}, nor up to {_DEPTH} folders below"
        names = f"{', '.join(MNIST_MD5)}, gzipped or not"
        way = f"give {near[0] if near else f'the folder that has them: {names}'}"
    raise DataError(problem, next_step=way)


def _sets(top: Path) -> dict[tuple[Path, str], dict[str, Path]]:
    """All data sets, complete or not, in a folder and below it: their files by npz key."""

    def refuse(error: OSError) -> None:
        if error.filename == str(top):
            raise error

    candidates = []
    for name, folders, files in os.walk(top, onerror=refuse, followlinks=True):
        folder = Path(name)
        if len(folder.relative_to(top).parts) >= _DEPTH:
            folders.clear()
        candidates += [path for file in files if idx_key(path := folder / file) and path.is_file()]
    sets: dict[tuple[Path, str], dict[str, Path]] = defaultdict(dict)
    seen = set()  # a link leads to the same file again
    # Of one file in several forms: unpacked before gzipped, as published before with dots.
    for path in sorted(candidates, key=lambda one: (one.suffix == ".gz", len(one.parts), one.name)):
        if (real := path.resolve()) not in seen:
            seen.add(real)
            sets[_place(path)].setdefault(idx_key(path), path)
    return dict(sorted(sets.items()))


def _place(path: Path) -> tuple[Path, str]:
    """The folder that the four files share, not one named after a file, and their prefix."""
    match = _NAME.fullmatch(path.name)
    folder = path.parent.parent if idx_key(path.parent) else path.parent
    return folder, (match and match["prefix"]) or ""


def refuse_foreign(path: Path, start: bytes) -> None:
    """Refuse a file of a known kind, which begins with `start`, and say how to convert it."""
    kind, here = _kind(path), shlex.quote(str(path))
    if kind in _PICKLES or (start[:1] == b"\x80" and start[1:2] in {b"\2", b"\3", b"\4", b"\5"}):
        code = _FROM_PICKLE.format(open="gzip.open" if start.startswith(_GZIP) else "open")
        what = "a pickle, which is never loaded here because it can run code"
        next_step = (
            "if you trust it, and it holds three pairs of images and labels as the mnist.pkl"
        )
        next_step += f'.gz of courses, this makes mnist.npz of it: python -c "{code}" {here}'
    elif kind in _READERS:
        what = f"a {kind} file, not a .npz file or a folder of IDX files"
        next_step = f"read it in Python ({_READERS[kind]}) and save {_SAVE}"
    elif kind in _ARCHIVES or start.startswith(_ZIP):
        what = "an archive that has to be unpacked first"
        folder = shlex.quote(path.name.partition(".")[0])
        tool = _ARCHIVES.get(kind, "zipfile")
        next_step = f"python -m {tool} -e {here} {folder}, then give --data {folder}"
    else:
        return
    raise DataError(f"{path} is {what}", next_step=next_step)


def _kind(path: Path) -> str:
    return "." + path.name.lower().removesuffix(".gz").rpartition(".")[2]
