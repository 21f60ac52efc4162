"""Numbers made for the tests of figures, a figure of each kind, and what is read in a figure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from mnist_lab import curves, plots
from mnist_lab.config import TrainConfig
from mnist_lab.curves import (
    Incumbents,
    LearningCurve,
    LearningCurves,
    SampledHyperparameter,
    Spread,
    SummaryRow,
    Tally,
)
from mnist_lab.records import Epoch, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

CAPTION = plots.Caption(
    data_name="MNIST", notice="", n="5 repeats", date="2018-11-20", version="1.2.3"
)
COMPLETE = Tally(complete=1)


def curve(
    value: float,
    errors: Sequence[float],
    *,
    sd: float | None = None,
    budget: int | None = None,
    tally: Tally = COMPLETE,
) -> LearningCurve:
    """A learning curve with these validation errors, training errors half as high again."""
    n = 1 if sd is None else 5
    valid = tuple(Spread(n, error, sd, error, error) for error in errors)
    train = tuple(Spread(n, 1.5 * error, sd, error, error) for error in errors)
    epochs = tuple(range(1, len(errors) + 1))
    return LearningCurve(value, epochs, valid, train, budget or len(errors), tally)


def falling(start: float, end: float, n: int = 12) -> list[float]:
    """Errors of `n` epochs, from `start` to `end`."""
    return [start * (end / start) ** (row / (n - 1)) for row in range(n)]


SWEEP = LearningCurves(
    "learning_rate",
    (
        curve(0.1, falling(0.04, 0.012)),
        curve(0.01, falling(0.13, 0.028)),
        curve(0.001, falling(0.6, 0.08)),
        curve(0.0001, falling(0.66, 0.63)),
    ),
)


def row(size: int, errors: tuple[float, ...], seconds: float | None, tally: Tally) -> SummaryRow:
    """A filter size with these final errors."""
    configuration = TrainConfig(filter_size=size)
    return SummaryRow(size, configuration, tally, errors, curves.spread(errors), seconds)


SIZES = [
    row(1, (0.035, 0.037), 0.9, Tally(complete=2)),
    row(3, (0.012, 0.0122), 2.2, Tally(complete=2)),
    row(5, (0.0119,), 3.9, Tally(complete=1, diverged=1)),
    row(7, (), 6.4, Tally(failed=2)),
]


def search(*errors: float | None) -> Incumbents:
    """A search of these final errors; None failed."""
    trials = [
        Trial(
            trial=number,
            id=(number - 1, 0, 0),
            configuration=TrainConfig(learning_rate=0.0372, filter_size=5, epochs=1),
            seed=0,
            repeat=None,
            state="failed" if error is None else "complete",
            diverged=False,
            reason=None,
            started=None,
            ended=None,
            worker=None,
            epochs=()
            if error is None
            else (
                Epoch(
                    epoch=1,
                    train_loss=0.1,
                    train_error=error,
                    valid_loss=0.1,
                    valid_error=error,
                    duration_s=1.0,
                ),
            ),
            test=None,
        )
        for number, error in enumerate(errors, 1)
    ]
    return curves.incumbents(trials)


MATRIX = tuple(
    tuple(90 if predicted == true else int(predicted == (true + 1) % 10) for predicted in range(10))
    for true in range(10)
)
CONFUSION = curves.Confusion(
    matrix=MATRIX,
    class_errors=(1 / 91,) * 10,
    n_images=910,
    errors=(1 / 91,),
    error=Spread(1, 1 / 91, None, 1 / 91, 1 / 91),
    interval=curves.wilson_interval(10, 910),
)
SPACE = [
    SampledHyperparameter("learning_rate", "log", 1e-4, 1e-1, (), [1e-4, 3e-3, 4e-3, 1e-1] * 9),
    SampledHyperparameter("batch_size", "log", 16, 128, (), list(range(16, 129))),
    SampledHyperparameter("num_filters", "linear", 8, 64, (), list(range(8, 65))),
    SampledHyperparameter("filter_size", "choice", None, None, (3, 5), [3, 5, 5, 5]),
]

FIGURES: dict[str, Callable[[], Figure]] = {
    "learning_curves": lambda: plots.learning_curves(SWEEP, CAPTION),
    "filter_cost": lambda: plots.filter_cost(SIZES, CAPTION),
    "incumbent": lambda: plots.incumbent(search(0.5, None, 0.012, 0.1), CAPTION),
    "confusion": lambda: plots.confusion(CONFUSION, CAPTION),
    "search_space": lambda: plots.search_space(SPACE, CAPTION),
}


def texts(figure: Figure) -> list[str]:
    """Every line of text in the figure, as its SVG holds it."""
    root = ET.fromstring(plots.save(figure)["svg"])  # noqa: S314 - our own file
    found = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert found, "the SVG keeps its texts as text"
    return found


def axes_of(figure: Figure) -> list[Any]:
    """The figure's axes, without the unions that matplotlib's own types are made of."""
    return [*figure.axes]


def lines_of(figure: Figure, style: str) -> list[Any]:
    """The lines of this style in the figure's first axes that are drawn in data coordinates."""
    axes = axes_of(figure)[0]
    return [
        line
        for line in axes.lines
        if line.get_linestyle() == style and line.get_transform() == axes.transData
    ]


def ticks(axis: Any) -> list[str]:
    """The labels of the ticks that are seen on an axis."""
    low, high = sorted(axis.get_view_interval())
    places = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [label.get_text() for place, label in places if low <= place <= high]
