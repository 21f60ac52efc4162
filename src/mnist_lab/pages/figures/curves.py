"""Learning curves, of every trial or of each value; and how a race went."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mnist_lab.analysis.outcomes import race_rows, summary
from mnist_lab.config import VARIED
from mnist_lab.pages.figures.drawing import (
    AT_EPOCH,
    GREY,
    Figure,
    Group,
    axis,
    color,
    epoch_axis,
    error_axis,
    groups,
    in_percent,
    lines,
    marker,
)
from mnist_lab.racing import race_of
from mnist_lab.words import counted, in_words

if TYPE_CHECKING:
    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.pages.sections import Shown
    from mnist_lab.racing import Contender, Race
    from mnist_lab.records import Trial


def curves(one: Shown) -> Figure:
    """The errors after each epoch: of each trial of a search, else of each value."""
    figure = _of_trials(one) if one.info.settings.space is not None else _of_values(one)
    xaxis = epoch_axis(epoch.epoch for trial in one.trials for epoch in trial.epochs)
    figure.choices[""]["layout"] |= {"xaxis": xaxis}
    return figure


def _of_trials(one: Shown) -> Figure:
    """A line for each trial, the better the darker."""
    traces = [lines(group, lambda trial: _points(one, trial), AT_EPOCH) for group in groups(one)]
    about = (
        "A line for each trial; the lower its final error, the stronger its colour. Click a line "
        "to choose its trial."
    )
    layout = {"yaxis": error_axis()}
    return Figure("Learning curves", about, {"": {"traces": traces, "layout": layout}})


def _of_values(one: Shown) -> Figure:
    """The mean error of each value after each epoch, and its trials as thin lines."""
    settings = one.info.settings
    varied = VARIED.get(settings.experiment)
    rows = summary(one.trials, varied)
    if settings.configurations:
        rows = race_rows(settings, one.trials)
    traces = [
        trace
        for index, row in enumerate(rows)
        for trace in _of_value(one, row, index, is_alone=len(rows) == 1)
    ]
    about = (
        "Solid: the error on the validation images after each epoch. Dashed: on the training "
        "images during it."
    )
    if not _validates(one):
        about = "The error on the training images during each epoch. No image validates."
    if any(len(row.trials) > 1 for row in rows):
        about += " Each is a mean over the repeats, which are the thin lines."
    layout: dict[str, Any] = {"yaxis": error_axis("error")}
    if varied and len(rows) > 1:
        layout["legend"] = {"title": {"text": in_words(varied)}}
    return Figure("Learning curves", about, {"": {"traces": traces, "layout": layout}})


def _of_value(one: Shown, row: SummaryRow, index: int, *, is_alone: bool) -> list[dict[str, Any]]:
    """The traces of one value: its trials, the mean training error, the mean validation error."""
    traces = []
    if len(row.trials) > 1:
        thin = Group("", color(index), list(row.trials))
        trace = lines(thin, lambda trial: _points(one, trial), AT_EPOCH)
        traces.append(trace | {"opacity": 0.45})
    means = {"training": row.curve("train_error"), "validation": row.curve("valid_error")}
    for kind, mean in means.items():
        if not any(mean):
            continue
        is_main = kind == "validation" or not _validates(one)
        traces.append(
            {
                "name": kind if is_alone else row.name,
                "showlegend": is_main or is_alone,
                "x": row.positions,
                "y": [in_percent(point.mean, one) if point else None for point in mean],
                "mode": "lines+markers" if is_main else "lines",
                "line": {
                    "color": color(index),
                    "width": 2 if is_main else 1,
                    "dash": "solid" if is_main else "dash",
                },
                "marker": {"color": color(index), "size": 5, "symbol": marker(index)},
                "hovertemplate": f"{kind}, {AT_EPOCH}",
            }
        )
    return traces


def _validates(one: Shown) -> bool:
    return any(epoch.valid_error is not None for trial in one.trials for epoch in trial.epochs)


def _points(one: Shown, trial: Trial) -> list[tuple[float, float | None]]:
    """The validation error after each epoch; where no image validates, the training error."""
    validates = _validates(one)
    errors = (epoch.valid_error if validates else epoch.train_error for epoch in trial.epochs)
    return [
        (epoch.epoch, in_percent(error, one))
        for epoch, error in zip(trial.epochs, errors, strict=True)
    ]


def race(one: Shown) -> Figure:
    """Mean differences to the leader on equal seeds, in points; who was dropped is grey."""
    found = race_of(one.info.settings, one.trials)
    traces = []
    for each in found.contenders:
        gaps = _gaps(found, each)
        if not gaps:
            continue
        name = str(each.place + 1)
        name += " (leads)" * (each is found.leader)
        name += f" (dropped after repeat {each.dropped})" if each.dropped else ""
        shade, half = GREY if each.dropped else color(each.place), gaps[-1][-1]
        traces.append(
            {
                "name": name,
                "x": [n for n, *_ in gaps],
                "y": [round(100 * mean, 4) for _, mean, _ in gaps],
                "mode": "lines+markers",
                "line": {"color": shade, "width": 3 if each is found.leader else 1.6},
                "marker": {"size": 5, "symbol": marker(each.place)},
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [0.0] * len(gaps),
                    # Down to the lower end, by which a race is decided.
                    "arrayminus": [0.0] * (len(gaps) - 1)
                    + [round(100 * half, 4) if math.isfinite(half) else 0.0],
                    "color": shade,
                },
                "hovertemplate": "%{y:+.2f} points",
            }
        )
    layout = {
        "xaxis": {**axis("repeats"), "dtick": math.ceil(max(found.n_rounds, 1) / 12), "tick0": 1},
        "yaxis": axis("points above the leader"),
    }
    about = (
        f"Mean difference to the leader on equal seeds after {counted(found.n_rounds, 'repeat')}; "
        "above 0 is worse. A bar ends at the lower end of the interval. Those in grey were "
        "dropped: they are worse beyond doubt than the leader or another."
    )
    return Figure("The race", about, {"": {"traces": traces, "layout": layout}})


def _gaps(found: Race, each: Contender) -> list[tuple[int, float, float]]:
    """After each round, by how much it is worse than the leader, and half the interval's width."""
    rounds = range(1, len(each.errors) + 1)
    if found.leader is None or each is found.leader:
        return [(n, 0.0, 0.0) for n in rounds]
    gaps = ((n, found.gap(each, found.leader, n)) for n in rounds)
    return [(n, gap.mean, gap.half) for n, gap in gaps if gap is not None]
