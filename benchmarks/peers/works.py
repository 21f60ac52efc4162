"""What every peer trains: the configurations of each work, and for how many epochs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.catalogue import EXPERIMENTS
from mnist_lab.config import TrainConfig
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from contract import Configuration

HYPERPARAMETERS = ("learning_rate", "batch_size", "num_filters", "filter_size")


class Listed(NamedTuple):
    """The configurations of a work, each to be trained for `epochs`."""

    title: str
    epochs: int
    configurations: list[Configuration]


def _varied(**update: Any) -> Configuration:
    return TrainConfig(**update).model_dump(include=set(HYPERPARAMETERS))


def _searched(*values: tuple[float, int, int, int]) -> list[Configuration]:
    return [dict(zip(HYPERPARAMETERS, one, strict=True)) for one in values]


SEARCH = RunDir(Path(__file__).parents[2] / "results" / "reference" / "random-search")
SEARCHED = [
    trial.configuration.model_dump(include=set(HYPERPARAMETERS)) for trial in SEARCH.read_trials()
]
PART = 5
# A whole search takes the script hours, for which a machine may not be quiet at a stretch.
PARTS = {
    f"search-{first + 1}": Listed(
        f"random search of 50 × 6 epochs, {first + 1} to {first + PART}",
        6,
        SEARCHED[first : first + PART],
    )
    for first in range(0, len(SEARCHED), PART)
}
LEARNING_RATES, FILTER_SIZES = (
    EXPERIMENTS[name].defaults["values"] for name in ("lr-sweep", "filter-sweep")
)
# Others are measured only if they are named.
DEFAULT = ("lr-sweep", "eight", "filter-sweep")
WORKS = {
    "lr-sweep": Listed(
        "4 learning rates × 12 epochs",
        12,
        [_varied(learning_rate=rate) for rate in LEARNING_RATES],
    ),
    "eight": Listed(
        "8 of the search space × 3 epochs",
        3,
        _searched(
            (0.05, 16, 8, 3),
            (0.05, 24, 12, 5),
            (0.1, 48, 24, 3),
            (0.1, 95, 22, 5),
            (0.05, 64, 48, 5),
            (0.1, 128, 64, 3),
            (0.0695, 16, 58, 3),  # the best of a random search of 50
            (0.05, 32, 32, 5),
        ),
    ),
    "filter-sweep": Listed(
        "4 filter sizes × 12 epochs",
        12,
        [_varied(filter_size=size) for size in FILTER_SIZES],
    ),
    # To see that everything works.
    "smoke": Listed("smoke test", 1, _searched((0.1, 128, 8, 3), (0.1, 128, 8, 5))),
    "random-search": Listed("random search of 50 × 6 epochs", 6, SEARCHED),
    **PARTS,
}
