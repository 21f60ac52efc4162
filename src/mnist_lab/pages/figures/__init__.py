"""The figures of a run, and of several compared, as plain data that the pages' script draws.

Each is in plotly's own words, traces and layout, with three differences. A colour that begins with
two dashes is a variable of the pages' style, so that the dark has its own. Texts are plain text: no
HTML in them is read. And errors are in percent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnist_lab.analysis.history import progress
from mnist_lab.analysis.outcomes import completed_error
from mnist_lab.pages.figures.brackets import brackets
from mnist_lab.pages.figures.curves import curves, race
from mnist_lab.pages.figures.drawing import (
    Figure,
    color,
    error_axis,
    in_percent,
    label_of,
    marker,
    spending_axis,
)
from mnist_lab.pages.figures.parallel import parallel
from mnist_lab.pages.figures.searches import cost, hyperparameters, incumbent, influence, pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.pages.sections import Shown


def of_run(one: Shown) -> dict[str, Any]:
    """The figures of one run, as JSON has them.

    Returns:
        `figures`: by name, each as :class:`Figure`; `labels`: what is said of a trial, by number.
    """
    return {
        "labels": {trial.trial: label_of(one, trial) for trial in one.trials},
        "figures": {name: figure._asdict() for name, figure in _figures(one)},
    }


def of_comparison(runs: Sequence[Shown]) -> dict[str, Any]:
    """The lowest error so far of each run that validates, if several do, as :func:`of_run`."""
    traces: list[dict[str, Any]] = []
    for index, one in enumerate(runs):
        points = [each for each in progress(one.trials) if each.best_so_far is not None]
        if points:
            traces.append(
                {
                    "name": one.label,
                    "x": [each.at for each in points],
                    "y": [in_percent(each.best_so_far, one) for each in points],
                    "mode": "lines+markers",
                    "line": {"shape": "hv", "color": color(index), "width": 2},
                    "marker": {"size": 5, "symbol": marker(index)},
                    "hovertemplate": "after %{x} epochs: %{y:.3~r} %",
                }
            )
    figures = {}
    if len(traces) > 1:
        last = max(at for trace in traces for at in trace["x"])
        layout = {"xaxis": spending_axis(last), "yaxis": error_axis()}
        figures["spending"] = Figure(
            "Error found for the epochs spent",
            "The lowest validation error so far of each run, at any budget.",
            {"": {"traces": traces, "layout": layout}},
        )._asdict()
    return {"labels": {}, "figures": figures}


def _figures(one: Shown) -> Iterator[tuple[str, Figure]]:
    """The figures that these trials make, in the order of the page."""
    settings, is_search = one.info.settings, one.info.settings.space is not None
    has_epochs = any(trial.epochs for trial in one.trials)
    n_completed = sum(completed_error(trial) is not None for trial in one.trials)
    if settings.configurations and has_epochs:
        yield "race", race(one)
    if is_search and n_completed:
        yield "incumbent", incumbent(one)
    if has_epochs:
        yield "curves", curves(one)
    if settings.brackets and has_epochs:
        yield "brackets", brackets(one)
    if one.varied and has_epochs:
        yield "parallel", parallel(one)
    if is_search and (figure := influence(one)):
        yield "influence", figure
    if is_search and one.varied and n_completed:
        yield "hyperparameters", hyperparameters(one)
    if is_search and {"learning_rate", "batch_size"} <= set(one.varied):
        yield "pair", pair(one)
    if n_completed > 1:
        yield "cost", cost(one)
