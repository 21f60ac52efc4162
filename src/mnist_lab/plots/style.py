"""One style for all figures: colours, markers, sizes, and matplotlib's settings while we draw."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

if TYPE_CHECKING:
    from collections.abc import Iterator

# M. Okabe and K. Ito, "Color Universal Design" (2008), without the yellow that paper swallows.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = "osD^v"  # five to seven colours: no two of 35 curves look the same
BLUE, RED, SKY = COLORS[0], COLORS[1], COLORS[5]
INK, GREY, LIGHT = "#222222", "#666666", "#E8E8E8"

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": LIGHT,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "text.color": INK,
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "svg.hashsalt": "mnist-lab",
    "text.parse_math": False,  # a data file may be called a$b$
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}

# What has no error, and the ring around the incumbent, in matplotlib's words.
LOST: dict[str, dict[str, Any]] = {
    "failed": {"marker": "x", "color": INK},
    "diverged": {"marker": "^", "color": RED},
    "unfinished": {"marker": "o", "color": GREY, "fillstyle": "none"},
}
RING: dict[str, Any] = {"marker": "o", "color": RED, "fillstyle": "none", "markersize": 10}

# Inches, if not said otherwise.
LEFT = 0.8  # room for the tick labels and the label of the y axis
BOTTOM = 0.9  # room for those of the x axis, and the caption below
LABEL_POINTS = 8.5  # font size of labels; 72 points are an inch


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style; afterwards matplotlib's settings are as before."""
    with mpl.rc_context():
        mpl.rcdefaults()  # the figures are the same whatever the user's matplotlibrc says
        mpl.rcParams.update(_STYLE)
        yield
