"""Numbers -> matplotlib figures, in one style, for the screen, print and the colour-blind.

Only matplotlib's objects are used: no pyplot, and its settings change inside an `rc_context` alone.
Every figure says what it shows, which data it comes from, and how many trials it is about; a trial
that failed or diverged is in it too. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
import math
import textwrap
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from mnist_lab.curves import describe, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from mnist_lab import curves
    from mnist_lab.records import Trial

PNG_DPI = 200  # dots per inch

# M. Okabe and K. Ito, "Color Universal Design" (2008), without the yellow that paper swallows.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
_MARKERS = "osD^v"  # five to seven colours: no two of 35 curves look the same
_BLUE, _RED, _SKY = _COLORS[0], _COLORS[1], _COLORS[5]
_INK, _GREY, _LIGHT = "#222222", "#666666", "#E8E8E8"

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": _GREY,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": _LIGHT,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "text.color": _INK,
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "svg.hashsalt": "mnist-lab",
    "text.parse_math": False,  # a data file may be called a$b$
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
}

# Inches, if not said otherwise.
_WIDTH = 8.0
_LEFT = 0.8  # room for the tick labels and the label of the y axis
_BOTTOM = 0.9  # room for those of the x axis, and the caption below
_LINE = 0.18  # one line of small text
_LABEL_POINTS = 8.5  # font size of labels; 72 points are an inch
_KEY_X = 1.06  # of the markers beside the labels, in widths of the axes
_LONGEST_NAME = 70  # characters of a data file's name
_CLAIM = 0.1  # the error that is 90 % accuracy, which the exercise asks about


class Caption(NamedTuple):
    """Where a figure comes from; what is empty is left out.

    `notice` is what the reader must know about the data (`DatasetInfo.notice`) and stands below the
    title; the rest is small print: `n` says how many (`5 repeats`), `version` is of mnist-lab.
    """

    data_name: str
    notice: str
    n: str
    date: str
    version: str


class _End(NamedTuple):
    """The label of what ends at `x` and `y` in data; `y` is None if nothing is drawn."""

    text: str
    color: str
    marker: str
    x: float
    y: float | None


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()  # the figures are the same whatever the user's matplotlibrc says
        mpl.rcParams.update(_STYLE)
        yield


@_style()
def save(figure: Figure) -> dict[str, bytes]:
    """The content of the figure's files, by suffix: `png` at 200 dpi and `svg`."""
    files = {}
    # Dates and matplotlib's version would make each file another one.
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        content = io.BytesIO()
        figure.savefig(content, format=suffix, dpi=PNG_DPI, metadata=metadata)
        files[suffix] = content.getvalue()
    return files


@_style()
def learning_curves(numbers: curves.LearningCurves, caption: Caption) -> Figure:
    """Errors by epoch, one colour for each value: validation solid, training dashed and thin."""
    varied, lines = numbers
    values = [_value_text(varied, one.value) for one in lines]
    which = f", {_name(varied)} {values[0]}" if len(values) == 1 else f" by {_name(varied)}"
    repeated = any(point and point.n > 1 for one in lines for point in one.valid)
    band = "; band: mean ± standard deviation of the repeats" if repeated else ""
    key = f"Solid: validation after each epoch; dashed: training during it{band}."
    figure = _page(f"Validation error{which}", key, caption, height=4.6)
    axes = _axes(figure, _LEFT, _BOTTOM, 5.1, 3.6)
    points = [point for one in lines for point in (*one.valid, *one.train) if point]
    tops = [_top(point) for one in lines for point in one.valid if point]
    _percent_axis(axes, [*(point.mean for point in points), *tops])
    _integer_axis(axes, max((len(one.epochs) for one in lines), default=0))
    axes.set(xlabel="epoch", ylabel="error")
    ends = [_draw_curve(axes, one, values[index], index) for index, one in enumerate(lines)]
    if not points:
        _say(axes, "no trial has finished an epoch" if lines else "no trial yet")
    elif varied == "learning_rate" and axes.get_ylim()[0] < _CLAIM < axes.get_ylim()[1]:
        axes.axhline(_CLAIM, color=_GREY, linewidth=0.8, zorder=1)
        ends.append(_End("90 % accuracy", _GREY, "", axes.get_xlim()[1], _CLAIM))
    _label_ends(axes, ends)
    return figure


def _draw_curve(axes: Axes, curve: curves.LearningCurve, value: str, index: int) -> _End:
    """One value's lines and band; returns the label for their end."""
    color, marker = _look(index)
    lone = len(curve.epochs) == 1  # a dashed line of one point is invisible
    train, valid = (
        [point.mean if point else math.nan for point in points]
        for points in (curve.train, curve.valid)
    )
    axes.plot(curve.epochs, train, "_--" if lone else "--", color=color, linewidth=0.8)
    axes.plot(curve.epochs, valid, marker=marker, markersize=3.5, color=color)
    band = [
        (epoch, point.mean - point.sd, point.mean + point.sd)
        for epoch, point in zip(curve.epochs, curve.valid, strict=True)
        if point and point.sd is not None
    ]
    if band:
        epochs, low, high = zip(*band, strict=True)
        axes.fill_between(epochs, low, high, color=color, alpha=0.18, linewidth=0)
    n_epochs = len(curve.epochs)
    early = f"ends at epoch {n_epochs} of {curve.budget}" if 0 < n_epochs < curve.budget else ""
    last = curve.valid[-1] if curve.valid else None
    text = f"{value}: {percent(last.mean, last.sd)}" if last else value
    # Where no image validates, the label stands at the end of the training error.
    end = last or (curve.train[-1] if curve.train else None)
    label = _lines(text, _remark(curve.tally), early)
    return _End(label, color, marker, n_epochs, end.mean if end else None)


@_style()
def filter_cost(rows: Sequence[curves.SummaryRow], caption: Caption) -> Figure:
    """Final validation error against the seconds an epoch takes, a marker for each filter size."""
    repeated = any(len(row.errors) > 1 for row in rows)
    bars = " Dots: repeats; bars: mean ± standard deviation." if repeated else ""
    key = f"Lower is better, further left is faster.{bars}"
    figure = _page("What a filter size achieves, and what it costs", key, caption, height=4.6)
    axes = _axes(figure, _LEFT, _BOTTOM, 5.1, 3.6)
    axes.set(xlabel="seconds per epoch (median)", ylabel="validation error after the last epoch")
    axes.set_xlim(0, 1.1 * max((row.seconds_per_epoch or 0.0 for row in rows), default=0) or 1)
    tops = [_top(row.error) for row in rows if row.error]
    _percent_axis(axes, [*(error for row in rows for error in row.errors), *tops], below=0.05)
    if not any(row.errors for row in rows):
        _say(axes, "no trial is complete" if rows else "no trial yet")
    _label_ends(axes, [_draw_cost(axes, row, index) for index, row in enumerate(rows)])
    return figure


def _draw_cost(axes: Axes, row: curves.SummaryRow, index: int) -> _End:
    """One filter size's marker, bar and repeats; returns its label."""
    color, marker = _look(index)
    seconds, error = row.seconds_per_epoch, row.error
    size = _value_text("filter_size", row.configuration.filter_size)
    if seconds is None or error is None:
        return _End(_lines(size, _remark(row.tally)), color, marker, 0, None)
    if error.n > 1:
        axes.plot([seconds] * error.n, row.errors, ".", color=color, alpha=0.4)
    axes.errorbar(seconds, error.mean, error.sd, marker=marker, color=color, capsize=5)
    text, cost = f"{size}: {percent(error.mean, error.sd)}", f"{seconds:.3g} s per epoch"
    return _End(_lines(text, cost, _remark(row.tally)), color, marker, seconds, error.mean)


@_style()
def incumbent(numbers: curves.Incumbents, caption: Caption) -> Figure:
    """Every trial's final error as a dot, the best so far as a line, the incumbent in words."""
    points = numbers.points
    key = "; ".join(filter(None, ("Error after the last epoch", _remark(numbers.tally))))
    figure = _page("Best configuration found so far", f"{key}.", caption, height=5.0)
    axes = _axes(figure, _LEFT, _BOTTOM, 6.9, 3.7)
    done = [(point.iteration, point.error) for point in points if point.error is not None]
    best = [(p.iteration, p.best_so_far) for p in points if p.best_so_far is not None]
    # Room below for the incumbent's configuration, above for the trials without an error.
    _percent_axis(axes, [error for _, error in done], below=0.2, above=0.1)
    axes.set(xlabel="iteration", ylabel="validation error")
    if not done:
        _say(axes, "no trial is complete" if points else "no trial yet")
    else:
        axes.plot(*zip(*done, strict=True), "o", color=_SKY, markersize=4.5, label="trial")
        axes.step(*zip(*best, strict=True), where="post", color=_BLUE, label="best so far")
    _integer_axis(axes, len(points))
    edge = blended_transform_factory(axes.transData, axes.transAxes)
    for fate, marker, color in (("failed", "x", _INK), ("diverged", "^", _RED)):
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
    axes.plot(iteration, y, "o", color=_RED, markersize=10, fillstyle="none", label="incumbent")
    left, right = axes.get_xlim()
    share = (iteration - left) / (right - left)
    axes.annotate(
        f"iteration {iteration}: {percent(error)}\n{describe(trial.configuration)}",
        (iteration, y),
        (min(max(share, 0.32), 0.68), 0.11),
        textcoords="axes fraction",
        ha="center",
        va="top",
        fontsize=_LABEL_POINTS,
        arrowprops={"arrowstyle": "-", "color": _RED, "linewidth": 0.8, "shrinkB": 6},
    )


@_style()
def confusion(numbers: curves.Confusion, caption: Caption) -> Figure:
    """Which digits were taken for which (counts of images), and the error of each class."""
    error, interval = numbers.error, numbers.interval
    if error is None or interval is None:
        figure = _page("Test error", "", caption, height=4.6)
        _say(_axes(figure, _LEFT, _BOTTOM, 6.8, 3.6), "no test result")
        return figure
    of, summed = (" of the mean", f", summed over {error.n} repeats") if error.n > 1 else ("", "")
    figure = _page(
        f"Test error {percent(error.mean, error.sd)} "
        f"(95 % interval{of}: {percent(interval.low)} to {percent(interval.high)})",
        f"Counts of {numbers.n_images:,} images{summed}; grey: right; empty: none.",
        caption,
        height=6.1,
    )
    matrix_axes = _axes(figure, _LEFT, _BOTTOM, 5.0, 5.0)
    _draw_matrix(matrix_axes, np.array(numbers.matrix))
    _draw_class_errors(_axes(figure, _LEFT + 5.15, _BOTTOM, 1.5, 5.0), numbers.class_errors)
    return figure


def _draw_matrix(axes: Axes, matrix: NDArray[np.int64]) -> None:
    """The counts `(10, 10)`, row true and column predicted; the diagonal is muted."""
    n_classes = len(matrix)
    wrong = np.ma.array(matrix, mask=np.eye(n_classes, dtype=bool))
    shades = LinearSegmentedColormap.from_list("wrong", ["white", _RED]).with_extremes(bad=_LIGHT)
    most = max(1, int(wrong.max()))
    axes.pcolormesh(wrong, cmap=shades, vmin=0, vmax=most, edgecolors="white", linewidth=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = _GREY if row == column else _INK
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
        axes.barh(digit + 0.5, share, height=0.6, color=_SKY)
        text = "no image" if error is None else percent(error)
        axes.text(share + 0.05, digit + 0.5, text, va="center", fontsize=_LABEL_POINTS)
    axes.set(xlim=(0, 1.7), ylim=(len(errors), 0), xticks=[], yticks=[])
    axes.set_xlabel("error of the true digit")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


@_style()
def search_space(
    hyperparameters: Sequence[curves.SampledHyperparameter], caption: Caption
) -> Figure:
    """How often each value of each hyperparameter is drawn, one panel for each."""
    n_rows = math.ceil(len(hyperparameters) / 2) or 1
    log = any(one.scale == "log" for one in hyperparameters)
    key = "each doubling is equally likely, hence the flat tops; it does not mean powers of two."
    title, height = "What the search space samples", 2.3 * n_rows + 0.35
    figure = _page(title, f"Logarithmic: {key}" if log else "", caption, height=height)
    for index, one in enumerate(hyperparameters):
        row, column = divmod(index, 2)
        bottom = _BOTTOM - 0.1 + 2.3 * (n_rows - 1 - row)
        axes = _axes(figure, _LEFT + 3.7 * column, bottom, 3.0, 1.5)
        (_draw_choices if one.scale == "choice" else _draw_range)(axes, one)
    return figure


def _draw_range(axes: Axes, one: curves.SampledHyperparameter) -> None:
    """A histogram of the draws on their own scale, the bounds, the median."""
    lower, upper = one.lower or 0.0, one.upper or 0.0
    log = one.scale == "log"
    name = _name(one.name)
    how = "logarithmic" if log else "linear"
    axes.set_title(f"{name}: {lower:g} to {upper:g}, {how}", fontsize=9, loc="left")
    axes.set_ylabel("% per doubling" if log else "% per tenth of range", fontsize=_LABEL_POINTS)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(_log_ticks(lower, upper)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    for bound in (lower, upper):
        axes.axvline(bound, color=_GREY, linestyle=":", linewidth=1)
    if not one.draws:
        _say(axes, "no draw")
        return
    draws = np.asarray(one.draws, dtype=float)
    edges = _bin_edges(draws, lower, upper, log=log)
    widths = np.diff(np.log2(edges) if log else 10 * edges / (edges[-1] - edges[0]))
    density = 100 * np.histogram(draws, edges)[0] / len(draws) / widths
    axes.stairs(density, edges, fill=True, color=_SKY)
    axes.set_ylim(0, 1.3 * density.max())
    median = float(np.median(draws))
    axes.axvline(median, color=_RED)
    axes.annotate(
        f"median {median:.3g}",
        (median, 1.0),
        (4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        fontsize=_LABEL_POINTS,
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
    name = _name(one.name)
    axes.set_title(f"{name}: {len(one.choices)} choices; line: expected", fontsize=9, loc="left")
    axes.set_ylabel("% of draws", fontsize=_LABEL_POINTS)
    axes.grid(visible=False, axis="x")
    places = range(len(one.choices))
    expected = [100 * share for share in one.probabilities or [1 / len(places)] * len(places)]
    shares = [100 * one.draws.count(choice) / (len(one.draws) or 1) for choice in one.choices]
    bars = axes.bar(places, shares, width=0.5, color=_SKY)
    axes.bar_label(bars, [f"{share:.1f} %" for share in shares], padding=6, fontsize=8)
    axes.hlines(
        expected, [place - 0.3 for place in places], [place + 0.3 for place in places], _RED
    )
    axes.set_xticks(places, [_value_text(one.name, choice) for choice in one.choices])
    axes.set(xlim=(-0.6, len(places) - 0.4), ylim=(0, 1.3 * max(*shares, *expected)))


def _page(title: str, key: str, caption: Caption, *, height: float) -> Figure:
    """An empty figure: `height` inches for axes and small print; title, key and notice on top."""
    name, notice = caption.data_name, caption.notice
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}…"
    if notice and caption.data_name not in notice:
        notice = f"{name}: {notice}"
    lines = [
        (line, color)
        for text, color in ((key, _GREY), (notice, _RED))
        for line in textwrap.wrap(text, 112)
    ]
    top = height + 0.4 + _LINE * len(lines)
    figure = Figure(figsize=(_WIDTH, top))
    FigureCanvasAgg(figure)
    figure.text(0.02, 1 - 0.12 / top, title, va="top", fontsize=12, weight="bold", color=_INK)
    for row, (line, color) in enumerate(lines):
        y = 1 - (0.38 + _LINE * row) / top
        figure.text(0.02, y, line, va="top", fontsize=_LABEL_POINTS, color=color)
    version = caption.version and f"mnist-lab {caption.version}"
    small = " · ".join(filter(None, (name, caption.n, caption.date, version)))
    figure.text(0.02, 0.1 / top, small, va="bottom", fontsize=7, color=_GREY)
    return figure


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at these inches of the figure."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.set_axisbelow(True)
    return axes


def _percent_axis(
    axes: Axes, errors: Sequence[float], *, below: float = 0.0, above: float = 0.0
) -> None:
    """A logarithmic y axis around `errors`; shares of its height stay free `below` and `above`."""
    positive = [error for error in errors if error > 0] or [0.01, 1.0]
    low, high = math.log10(min(positive)), math.log10(max(positive))
    # At least a factor of two, so that a few readable ticks fall into any range.
    margin = max(0.05 * (high - low), (0.3 - (high - low)) / 2)
    low, high = low - margin, min(high + margin, 0.03)
    height = (high - low) / (1 - below - above)
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(10 ** (low - below * height), 10 ** (high + above * height))
    ticks = _percent_ticks(low, high, (1, 2, 5))
    if len(ticks) < 3:  # noqa: PLR2004 - two ticks do not show that the scale is logarithmic
        ticks = _percent_ticks(low, high, (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 * error:g} %"))


def _percent_ticks(low: float, high: float, digits: Sequence[float]) -> list[float]:
    """The errors that begin with one of `digits`, between two powers of ten and up to 100 %."""
    ticks = [digit * 10.0**power for power in range(math.floor(low), 1) for digit in digits]
    return [tick for tick in ticks if 10**low <= tick <= min(10**high, 1.0)]


def _integer_axis(axes: Axes, last: int) -> None:
    """An x axis from 1 to `last`, whole numbers only."""
    margin = min(0.9, max(0.3, 0.02 * last))  # never down to 0, which is no epoch
    axes.set_xlim(1 - margin, max(last, 1) + margin)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))


def _say(axes: Axes, text: str) -> None:
    """Say in the middle of the axes why they are empty."""
    axes.set(xticks=[], yticks=[])
    axes.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=11, color=_GREY)


def _label_ends(axes: Axes, ends: Sequence[_End]) -> None:
    """Write the labels right of the axes, each as near to its end as the others allow."""
    height = 72 * axes.bbox.height / axes.figure.dpi
    to_axes = axes.transData + axes.transAxes.inverted()
    floor = axes.get_ylim()[0]  # where an error of 0 stands
    rows = [_LABEL_POINTS * 1.35 * (end.text.count("\n") + 1) / height for end in ends]
    shrink = min(1.0, 1.0 / (sum(rows) or 1.0))
    starts = [
        (_KEY_X, 1.0) if end.y is None else to_axes.transform((end.x, max(end.y, floor)))
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
        size = shrink * _LABEL_POINTS
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


def _top(point: curves.Spread) -> float:
    """The upper end of a bar or band: mean + standard deviation."""
    return min(1.0, point.mean + (point.sd or 0.0))


def _remark(tally: curves.Tally) -> str:
    """What became of the trials that are not complete; empty if all are."""
    fates = [
        fate if tally.total == 1 else f"{count} {fate}"
        for fate, count in tally._asdict().items()
        if count and fate != "complete"
    ]
    return ("" if tally.total == 1 or not fates else f"of {tally.total}: ") + ", ".join(fates)


def _lines(*texts: str) -> str:
    """A label that is narrow enough for its column; each text begins a line."""
    return "\n".join(line for text in texts for line in textwrap.wrap(text, 27))


def _look(index: int) -> tuple[str, str]:
    """Colour and marker of the line `index`."""
    return _COLORS[index % len(_COLORS)], _MARKERS[index % len(_MARKERS)]


def _name(field: str) -> str:
    """A field of the configuration in words."""
    return field.replace("_", " ").replace("num ", "number of ")


def _value_text(name: str, value: float) -> str:
    return f"{value}×{value}" if name == "filter_size" else f"{value:g}"
