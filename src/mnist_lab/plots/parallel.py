"""The figure of a search in parallel coordinates: a line through each trial's hyperparameters."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.ticker import MaxNLocator

from mnist_lab.analysis.sampling import place_between
from mnist_lab.plots.labels import remark
from mnist_lab.plots.page import add_axes, log_ticks, new_page, percent_ticks, say
from mnist_lab.plots.style import BOTTOM, INK, LABEL_POINTS, LEFT, styled
from mnist_lab.plots.trials import LOST, line_style, rank_scale, shades_in_words
from mnist_lab.words import in_words, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnist_lab.analysis.history import RankedTrial
    from mnist_lab.analysis.outcomes import Tally
    from mnist_lab.analysis.sampling import SampledHyperparameter
    from mnist_lab.plots.page import Caption

_INACTIVE = -0.12  # the height of what is inactive; the coordinates go from 0 to 1
_LOST = 1.08  # the height of what has no error, and between one outcome and the next
_STEP = 0.08
_MOST_CHOICES = 12
_SPREAD = 0.25  # how far a line may cross from its choice, in distances between choices


class _Coordinate(NamedTuple):
    """An axis: the heights of its ticks, from 0 to 1, and their labels."""

    name: str
    ticks: list[tuple[float, str]]


@styled()
def parallel_coordinates(
    dimensions: Sequence[SampledHyperparameter],
    trials: Sequence[RankedTrial],
    tally: Tally,
    caption: Caption,
) -> Figure:
    """Every trial as a line from hyperparameter to hyperparameter and to its error.

    The better, the darker; the incumbent is red. Where a hyperparameter is inactive, the line runs
    below its axis; where there is no error, it ends above the last one.

    Args:
        dimensions: the hyperparameters of the search space.
        trials: by rank.
        tally: of the trials.
        caption: where the figure comes from.
    """
    n_ranked = sum(one.rank is not None for one in trials)
    what = f"A line for each trial: {shades_in_words(trials)}"
    key = "; ".join(filter(None, (what, remark(tally))))
    figure = new_page("Hyperparameters and error of all trials", f"{key}.", caption, height=5.0)
    axes = add_axes(figure, LEFT, BOTTOM, 6.3, 3.8)
    lost = [name for name in LOST if any(o.outcome == name and o.error is None for o in trials)]
    conditional = any(one.name not in trial.values for one in dimensions for trial in trials)
    top = _LOST + _STEP * (len(lost) - 1) if lost else 1.0
    axes.set(xlim=(0, len(dimensions) or 1), ylim=(1.4 * _INACTIVE if conditional else -0.03, top))
    axes.grid(visible=False)
    axes.set_axis_off()
    if not trials:
        say(axes, "no trial yet")
        return figure
    low, high = _error_range([one.error for one in trials if one.error is not None])
    for place, one in enumerate(dimensions):
        _draw_axis(axes, place, _coordinate(one))
    ticks = [
        ((math.log10(tick) - low) / (high - low), f"{100 * tick:g} %")
        for tick in percent_ticks(low, high)
    ]
    _draw_axis(axes, len(dimensions), _Coordinate("validation error", ticks), is_last=True)
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
        axes.annotate(
            name,
            (len(dimensions), _LOST + _STEP * index),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize=LABEL_POINTS,
            annotation_clip=False,
        )
    if conditional:
        axes.annotate(
            "inactive",
            (0, _INACTIVE),
            (-4, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=LABEL_POINTS - 1,
            annotation_clip=False,
        )
    rank_scale(figure, n_ranked, left=LEFT + 0.55, bottom=BOTTOM + 3.95)
    return figure


def _error_range(errors: Sequence[float]) -> tuple[float, float]:
    """The powers of ten between which the errors lie; at least a factor of two apart."""
    positive = [error for error in errors if error > 0] or [0.01, 1.0]
    low, high = math.log10(min(positive)), math.log10(max(positive))
    margin = max(0.03 * (high - low), (0.3 - (high - low)) / 2)
    return low - margin, min(high + margin, 0.03)


def _coordinate(one: SampledHyperparameter) -> _Coordinate:
    """The axis of a hyperparameter, with a few round numbers, or with its choices."""
    name = in_words(one.name)
    if one.choices:
        names = [value_text(one.name, choice) for choice in one.choices]
        heights = [_height_of_choice(index, len(names)) for index in range(len(names))]
        step = math.ceil(len(names) / _MOST_CHOICES)
        return _Coordinate(name, list(zip(heights, names, strict=True))[::step])
    lower, upper = one.lower or 0.0, one.upper or 0.0
    if one.scale == "log":
        values = log_ticks(lower, upper)
    else:
        every = MaxNLocator(nbins=6, integer=one.whole).tick_values(lower, upper)
        values = [float(value) for value in every if lower <= value <= upper]
    return _Coordinate(name, [(_height_of(one, value), f"{value:g}") for value in values])


def _heights(dimension: SampledHyperparameter, trials: Sequence[RankedTrial]) -> list[float]:
    """Where each trial's line crosses the axis of a hyperparameter."""
    values = [one.values.get(dimension.name) for one in trials]
    if not dimension.choices:
        return [_INACTIVE if value is None else _height_of(dimension, value) for value in values]
    heights = []
    for index, value in enumerate(values):
        if value is None:
            heights.append(_INACTIVE)
            continue
        # Side by side, the best at the bottom, so that a line can be followed through a choice.
        same = [other for other, its in enumerate(values) if its == value]
        shift = _SPREAD * ((2 * same.index(index) + 1) / len(same) - 1)
        place = dimension.choices.index(value)
        heights.append(_height_of_choice(place + shift, len(dimension.choices)))
    return heights


def _height_of(one: SampledHyperparameter, value: float) -> float:
    """A value's place in its range, from 0 to 1 on its scale."""
    lower, upper = one.lower or 0.0, one.upper or 0.0
    return place_between(lower, upper, value, log=one.scale == "log")


def _height_of_choice(index: float, n_choices: int) -> float:
    return (index + 0.5) / n_choices


def _draw_axis(axes: Axes, place: int, one: _Coordinate, *, is_last: bool = False) -> None:
    """A vertical line with ticks, their labels beside it where it is emptier, its name below."""
    axes.plot([place, place], [0, 1], color=INK, linewidth=0.8, zorder=2.6)
    for height, text in one.ticks:
        axes.plot(place, height, "_", color=INK, markersize=6, zorder=2.6)
        axes.annotate(
            text,
            (place, height),
            (7 if is_last else -5, 0),
            textcoords="offset points",
            ha="left" if is_last else "right",
            va="center",
            fontsize=LABEL_POINTS - 1,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
            zorder=3,
        )
    axes.annotate(
        "\n".join(textwrap.wrap(one.name, 10)),
        (place, 0),
        (0, -6),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=LABEL_POINTS,
        annotation_clip=False,
    )
