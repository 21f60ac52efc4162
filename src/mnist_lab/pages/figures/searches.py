"""How a search went: the lowest error so far, what matters, what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnist_lab.analysis.history import progress
from mnist_lab.analysis.importance import dimensions_of, importance
from mnist_lab.analysis.outcomes import final_error, seconds_per_epoch
from mnist_lab.pages.figures.drawing import (
    BLUE,
    GREY,
    INK,
    MOST_TICKS,
    Figure,
    axis,
    beside,
    dots,
    error_axis,
    final_errors,
    hover,
    in_percent,
    is_wide,
    spending_axis,
)
from mnist_lab.records import timestamp
from mnist_lab.words import in_words, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mnist_lab.analysis.importance import Importance
    from mnist_lab.pages.sections import Shown
    from mnist_lab.records import Trial


def incumbent(one: Shown) -> Figure:
    """The lowest error so far, over the epochs of all trials together and over time."""
    points = progress(one.trials)
    begin = timestamp(one.info.started)
    seconds = [max(0.0, timestamp(point.trial.ended) - begin) for point in points]
    per, unit = _unit(max(seconds, default=0.0))
    choices = {}
    over_time = {**axis(f"{unit} since the start, pauses included"), "rangemode": "tozero"}
    for name, xaxis, places in (
        ("epochs", spending_axis(points[-1].at), [point.at for point in points]),
        ("time", over_time, [s / per for s in seconds]),
    ):
        known = [
            (round(place, 4), in_percent(error, one), point.trial.trial, point.best_so_far)
            for place, point in zip(places, points, strict=True)
            if (error := final_error(point.trial)) is not None
        ]
        x, y, numbers, lowest = (list(column) for column in zip(*known, strict=True))
        last = round(places[-1], 4)
        traces = [
            {
                "name": "error of a trial",
                "x": x,
                "y": y,
                "customdata": numbers,
                "mode": "markers",
                "marker": {"color": "--series-4", "size": 5},
                "hovertemplate": hover("%{y:.3~r} %"),
            },
            {
                "name": "lowest so far",
                "x": [*x, last],
                "y": [in_percent(error, one) for error in (*lowest, lowest[-1])],
                "mode": "lines",
                "line": {"shape": "hv", "color": "--series-0", "width": 2},
                "hovertemplate": "lowest so far: %{y:.3~r} %<extra></extra>",
            },
        ]
        layout = {"xaxis": xaxis, "yaxis": error_axis()}
        choices[name] = {"traces": traces, "layout": layout}
    about = "A dot for each training that ended, at any budget. The line is the lowest so far."
    return Figure("Lowest error so far", about, choices)


def _unit(seconds: float) -> tuple[float, str]:
    """The unit in which such a time is read, in seconds, and its name."""
    if seconds < 180:  # noqa: PLR2004 - three minutes
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 10_800 else (3600.0, "hours")  # noqa: PLR2004 - 3 hours


def influence(one: Shown) -> Figure | None:
    """How much each hyperparameter matters, given the others, with its 95 % interval.

    None where there are too few trials to tell.
    """
    dimensions = list(dimensions_of(one.info.settings.space or {}))
    rows = importance(dimensions, one.trials)[::-1]  # plotly begins at the bottom
    traces = []
    for matters, name, shade in ((False, "not seen to matter", GREY), (True, "matters", BLUE)):
        own = [row for row in rows if row.matters is matters]
        if own:
            above = [round(100 * (row.interval.high - row.share), 1) for row in own]
            below = [round(100 * (row.share - row.interval.low), 1) for row in own]
            bars = {"type": "data", "symmetric": False, "color": INK}
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": name,
                    "x": [round(100 * row.share, 1) for row in own],
                    "y": [in_words(row.name) for row in own],
                    "marker": {"color": shade},
                    "error_x": bars | {"array": above, "arrayminus": below},
                    "text": [_better(row) for row in own],
                    "textposition": "none",
                    "hovertemplate": "%{y}: %{x} %<br>%{text}<extra></extra>",
                }
            )
    if not traces:
        return None
    xaxis = axis("share of the ranks' variance") | {"ticksuffix": " %", "rangemode": "tozero"}
    layout = {"xaxis": xaxis}
    about = "Each one's own share, given the others, with its 95 % interval."
    return Figure("What matters", about, {"": {"traces": traces, "layout": layout}})


def _better(row: Importance) -> str:
    """Where the errors are low."""
    if not row.matters:
        return "no effect beyond chance"
    if isinstance(row.better, str) and row.better in {"higher", "lower", "in between"}:
        return f"low errors: {row.better}"
    return f"low errors: {value_text(row.name, row.better)}"


def hyperparameters(one: Shown) -> Figure:
    """The error of each trial against each hyperparameter."""
    choices, errors = {}, final_errors(one)
    for name in one.varied:
        at, xaxis = _spread_out(one, name)
        places = {number: (at[number], error) for number, error in errors.items()}
        choices[in_words(name)] = {
            "traces": dots(one, places, "%{y:.3~r} %"),
            "layout": {"xaxis": xaxis, "yaxis": error_axis()},
        }
    about = "A dot for each trial, at the largest budget that it completed."
    return Figure("Error by hyperparameter", about, choices)


def _spread_out(one: Shown, name: str) -> tuple[dict[int, float], dict[str, Any]]:
    """Where each trial stands on the axis of a hyperparameter, by number, and that axis.

    Of a few values each has a column, in which the trials stand by their error, side by side.
    """
    values = {trial.trial: one.value(trial, name) for trial in one.trials}
    distinct = sorted(set(values.values()))
    if len(distinct) > MOST_TICKS:
        return values, axis(in_words(name), log=is_wide(distinct))
    errors = final_errors(one)
    at = {}
    for place, value in enumerate(distinct):
        column = [number for number, own in values.items() if own == value]
        for order, number in enumerate(sorted(column, key=lambda each: errors.get(each, 0.0))):
            at[number] = place + beside(order, len(column))
    return at, {
        **axis(in_words(name)),
        "tickvals": list(range(len(distinct))),
        "ticktext": [value_text(name, value) for value in distinct],
        "range": [-0.5, len(distinct) - 0.5],
        "showgrid": False,
    }


def pair(one: Shown) -> Figure:
    """Learning rate against batch size, the better the darker."""
    names = ("batch_size", "learning_rate")
    places = {
        trial.trial: (one.value(trial, names[0]), one.value(trial, names[1]))
        for trial in one.trials
    }
    x, y = (axis(in_words(name), log=True) for name in names)
    choices = {"": {"traces": dots(one, places), "layout": {"xaxis": x, "yaxis": y}}}
    about = "A dot for each trial; the lower its error, the stronger its colour."
    return Figure("Learning rate against batch size", about, choices)


def cost(one: Shown) -> Figure:
    """The error of each trial against the time it took, and which no other beats in both."""
    costs: dict[str, Callable[[Trial], float | None]] = {
        "a whole training": lambda trial: sum(epoch.duration_s for epoch in trial.epochs) or None,
        "an epoch": seconds_per_epoch,
    }
    choices, errors = {}, final_errors(one)
    for name, seconds_of in costs.items():
        places = {
            trial.trial: (round(seconds, 3), errors[trial.trial])
            for trial in one.trials
            if (seconds := seconds_of(trial)) and trial.trial in errors
        }
        if not places:
            continue
        x, y = zip(*_front(places.values()), strict=True)
        front = {
            "name": "no trial is faster and better",
            "x": list(x),
            "y": list(y),
            "mode": "lines",
            "line": {"shape": "hv", "color": INK, "width": 1.2, "dash": "dot"},
            "hoverinfo": "skip",
        }
        xaxis = axis(f"seconds of {name}", log=is_wide([x for x, _ in places.values()]))
        choices[name] = {
            "traces": [front, *dots(one, places, "%{x:.3~r} s, %{y:.3~r} %")],
            "layout": {"xaxis": xaxis, "yaxis": error_axis()},
        }
    about = "A dot for each trial that completed a budget. The dotted line is the Pareto front."
    return Figure("Error against training time", about, choices)


def _front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front: the points below whose cost none has a lower error, the cheapest first."""
    front: list[tuple[float, float]] = []
    for seconds, error in sorted(points):
        if not front or error < front[-1][1]:
            front.append((seconds, error))
    return front
