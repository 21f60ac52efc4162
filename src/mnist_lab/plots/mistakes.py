"""The figures of a test: which classes were mistaken for which, and what they look like."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from mnist_lab.plots import page
from mnist_lab.plots.page import BLUE, BOTTOM, GREY, INK, LABEL_POINTS, LEFT, LIGHT, SKY, styled
from mnist_lab.words import counted, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from mnist_lab.analysis.confusion import Confusion
    from mnist_lab.plots.page import Caption
    from mnist_lab.records import Mistake


_IN_ROW = 10
_MOST_SHOWN = 30
_ALMOST = 99  # percent
_SIDE = 0.62  # inches, the side of an image


@styled()
def confusion(numbers: Confusion, caption: Caption) -> Figure:
    """Which classes were mistaken for which (counts of images), and the error of each class."""
    error, interval = numbers.error, numbers.interval
    if error is None:
        figure = page.new_page("Test error", "", caption, height=4.6)
        page.say(page.add_axes(figure, LEFT, BOTTOM, 6.8, 3.6), "no test result")
        return figure
    room = 0.5 if _are_words(caption.classes) else 0.0  # inches, for the names of the classes
    of, summed = (" of the mean", f", summed over {error.n} repeats") if error.n > 1 else ("", "")
    known = ""
    if interval:
        low, high = map(percent, interval)
        known = f" (95 % interval{of}: {low} to {high})"
    often = ""
    if numbers.most_often is not None:
        most, true, predicted = numbers.most_often
        names = caption.classes
        often = f" Most often, {names[true]} is taken for {names[predicted]}: {most:,} times."
    figure = page.new_page(
        f"Test error {percent(error.mean, error.sd)}{known}",
        f"{numbers.n_images:,} images{summed}; grey: correct.{often}",
        caption,
        height=6.1 + room,
    )
    matrix_axes = page.add_axes(figure, LEFT + room, BOTTOM + room, 5.0 - room, 5.0)
    _draw_matrix(matrix_axes, np.array(numbers.matrix), caption)
    _draw_class_errors(
        page.add_axes(figure, LEFT + 5.15, BOTTOM + room, 1.5, 5.0),
        numbers.class_errors,
        caption.noun,
    )
    return figure


@styled()
def mistakes(
    wrong: Sequence[tuple[Mistake, int]],
    images: NDArray[np.uint8],
    numbers: Confusion,
    caption: Caption,
) -> Figure:
    """The misclassified images: the true class, the predicted one, and in how many repeats.

    For a single training it shows the network's confidence instead.

    Args:
        wrong: at least one mistake, each with how many repeats made it, worst first; as many are
            shown as fit.
        images: all test images, shape `(n, 28, 28)`, 0 to 255.
        numbers: the whole test.
        caption: the origin of the figure.
    """
    shown, noun, names = wrong[:_MOST_SHOWN], caption.noun, caption.classes
    n_rows = math.ceil(len(shown) / _IN_ROW)
    n_repeats, n_wrong = len(numbers.errors), numbers.n_wrong
    what = "test digit" if noun == "digit" else "test image"
    if n_repeats == 1:
        key = f"Below each: true → predicted {noun}, and the network's confidence."
        which = "" if len(shown) == n_wrong else f"; the {len(shown)} most confident"
        title = f"{counted(n_wrong, what)} misclassified{which}"
    else:
        is_cut = sum(n for _, n in wrong) < n_wrong
        erred = f"{'at least ' * is_cut}how many of {n_repeats} networks erred"
        key = f"Below each: true → predicted {noun}, and {erred}."
        if len(shown) < len(wrong):
            key += f" Shown: the worst {len(shown)}."
        n_all = sum(n == n_repeats for _, n in wrong)
        title = (
            f"{counted(len(wrong), what)} misclassified by some of {n_repeats} networks, "
            f"{n_all or 'none'} by all"
        )
        if is_cut:
            title = f"The {counted(len(shown), what)} that most of {n_repeats} networks get wrong"
    # A word has a line of its own.
    arrow, lines = ("\n→ ", 3) if _are_words(names) else (" → ", 2)
    pitch = _SIDE + 0.18 + 0.12 * lines
    figure = page.new_page(title, key, caption, height=pitch * n_rows + 0.45)
    for index, (one, n_wrong_in) in enumerate(shown):
        row, column = divmod(index, _IN_ROW)
        left, bottom = 0.3 + 0.75 * column, 0.4 + 0.14 + 0.12 * lines + pitch * (n_rows - 1 - row)
        axes = page.add_axes(figure, left, bottom, _SIDE, _SIDE)
        axes.imshow(images[one.image], cmap="gray_r", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set(visible=True, color=LIGHT)
        # What is almost certain is not called certain.
        share = 100 * one.confidence
        note = f"{share:.0f} %" if share < _ALMOST else f"{min(share, 99.9):.1f} %"
        if n_repeats > 1:
            note = f"{n_wrong_in} of {n_repeats}"
        axes.set_xlabel(
            f"{names[one.true]}{arrow}{names[one.predicted]}\n{note}",
            fontsize=LABEL_POINTS - 1,
        )
    return figure


def _are_words(names: Sequence[str]) -> bool:
    """Whether the names of classes take more room than numbers."""
    return any(len(name) > 3 for name in names)  # noqa: PLR2004 - characters


def _draw_matrix(axes: Axes, matrix: NDArray[np.int64], caption: Caption) -> None:
    """The counts `(10, 10)`, row true and column predicted; the diagonal is muted."""
    n_classes = len(matrix)
    wrong = np.where(np.eye(n_classes, dtype=bool), np.nan, matrix)
    shades = LinearSegmentedColormap.from_list("wrong", ["white", BLUE]).with_extremes(bad=LIGHT)
    most = max(1, int(np.nanmax(wrong)))
    axes.pcolormesh(wrong, cmap=shades, vmin=0, vmax=most, edgecolors="white", linewidth=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            is_dark = count > 0.6 * most
            color = GREY if row == column else "white" if is_dark else INK
            at = column + 0.5, row + 0.5
            axes.text(*at, f"{count:,}", ha="center", va="center", color=color)
    middles = np.arange(n_classes) + 0.5
    names = caption.classes[:n_classes]
    axes.set_xticks(middles, names, rotation=90 if _are_words(names) else 0)
    axes.set_yticks(middles, names)
    axes.set(xlabel=f"predicted {caption.noun}", ylabel=f"true {caption.noun}", ylim=(n_classes, 0))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _draw_class_errors(axes: Axes, errors: Sequence[float | None], noun: str) -> None:
    """A bar for each class, in line with its row of the matrix."""
    longest = max((error for error in errors if error), default=1.0)
    for at, error in enumerate(errors):
        share = (error or 0.0) / longest
        axes.barh(at + 0.5, share, height=0.6, color=SKY)
        text = "no image" if error is None else percent(error)
        axes.text(share + 0.05, at + 0.5, text, va="center", fontsize=LABEL_POINTS)
    axes.set(xlim=(0, 1.7), ylim=(len(errors), 0), xticks=[], yticks=[])
    axes.set_xlabel(f"error of the true {noun}")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
