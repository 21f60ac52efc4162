"""Records -> numbers ready to draw or to put into a table; nothing here draws or computes twice.

Errors are fractions between 0 and 1, times are seconds, epochs and iterations count from 1. One
rule says which trials a final error is taken from: those that completed their budget of epochs
without diverging. The others are counted in a :class:`Tally`, never dropped in silence.
"""

from mnist_lab.curves.halving import BracketPanel, Climb, Standing, Step, bracket_panels
from mnist_lab.curves.intervals import (
    Interval,
    error_interval,
    interval_kind,
    student_factor,
    student_interval,
    wilson_interval,
)
from mnist_lab.curves.learning import LearningCurve, LearningCurves, learning_curves
from mnist_lab.curves.ranking import RankedTrial, ranking
from mnist_lab.curves.sampling import (
    Chance,
    Part,
    SampledHyperparameter,
    active_shares,
    chance,
    expected_median,
    octaves,
    place_between,
    powers_of_two,
)
from mnist_lab.curves.search import (
    Incumbents,
    SearchAxis,
    SearchPoint,
    Spending,
    incumbents,
    median_spending,
    spending,
)
from mnist_lab.curves.tested import Confusion, WrongImage, confusion, wrong_images
from mnist_lab.curves.trials import (
    Fate,
    Spread,
    SummaryRow,
    Tally,
    best_trial,
    completed_error,
    endings,
    fate,
    final_error,
    largest_completed,
    n_ended,
    n_planned,
    seconds_per_epoch,
    spread,
    summary,
    tally,
)
from mnist_lab.curves.words import describe, in_words, percent, rounded, value_text

__all__ = [
    "BracketPanel",
    "Chance",
    "Climb",
    "Confusion",
    "Fate",
    "Incumbents",
    "Interval",
    "LearningCurve",
    "LearningCurves",
    "Part",
    "RankedTrial",
    "SampledHyperparameter",
    "SearchAxis",
    "SearchPoint",
    "Spending",
    "Spread",
    "Standing",
    "Step",
    "SummaryRow",
    "Tally",
    "WrongImage",
    "active_shares",
    "best_trial",
    "bracket_panels",
    "chance",
    "completed_error",
    "confusion",
    "describe",
    "endings",
    "error_interval",
    "expected_median",
    "fate",
    "final_error",
    "in_words",
    "incumbents",
    "interval_kind",
    "largest_completed",
    "learning_curves",
    "median_spending",
    "n_ended",
    "n_planned",
    "octaves",
    "percent",
    "place_between",
    "powers_of_two",
    "ranking",
    "rounded",
    "seconds_per_epoch",
    "spending",
    "spread",
    "student_factor",
    "student_interval",
    "summary",
    "tally",
    "value_text",
    "wilson_interval",
    "wrong_images",
]
