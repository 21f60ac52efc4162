"""The figure of a search space: its draws beside a uniform distribution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_lab.config import place_between
from mnist_lab.plots import page
from mnist_lab.plots.page import BLUE, BOTTOM, GREY, INK, LABEL_POINTS, LEFT, SKY, styled
from mnist_lab.words import in_words, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from mnist_lab.config import Hyperparameter
    from mnist_lab.plots.page import Caption

_N_BINS = 30
# Inches.
_PITCH = 2.3
_COLUMN = 3.7


@styled()
def search_space(
    hyperparameters: Sequence[Hyperparameter],
    caption: Caption,
    examples: Mapping[str, int] | None = None,
) -> Figure:
    """How often each value is drawn, beside what a uniform distribution would give.

    A range is shown on a linear axis and, if it does not begin at 0, on a logarithmic one too. A
    hyperparameter that is not always active has its shares among the draws in which it is.

    Args:
        hyperparameters: with their draws.
        caption: the origin of the figure.
        examples: a value to mark, by hyperparameter.
    """
    rows = _rows(hyperparameters)
    log = any(one.scale == "log" and one.distribution == "uniform" for one in hyperparameters)
    title = "What the search space samples"
    key = "Pale: draws; blue: their median; black: expected."
    if log:
        title = "On a logarithmic scale, each doubling is equally likely"
        key += " log=True does not mean powers of two."
    pitch = _PITCH + 0.15 * any(map(_note, hyperparameters))
    height = pitch * len(rows) + 0.35
    figure = page.new_page(title, key, caption, height=height)
    for number, row in enumerate(rows):
        bottom = BOTTOM - 0.1 + (pitch - _PITCH) + pitch * (len(rows) - 1 - number)
        for column, (one, log) in enumerate(row):
            axes = page.add_axes(figure, LEFT + _COLUMN * column, bottom, 3.0, 1.5)
            if one.choices:
                _draw_choices(axes, one)
            else:
                _draw_range(axes, one, (examples or {}).get(one.name), log=log)
            axes.set_xlabel("" if log else _note(one), fontsize=LABEL_POINTS)
    return figure


def _rows(hyperparameters: Sequence[Hyperparameter]) -> list[list[tuple[Hyperparameter, bool]]]:
    """The panels by row, and whether their axis is logarithmic: a range on both, or two others."""
    pairs = [[(one, False), (one, True)] for one in hyperparameters if one.lower]
    singles = [(one, False) for one in hyperparameters if not one.lower]
    return pairs + [singles[start : start + 2] for start in range(0, len(singles), 2)]


def _note(one: Hyperparameter) -> str:
    """What keeps the draws from being all and as expected; empty if nothing does."""
    active = "" if one.active == 1 else f"active in {100 * one.active:.0f} % of draws"
    return "; ".join(filter(None, (active, "some combinations forbidden" if one.forbids else "")))


def _draw_range(axes: Axes, one: Hyperparameter, example: int | None, *, log: bool) -> None:
    """A histogram of the draws, what a uniform distribution has, the bounds, the median."""
    lower, upper = one.lower or 0.0, one.upper or 0.0
    axes.set_title(_title(one, example, log=log), fontsize=9, loc="left")
    unit = "% per doubling" if log else "% per value" if one.whole else "% per bin"
    axes.set_ylabel(unit, fontsize=LABEL_POINTS)
    if log:
        page.log_axis(axes, lower, upper)
    elif one.whole:
        page.whole_ticks(axes)
    for bound in (lower, upper):
        axes.axvline(bound, color=GREY, linestyle=":", linewidth=1)
    bins, highest = _bins(one, log=log), 0.0
    if one.draws:
        draws = np.asarray(one.draws, dtype=float)
        shares = 100 * np.histogram(draws, bins)[0] / len(draws) / _widths(one, bins, log=log)
        axes.stairs(shares, bins, fill=True, color=SKY)
        highest = float(shares.max())
        _mark_median(axes, float(np.median(draws)))
    if one.distribution == "uniform":
        places = [place_between(bins[0], bins[-1], at, log=one.scale == "log") for at in bins]
        expected = 100 * np.diff(places) / _widths(one, bins, log=log)
        axes.stairs(expected, bins, baseline=None, color=INK, linewidth=1)
        highest = max(highest, float(expected.max()))
    if example is not None:
        axes.plot(example, 0, "^", color=BLUE, markersize=7, clip_on=False, zorder=3)
    axes.set_ylim(0, 1.3 * highest or 1)
    if not one.draws:
        axes.set_xlim(lower, upper)
        page.say(axes, "no draw")


def _title(one: Hyperparameter, example: int | None, *, log: bool) -> str:
    """On the linear axis what is drawn; on the logarithmic one the example."""
    if log:
        times = "" if example is None else f"; ▲ {example}: {one.draws.count(example)} of "
        return f"on a logarithmic axis{times and f'{times}{len(one.draws):,} draws'}"
    how = "logarithmic" if one.scale == "log" else "linear"
    how += "" if one.distribution == "uniform" else f", {one.distribution}"
    return f"{in_words(one.name)}: {one.lower or 0:g} to {one.upper or 0:g}, {how}"


def _mark_median(axes: Axes, median: float) -> None:
    """A line at the median, and its number beside it, on the side where there is room."""
    axes.axvline(median, color=BLUE)
    shares = axes.transAxes.inverted().transform(axes.transData.transform((median, 0)))
    right = shares[0] < 0.6  # noqa: PLR2004 - the words take a third of the axes
    axes.annotate(
        f"median {median:.3g}",
        (median, 1.0),
        (4 if right else -4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        fontsize=LABEL_POINTS,
    )


def _bins(one: Hyperparameter, *, log: bool) -> NDArray[Any]:
    """Bins of equal width on the axis; between whole numbers if all values are whole."""
    lower, upper = one.lower or 0.0, one.upper or 0.0
    low, high = (lower - 0.5, upper + 0.5) if one.whole else (lower, upper)
    edges = (np.geomspace if log else np.linspace)(low, high, _N_BINS + 1)
    # Half-way between two whole numbers; several edges that fall there are one.
    return np.unique(np.floor(edges + 1e-9) + 0.5) if one.whole else edges


def _widths(one: Hyperparameter, edges: NDArray[Any], *, log: bool) -> NDArray[Any]:
    """The widths of bins in the unit of the y axis: doublings, values or bins."""
    if log:
        return np.diff(np.log2(edges))
    return np.diff(edges) if one.whole else np.ones(len(edges) - 1)


def _draw_choices(axes: Axes, one: Hyperparameter) -> None:
    """A bar for each choice, its share of the draws, and a line where its probability is."""
    n_choices = len(one.choices)
    counted = f"{n_choices} choice{'s' * (n_choices > 1)}"
    axes.set_title(f"{in_words(one.name)}: {counted}; line: expected", fontsize=9, loc="left")
    axes.set_ylabel("% of draws", fontsize=LABEL_POINTS)
    axes.grid(visible=False, axis="x")
    places = range(n_choices)
    expected = [100 * share for share in one.expected_shares]
    shares = [100 * one.draws.count(choice) / (len(one.draws) or 1) for choice in one.choices]
    axes.bar(places, shares, width=0.5, color=SKY)
    # As much as there is room for: beside each other stand 4 shares with a unit, 8 without.
    with_unit, most = 4, 8
    for place, share, line in zip(places, shares, expected, strict=True):
        if n_choices <= most:
            axes.annotate(
                f"{share:.1f} %" if n_choices <= with_unit else f"{share:.0f}",
                (place, max(share, line)),
                (0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axes.hlines(expected, [place - 0.3 for place in places], [place + 0.3 for place in places], INK)
    names = [value_text(one.name, choice) for choice in one.choices]
    # An axis is 40 characters wide.
    step = math.ceil(n_choices * (max(map(len, names)) + 1.5) / 40)
    axes.set_xticks(places[::step], names[::step])
    axes.set(xlim=(-0.6, n_choices - 0.4), ylim=(0, 1.3 * max(*shares, *expected)))
