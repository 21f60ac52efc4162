"""The figures of searches: the best so far, who was promoted, what the epochs were spent for."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from matplotlib.colors import LinearSegmentedColormap

from mnist_lab.analysis.history import median_progress
from mnist_lab.analysis.outcomes import final_error, outcome_of
from mnist_lab.plots import page
from mnist_lab.plots.labels import End, beside, key_of, label_ends, look, mark_legend, wrapped
from mnist_lab.plots.page import (
    BLUE,
    BOTTOM,
    GREY,
    LABEL_POINTS,
    LEFT,
    LOST,
    RED,
    RING,
    SKY,
    styled,
)
from mnist_lab.words import budget_text, counted, describe, epochs_text, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
_PANEL = 2.4  # a panel's height
_FOOT = 0.55  # below a panel, for its axis
_LINE = 0.16  # one line of a panel's title
_LETTER = 0.068  # the width of a letter in it
_MARK = 0.08  # the width of a mark at the top edge

# How far from its budget a dot may stand, or a mark at the top edge, in distances between budgets.
_SPREAD = 0.32
_LOST_SPREAD = 0.42

# Matplotlib's words for each look; the order is that of the legend.
_LOOKS: dict[str, dict[str, Any]] = {
    "promoted": {"marker": "o", "color": BLUE},
    "beaten": {"marker": "o", "color": GREY},
    "undecided": {"marker": "o", "color": GREY, "fillstyle": "none"},
    "winner": {"marker": "o", "color": BLUE},
    **{name: LOST[name] for name in ("failed", "diverged")},
}
_RING = RING | {"markersize": 9}


@styled()
def incumbent(
    points: Sequence[Point], best: Trial | None, tally: Tally, caption: Caption, *, by_epochs: bool
) -> Figure:
    """Every final error as a dot, the lowest so far as a line, the incumbent `best` in words.

    Where the search is counted in epochs, a dot's marker and shade tell its budget.
    """
    what = "Error after the last epoch"
    if by_epochs:
        what = "Dots: error at each budget; line: lowest so far; ring: lowest at the largest"
    done: dict[float, list[tuple[float, float]]] = {}  # places and errors by budget
    for at, trial, _ in points:
        if (error := final_error(trial)) is not None:
            done.setdefault(trial.configuration.epochs * by_epochs, []).append((at, error))
    # Two lines of the legend for more than three budgets.
    n_lines = 1 + (len(done) > 3)  # noqa: PLR2004 - seven words fill a line
    key, height = key_of(what, tally), 4.8 + 0.2 * n_lines
    figure = page.new_page("Best configuration found so far", key, caption, height=height)
    axes = page.add_axes(figure, LEFT, BOTTOM, 6.9, 3.7)
    # Room below for the incumbent's configuration, above for the trials without an error.
    errors = [error for own in done.values() for _, error in own]
    page.percent_axis(axes, errors, below=0.2, above=0.1)
    xlabel = "epochs trained, all trials together" if by_epochs else "iteration"
    axes.set(xlabel=xlabel, ylabel="validation error")
    if not done:
        page.say(axes, "no trial is complete" if points else "no trial yet")
    else:
        _draw_errors(axes, done, by_epochs=by_epochs)
        lowest = [(one.at, one.best_so_far) for one in points if one.best_so_far is not None]
        axes.step(*zip(*lowest, strict=True), where="post", color=BLUE, label="best so far")
    page.integer_axis(axes, points[-1].at if points else 0)
    if by_epochs and points:
        axes.set_xlim(-0.02 * points[-1].at, 1.02 * points[-1].at)
    for outcome in ("failed", "diverged"):
        at_edge = [one.at for one in points if outcome_of(one.trial) == outcome]
        if at_edge:
            style = {"transform": axes.get_xaxis_transform(), "label": outcome} | LOST[outcome]
            axes.plot(at_edge, [0.96] * len(at_edge), linestyle="", **style)
    own = [one for one in points if best and one.trial.trial == best.trial]
    if best and own:
        at = next(one.at for one in own if one.trial.n_epochs >= best.n_epochs)
        place = f"after {budget_text(at)} epochs" if by_epochs else f"iteration {at}"
        _mark_incumbent(axes, at, place, best)
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


def _draw_errors(
    axes: Axes, done: Mapping[float, Sequence[tuple[float, float]]], *, by_epochs: bool
) -> None:
    """The errors of each budget in a marker of its own, the larger the darker; or all alike."""
    shades = LinearSegmentedColormap.from_list("budgets", ("#9AD0F0", BLUE, "#00253D"))
    for index, (budget, own) in enumerate(sorted(done.items())):
        color = shades(index / max(1, len(done) - 1)) if by_epochs else SKY
        name = epochs_text(budget) if by_epochs else "trial"
        axes.plot(*zip(*own, strict=True), look(index)[1], color=color, markersize=4.5, label=name)


def _mark_incumbent(axes: Axes, at: float, place: str, trial: Trial) -> None:
    """A ring around the incumbent, and its configuration below it, where no other trial can be."""
    error = trial.valid_error or 0.0
    y = page.on_axis(axes, error)
    axes.plot(at, y, linestyle="", label="incumbent", **RING)
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
        arrowprops={"arrowstyle": "-", "color": RED, "linewidth": 0.8, "shrinkB": 6},
    )


@styled()
def brackets(panels: Sequence[BracketPanel], tally: Tally, caption: Caption) -> Figure:
    """Every trial through the rungs of its bracket, a panel for the brackets of equal numbers."""
    what = "Dots: each configuration at each of its budgets; lines: promotions"
    # Four panels are two rows of two.
    n_rows = math.ceil(len(panels) / _MOST_COLUMNS)
    n_columns = math.ceil(len(panels) / n_rows)
    width = (_WIDTH - _GAP * (n_columns - 1)) / n_columns
    titles = [textwrap.wrap(_title(panel), int(width / _LETTER)) for panel in panels]
    head = _LINE * max(map(len, titles)) + 0.08
    pitch = _PANEL + head + _FOOT
    height = BOTTOM + pitch * (n_rows - 1) + _PANEL + head + 0.35
    figure = page.new_page(
        "Promotions in each bracket", key_of(what, tally), caption, height=height
    )
    steps = [step for panel in panels for _, own in panel.climbs for step in own]
    errors = [step.error for step in steps if step.error is not None]
    budgets = sorted({budget for panel in panels for budget in panel.bracket.epochs})
    drawn: set[str] = set()
    for index, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        row, column = divmod(index, n_columns)
        bottom = BOTTOM + pitch * (n_rows - 1 - row)
        axes = page.add_axes(figure, LEFT + (width + _GAP) * column, bottom, width, _PANEL)
        # Room above for the trials without an error.
        page.percent_axis(axes, errors, above=0.14)
        drawn |= _draw_panel(axes, panel, budgets)
        axes.set_title("\n".join(title), fontsize=9, loc="left")
        axes.set(ylabel="" if column else "validation error")
        axes.tick_params(labelleft=not column)
    looks = _LOOKS | {"winner": _RING}
    mark_legend(
        figure,
        {name: style for name, style in looks.items() if name in drawn},
        right=LEFT + _WIDTH,
        bottom=BOTTOM + pitch * (n_rows - 1) + _PANEL + head + 0.05,
    )
    return figure


def _title(panel: BracketPanel) -> str:
    """Its numbers, and how many brackets have them."""
    n_configs, n_planned, n_over = panel.bracket.n_configs, panel.n_planned, panel.n_over
    numbers = " → ".join(map(str, n_configs))
    how_many = counted(n_planned, "bracket")
    how_many = f"{n_over} of {how_many} ended" if n_over < n_planned else how_many
    how_many = how_many.replace(" ", "\N{NO-BREAK SPACE}")
    return f"{numbers} configuration{'s' * (n_configs[0] > 1)} ({how_many})"


def _draw_panel(axes: Axes, panel: BracketPanel, budgets: Sequence[float]) -> set[str]:
    """Each trial of these brackets; returns the looks that are in it."""
    axes.set(xlabel="budget in epochs", xlim=(-0.5, len(budgets) - 0.5))
    if not any(steps for _, steps in panel.climbs):
        page.say(axes, "no training has ended")
    axes.set_xticks(range(len(budgets)), [budget_text(budget) for budget in budgets])
    axes.grid(visible=False, axis="x")
    marks: list[tuple[str, int, float, float | None]] = []
    for bracket, steps in panel.climbs:
        # Side by side, so that one bracket does not hide another.
        shift = beside(bracket, panel.n_planned, _SPREAD)
        places = [budgets.index(budget) for budget, *_ in steps]
        own = [(one[1], at, at + shift, one[2]) for one, at in zip(steps, places, strict=True)]
        line = [(x, error) for *_, x, error in own if error is not None]
        if len(line) > 1:
            axes.plot(*zip(*line, strict=True), color=BLUE, linewidth=0.7, zorder=1.5)
        marks += own
    drawn = set()
    for name, style in _LOOKS.items():
        dots = [
            (x, page.on_axis(axes, e)) for look, _, x, e in marks if look == name and e is not None
        ]
        lost = [at for look, at, _, e in marks if look == name in LOST and e is None]
        if dots:
            axes.plot(*zip(*dots, strict=True), linestyle="", markersize=3.5, label=name, **style)
        if dots and name == "winner":
            axes.plot(*zip(*dots, strict=True), linestyle="", **_RING)
        for place in sorted(set(lost)):
            _draw_lost(axes, name, place, lost.count(place))
        drawn |= {name} if dots or lost else set()
    return drawn


def _draw_lost(axes: Axes, look: str, place: int, n: int) -> None:
    """Marks at the top edge for `n` trials without an error, side by side while there is room."""
    left, right = axes.get_xlim()
    room = 2 * _LOST_SPREAD * axes.bbox.width / axes.figure.dpi / (right - left)
    crowded = n > room / _MARK
    xs = [place] if crowded else [place + beside(one, n, _LOST_SPREAD) for one in range(n)]
    y, edge = 0.97 if look == "failed" else 0.92, axes.get_xaxis_transform()
    style: dict[str, Any] = {"markersize": 4, "transform": edge, "label": look} | _LOOKS[look]
    axes.plot(xs, [y] * len(xs), linestyle="", **style)
    if crowded:
        beside_it: dict[str, Any] = {"xycoords": edge, "textcoords": "offset points"}
        axes.annotate(str(n), (place, y), (5, 0), va="center", fontsize=7, **beside_it)


@styled()
def spending(
    named_runs: Mapping[str, Sequence[Sequence[tuple[float, float | None]]]], caption: Caption
) -> Figure:
    """The best error against the epochs spent, a colour for each way to search.

    `named_runs` has for each name its searches, from different seeds: of each the epochs spent,
    rising, and the lowest error by then.
    """
    key = (
        "Lowest validation error so far, at any budget; "
        "line: median of n seeds; band: from best to worst."
    )
    figure = page.new_page("Error found for the epochs spent", key, caption, height=4.6)
    axes = page.add_axes(figure, LEFT, BOTTOM, 5.1, 3.6)
    methods = [(name, len(runs), median_progress(runs)) for name, runs in named_runs.items()]
    rows = [row for *_, own in methods for row in own]
    # A worst seed without a result is drawn up to the top edge, wherever that is.
    page.percent_axis(axes, [error for _, *errors in rows for error in errors if error < 1])
    last = max((epochs for epochs, *_ in rows), default=1)
    page.integer_axis(axes, last)
    axes.set_xlim(0, last)
    axes.set(xlabel="epochs trained, all trials together", ylabel="validation error")
    if not rows:
        page.say(axes, "no trial is complete" if named_runs else "no search yet")
    draw_medians(axes, methods)
    return figure


def draw_medians(
    axes: Axes, methods: Iterable[tuple[str, int, Sequence[tuple[float, float, float, float]]]]
) -> None:
    """The error that each way to search had found by then: its median, and a band to the extremes.

    Args:
        axes: with the limits that they are to have.
        methods: name, number of searches and :func:`~mnist_lab.analysis.history.median_progress`
            of each.
    """
    ends = []
    for index, (name, n, own) in enumerate(methods):
        color, marker = look(index)
        named = f"{name} (n = {n})"
        if not own:
            ends.append(End(wrapped(named, "no result"), color, marker, 0, None))
            continue
        spent, middle, low, high = zip(*own, strict=True)
        axes.step(spent, middle, where="post", color=color)
        axes.fill_between(spent, low, high, step="post", color=color, alpha=0.18, linewidth=0)
        extremes = f"{percent(low[-1])} to {percent(high[-1])}" if n > 1 else ""
        label = wrapped(named, percent(middle[-1]), extremes)
        shown = min(middle[-1], axes.get_ylim()[1])
        ends.append(End(label, color, marker, spent[-1], shown))
    label_ends(axes, ends)
