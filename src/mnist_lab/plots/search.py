"""The figures of a search: the best configuration so far, and what the search space samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import blended_transform_factory

from mnist_lab.curves import describe, percent
from mnist_lab.plots.labels import in_words, remark, value_text
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
    """Every trial's final error as a dot, the best so far as a line, the incumbent in words."""
    points = numbers.points
    key = "; ".join(filter(None, ("Error after the last epoch", remark(numbers.tally))))
    figure = new_page("Best configuration found so far", f"{key}.", caption, height=5.0)
    axes = add_axes(figure, LEFT, BOTTOM, 6.9, 3.7)
    done = [(point.iteration, point.error) for point in points if point.error is not None]
    best = [(p.iteration, p.best_so_far) for p in points if p.best_so_far is not None]
    # Room below for the incumbent's configuration, above for the trials without an error.
    percent_axis(axes, [error for _, error in done], below=0.2, above=0.1)
    axes.set(xlabel="iteration", ylabel="validation error")
    if not done:
        say(axes, "no trial is complete" if points else "no trial yet")
    else:
        axes.plot(*zip(*done, strict=True), "o", color=SKY, markersize=4.5, label="trial")
        axes.step(*zip(*best, strict=True), where="post", color=BLUE, label="best so far")
    integer_axis(axes, len(points))
    edge = blended_transform_factory(axes.transData, axes.transAxes)
    for fate, marker, color in (("failed", "x", INK), ("diverged", "^", RED)):
        at = [point.iteration for point in points if point.fate == fate]
        if at:
            axes.plot(at, [0.96] * len(at), marker, color=color, transform=edge, label=fate)
    if numbers.incumbent and numbers.iteration:
        _mark_incumbent(axes, numbers.iteration, numbers.incumbent)
    if points:
        axes.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=5, frameon=False)
    return figure


def _mark_incumbent(axes: Axes, iteration: int, trial: Trial) -> None:
    """A ring around the incumbent, and its configuration below it, where no other trial can be."""
    error = trial.valid_error or 0.0
    y = max(error, axes.get_ylim()[0])  # a logarithmic axis has no place for an error of 0
    axes.plot(iteration, y, "o", color=RED, markersize=10, fillstyle="none", label="incumbent")
    left, right = axes.get_xlim()
    share = (iteration - left) / (right - left)
    axes.annotate(
        f"iteration {iteration}: {percent(error)}\n{describe(trial.configuration)}",
        (iteration, y),
        (min(max(share, 0.32), 0.68), 0.11),
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
    """How often each value of each hyperparameter is drawn, one panel for each."""
    n_rows = math.ceil(len(hyperparameters) / 2) or 1
    log = any(one.scale == "log" for one in hyperparameters)
    key = "each doubling is equally likely, hence the flat tops; it does not mean powers of two."
    title, height = "What the search space samples", 2.3 * n_rows + 0.35
    figure = new_page(title, f"Logarithmic: {key}" if log else "", caption, height=height)
    for index, one in enumerate(hyperparameters):
        row, column = divmod(index, 2)
        bottom = BOTTOM - 0.1 + 2.3 * (n_rows - 1 - row)
        axes = add_axes(figure, LEFT + 3.7 * column, bottom, 3.0, 1.5)
        (_draw_choices if one.scale == "choice" else _draw_range)(axes, one)
    return figure


def _draw_range(axes: Axes, one: curves.SampledHyperparameter) -> None:
    """A histogram of the draws on their own scale, the bounds, the median."""
    lower, upper = one.lower or 0.0, one.upper or 0.0
    log = one.scale == "log"
    name = in_words(one.name)
    how = "logarithmic" if log else "linear"
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
    name = in_words(one.name)
    axes.set_title(f"{name}: {len(one.choices)} choices; line: expected", fontsize=9, loc="left")
    axes.set_ylabel("% of draws", fontsize=LABEL_POINTS)
    axes.grid(visible=False, axis="x")
    places = range(len(one.choices))
    expected = [100 * share for share in one.probabilities or [1 / len(places)] * len(places)]
    shares = [100 * one.draws.count(choice) / (len(one.draws) or 1) for choice in one.choices]
    bars = axes.bar(places, shares, width=0.5, color=SKY)
    axes.bar_label(bars, [f"{share:.1f} %" for share in shares], padding=6, fontsize=8)
    axes.hlines(expected, [place - 0.3 for place in places], [place + 0.3 for place in places], RED)
    axes.set_xticks(places, [value_text(one.name, choice) for choice in one.choices])
    axes.set(xlim=(-0.6, len(places) - 0.4), ylim=(0, 1.3 * max(*shares, *expected)))
