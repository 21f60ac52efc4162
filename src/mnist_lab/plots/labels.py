"""Words in figures: labels beside what they name, without overlap, and legends."""

from __future__ import annotations

import math
import textwrap
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.lines import Line2D

from mnist_lab.plots.page import COLORS, LABEL_POINTS, MARKERS, on_axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnist_lab.analysis.outcomes import Tally

LEGEND_COLUMNS = 6  # marks beside one another in the legend of :func:`mark_legend`
_KEY_X = 1.06  # of the markers beside the labels, in widths of the axes


class End(NamedTuple):
    """The label of a line that ends at `x` and `y` in data; `y` is None if nothing is drawn."""

    text: str
    color: str
    marker: str
    x: float
    y: float | None


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write the labels to the right of the axes, each as near to its line's end as possible."""
    height = 72 * axes.bbox.height / axes.figure.dpi
    to_axes = axes.transData + axes.transAxes.inverted()
    rows = [LABEL_POINTS * 1.35 * (end.text.count("\n") + 1) / height for end in ends]
    shrink = min(1.0, 1.0 / (sum(rows) or 1.0))
    starts = [
        (_KEY_X, 1.0) if end.y is None else to_axes.transform((end.x, on_axis(axes, end.y)))
        for end in ends
    ]
    places = _spread_out([y for _, y in starts], [shrink * row for row in rows])
    for end, place, (x, y) in zip(ends, places, starts, strict=True):
        axes.plot(
            (x, _KEY_X),
            (place if end.y is None else y, place),
            linestyle=":",
            linewidth=0.9,
            marker=end.marker,
            markersize=5,
            markevery=[1],
            color=end.color,
            transform=axes.transAxes,
            clip_on=False,
        )
        size = shrink * LABEL_POINTS
        axes.text(_KEY_X + 0.03, place, end.text, va="center", size=size, transform=axes.transAxes)


def _spread_out(wanted: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Middles of spans between 0 and 1 that do not overlap, as near to the `wanted` as can be.

    Spans that would overlap become a block, which settles where its members want it on average.
    """

    def height(block: list[int]) -> float:
        return sum(sizes[index] for index in block)

    def bottom(block: list[int]) -> float:
        starts = [
            wanted[index] - sizes[index] / 2 - height(block[:place])
            for place, index in enumerate(block)
        ]
        return max(0.0, min(fmean(starts), 1.0 - height(block)))

    blocks: list[list[int]] = []
    # From the bottom up; of equals, the first one goes on top.
    for index in sorted(range(len(wanted)), key=lambda index: (wanted[index], -index)):
        block = [index]
        while blocks and bottom(block) < bottom(blocks[-1]) + height(blocks[-1]):
            block = blocks.pop() + block
        blocks.append(block)
    placed = [0.0] * len(wanted)
    for block in blocks:
        edge = bottom(block)
        for index in block:
            placed[index] = edge + sizes[index] / 2
            edge += sizes[index]
    return placed


def mark_legend(
    figure: Figure, looks: Mapping[str, dict[str, Any]], *, right: float, bottom: float
) -> None:
    """A legend of the marks, with its lower right corner at these inches; none without marks.

    Args:
        figure: gets the legend.
        looks: by name, in matplotlib's terms.
        right: from the figure's left edge.
        bottom: from the figure's lower edge.
    """
    handles = [
        Line2D([], [], linestyle="", label=name, **{"markersize": 5} | style)
        for name, style in looks.items()
    ]
    if handles:
        across, up = figure.get_size_inches()
        figure.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(right / across, bottom / up),
            ncols=min(len(handles), LEGEND_COLUMNS),
            columnspacing=1.1,
            handletextpad=0.2,
            borderaxespad=0.0,
            frameon=False,
        )


def key_of(what: str, tally: Tally) -> str:
    """The sentence below a figure's title: what it shows, and the outcomes of the trials."""
    return "; ".join(filter(None, (what, remark(tally)))) + "."


def beside(index: int, n: int, spread: float) -> float:
    """How far the `index`-th of `n` stands from their place, so that none hides another."""
    return spread * ((2 * index + 1) / n - 1)


def swarm(heights: Sequence[float], size: float, room: float) -> list[float]:
    """How far each dot stands beside its column, so that dots of similar height do not overlap.

    Args:
        heights: of the dots.
        size: a dot's width.
        room: how far a dot may stand from the column; if that is too little, dots overlap.
    """
    placed: list[tuple[float, float]] = []
    found = [0.0] * len(heights)
    for index in sorted(range(len(heights)), key=heights.__getitem__):
        near = [(x, heights[index] - y) for x, y in placed if heights[index] - y < size]
        reaches = [(x, math.sqrt(size**2 - up**2)) for x, up in near]
        edges = [x + side * reach for x, reach in reaches for side in (-1, 1)]
        found[index] = next(
            at
            for at in sorted((0.0, *edges), key=abs)
            if all(abs(at - x) >= 0.999 * reach for x, reach in reaches)
        )
        placed.append((found[index], heights[index]))
    squeezed = min(1.0, room / (max(map(abs, found), default=0.0) or 1.0))
    return [squeezed * at for at in found]


def look(index: int) -> tuple[str, str]:
    """The colour and marker of line `index`."""
    return COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]


def wrapped(*texts: str) -> str:
    """A label wrapped to its column's width; each text begins a line."""
    return "\n".join(line for text in texts for line in textwrap.wrap(text, 27))


def remark(tally: Tally) -> str:
    """The outcomes of the trials that are not complete; empty if all are."""
    outcomes = tally.but_complete()
    if tally.total == 1 or not outcomes:
        return "".join(outcomes).removeprefix("1 ")
    return f"of {tally.total}: {', '.join(outcomes)}"
