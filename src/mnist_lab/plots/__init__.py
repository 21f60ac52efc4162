"""Numbers -> matplotlib figures, in one style, for the screen, print and the colour-blind.

Only matplotlib's objects are used: no pyplot, and its settings change inside an `rc_context` alone.
Every figure says what it shows, which data it comes from, and how many trials it is about; a trial
that failed or diverged is in it too. The same numbers give the same bytes.
"""

from mnist_lab.plots.mistakes import confusion, mistakes
from mnist_lab.plots.page import PNG_DPI, Caption, content, save
from mnist_lab.plots.parallel import parallel_coordinates
from mnist_lab.plots.races import race
from mnist_lab.plots.search import brackets, incumbent
from mnist_lab.plots.spaces import search_space
from mnist_lab.plots.sweeps import filter_cost, learning_curves
from mnist_lab.plots.trials import hyperparameters, ranked_curves

__all__ = [
    "PNG_DPI",
    "Caption",
    "brackets",
    "confusion",
    "content",
    "filter_cost",
    "hyperparameters",
    "incumbent",
    "learning_curves",
    "mistakes",
    "parallel_coordinates",
    "race",
    "ranked_curves",
    "save",
    "search_space",
]
