"""The figures of Hyperband and BOHB: who was promoted, and what the epochs were spent for."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from mnist_lab.analysis.history import median_spending
from mnist_lab.plots.labels import End, beside, key_of, label_ends, look, mark_legend, wrapped
from mnist_lab.plots.page import add_axes, integer_axis, new_page, on_axis, percent_axis, say
from mnist_lab.plots.style import BLUE, BOTTOM, GREY, LEFT, LOST, RING, styled
from mnist_lab.words import counted, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnist_lab.analysis.history import BracketPanel, SearchPoint, Spending
    from mnist_lab.analysis.outcomes import Tally
    from mnist_lab.plots.page import Caption

# Inches, if not said otherwise.
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
def brackets(panels: Sequence[BracketPanel], tally: Tally, caption: Caption) -> Figure:
    """Every trial through the rungs of its bracket, a panel for the brackets of equal numbers."""
    what = "Dots: each configuration at each of its budgets; lines: promotions"
    n_columns = _columns(len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    width = (_WIDTH - _GAP * (n_columns - 1)) / n_columns
    titles = [textwrap.wrap(_title(panel), int(width / _LETTER)) for panel in panels]
    head = _LINE * max(map(len, titles)) + 0.08
    pitch = _PANEL + head + _FOOT
    height = BOTTOM + pitch * (n_rows - 1) + _PANEL + head + 0.35
    figure = new_page("Promotions in each bracket", key_of(what, tally), caption, height=height)
    steps = [step for panel in panels for climb in panel.climbs for step in climb.steps]
    errors = [step.error for step in steps if step.error is not None]
    budgets = sorted({budget for panel in panels for budget in panel.bracket.epochs})
    drawn: set[str] = set()
    for index, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        row, column = divmod(index, n_columns)
        bottom = BOTTOM + pitch * (n_rows - 1 - row)
        axes = add_axes(figure, LEFT + (width + _GAP) * column, bottom, width, _PANEL)
        # Room above for the trials without an error.
        percent_axis(axes, errors, above=0.14)
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


def _columns(n_panels: int) -> int:
    """How many panels stand in a row: four are two rows of two."""
    return math.ceil(n_panels / math.ceil(n_panels / _MOST_COLUMNS))


def _title(panel: BracketPanel) -> str:
    """Its numbers, and how many brackets have them."""
    n_configs, n_planned, n_over = panel.bracket.n_configs, panel.n_planned, panel.n_over
    numbers = " → ".join(map(str, n_configs))
    how_many = counted(n_planned, "bracket")
    how_many = f"{n_over} of {how_many} ended" if n_over < n_planned else how_many
    how_many = how_many.replace(" ", "\N{NO-BREAK SPACE}")
    return f"{numbers} configuration{'s' * (n_configs[0] > 1)} ({how_many})"


def _draw_panel(axes: Axes, panel: BracketPanel, budgets: Sequence[int]) -> set[str]:
    """Each trial of these brackets; returns the looks that are in it."""
    axes.set(xlabel="budget in epochs", xlim=(-0.5, len(budgets) - 0.5))
    if not any(climb.steps for climb in panel.climbs):
        say(axes, "no training has ended")
    axes.set_xticks(range(len(budgets)), [str(budget) for budget in budgets])
    axes.grid(visible=False, axis="x")
    marks: list[tuple[str, float, float | None]] = []  # look, x, error
    for climb in panel.climbs:
        # Side by side, so that one bracket does not hide another.
        shift = beside(climb.bracket, panel.n_planned, _SPREAD)
        own = [
            (
                step.standing if step.outcome == "complete" else step.outcome,
                budgets.index(step.budget) + shift,
                step.error,
            )
            for step in climb.steps
        ]
        line = [(x, error) for _, x, error in own if error is not None]
        if len(line) > 1:
            axes.plot(*zip(*line, strict=True), color=BLUE, linewidth=0.7, zorder=1.5)
        marks += own
    return _draw_marks(axes, marks)


def _draw_marks(axes: Axes, marks: Sequence[tuple[str, float, float | None]]) -> set[str]:
    """The dots by look; returns the looks that are there."""
    drawn = set()
    for name, style in _LOOKS.items():
        at = [(x, on_axis(axes, e)) for look, x, e in marks if look == name and e is not None]
        if at:
            drawn.add(name)
            xs, ys = zip(*at, strict=True)
            axes.plot(xs, ys, linestyle="", markersize=3.5, label=name, **style)
            if name == "winner":
                axes.plot(xs, ys, linestyle="", **_RING)
    for name in ("failed", "diverged"):
        places = [round(x) for look, x, error in marks if look == name and error is None]
        for place in sorted(set(places)):
            _draw_lost(axes, name, place, places.count(place))
            drawn.add(name)
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
def spending(named_runs: Mapping[str, Sequence[Sequence[SearchPoint]]], caption: Caption) -> Figure:
    """The best error against the epochs spent, a colour for each way to search.

    `named_runs` has for each name its searches, from different seeds, as `analysis.search` tells
    them.
    """
    key = (
        "Lowest validation error so far, at any budget; "
        "line: median of n seeds; band: from best to worst."
    )
    figure = new_page("Error found for the epochs spent", key, caption, height=4.6)
    axes = add_axes(figure, LEFT, BOTTOM, 5.1, 3.6)
    methods = {name: median_spending(runs) for name, runs in named_runs.items()}
    shown = [one for one in methods.values() if one.epochs]
    # A worst seed without a result is drawn up to the top edge, wherever that is.
    errors = [error for one in shown for error in (*one.median, *one.low, *one.high) if error < 1]
    percent_axis(axes, errors)
    last = max((one.epochs[-1] for one in shown), default=1)
    integer_axis(axes, last)
    axes.set_xlim(0, last)
    axes.set(xlabel="epochs trained, all trials together", ylabel="validation error")
    if not shown:
        say(axes, "no trial is complete" if named_runs else "no search yet")
    ends = [
        _draw_method(axes, name, one, index) for index, (name, one) in enumerate(methods.items())
    ]
    label_ends(axes, ends)
    return figure


def _draw_method(axes: Axes, name: str, one: Spending, index: int) -> End:
    """One method's line and band; returns the label for their end."""
    color, marker = look(index)
    named = f"{name} (n = {one.n})"
    if not one.epochs:
        return End(wrapped(named, "no result"), color, marker, 0, None)
    axes.step(one.epochs, one.median, where="post", color=color)
    axes.fill_between(
        one.epochs, one.low, one.high, step="post", color=color, alpha=0.18, linewidth=0
    )
    low, middle, high = (percent(errors[-1]) for errors in (one.low, one.median, one.high))
    extremes = f"{low} to {high}" if one.n > 1 else ""
    label = wrapped(named, middle, extremes)
    return End(label, color, marker, one.epochs[-1], one.median[-1])
