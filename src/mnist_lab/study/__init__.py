"""Each experiment as one call: what to propose, where to record it, what to draw from it.

The command line calls these functions, and so does a notebook. All take the same :class:`Options`,
raise a :class:`~mnist_lab.errors.LabError` whose text says what to do, and return a :class:`Run`.
The same call again continues a run that was interrupted, whoever started it, and returns at once
when all is done.
"""

from mnist_lab.study.experiments import (
    FILTER_SIZES,
    LEARNING_RATES,
    bohb,
    filter_sweep,
    hyperband,
    lr_sweep,
    random_search,
    test,
    train,
)
from mnist_lab.study.joining import join
from mnist_lab.study.options import Options
from mnist_lab.study.reporting import report
from mnist_lab.study.results import draw
from mnist_lab.study.run import Run, load_run, watch

__all__ = [
    "FILTER_SIZES",
    "LEARNING_RATES",
    "Options",
    "Run",
    "bohb",
    "draw",
    "filter_sweep",
    "hyperband",
    "join",
    "load_run",
    "lr_sweep",
    "random_search",
    "report",
    "test",
    "train",
    "watch",
]
