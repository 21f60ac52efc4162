"""What every peer trains: the configurations of each work, and for how many epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.catalogue import EXPERIMENTS
from mnist_lab.config import TrainConfig

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


LEARNING_RATES, FILTER_SIZES = (
    EXPERIMENTS[name].defaults["values"] for name in ("lr-sweep", "filter-sweep")
)
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
    # To see that everything works; only if it is named.
    "smoke": Listed("smoke test", 1, _searched((0.1, 128, 8, 3), (0.1, 128, 8, 5))),
}
