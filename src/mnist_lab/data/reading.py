"""Read files into arrays, not yet checked: an .npz in Keras' layout, or a folder of IDX files."""

from __future__ import annotations

import gzip
import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.dataset import NPZ_KEYS, SAMPLE
from mnist_lab.data.folders import find_idx, idx_key, names, refuse_foreign
from mnist_lab.errors import DataError

_MAX_BYTES = 2**31  # of one array, 40 times MNIST: a small zip or gzip can claim terabytes
# How files begin, whatever they are called; an .npz is a zip archive, the second an empty one.
_GZIP, _IDX, _ZIP = b"\x1f\x8b", b"\0\0", (b"PK\3\4", b"PK\5\6")
# What others call the four arrays.
_WHAT, _PART = "(?P<what>x|images?|y|labels?|targets?)", "(?P<part>train|training|test|testing)"
_OTHER_NAME = re.compile(f"{_WHAT}[-_ ]?{_PART}", re.IGNORECASE)
_OTHER_ORDER = re.compile(f"{_PART}[-_ ]?{_WHAT}", re.IGNORECASE)
_GIVE = f"--data takes a .npz file, a folder of the four IDX files of MNIST, or the word {SAMPLE}"


@contextmanager
def refusing_broken(path: Path) -> Iterator[None]:
    """Turn any failure in reading `path` into a :class:`DataError` that names it."""
    # An array's header in an .npz is Python, to numpy. Encrypted zip; sizes that no machine holds.
    odd = (SyntaxError, tokenize.TokenError, RuntimeError, MemoryError)
    try:
        yield
    except FileNotFoundError as error:
        raise missing(path) from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, *odd) as error:
        reason = getattr(error, "strerror", None) or error
        way = "get or save it again, or give another"
        raise DataError(f"{path} is damaged or unreadable ({reason})", next_step=way) from error


def missing(path: Path | str) -> DataError:
    """The error for a file or folder that does not exist."""
    is_near = get_close_matches(str(path), [SAMPLE])
    step = f"did you mean --data {SAMPLE}?" if is_near else _GIVE
    return DataError(f"no file or folder {str(path)!r}", next_step=step)


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], tuple[str, tuple[str, ...]]]:
    """Four arrays by npz key, not yet checked; the names of the data set and its classes.

    Raises:
        DataError: the file or folder is missing, or does not hold four complete arrays.
    """
    with refusing_broken(path):
        if path.is_dir() or (idx_key(path) and path.is_file()):
            folder, prefix, files = find_idx(path)
            return {key: _read_idx(files[key]) for key in NPZ_KEYS}, names(folder, prefix)
        path.stat()  # for the error, if there is none
        start = _start(path) if path.is_file() else b""  # a pipe would keep us waiting for ever
        if start.startswith(_ZIP) and (path.suffix == ".npz" or _has_arrays(path)):
            return _read_npz(path), names(path)
        if start:
            refuse_foreign(path, start)
    kind = "neither a .npz file nor a folder"
    if start.startswith((_GZIP, _IDX)):
        kind = "a single IDX or gzip file"
    raise DataError(f"{path} is {kind}", next_step=_GIVE)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _has_arrays(path: Path) -> bool:
    """Whether a zip archive is an .npz, whatever its name."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".npy") for name in archive.namelist())


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as npz:
        for member in npz.zip.infolist():
            if member.file_size > _MAX_BYTES:
                raise ValueError(f"{member.filename} claims {member.file_size:,} bytes")
            if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise ValueError(f"{member.filename} is compressed as numpy never does it")
        if lacks := [key for key in NPZ_KEYS if key not in npz]:
            way = _renaming(lacks, sorted(set(npz.files) - set(NPZ_KEYS)))
            raise DataError(f"{path} has no {', '.join(lacks)}", next_step=way)
        arrays = {}
        for key in NPZ_KEYS:
            try:
                # asarray: numpy hands out a member that is no array as bytes, which have no shape.
                arrays[key] = np.asarray(npz[key])
            except ValueError as error:
                if "Object arrays" not in str(error):
                    raise
                why = "Python objects, which are never loaded because they can run code"
                way = f"save np.array({key[0]}.tolist())"
                raise DataError(f"{path}: {key} holds {why}", next_step=way) from None
        return arrays


def _renaming(lacks: list[str], others: list[str]) -> str:
    """What to do about missing arrays if there are others: rename those with clear names."""
    meant = defaultdict(list)
    for name in others:
        if match := _OTHER_NAME.fullmatch(name) or _OTHER_ORDER.fullmatch(name):
            letter = "x" if match["what"].lower() in {"x", "images", "image"} else "y"
            meant[f"{letter}_{match['part'][:4].lower().replace('trai', 'train')}"].append(name)
    if all(len(meant[key]) == 1 for key in lacks):
        return f"rename its arrays ({', '.join(f'{meant[key][0]} to {key}' for key in lacks)})"
    if others:
        return f"give its arrays those names (it has {', '.join(others)})"
    return "add what is missing"


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """One IDX file: 0, 0, 8 (for bytes), the number of axes, each axis as big-endian uint32."""
    n_axes = 3 if "idx3" in path.name else 1
    with (
        refusing_broken(path),
        (gzip.open if _start(path).startswith(_GZIP) else open)(path, "rb") as file,
    ):
        head = file.read(4 + 4 * n_axes)
        if head[:4] != bytes((0, 0, 8, n_axes)) or len(head) < 4 + 4 * n_axes:
            raise ValueError(f"begins with {head[:4]!r}, not as an IDX file of {n_axes} axes")
        shape = struct.unpack_from(f">{n_axes}I", head, 4)
        size = math.prod(shape)
        if size > _MAX_BYTES:
            raise ValueError(f"claims {size:,} bytes")
        body = file.read(size + 1)  # one more than there should be: sees a tail, stops a bomb
        if len(body) != size:
            had = "more" if len(body) > size else f"{len(body):,}"
            raise ValueError(f"has {had} bytes where its header says {size:,}")
        return np.frombuffer(body, np.uint8).reshape(shape)
