"""The figure of a search in parallel coordinates: a line through each trial's hyperparameters."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator

from mnist_lab.config import place_between
from mnist_lab.plots import page
from mnist_lab.plots.labels import beside, key_of
from mnist_lab.plots.page import BOTTOM, INK, LABEL_POINTS, LEFT, LOST, styled
from mnist_lab.plots.trials import line_style, rank_scale, shades_in_words
from mnist_lab.words import counted, in_words, percent, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnist_lab.analysis.history import RankedTrial
    from mnist_lab.analysis.outcomes import Tally
    from mnist_lab.config import Hyperparameter
    from mnist_lab.plots.page import Caption

_INACTIVE = -0.12  # the height of what is inactive; the coordinates go from 0 to 1
_LOST = 1.08  # the height of what has no error, and between one outcome and the next
_STEP = 0.08
_MOST_CHOICES = 12
_LONGEST_TITLE = 130  # characters
# Words beside a point, in matplotlib's words.
_BESIDE: dict[str, Any] = {
    "textcoords": "offset points",
    "va": "center",
    "fontsize": LABEL_POINTS,
    "annotation_clip": False,
}
# The same on an axis. Lines end at a label: none runs through it.
_ON_AXIS = _BESIDE | {
    "fontsize": LABEL_POINTS - 1,
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    "zorder": 3,
}
_SPREAD = 0.12  # how far a line may cross from its choice, in distances between choices


@styled()
def parallel_coordinates(
    dimensions: Sequence[Hyperparameter],
    trials: Sequence[RankedTrial],
    tally: Tally,
    caption: Caption,
) -> Figure:
    """Every trial, sorted by rank, as a line through its hyperparameters to its error.

    Darker is better; the best is orange. Where a hyperparameter is inactive, the line runs below
    its axis; without an error, it ends above the last one.
    """
    n_ranked = sum(one.rank is not None for one in trials)
    what = f"A line for each trial: {shades_in_words(trials)}"
    key = key_of(what, tally)
    figure = page.new_page(_title(dimensions, trials), key, caption, height=5.0)
    axes = page.add_axes(figure, LEFT, BOTTOM, 6.3, 3.8)
    lost = [name for name in LOST if any(o.outcome == name and o.error is None for o in trials)]
    conditional = [
        place
        for place, one in enumerate(dimensions)
        if any(one.name not in trial.values for trial in trials)
    ]
    top = _LOST + _STEP * (len(lost) - 1) if lost else 1.0
    axes.set(xlim=(0, len(dimensions) or 1), ylim=(1.4 * _INACTIVE if conditional else -0.03, top))
    axes.grid(visible=False)
    axes.set_axis_off()
    if not trials:
        page.say(axes, "no trial yet")
        return figure
    low, high = page.error_range([one.error for one in trials if one.error is not None], 0.03)
    for place, one in enumerate(dimensions):
        _draw_axis(axes, place, in_words(one.name), _ticks(one), n_choices=len(one.choices))
    ticks = [
        ((math.log10(tick) - low) / (high - low), f"{100 * tick:g} %")
        for tick in page.percent_ticks(low, high)
    ]
    _draw_axis(axes, len(dimensions), "validation error", ticks, is_last=True)
    crossings = [_heights(dimension, trials) for dimension in dimensions]
    for index, one in reversed(list(enumerate(trials))):
        heights = [crossing[index] for crossing in crossings]
        if one.error is None or one.rank is None:
            heights.append(_LOST + _STEP * lost.index(one.outcome))
            axes.plot(
                len(dimensions), heights[-1], markersize=5, clip_on=False, **LOST[one.outcome]
            )
        else:
            heights.append((math.log10(max(one.error, 10**low)) - low) / (high - low))
        best = one.rank == 1
        marks: dict[str, Any] = {"marker": "o", "markersize": 5, "zorder": 2.7} if best else {}
        axes.plot(heights, clip_on=False, **line_style(one, n_ranked), **marks)
    for index, name in enumerate(lost):
        axes.annotate(name, (len(dimensions), _LOST + _STEP * index), (7, 0), **_BESIDE)
    for place in conditional:
        axes.annotate("inactive", (place, _INACTIVE), (-5, 0), ha="right", **_ON_AXIS)
    rank_scale(figure, n_ranked, left=LEFT + 0.55, bottom=BOTTOM + 3.95)
    return figure


def _title(dimensions: Sequence[Hyperparameter], trials: Sequence[RankedTrial]) -> str:
    """The best trial, in words if they fit into two lines."""
    best = trials[0] if trials else None
    if best is None or best.error is None:
        return "Hyperparameters and error of all trials"
    values = []
    for name in (one.name for one in dimensions if one.name in best.values):
        value = best.values[name]
        text = page.plain(float(f"{value:.3g}")) if isinstance(value, float) else ""
        values.append(f"{in_words(name)} {text or value_text(name, value)}")
    title = f"Best of {counted(len(trials), 'trial')}: {percent(best.error)}"
    full = f"{title} with {', '.join(values)}"
    return full if len(full) <= _LONGEST_TITLE else title


def _ticks(one: Hyperparameter) -> list[tuple[float, str]]:
    """Heights and texts on the axis of a hyperparameter: a few round numbers, or its choices."""
    if one.choices:
        names = [value_text(one.name, choice) for choice in one.choices]
        heights = [_height_of_choice(index, len(names)) for index in range(len(names))]
        step = math.ceil(len(names) / _MOST_CHOICES)
        return list(zip(heights, names, strict=True))[::step]
    lower, upper = one.lower or 0.0, one.upper or 0.0
    if one.scale == "log":
        values = page.log_ticks(lower, upper)
    else:
        every = MaxNLocator(nbins=6, integer=one.whole).tick_values(lower, upper)
        values = [float(value) for value in every if lower <= value <= upper]
    return [(_height_of(one, value), page.plain(value)) for value in values]


def _heights(dimension: Hyperparameter, trials: Sequence[RankedTrial]) -> list[float]:
    """Where each trial's line crosses the axis of a hyperparameter."""
    heights = []
    values = [one.values.get(dimension.name) for one in trials]
    for index, value in enumerate(values):
        if value is None:
            heights.append(_INACTIVE)
        elif not dimension.choices:
            heights.append(_height_of(dimension, value))
        else:
            # Side by side, the best at the bottom, so that a line can be followed through a choice.
            same = [other for other, its in enumerate(values) if its == value]
            place = dimension.choices.index(value) + beside(same.index(index), len(same), _SPREAD)
            heights.append(_height_of_choice(place, len(dimension.choices)))
    return heights


def _height_of(one: Hyperparameter, value: float) -> float:
    """A value's place in its range, from 0 to 1 on its scale."""
    lower, upper = one.lower or 0.0, one.upper or 0.0
    return place_between(lower, upper, value, log=one.scale == "log")


def _height_of_choice(index: float, n_choices: int) -> float:
    return (index + 0.5) / n_choices


def _draw_axis(
    axes: Axes,
    place: int,
    name: str,
    ticks: Sequence[tuple[float, str]],
    *,
    n_choices: int = 0,
    is_last: bool = False,
) -> None:
    """A vertical line with ticks, their labels beside it where it is emptier, its name below.

    Between choices there is nothing: each is a bar of its own.
    """
    if not n_choices:
        axes.plot([place, place], [0, 1], color=INK, linewidth=0.8, zorder=2.6, clip_on=False)
    for height, text in ticks:
        if n_choices:
            reach = 1.15 * _SPREAD / n_choices
            bar = [height - reach, height + reach]
            axes.plot([place, place], bar, color=INK, linewidth=2.5, zorder=2.6, clip_on=False)
        else:
            axes.plot(place, height, "_", color=INK, markersize=6, zorder=2.6, clip_on=False)
        side, align = (7, "left") if is_last else (-5, "right")
        axes.annotate(text, (place, height), (side, 0), ha=align, **_ON_AXIS)
    style = _BESIDE | {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top"}
    axes.annotate("\n".join(textwrap.wrap(name, 10)), (place, 0), (0, -6), **style)
