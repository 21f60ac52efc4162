"""What every peer is asked, and what it answers: `script DATA WORK.json OUT.json`.

WORK holds `name`, `epochs`, `seed` and `configurations`, each with the four hyperparameters. OUT
holds for each configuration, in the same order, `valid_error` (after the last epoch, a fraction of
the 10,000 validation images) and `seconds` (training and validation), and `seconds` of it all.

What a peer that chooses the configurations itself is asked: `script DATA OUT.jsonl SEED`. It
searches until it is ended, and adds a line to OUT for each training that ended: `time` (seconds
since 1970), the `epochs` that it was trained for, its validation `error`, the `configuration`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    # learning_rate, batch_size, num_filters, filter_size
    Configuration = dict[str, Any]
    # valid_error, seconds
    Answer = dict[str, Any]
    Arrays = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]

# The last 10,000 of the 60,000 training images validate.
N_TRAIN = 50_000
# Of a search: at once, of one thread each; and of a configuration.
N_PROCESSES = 2
MOST_EPOCHS = 6


class Work(NamedTuple):
    """Configurations, each to be trained for `epochs` from `seed`."""

    name: str
    epochs: int
    seed: int
    configurations: list[Configuration]


def run(search: Callable[..., list[Answer]]) -> None:
    """Read the command line, let `search` answer (data, work, further words), write OUT."""
    start = time.perf_counter()
    data, work, out, *words = sys.argv[1:]
    answers = search(data, Work(**json.loads(Path(work).read_text(encoding="utf-8"))), *words)
    answer = {"configurations": answers, "seconds": time.perf_counter() - start}
    Path(out).write_text(json.dumps(answer), encoding="utf-8")


def run_search(search: Callable[[str, str, int], None]) -> None:
    """Read the command line of a peer that searches, and let `search` (data, out, seed) go on."""
    data, out, seed = sys.argv[1:]
    search(data, out, int(seed))


def note(out: str, epochs: int, error: float, configuration: Configuration) -> None:
    """Add a training that has ended, at once, as other processes add theirs to the same file."""
    line = {"time": time.time(), "epochs": epochs, "error": error, "configuration": configuration}
    with Path(out).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def load(path: str) -> Arrays:
    """MNIST's training images and labels, then those that validate.

    Images are `(n, 28, 28, 1)`, float32 in [0, 1]; labels are `(n,)`, 0 to 9.
    """
    with np.load(path) as data:
        images = data["x_train"].astype("float32")[..., np.newaxis] / 255
        labels = data["y_train"]
    return images[:N_TRAIN], labels[:N_TRAIN], images[N_TRAIN:], labels[N_TRAIN:]
