"""A search in parallel coordinates: a line through each trial's hyperparameters and its error.

They are ordinary lines over places between 0 and 1: plotly's own kind of them wants WebGL, which
not every browser has, and compiles code, which a content policy forbids.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.outcomes import completed_error
from mnist_lab.config import place_between
from mnist_lab.pages.figures.drawing import (
    GREY,
    MOST_TICKS,
    Figure,
    groups,
    is_wide,
    lines,
)
from mnist_lab.words import budget_text, in_words, percent, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnist_lab.pages.sections import Shown
    from mnist_lab.records import Trial

# Where a trial without a number stands: above the axis, so that it can be chosen, too.
_NOWHERE = 1.12


class _Axis(NamedTuple):
    name: str
    values: Sequence[float | None]
    words: Callable[[float], str]


def parallel(one: Shown) -> Figure:
    """A line for each trial through what varies, what it cost and what came of it."""
    axes = [(axis.name, *_placed(axis)) for axis in _axes(one)]
    index_of = {trial.trial: index for index, trial in enumerate(one.trials)}

    def points(trial: Trial) -> list[tuple[float, float | None]]:
        index = index_of[trial.trial]
        return [(at, places[index]) for at, (_, places, _) in enumerate(axes)]

    traces = [lines(group, points) for group in groups(one)]
    ticks = [
        {
            "x": at,
            "y": place,
            "text": text,
            "showarrow": False,
            "xanchor": "left",
            "xshift": 5,
            "bgcolor": "--page",
            "opacity": 0.85,
        }
        for at, (_, _, marks) in enumerate(axes)
        for place, text in marks
    ]
    layout = {
        "annotations": ticks,
        "xaxis": {
            "range": [-0.25, len(axes) - 0.45],
            "tickvals": list(range(len(axes))),
            "ticktext": [name.replace(" ", "\n") for name, *_ in axes],
            "tickangle": 0,
            "side": "top",
            "fixedrange": True,
            "gridcolor": GREY,
        },
        "yaxis": {"range": [-0.06, 1.18], "visible": False, "fixedrange": True},
        "legend": {"y": -0.02, "yanchor": "top"},
    }
    about = (
        "A line for each trial. Drag a box over a part of an axis, or of several, to choose trials "
        "in every figure and in the table; hold Shift to add a box."
    )
    choices = {"": {"traces": traces, "layout": layout}}
    return Figure("Trials side by side", about, choices)


def _axes(one: Shown) -> list[_Axis]:
    """What varies, what it cost, what came of it."""
    axes = [
        _Axis(
            in_words(name),
            [one.value(trial, name) for trial in one.trials],
            partial(value_text, name),
        )
        for name in one.varied
    ]
    epochs = [float(trial.n_epochs) for trial in one.trials]
    if len(set(epochs)) > 1:
        axes.append(_Axis("epochs", epochs, budget_text))
    seconds = [sum(e.duration_s for e in trial.epochs) or None for trial in one.trials]
    axes.append(_Axis("seconds", seconds, "{:.3g}".format))
    errors = [completed_error(trial) for trial in one.trials]
    axes.append(_Axis("validation error", errors, percent))
    return axes


def _placed(axis: _Axis) -> tuple[list[float], list[tuple[float, str]]]:
    """The place of each value between 0 and 1, and the ticks: pairs of place and text."""
    known = [value for value in axis.values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    log = is_wide(known)

    def place(value: float) -> float:
        return 0.5 if low == high else place_between(low, high, value, log=log)

    places = [_NOWHERE if value is None else round(place(value), 4) for value in axis.values]
    distinct = sorted(set(known))
    chosen = distinct if len(distinct) <= MOST_TICKS else _ticks(low, high, log=log)
    ticks = [(round(place(value), 4), axis.words(value)) for value in chosen]
    return places, ticks + ([(_NOWHERE, "none")] if len(known) < len(places) else [])


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    """At most six round numbers from `low` to `high`."""
    first, last = math.floor(math.log10(low or high)), math.ceil(math.log10(high))
    choices: list[list[float]]
    if log:
        choices = [
            [digit * 10.0**power for power in range(first, last + 1, step) for digit in digits]
            for digits, step in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 4))
        ]
    else:
        steps = [digit * 10.0**power for power in range(last - 3, last + 1) for digit in (1, 2, 5)]
        choices = [
            [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
            for step in steps
        ]
    for ticks in choices:
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= MOST_TICKS:
            return inside
    return [low, high]
