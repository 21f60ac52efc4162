"""Every trial of Hyperband through the rungs of its bracket, hundreds of them if need be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnist_lab.analysis.history import bracket_panels
from mnist_lab.analysis.outcomes import grouped
from mnist_lab.pages.figures.drawing import (
    BEST,
    GREY,
    Figure,
    beside,
    error_axis,
    hover,
    in_percent,
)
from mnist_lab.words import epochs_text

if TYPE_CHECKING:
    from mnist_lab.analysis.history import BracketPanel, Step
    from mnist_lab.pages.sections import Shown

# What became of a rung, as `plots.search` draws it; the order is that of the legend.
_LOOKS: dict[str, dict[str, Any]] = {
    "beaten": {"color": "--beaten", "size": 5},
    "undecided": {"color": GREY, "size": 5, "symbol": "circle-open"},
    "promoted": {"color": "--series-0", "size": 5},
    "winner": {"color": "--winner", "size": 8, "symbol": "diamond"},
    "best": {"color": BEST, "size": 14, "symbol": "star"},
}
_NAMES = {"winner": "best of its bracket", "best": "best of all"}


def brackets(one: Shown) -> Figure:
    """Every trial at each rung of its bracket, by its rank there, and lines for the promoted."""
    placed: list[tuple[float, Step]] = []
    ticks: list[tuple[float, str]] = []
    notes = []
    for panel in bracket_panels(one.trials, one.info.settings.brackets):
        left, budgets = len(ticks), panel.bracket.epochs
        ticks += [(left + rung, epochs_text(budget)) for rung, budget in enumerate(budgets)]
        notes.append(_note(panel, left + (len(budgets) - 1) / 2))
        steps = [step for _, own in panel.climbs for step in own if step.error is not None]
        for budget, column in grouped(steps, lambda step: step.budget).items():
            column.sort(key=lambda step: (step.error, step.trial))
            middle = left + budgets.index(budget)
            placed += [
                (middle + beside(order, len(column)), step) for order, step in enumerate(column)
            ]
    traces = [_promotions(one, placed)]
    for look, marker in _LOOKS.items():
        own = [(x, step) for x, step in placed if step.look == look]
        if own:
            traces.append(
                {
                    "name": _NAMES.get(look, look),
                    "x": [x for x, _ in own],
                    "y": [in_percent(step.error, one) for _, step in own],
                    "customdata": [step.trial for _, step in own],
                    "mode": "markers",
                    "marker": marker,
                    "hovertemplate": hover("%{y:.3~r} % at this rung"),
                }
            )
    xaxis = {
        "tickvals": [place for place, _ in ticks],
        "ticktext": [text for _, text in ticks],
        "range": [-0.6, len(ticks) - 0.4],
        "showgrid": False,
    }
    layout = {
        "xaxis": xaxis,
        "yaxis": error_axis(),
        "annotations": notes,
        "margin": {"t": 40},
        "legend": {"y": -0.12, "yanchor": "top"},
    }
    about = (
        "Each rung's trials from the lowest error to the highest; a line leads to where a promoted "
        "one stands at its next rung. Above: how many configurations train at each rung."
    )
    return Figure("Brackets", about, {"": {"traces": traces, "layout": layout}})


def _promotions(one: Shown, placed: list[tuple[float, Step]]) -> dict[str, Any]:
    """A line for each trial from rung to rung, as one trace."""
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int] = []
    for trial, own in grouped(placed, lambda each: each[1].trial).items():
        x += [*(place for place, _ in own), None]
        y += [*(in_percent(step.error, one) for _, step in own), None]
        numbers += [trial] * (len(own) + 1)
    return {
        "name": "promotion",
        "x": x,
        "y": y,
        "customdata": numbers,
        "mode": "lines",
        "line": {"color": "--series-4", "width": 0.8},
        "hoverinfo": "skip",
    }


def _note(panel: BracketPanel, x: float) -> dict[str, Any]:
    """Its numbers, how many brackets have them, and how many of those have ended."""
    text = " → ".join(map(str, panel.bracket.n_configs))
    if panel.n_planned > 1:
        text = f"{panel.n_planned} × {text}"
    if panel.n_over < panel.n_planned:
        text += f"\n{panel.n_over} of {panel.n_planned} ended"
    place = {"x": x, "y": 1.0, "yref": "paper", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, **place}
