"""What all figures share: the style, the page with its small print, the axes and the files."""

from __future__ import annotations

import io
import math
import textwrap
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from mnist_lab.records import DIGITS
from mnist_lab.words import budget_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from matplotlib.axes import Axes

PNG_DPI = 200  # dots per inch

# M. Okabe and K. Ito, "Color Universal Design" (2008), without the yellow that paper swallows.
# Orange is the best of a search everywhere, so it comes last of what tells values apart.
COLORS = ("#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#D55E00")
MARKERS = "osD^v"  # five to seven colours: no two of 35 curves look the same
BLUE, SKY, ORANGE = COLORS[0], COLORS[4], COLORS[6]
NAVY, PALE = "#00253D", "#9AD0F0"  # the darker, the better
INK, GREY, LIGHT = "#222222", "#666666", "#E8E8E8"

_STYLE: dict[Any, Any] = {
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), GREY),
    **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.labelcolor", "ytick.labelcolor"), INK),
    "axes.grid": True,
    "grid.color": LIGHT,
    "grid.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "svg.hashsalt": "mnist-lab",
    "text.parse_math": False,  # a data file may be called a$b$
}

# What has no error, and the ring around the best, in matplotlib's words.
LOST: dict[str, dict[str, Any]] = {
    "failed": {"marker": "x", "color": INK},
    "diverged": {"marker": "^", "color": INK},
    "unfinished": {"marker": "o", "color": GREY, "fillstyle": "none"},
}
RING: dict[str, Any] = {"marker": "o", "color": ORANGE, "fillstyle": "none", "markersize": 10}

# Inches, if not said otherwise.
LEFT = 0.8  # room for the tick labels and the label of the y axis
BOTTOM = 0.9  # room for those of the x axis, and the caption below
LABEL_POINTS = 8.5  # font size of labels; 72 points are an inch
_WIDTH = 8.0
_LINE = 0.18  # one line of small text
_TITLE_LINE = 0.2
_LONGEST_TITLE = 72  # characters
_LONGEST_NAME = 70  # characters of a data file's name

# Dates and matplotlib's version would make each file another one.
_NAMELESS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


class Caption(NamedTuple):
    """The origin of a figure; empty parts are left out.

    `notice` is what the reader must know about the data (`DatasetInfo.notice`) and stands below the
    title. The rest is small print: `n` says how many (`n = 5`), `version` is mnist-lab's, `common`
    is what all trainings share. `noun` and `classes` name what an image shows, one of ten;
    `n_valid` is the number of images behind each validation error.
    """

    data_name: str
    notice: str
    n: str
    date: str
    version: str
    common: str = ""
    noun: str = "digit"
    classes: tuple[str, ...] = DIGITS
    n_valid: int = 0


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style, then restore matplotlib's settings."""
    with mpl.rc_context():
        mpl.rcdefaults()  # the figures are the same whatever the user's matplotlibrc says
        mpl.rcParams.update(_STYLE)
        yield


def save(figure: Figure) -> dict[str, bytes]:
    """The content of the figure's files, by suffix: `png` at 200 dpi and `svg`."""
    return {suffix: content(figure, suffix) for suffix in _NAMELESS}


@styled()
def content(figure: Figure, suffix: str) -> bytes:
    """The content of one file of the figure: a `png` at 200 dpi, or an `svg`."""
    file = io.BytesIO()
    figure.savefig(file, format=suffix, dpi=PNG_DPI, metadata=_NAMELESS[suffix])
    return file.getvalue()


def new_page(title: str, key: str, caption: Caption, *, height: float) -> Figure:
    """An empty figure: title, key and notice, then `height` inches for axes and small print."""
    name, notice = caption.data_name, caption.notice
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}…"
    if notice and caption.data_name not in notice:
        notice = f"{name}: {notice}"
    lines = [
        (line, color)
        for text, color in ((key, GREY), (notice, INK))
        for line in textwrap.wrap(text, 112)
    ]
    # A number stays with its unit.
    unbroken = textwrap.wrap(title.replace(" %", "\N{NO-BREAK SPACE}%"), _LONGEST_TITLE)
    titles = [line.replace("\N{NO-BREAK SPACE}", " ") for line in unbroken]
    head = 0.18 + _TITLE_LINE * len(titles)
    top = height + head + 0.02 + _LINE * len(lines)
    figure = Figure(figsize=(_WIDTH, top))
    FigureCanvasAgg(figure)
    for row, line in enumerate(titles):
        y = 1 - (0.12 + _TITLE_LINE * row) / top
        figure.text(0.02, y, line, va="top", fontsize=12, weight="bold", color=INK)
    for row, (line, color) in enumerate(lines):
        y = 1 - (head + _LINE * row) / top
        figure.text(0.02, y, line, va="top", fontsize=LABEL_POINTS, color=color)
    version = caption.version and f"mnist-lab {caption.version}"
    small = " · ".join(filter(None, (name, caption.common, caption.n, caption.date, version)))
    small = textwrap.fill(small, 150)
    figure.text(0.02, 0.1 / top, small, va="bottom", fontsize=7, color=GREY)
    return figure


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at these inches of the figure."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.set_axisbelow(True)
    return axes


def percent_axis(
    axes: Axes, errors: Sequence[float], *, below: float = 0.0, above: float = 0.0
) -> None:
    """A logarithmic y axis around `errors`, with shares of its height free `below` and `above`."""
    low, high = error_range(errors, 0.05)
    height = (high - low) / (1 - below - above)
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(10 ** (low - below * height), 10 ** (high + above * height))
    ticks = percent_ticks(low, high)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(FixedLocator(_every_digit(low, min(high, 0.0))))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 * error:g} %"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", which="minor", length=2, color=GREY)


def error_range(errors: Sequence[float], margin: float) -> tuple[float, float]:
    """The powers of ten between which errors lie, with `margin` of the range on both sides."""
    positive = [error for error in errors if error > 0] or [0.01, 1.0]
    low, high = math.log10(min(positive)), math.log10(max(positive))
    # At least a factor of two, so that a few readable ticks fall into any range.
    margin = max(margin * (high - low), (0.3 - (high - low)) / 2)
    return low - margin, min(high + margin, 0.03)


def on_axis(axes: Axes, error: float) -> float:
    """The height of an error on a logarithmic axis; 0, which has no place there, is at its foot."""
    return max(error, axes.get_ylim()[0])


def percent_ticks(low: float, high: float) -> list[float]:
    """A few round errors between two powers of ten, up to 100 %, in steps of similar size."""
    ticks: list[float] = []
    for digits in ((1, 3), (1, 2, 3, 5), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)):
        if len(ticks) < 4:  # noqa: PLR2004 - fewer do not show that the scale is logarithmic
            every = [digit * 10.0**power for power in range(math.floor(low), 1) for digit in digits]
            ticks = [tick for tick in every if 10**low <= tick <= min(10**high, 1.0)]
    return ticks


def _every_digit(low: float, high: float) -> list[float]:
    """1 to 9 times each power of ten, between two of them, which shows the scale."""
    powers = range(math.floor(low), math.ceil(high))
    every = [digit * 10.0**power for power in powers for digit in range(1, 10)]
    return [tick for tick in every if 10**low <= tick <= 10**high]


def plain(value: float) -> str:
    """A number on an axis: `0.001`, `1e-6`."""
    return f"{value:g}".replace("e-0", "e-")


def integer_axis(axes: Axes, last: float) -> None:
    """An x axis from 1 to `last`, whole numbers only."""
    margin = min(0.9, max(0.3, 0.02 * last))  # never down to 0, which is no epoch
    axes.set_xlim(1 - margin, max(last, 1) + margin)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))


def budget_axis(axes: Axes, epochs: Collection[float]) -> None:
    """A logarithmic x axis of epochs; every budget below 1 has a tick."""
    most = max(epochs)
    whole = [2**power for power in range(int(math.log2(most)) + 1)] if most >= 1 else []
    ticks = sorted({epoch for epoch in epochs if epoch < 1} | {*whole} | {most})
    # Two that are close would touch.
    kept = [one for one, after in pairwise([*ticks, math.inf]) if after / one > 1.3]  # noqa: PLR2004
    axes.set_xscale("log")
    axes.set_xlim(min(epochs) / 1.2, most * 1.2)
    axes.set_xticks(kept, [budget_text(one) for one in kept])
    axes.xaxis.set_minor_locator(NullLocator())


def whole_ticks(axes: Axes) -> None:
    """No ticks between whole numbers on a linear x axis."""
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)


def log_axis(axes: Axes, lower: float, upper: float) -> None:
    """A logarithmic x axis whose ticks are plain numbers."""
    axes.set_xscale("log")
    ticks = log_ticks(lower, upper)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    are_decades = len(ticks) > 1 and math.isclose(ticks[1] / ticks[0], 10)
    minor = _every_digit(math.log10(lower), math.log10(upper)) if are_decades else []
    axes.xaxis.set_minor_locator(FixedLocator(minor))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", length=2, color=GREY)


def log_ticks(lower: float, upper: float) -> list[float]:
    """Decades in a wide range, else doublings from `lower`, or both ends; at most seven."""
    wide, most = 100, 7
    if upper / lower >= wide:
        low, high = math.ceil(math.log10(lower) - 1e-9), math.floor(math.log10(upper) + 1e-9)
        ticks = [10.0**power for power in range(low, high + 1)]
    else:
        ticks = [lower * 2.0**power for power in range(int(math.log2(upper / lower) + 1e-9) + 1)]
        ticks += [upper] if len(ticks) == 1 else []
    return ticks[:: math.ceil(len(ticks) / most)]


def say(axes: Axes, text: str) -> None:
    """Write in the middle of the axes why they are empty."""
    axes.set(xticks=[], yticks=[])
    axes.minorticks_off()
    axes.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=11, color=GREY)
