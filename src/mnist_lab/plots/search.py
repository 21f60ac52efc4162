"""The figures of a search: the best configuration so far, and what the search space samples."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import blended_transform_factory

from mnist_lab.curves import active_shares, describe, percent
from mnist_lab.plots.labels import in_words, look, remark, value_text
from mnist_lab.plots.page import add_axes, integer_axis, new_page, percent_axis, say
from mnist_lab.plots.style import BLUE, BOTTOM, GREY, INK, LABEL_POINTS, LEFT, RED, SKY, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from mnist_lab import curves
    from mnist_lab.plots.page import Caption
    from mnist_lab.records import Trial


@styled()
def incumbent(numbers: curves.Incumbents, caption: Caption) -> Figure:
    """Every final error as a dot, the best so far as a line, the incumbent in words.

    Where the search is counted in epochs, a dot's marker and shade tell its budget.
    """
    points, by_epochs = numbers.points, numbers.counted_in == "epochs"
    what = "Error after the last epoch"
    if by_epochs:
        what = "Dots: error at each budget; line: lowest so far; ring: lowest at the largest"
    key = "; ".join(filter(None, (what, remark(numbers.tally))))
    budgets = sorted({point.budget for point in points if point.error is not None})
    # Two lines of the legend for more than three budgets.
    n_lines = 1 + (by_epochs and len(budgets) > 3)  # noqa: PLR2004 - seven words fill a line
    height = 4.8 + 0.2 * n_lines
    figure = new_page("Best configuration found so far", f"{key}.", caption, height=height)
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
    edge = blended_transform_factory(axes.transData, axes.transAxes)
    for fate, marker, color in (("failed", "x", INK), ("diverged", "^", RED)):
        at = [point.at for point in points if point.fate == fate]
        if at:
            axes.plot(at, [0.96] * len(at), marker, color=color, transform=edge, label=fate)
    if numbers.incumbent and numbers.at:
        _mark_incumbent(axes, numbers.counted_in, numbers.at, numbers.incumbent)
    if points:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.01, 1.0),
            ncols=math.ceil(len(axes.get_legend_handles_labels()[0]) / n_lines),
            columnspacing=1.1,
            handletextpad=0.4,
            frameon=False,
        )
    return figure


def _draw_budgets(axes: Axes, points: Sequence[curves.SearchPoint], budgets: Sequence[int]) -> None:
    """The errors of each budget in a marker of its own, the larger the darker."""
    shades = LinearSegmentedColormap.from_list("budgets", ("#9AD0F0", BLUE, "#00253D"))
    for index, budget in enumerate(budgets):
        done = [(p.at, p.error) for p in points if p.budget == budget and p.error is not None]
        axes.plot(
            *zip(*done, strict=True),
            look(index)[1],
            color=shades(index / max(1, len(budgets) - 1)),
            markersize=4.5,
            label=f"{budget} epoch{'s' * (budget > 1)}",
        )


def _mark_incumbent(axes: Axes, counted_in: curves.SearchAxis, at: int, trial: Trial) -> None:
    """A ring around the incumbent, and its configuration below it, where no other trial can be."""
    error = trial.valid_error or 0.0
    y = max(error, axes.get_ylim()[0])  # a logarithmic axis has no place for an error of 0
    axes.plot(at, y, "o", color=RED, markersize=10, fillstyle="none", label="incumbent")
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


@styled()
def search_space(
    hyperparameters: Sequence[curves.SampledHyperparameter], caption: Caption
) -> Figure:
    """How often each value of each hyperparameter is drawn, one panel for each.

    The shares of one that is not always active are those of the draws in which it is.
    """
    n_rows = math.ceil(len(hyperparameters) / 2) or 1
    log = any(one.scale == "log" and one.distribution == "uniform" for one in hyperparameters)
    key = "each doubling is equally likely, hence the flat tops; it does not mean powers of two."
    # Room below each panel for its note.
    noted = any(_note(*each) for each in _with_shares(hyperparameters))
    pitch = 2.3 + 0.15 * noted
    title, height = "What the search space samples", pitch * n_rows + 0.35
    figure = new_page(title, f"Logarithmic: {key}" if log else "", caption, height=height)
    for index, (one, share) in enumerate(_with_shares(hyperparameters)):
        row, column = divmod(index, 2)
        bottom = BOTTOM - 0.1 + 0.15 * noted + pitch * (n_rows - 1 - row)
        axes = add_axes(figure, LEFT + 3.7 * column, bottom, 3.0, 1.5)
        (_draw_choices if one.scale == "choice" else _draw_range)(axes, one)
        axes.set_xlabel(_note(one, share), fontsize=LABEL_POINTS)
    return figure


def _with_shares(
    hyperparameters: Sequence[curves.SampledHyperparameter],
) -> list[tuple[curves.SampledHyperparameter, float]]:
    return list(zip(hyperparameters, active_shares(hyperparameters), strict=True))


def _note(one: curves.SampledHyperparameter, share: float) -> str:
    """What keeps the draws from being all and even; empty if nothing does."""
    active = "" if share == 1 else f"active in {100 * share:.0f} % of draws"
    return "; ".join(filter(None, (active, "some combinations forbidden" if one.forbids else "")))


def _draw_range(axes: Axes, one: curves.SampledHyperparameter) -> None:
    """A histogram of the draws on their own scale, the bounds, the median."""
    lower, upper = one.lower or 0.0, one.upper or 0.0
    log = one.scale == "log"
    name = in_words(one.name)
    how = "logarithmic" if log else "linear"
    how += "" if one.distribution == "uniform" else f", {one.distribution}"
    axes.set_title(f"{name}: {lower:g} to {upper:g}, {how}", fontsize=9, loc="left")
    axes.set_ylabel("% per doubling" if log else "% per tenth of range", fontsize=LABEL_POINTS)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(_log_ticks(lower, upper)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    for bound in (lower, upper):
        axes.axvline(bound, color=GREY, linestyle=":", linewidth=1)
    if not one.draws:
        axes.set_xlim(lower, upper)
        say(axes, "no draw")
        return
    draws = np.asarray(one.draws, dtype=float)
    edges = _bin_edges(draws, lower, upper, log=log)
    widths = np.diff(np.log2(edges) if log else 10 * edges / (edges[-1] - edges[0]))
    density = 100 * np.histogram(draws, edges)[0] / len(draws) / widths
    axes.stairs(density, edges, fill=True, color=SKY)
    axes.set_ylim(0, 1.3 * density.max())
    median = float(np.median(draws))
    axes.axvline(median, color=RED)
    axes.annotate(
        f"median {median:.3g}",
        (median, 1.0),
        (4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        fontsize=LABEL_POINTS,
    )


def _log_ticks(lower: float, upper: float) -> list[float]:
    """Decades in a wide range, doublings from `lower` in a narrow one."""
    wide = 100
    if upper / lower >= wide:
        powers = range(
            math.ceil(math.log10(lower) - 1e-9), math.floor(math.log10(upper) + 1e-9) + 1
        )
        return [10.0**power for power in powers]
    return [lower * 2.0**power for power in range(math.floor(math.log2(upper / lower) + 1e-9) + 1)]


def _bin_edges(draws: NDArray[Any], lower: float, upper: float, *, log: bool) -> NDArray[Any]:
    """Bins of equal width on the hyperparameter's scale; between whole numbers if all are whole."""
    n_bins = 30
    whole = not np.any(draws % 1)
    low, high = (lower - 0.5, upper + 0.5) if whole else (lower, upper)
    edges = (np.geomspace if log else np.linspace)(low, high, n_bins + 1)
    # Half-way between two whole numbers; several edges that fall there are one.
    return np.unique(np.floor(edges + 1e-9) + 0.5) if whole else edges


def _draw_choices(axes: Axes, one: curves.SampledHyperparameter) -> None:
    """A bar for each choice, its share of the draws, and a line where its probability is."""
    n_choices = len(one.choices)
    counted = f"{n_choices} choice{'s' * (n_choices > 1)}"
    axes.set_title(f"{in_words(one.name)}: {counted}; line: expected", fontsize=9, loc="left")
    axes.set_ylabel("% of draws", fontsize=LABEL_POINTS)
    axes.grid(visible=False, axis="x")
    places = range(n_choices)
    expected = [100 * share for share in one.probabilities or [1 / n_choices] * n_choices]
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
    axes.hlines(expected, [place - 0.3 for place in places], [place + 0.3 for place in places], RED)
    names = [value_text(one.name, choice) for choice in one.choices]
    # An axis is 40 characters wide.
    step = math.ceil(n_choices * (max(map(len, names)) + 1.5) / 40)
    axes.set_xticks(places[::step], names[::step])
    axes.set(xlim=(-0.6, n_choices - 0.4), ylim=(0, 1.3 * max(*shares, *expected)))
