"""The figure of a test: which digits were taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from mnist_lab.curves import percent
from mnist_lab.plots.page import add_axes, new_page, say
from mnist_lab.plots.style import BOTTOM, GREY, INK, LABEL_POINTS, LEFT, LIGHT, RED, SKY, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from mnist_lab import curves
    from mnist_lab.plots.page import Caption


@styled()
def confusion(numbers: curves.Confusion, caption: Caption) -> Figure:
    """Which digits were taken for which (counts of images), and the error of each class."""
    error, interval = numbers.error, numbers.interval
    if error is None or interval is None:
        figure = new_page("Test error", "", caption, height=4.6)
        say(add_axes(figure, LEFT, BOTTOM, 6.8, 3.6), "no test result")
        return figure
    of, summed = (" of the mean", f", summed over {error.n} repeats") if error.n > 1 else ("", "")
    figure = new_page(
        f"Test error {percent(error.mean, error.sd)} "
        f"(95 % interval{of}: {percent(interval.low)} to {percent(interval.high)})",
        f"Counts of {numbers.n_images:,} images{summed}; grey: right; empty: none.",
        caption,
        height=6.1,
    )
    matrix_axes = add_axes(figure, LEFT, BOTTOM, 5.0, 5.0)
    _draw_matrix(matrix_axes, np.array(numbers.matrix))
    _draw_class_errors(add_axes(figure, LEFT + 5.15, BOTTOM, 1.5, 5.0), numbers.class_errors)
    return figure


def _draw_matrix(axes: Axes, matrix: NDArray[np.int64]) -> None:
    """The counts `(10, 10)`, row true and column predicted; the diagonal is muted."""
    n_classes = len(matrix)
    wrong = np.where(np.eye(n_classes, dtype=bool), np.nan, matrix)
    shades = LinearSegmentedColormap.from_list("wrong", ["white", RED]).with_extremes(bad=LIGHT)
    most = max(1, int(np.nanmax(wrong)))
    axes.pcolormesh(wrong, cmap=shades, vmin=0, vmax=most, edgecolors="white", linewidth=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = GREY if row == column else INK
            at = column + 0.5, row + 0.5
            axes.text(*at, f"{count:,}", ha="center", va="center", color=color)
    middles = np.arange(n_classes) + 0.5
    axes.set_xticks(middles, [str(digit) for digit in range(n_classes)])
    axes.set_yticks(middles, [str(digit) for digit in range(n_classes)])
    axes.set(xlabel="predicted digit", ylabel="true digit", ylim=(n_classes, 0))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _draw_class_errors(axes: Axes, errors: Sequence[float | None]) -> None:
    """A bar for each class, in line with its row of the matrix."""
    longest = max((error for error in errors if error), default=1.0)
    for digit, error in enumerate(errors):
        share = (error or 0.0) / longest
        axes.barh(digit + 0.5, share, height=0.6, color=SKY)
        text = "no image" if error is None else percent(error)
        axes.text(share + 0.05, digit + 0.5, text, va="center", fontsize=LABEL_POINTS)
    axes.set(xlim=(0, 1.7), ylim=(len(errors), 0), xticks=[], yticks=[])
    axes.set_xlabel("error of the true digit")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
