"""Turn numbers into matplotlib figures, in one style for screen, print and the colour-blind.

Only matplotlib's objects are used, not pyplot, and its settings change only in an `rc_context`.
Every figure names what it shows, its data and its number of trials, and includes the trials that
failed or diverged. The same numbers give the same bytes.
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
