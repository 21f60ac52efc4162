"""The Python processes that this program starts: their imports and their environment.

A user's settings for other programs, and files in the current folder, neither change the numbers of
a run nor prevent it from starting.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What Keras, TensorFlow, XLA, oneDNN, cuDNN and NumPy read: kernels, precisions, layouts, limits.
_PERSONAL = (
    *("KERAS_", "TF_", "TF2_", "TENSORFLOW_", "XLA_", "ONEDNN_", "DNNL_", "MKL_", "KMP_", "OMP_"),
    *("CUDNN_", "CUBLAS_", "NVIDIA_TF32_OVERRIDE", "NPY_"),
)
_HARMLESS = "TF_CPP_"  # only TensorFlow's messages depend on these
# Keras reads keras.json in its home, and writes one where there is none; here it can do neither.
_KERAS = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": os.devnull}


def environment() -> dict[str, str]:
    """This process's environment without variables that change numbers, for a child with Keras."""
    personal = {name for name in os.environ if name.startswith(_PERSONAL)}
    kept = [name for name in os.environ if name not in personal or name.startswith(_HARMLESS)]
    return {name: os.environ[name] for name in kept} | _KERAS


@contextmanager
def keras_as_shipped() -> Iterator[None]:
    """While Keras is imported in this process, keep it from reading a user's settings."""
    personal = {name: text for name, text in os.environ.items() if name.startswith("KERAS_")}
    try:
        for name in personal:
            del os.environ[name]
        os.environ.update(_KERAS)
        yield
    finally:
        for name in _KERAS:
            del os.environ[name]
        os.environ.update(personal)


def python(code: str) -> list[str]:
    """The command that runs `code` in another Python, which finds this package.

    It does not import from the current folder, where a `random.py` may lie, unless this package was
    found there; then last.
    """
    here = str(Path(__file__).parents[1])
    return [sys.executable, "-P", "-c", f"import sys; sys.path.append({here!r})\n{code}"]
