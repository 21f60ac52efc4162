"""Files of data sets that we do not read: what they are, and how one makes an .npz of them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mnist_lab.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

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
_SAVE = "np.savez('mnist.npz', x_train=..., y_train=..., x_test=..., y_test=...)"
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
_ZIP, _GZIP = b"PK\3\4", b"\x1f\x8b"


def is_foreign(path: Path) -> bool:
    """Whether a file is called as one of those that :func:`refuse_foreign` refuses."""
    return _kind(path) in {*_PICKLES, *_READERS, *_ARCHIVES}


def refuse_foreign(path: Path, start: bytes) -> None:
    """Refuse a file of a known kind with the way from it to a data set; `start` is its begin.

    Raises:
        DataError: it is of such a kind.
    """
    kind, here = _kind(path), shlex.quote(str(path))
    if kind in _PICKLES or (start[:1] == b"\x80" and start[1:2] in {b"\2", b"\3", b"\4", b"\5"}):
        code = _FROM_PICKLE.format(open="gzip.open" if start.startswith(_GZIP) else "open")
        rule = "a pickle is never loaded here, as that runs the code in it"
        next_step = (
            "if you trust it, and it holds three pairs of images and labels as the mnist.pkl.gz of "
            f'courses, this makes mnist.npz of it: python -c "{code}" {here}'
        )
    elif kind in _READERS:
        rule = f"a data set is a .npz file or a folder of IDX files, not a {kind} file"
        next_step = (
            f"read it in Python ({_READERS[kind]}) and save {_SAVE}, images as (n, 28, 28) uint8 "
            "from 0 to 255, labels as (n,) integers from 0 to 9"
        )
    elif kind in _ARCHIVES or start.startswith(_ZIP):
        rule = "an archive of data files is unpacked first"
        folder = shlex.quote(path.name.partition(".")[0])
        tool = _ARCHIVES.get(kind, "zipfile")
        next_step = f"python -m {tool} -e {here} {folder}, then give --data {folder}"
    else:
        return
    raise DataError(rule, received=path, next_step=next_step)


def _kind(path: Path) -> str:
    return "." + path.name.lower().removesuffix(".gz").rpartition(".")[2]
