"""The trials of a search: their learning curves, and the error against each hyperparameter."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patheffects import withStroke

from mnist_lab.analysis.importance import N_GOOD
from mnist_lab.plots import labels, page
from mnist_lab.plots.page import (
    BLUE,
    BOTTOM,
    GREY,
    INK,
    LABEL_POINTS,
    LEFT,
    LOST,
    NAVY,
    ORANGE,
    PALE,
    RING,
    styled,
)
from mnist_lab.words import budget_text, counted, epochs_text, in_words, percent, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnist_lab.analysis.history import RankedTrial
    from mnist_lab.analysis.importance import Common
    from mnist_lab.analysis.outcomes import Tally
    from mnist_lab.config import Hyperparameter
    from mnist_lab.plots.page import Caption

# From the best to the worst, dark to light: the same order in grey.
_SHADES = LinearSegmentedColormap.from_list("ranks", (NAVY, BLUE, PALE, "#D3E6F2"))

# Inches, if not said otherwise.
_PITCH = 2.25
_LEGEND_RIGHT = 7.84
_MANY = 60  # trials whose lines are drawn thinner
# How far the dots of a choice may stand from it, in distances between choices.
_SPREAD = 0.28


def line_style(one: RankedTrial, n_ranked: int) -> dict[str, Any]:
    """The style of a trial's line in matplotlib's terms; the best stands out in grey, too."""
    if one.rank is None:
        return {"color": GREY, "linestyle": ":", "linewidth": 1.0}
    if one.rank == 1:
        halo = withStroke(linewidth=3.6, foreground="white")
        return {"color": ORANGE, "linewidth": 2.4, "path_effects": [halo]}
    width = 1.0 if n_ranked <= _MANY else 0.7
    return {"color": _SHADES((one.rank - 1) / (n_ranked - 1)), "linewidth": width}


def shades_in_words(trials: Sequence[RankedTrial]) -> str:
    """What the shades of the trials mean."""
    budgets = {one.budget for one in trials if one.rank is not None}
    longer = " (longer trained before shorter)" if len(budgets) > 1 else ""
    return f"darker is better{longer}; orange: the best"


def rank_scale(figure: Figure, n_ranked: int, *, left: float, bottom: float) -> None:
    """The scale of the shades, at these inches; none for a single rank."""
    if n_ranked > 1:
        axes = page.add_axes(figure, left, bottom, 1.3, 0.09)
        axes.pcolormesh([[*range(n_ranked)]], cmap=_SHADES)
        axes.set_axis_off()
        style: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "size": LABEL_POINTS}
        axes.text(-0.05, 0.5, "rank 1", ha="right", **style)
        axes.text(1.05, 0.5, f"{n_ranked}", ha="left", **style)


@styled()
def ranked_curves(trials: Sequence[RankedTrial], tally: Tally, caption: Caption) -> Figure:
    """The validation error of every trial after each epoch; darker is better."""
    key = labels.key_of(f"A line for each trial: {shades_in_words(trials)}", tally)
    ranked = [one for one in trials if one.rank is not None]
    title = "Learning curves of all trials"
    if ranked:
        title = f"Best of {counted(len(trials), 'trial')}: {percent(ranked[0].error or 0.0)}"
        after = epochs_text(ranked[0].budget)
        middle = percent(median(one.error or 0.0 for one in ranked))
        mixed = len({one.budget for one in ranked}) > 1
        title += f" after {after}" if mixed else f"; median: {middle}"
    figure = page.new_page(title, key, caption, height=4.8)
    axes = page.add_axes(figure, LEFT, BOTTOM, 5.1, 3.6)
    errors = [error for one in trials for _, error in one.curve]
    page.percent_axis(axes, errors)
    reached = {epoch for one in trials for epoch, _ in one.curve}
    if min(reached, default=1) < 1:
        page.budget_axis(axes, reached)
    else:
        page.integer_axis(axes, max(reached, default=0))
    axes.set(xlabel="epoch", ylabel="validation error")
    n_ranked = len(ranked)
    for one in reversed(trials):
        at = [(epoch, page.on_axis(axes, error)) for epoch, error in one.curve]
        if at:
            lone = "_" if len(at) == 1 else ""  # a line of one point is invisible
            axes.plot(*zip(*at, strict=True), marker=lone, **line_style(one, n_ranked))
        if at and one.rank is None:
            axes.plot(*at[-1], linestyle="", markersize=5, **LOST[one.outcome])
    if not errors:
        page.say(axes, "no trial has finished an epoch" if trials else "no trial yet")
    ends = [_end(ranked[0], "best", ORANGE, "o")] if ranked else []
    if n_ranked > 1 and ranked[-1].budget == ranked[0].budget:
        ends.append(_end(ranked[-1], "worst", _SHADES(1.0), ""))
    labels.label_ends(axes, ends)
    drawn = [one.outcome for one in trials if one.error is None and one.curve]
    looks: dict[str, Any] = {n: style for n, style in LOST.items() if n in drawn}
    labels.mark_legend(figure, looks, right=_LEGEND_RIGHT, bottom=BOTTOM + 3.65)
    rank_scale(figure, n_ranked, left=LEFT + 0.55, bottom=BOTTOM + 3.76)
    return figure


def _end(one: RankedTrial, name: str, color: Any, marker: str) -> labels.End:
    """The label at the end of a trial's line."""
    epoch, error = one.curve[-1]
    text = f"{name}: {percent(one.error or 0.0)}"
    label = labels.wrapped(text, f"trial {one.number}, epoch {budget_text(one.budget)}")
    return labels.End(label, color, marker, epoch, error)


@styled()
def hyperparameters(
    dimensions: Sequence[Hyperparameter],
    trials: Sequence[RankedTrial],
    tally: Tally,
    caption: Caption,
    shared: Common | None = None,
) -> Figure:
    """The error of every trial, sorted by rank, against each hyperparameter active in it.

    `shared` is what the good trials have in common, if anything.
    """
    title = "Error by hyperparameter"
    if shared:
        low, high = (page.plain(float(f"{value:.2g}")) for value in (shared.low, shared.high))
        how = "by rank" if shared.budget is None else f"after {epochs_text(shared.budget)}"
        title = f"The best {N_GOOD} of {shared.n} {how}: {in_words(shared.name)} {low} to {high}"
    budgets = sorted({one.budget for one in trials if one.error is not None})
    what = "A dot for each trial, at the largest budget it completed"
    if len(budgets) <= 1 and any(one.scale == "choice" for one in dimensions):
        what += "; black: median of a choice"
    styles = {
        epochs_text(budget): {
            "marker": labels.look(index)[1],
            "color": _SHADES(0.8 * (1 - (index + 0.5) / len(budgets))),
            "markersize": 4,
        }
        for index, budget in enumerate(budgets)
    }
    if budgets:
        styles["best"] = RING
    lost = [name for name in LOST if any(o.outcome == name and o.error is None for o in trials)]
    n_legend_rows = math.ceil((len(styles) + len(lost)) / labels.LEGEND_COLUMNS)
    n_rows = math.ceil(len(dimensions) / 2) or 1
    height = _PITCH * n_rows + 0.3 + 0.2 * n_legend_rows
    figure = page.new_page(title, labels.key_of(what, tally), caption, height=height)
    errors = [one.error for one in trials if one.error is not None]
    for index, dimension in enumerate(dimensions):
        row, column = divmod(index, 2)
        bottom = BOTTOM + _PITCH * (n_rows - 1 - row)
        axes = page.add_axes(figure, LEFT + 3.6 * column, bottom, 3.3, 1.6)
        page.percent_axis(axes, errors, below=0.06, above=0.16 if lost else 0.0)
        axes.set_ylabel("" if column else "validation error")
        axes.tick_params(labelleft=not column)
        _draw_dimension(axes, dimension, trials, budgets, list(styles.values()))
    looks = {name: LOST[name] for name in lost} | styles
    bottom = BOTTOM + _PITCH * (n_rows - 1) + 1.72
    labels.mark_legend(figure, looks, right=_LEGEND_RIGHT, bottom=bottom)
    return figure


def _draw_dimension(
    axes: Axes,
    dimension: Hyperparameter,
    trials: Sequence[RankedTrial],
    budgets: Sequence[float],
    styles: Sequence[dict[str, Any]],
) -> None:
    """The trials in which a hyperparameter is active, against its values."""
    name = dimension.name
    active = [one for one in trials if name in one.values]
    n_inactive = len(trials) - len(active)
    note = f" (inactive in {n_inactive} of {len(trials)} trials)" if n_inactive else ""
    axes.set_xlabel(f"{in_words(name)}{note}")
    places = _places(axes, dimension, active)
    for budget, style in zip(budgets, styles, strict=False):
        at = [
            (place, page.on_axis(axes, one.error))
            for place, one in zip(places, active, strict=True)
            if one.error is not None and one.budget == budget
        ]
        if at:
            axes.plot(*zip(*at, strict=True), linestyle="", **style)
    # A line at the median error of each choice that several trials have.
    for middle, choice in enumerate(dimension.choices if len(budgets) == 1 else ()):
        same = [one.error for one in active if one.values[name] == choice]
        known = [error for error in same if error is not None]
        if len(known) > 1:
            axes.hlines(median(known), middle - 0.35, middle + 0.35, INK, linewidth=1.2)
    for row, (outcome, style) in enumerate(LOST.items()):
        lost = zip(places, active, strict=True)
        at_edge = [place for place, o in lost if o.outcome == outcome and o.error is None]
        edge: dict[str, Any] = {"markersize": 5, "transform": axes.get_xaxis_transform()}
        axes.plot(at_edge, [0.96 - 0.06 * row] * len(at_edge), linestyle="", **edge | style)
    for place, one in zip(places, active, strict=True):
        if one.rank == 1:
            axes.plot(place, page.on_axis(axes, one.error or 0.0), linestyle="", **RING)
    if not active:
        page.say(axes, "active in no trial" if trials else "no trial yet")


def _places(axes: Axes, dimension: Hyperparameter, active: Sequence[RankedTrial]) -> list[float]:
    """Where each trial stands on the x axis, which is made for the values of the hyperparameter."""
    values = [one.values[dimension.name] for one in active]
    if not dimension.choices:
        lower, upper = dimension.lower or 0.0, dimension.upper or 0.0
        if dimension.scale == "log":
            page.log_axis(axes, lower, upper)
            margin = (upper / lower) ** 0.03
            axes.set_xlim(lower / margin, upper * margin)
        else:
            margin = 0.03 * (upper - lower)
            axes.set_xlim(lower - margin, upper + margin)
            if dimension.whole:
                page.whole_ticks(axes)
        return [float(value) for value in values]
    choices = list(dimension.choices)
    names = [value_text(dimension.name, choice) for choice in choices]
    # An axis is 42 characters wide.
    step = math.ceil(len(names) * (max(map(len, names)) + 1.5) / 42)
    axes.set_xticks(range(0, len(names), step), names[::step])
    axes.set_xlim(-0.5, len(choices) - 0.5)
    axes.grid(visible=False, axis="x")
    # Side by side in the order of proposal, so that one does not hide another.
    order = sorted(range(len(active)), key=lambda index: active[index].number)
    places = [0.0] * len(active)
    for index in order:
        same = [other for other in order if values[other] == values[index]]
        place = choices.index(values[index])
        places[index] = place + labels.beside(same.index(index), len(same), _SPREAD)
    return places
