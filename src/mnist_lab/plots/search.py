"""The figures of searches: the best so far, who was promoted."""

from __future__ import annotations

import math
import textwrap
from statistics import fmean
from typing import TYPE_CHECKING, Any

from matplotlib.colors import LinearSegmentedColormap

from mnist_lab.analysis.outcomes import final_error, grouped, outcome_of
from mnist_lab.plots import page
from mnist_lab.plots.labels import (
    beside,
    key_of,
    look,
    mark_legend,
    swarm,
)
from mnist_lab.plots.page import (
    BLUE,
    BOTTOM,
    GREY,
    LABEL_POINTS,
    LEFT,
    LOST,
    NAVY,
    ORANGE,
    PALE,
    RING,
    SKY,
    styled,
)
from mnist_lab.words import budget_text, counted, describe, epochs_text, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnist_lab.analysis.history import BracketPanel, Point
    from mnist_lab.analysis.outcomes import Tally
    from mnist_lab.plots.page import Caption
    from mnist_lab.records import Trial

# Of the brackets, in inches if not said otherwise.
_MOST_COLUMNS = 3
_WIDTH = 6.9  # of a row of panels
_GAP = 0.2  # between two panels
_PANEL = 2.8  # a panel's height
_FOOT = 0.55  # below a panel, for its axis
_LINE = 0.16  # one line of a panel's title
_LETTER = 0.068  # the width of a letter in it
_MARK = 0.08  # the width of a mark at the top edge

# How far from its budget a dot may stand, or a mark at the top edge, in distances between budgets.
_SPREAD = 0.42
_DOT = 3.6  # points, a dot's width

# Matplotlib's words for each look, the better the darker; the order is that of the legend.
_LOOKS: dict[str, dict[str, Any]] = {
    "beaten": {"marker": "o", "color": "#B4B4B4"},
    "undecided": {"marker": "o", "color": GREY, "fillstyle": "none", "markeredgewidth": 0.7},
    "promoted": {"marker": "o", "color": BLUE},
    "winner": {"marker": "D", "color": NAVY, "markersize": 5.5},
    "best": {"marker": "*", "color": ORANGE, "markersize": 13, "markeredgecolor": "white"},
    **{name: LOST[name] for name in ("failed", "diverged")},
}
_NAMES = {"beaten": "not promoted", "winner": "best of its bracket", "best": "best of all"}


@styled()
def incumbent(
    points: Sequence[Point], best: Trial | None, tally: Tally, caption: Caption, *, by_epochs: bool
) -> Figure:
    """Every final error as a dot, the lowest so far as a line, the `best` in words.

    If `by_epochs`, the x axis counts epochs, and a dot's marker and shade show its budget.
    """
    what = "Error after the last epoch"
    if by_epochs:
        what = "Error at each budget; ring: the lowest at the largest budget"
    done: dict[float, list[tuple[float, float]]] = {}  # places and errors by budget
    for at, trial, _ in points:
        if (error := final_error(trial)) is not None:
            done.setdefault(trial.configuration.epochs * by_epochs, []).append((at, error))
    # Two lines of the legend for more than three budgets.
    n_lines = 1 + (len(done) > 3)  # noqa: PLR2004 - seven words fill a line
    key, height = key_of(what, tally), 4.8 + 0.2 * n_lines
    end, title, found = (points[-1].at if points else 0), "No result so far", None
    if best and (found := _found(points, best)):
        when = f"after {budget_text(found)} of {epochs_text(end)}"
        when = when if by_epochs else f"in iteration {found} of {end}"
        title = f"Best trial: {percent(best.valid_error or 0.0)}, found {when}"
    figure = page.new_page(title, key, caption, height=height)
    axes = page.add_axes(figure, LEFT, BOTTOM, 6.9, 3.7)
    # Room below for the incumbent's configuration, above for the trials without an error.
    errors = [error for own in done.values() for _, error in own]
    lost = [name for name in ("failed", "diverged") if getattr(tally, name)]
    page.percent_axis(axes, errors, below=0.2, above=0.1 if lost else 0.0)
    xlabel = "epochs trained, all trials together" if by_epochs else "iteration"
    axes.set(xlabel=xlabel, ylabel="validation error")
    if not done:
        page.say(axes, "no trial is complete" if points else "no trial yet")
    else:
        _draw_errors(axes, done, by_epochs=by_epochs)
        lowest = [(one.at, one.best_so_far) for one in points if one.best_so_far is not None]
        axes.step(*zip(*lowest, strict=True), where="post", color=BLUE, label="best so far")
    page.integer_axis(axes, end)
    if by_epochs and points:
        axes.set_xlim(-0.02 * end, 1.02 * end)
    for outcome in lost:
        at_edge = [one.at for one in points if outcome_of(one.trial) == outcome]
        edge: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "label": outcome}
        axes.plot(at_edge, [0.96] * len(at_edge), linestyle="", **edge | LOST[outcome])
    if best and found:
        place = f"after {epochs_text(found)}" if by_epochs else f"iteration {found}"
        _mark_best(axes, found, place, best)
    if named := axes.get_legend_handles_labels()[0]:  # none where no trial has ended
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.01, 1.0),
            ncols=math.ceil(len(named) / n_lines),
            columnspacing=1.1,
            handletextpad=0.4,
            frameon=False,
        )
    return figure


def _found(points: Sequence[Point], best: Trial) -> float | None:
    """Where the best trial reached what makes it that."""
    own = [one for one in points if one.trial.trial == best.trial]
    return next((one.at for one in own if one.trial.n_epochs >= best.n_epochs), None)


def _draw_errors(
    axes: Axes, done: Mapping[float, Sequence[tuple[float, float]]], *, by_epochs: bool
) -> None:
    """The errors of each budget in a marker of its own, the larger the darker; or all alike."""
    shades = LinearSegmentedColormap.from_list("budgets", (PALE, BLUE, NAVY))
    for index, (budget, own) in enumerate(sorted(done.items())):
        color = shades(index / max(1, len(done) - 1)) if by_epochs else SKY
        name = epochs_text(budget) if by_epochs else "trial"
        axes.plot(*zip(*own, strict=True), look(index)[1], color=color, markersize=4.5, label=name)


def _mark_best(axes: Axes, at: float, place: str, trial: Trial) -> None:
    """A ring around the best, and its configuration below it, where no other trial can be."""
    error = trial.valid_error or 0.0
    y = page.on_axis(axes, error)
    axes.plot(at, y, linestyle="", label="best", **RING)
    left, right = axes.get_xlim()
    share = (at - left) / (right - left)
    words = [f"{place}: {percent(error)}", *textwrap.wrap(describe(trial.configuration), 70)]
    axes.annotate(
        "\n".join(words),
        (at, y),
        (min(max(share, 0.32), 0.68), 0.11 if len(words) < 3 else 0.14),  # noqa: PLR2004 - lines
        textcoords="axes fraction",
        ha="center",
        va="top",
        fontsize=LABEL_POINTS,
        arrowprops={"arrowstyle": "-", "color": ORANGE, "linewidth": 0.8, "shrinkB": 6},
    )


@styled()
def brackets(panels: Sequence[BracketPanel], tally: Tally, caption: Caption) -> Figure:
    """Every trial through the rungs of its bracket, in one panel for brackets of equal numbers."""
    steps = [step for panel in panels for _, own in panel.climbs for step in own]
    budgets = {budget for panel in panels for budget in panel.bracket.epochs}
    what = "A dot for each configuration and budget, a line where it was promoted"
    if min(budgets, default=1) < 1:
        what += " (by loss below one epoch)"
    n_rows = math.ceil(len(panels) / _MOST_COLUMNS)  # four panels are two rows of two
    n_columns = math.ceil(len(panels) / n_rows)
    rows = [panels[start : start + n_columns] for start in range(0, len(panels), n_columns)]
    widths = [width for row in rows for width in _widths(row, n_columns)]
    titles = [
        textwrap.wrap(_title(panel), int(width / _LETTER))
        for panel, width in zip(panels, widths, strict=True)
    ]
    head = _LINE * max(map(len, titles)) + 0.08
    pitch = _PANEL + head + _FOOT
    height = BOTTOM + pitch * (n_rows - 1) + _PANEL + head + 0.35
    figure = page.new_page(_verdict(panels), key_of(what, tally), caption, height=height)
    errors = [step.error for step in steps if step.error is not None]
    has_lost = any(step.look in LOST and step.error is None for step in steps)
    drawn: set[str] = set()
    for index, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        row, column = divmod(index, n_columns)
        left = LEFT + sum(widths[row * n_columns : index]) + _GAP * column
        bottom = BOTTOM + pitch * (n_rows - 1 - row)
        axes = page.add_axes(figure, left, bottom, widths[index], _PANEL)
        # Room above for the trials without an error.
        page.percent_axis(axes, errors, above=0.14 if has_lost else 0.02, below=0.02)
        drawn |= _draw_panel(axes, panel)
        axes.set_title("\n".join(title), fontsize=9, loc="left")
        axes.set(ylabel="" if column else "validation error")
        axes.tick_params(labelleft=not column)
    mark_legend(
        figure,
        {_NAMES.get(name, name): style for name, style in _LOOKS.items() if name in drawn},
        right=LEFT + _WIDTH,
        bottom=BOTTOM + pitch * (n_rows - 1) + _PANEL + head + 0.05,
    )
    return figure


def _widths(panels: Sequence[BracketPanel], n_columns: int) -> list[float]:
    """The widths of the panels of a row: the more rungs, the wider."""
    shares = [len(panel.bracket.epochs) + 1.5 for panel in panels]
    shares += [fmean(shares)] * (n_columns - len(shares))  # a row that is not full
    room = _WIDTH - _GAP * (n_columns - 1)
    return [room * share / sum(shares) for share in shares[: len(panels)]]


def _verdict(panels: Sequence[BracketPanel]) -> str:
    """How many configurations there were, how many reached the last rung, and the best error."""
    climbs = [steps for panel in panels for _, steps in panel.climbs]
    best = [step for steps in climbs for step in steps if step.look == "best"]
    if not best:
        return "Promotions in each bracket"
    _, budget, _, error = best[0]
    n_reached = sum(step.budget == budget and step.look not in LOST for s in climbs for step in s)
    of = counted(len(climbs), "configuration")
    result = f"the best has {percent(error or 0.0)} error"
    return f"{n_reached} of {of} reached {epochs_text(budget)}; {result}"


def _title(panel: BracketPanel) -> str:
    """Its numbers, how many brackets have them, and how many of those have ended."""
    n_configs, n_planned, n_over = panel.bracket.n_configs, panel.n_planned, panel.n_over
    numbers = "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}".join(map(str, n_configs))
    if n_planned == 1:
        ended = " (not\N{NO-BREAK SPACE}ended)" * (not n_over)
        return f"{numbers} configuration{'s' * (n_configs[0] > 1)}{ended}"
    ended = f" ({n_over}\N{NO-BREAK SPACE}ended)" * (n_over < n_planned)
    return f"{n_planned} brackets of {numbers}{ended}"


def _draw_panel(axes: Axes, panel: BracketPanel) -> set[str]:
    """Each trial of these brackets; returns the looks that are in it.

    Budgets are a factor apart, so at equal distances they stand on a logarithmic axis.
    """
    budgets = panel.bracket.epochs
    axes.set(xlabel="epochs", xlim=(-0.5, len(budgets) - 0.5))
    steps = [
        (bracket, climb, budgets.index(step.budget), step)
        for climb, (bracket, own) in enumerate(panel.climbs)
        for step in own
    ]
    if not steps:
        page.say(axes, "no training\nhas ended")
    axes.set_xticks(range(len(budgets)), [budget_text(budget) for budget in budgets])
    axes.grid(visible=False, axis="x")
    sound = [one for one in steps if one[-1].error is not None]
    xs: dict[tuple[int, int], float] = {}  # by climb and rung
    inch = 72 / axes.figure.dpi
    unit = inch * axes.bbox.width / len(budgets)  # points between two budgets
    # Side by side, so that one bracket does not hide another.
    room = _SPREAD / panel.n_planned
    for (bracket, place), column in grouped(sound, lambda one: (one[0], one[2])).items():
        ys = [page.on_axis(axes, step.error or 0.0) for *_, step in column]
        heights = [inch * axes.transData.transform((0, y))[1] for y in ys]
        middle = place + beside(bracket, panel.n_planned, _SPREAD - room)
        found = swarm(heights, 1.2 * _DOT, max(room * unit - _DOT, 0.0))
        for (_, climb, _, _), x in zip(column, found, strict=True):
            xs[climb, place] = middle + x / unit
    dots: dict[str, list[tuple[float, float]]] = {}
    for climb, own in grouped(sound, lambda one: one[1]).items():
        line = [(xs[climb, at], page.on_axis(axes, step.error or 0.0)) for *_, at, step in own]
        for point, (*_, step) in zip(line, own, strict=True):
            dots.setdefault(step.look, []).append(point)
        color, width = (ORANGE, 1.6) if own[-1][-1].look == "best" else (SKY, 0.8)
        if len(line) > 1:
            axes.plot(*zip(*line, strict=True), color=color, linewidth=width, zorder=1 + width / 2)
    for name, style in _LOOKS.items():
        if name in dots:
            dot: dict[str, Any] = {"markersize": _DOT, "markeredgewidth": 0.0, "label": name}
            axes.plot(*zip(*dots[name], strict=True), linestyle="", **dot | style)
        lost = [at for *_, at, step in steps if step.look == name and step.error is None]
        for place in sorted(set(lost)):
            _draw_lost(axes, name, place, lost.count(place))
    return {step.look for *_, step in steps}


def _draw_lost(axes: Axes, look: str, place: int, n: int) -> None:
    """Marks at the top edge for `n` trials without an error, side by side while there is room."""
    left, right = axes.get_xlim()
    room = 2 * _SPREAD * axes.bbox.width / axes.figure.dpi / (right - left)
    crowded = n > room / _MARK
    xs = [place] if crowded else [place + beside(one, n, _SPREAD) for one in range(n)]
    y, edge = 0.97 if look == "failed" else 0.92, axes.get_xaxis_transform()
    style: dict[str, Any] = {"markersize": 4, "transform": edge, "label": look} | _LOOKS[look]
    axes.plot(xs, [y] * len(xs), linestyle="", **style)
    if crowded:
        beside_it: dict[str, Any] = {"xycoords": edge, "textcoords": "offset points"}
        axes.annotate(str(n), (place, y), (5, 0), va="center", fontsize=7, **beside_it)
