"""Peer: `model.fit` under joblib, one single-threaded trial per core.

Choices: joblib's default backend, which starts a process per core and shares the arrays as a memory
map; TensorFlow is imported in those processes alone, and kept to one thread each.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

import contract
from joblib import Parallel, delayed

if TYPE_CHECKING:
    from contract import Answer, Arrays, Configuration, Work


def train(configuration: Configuration, epochs: int, seed: int, arrays: Arrays) -> Answer:
    """Train one configuration; TensorFlow is loaded here."""
    import keras_fit

    return keras_fit.train(configuration, epochs, seed, arrays)


def search(data: str, work: Work) -> list[Answer]:
    """Train all of them, as many at a time as there are cores."""
    arrays = contract.load(data)
    answers: list[Answer] = Parallel(n_jobs=-1)(
        delayed(train)(configuration, work.epochs, work.seed, arrays)
        for configuration in work.configurations
    )
    return answers


if __name__ == "__main__":
    contract.run(search)
