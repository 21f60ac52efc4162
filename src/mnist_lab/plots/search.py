"""The figures of searches: the best configuration so far, and what it took to find it."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from matplotlib.colors import LinearSegmentedColormap

from mnist_lab.plots.labels import key_of, look
from mnist_lab.plots.page import add_axes, integer_axis, new_page, on_axis, percent_axis, say
from mnist_lab.plots.style import BLUE, BOTTOM, LABEL_POINTS, LEFT, LOST, RED, RING, SKY, styled
from mnist_lab.words import counted, describe, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnist_lab.analysis.history import Incumbents, SearchAxis, SearchPoint
    from mnist_lab.plots.page import Caption
    from mnist_lab.records import Trial


@styled()
def incumbent(numbers: Incumbents, caption: Caption) -> Figure:
    """Every final error as a dot, the best so far as a line, the incumbent in words.

    Where the search is counted in epochs, a dot's marker and shade tell its budget.
    """
    points, by_epochs = numbers.points, numbers.counted_in == "epochs"
    what = "Error after the last epoch"
    if by_epochs:
        what = "Dots: error at each budget; line: lowest so far; ring: lowest at the largest"
    budgets = sorted({point.budget for point in points if point.error is not None})
    # Two lines of the legend for more than three budgets.
    n_lines = 1 + (by_epochs and len(budgets) > 3)  # noqa: PLR2004 - seven words fill a line
    height = 4.8 + 0.2 * n_lines
    figure = new_page(
        "Best configuration found so far", key_of(what, numbers.tally), caption, height=height
    )
    axes = add_axes(figure, LEFT, BOTTOM, 6.9, 3.7)
    done = [(point.at, point.error) for point in points if point.error is not None]
    best = [(p.at, p.best_so_far) for p in points if p.best_so_far is not None]
    # Room below for the incumbent's configuration, above for the trials without an error.
    percent_axis(axes, [error for _, error in done], below=0.2, above=0.1)
    xlabel = "epochs trained, all trials together" if by_epochs else "iteration"
    axes.set(xlabel=xlabel, ylabel="validation error")
    if not done:
        say(axes, "no trial is complete" if points else "no trial yet")
    elif by_epochs:
        _draw_budgets(axes, points, budgets)
    else:
        axes.plot(*zip(*done, strict=True), "o", color=SKY, markersize=4.5, label="trial")
    if done:
        axes.step(*zip(*best, strict=True), where="post", color=BLUE, label="best so far")
    integer_axis(axes, points[-1].at if points else 0)
    if by_epochs and points:
        axes.set_xlim(-0.02 * points[-1].at, 1.02 * points[-1].at)
    for outcome in ("failed", "diverged"):
        at = [point.at for point in points if point.outcome == outcome]
        if at:
            style = {"transform": axes.get_xaxis_transform(), "label": outcome} | LOST[outcome]
            axes.plot(at, [0.96] * len(at), linestyle="", **style)
    if numbers.incumbent and numbers.at:
        _mark_incumbent(axes, numbers.counted_in, numbers.at, numbers.incumbent)
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


def _draw_budgets(axes: Axes, points: Sequence[SearchPoint], budgets: Sequence[int]) -> None:
    """The errors of each budget in a marker of its own, the larger the darker."""
    shades = LinearSegmentedColormap.from_list("budgets", ("#9AD0F0", BLUE, "#00253D"))
    for index, budget in enumerate(budgets):
        done = [(p.at, p.error) for p in points if p.budget == budget and p.error is not None]
        axes.plot(
            *zip(*done, strict=True),
            look(index)[1],
            color=shades(index / max(1, len(budgets) - 1)),
            markersize=4.5,
            label=counted(budget, "epoch"),
        )


def _mark_incumbent(axes: Axes, counted_in: SearchAxis, at: int, trial: Trial) -> None:
    """A ring around the incumbent, and its configuration below it, where no other trial can be."""
    error = trial.valid_error or 0.0
    y = on_axis(axes, error)
    axes.plot(at, y, linestyle="", label="incumbent", **RING)
    left, right = axes.get_xlim()
    share = (at - left) / (right - left)
    place = f"after {at} epochs" if counted_in == "epochs" else f"iteration {at}"
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
