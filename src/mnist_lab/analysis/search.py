"""A search step by step: the incumbent, and what was found for the epochs spent."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

from mnist_lab.analysis.trials import (
    Outcome,
    Tally,
    best_trial,
    endings,
    final_error,
    outcome_of,
    tally_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnist_lab.records import Trial

SearchAxis = Literal["iterations", "epochs"]


class SearchPoint(NamedTuple):
    """A step of a search, at an iteration or after so many epochs of all trials together.

    `error` is None unless a trial completed its budget of epochs here; `best_so_far` is the lowest
    error up to here, whatever the budget.
    """

    at: int
    budget: int
    outcome: Outcome
    error: float | None
    best_so_far: float | None


class Incumbents(NamedTuple):
    """A search, step by step; `incumbent` is the best trial, found at `at`.

    Counted in iterations, a point is a trial, in the order of proposal. Counted in epochs, it is a
    training that ended, in that order: a trial with several budgets makes several points.
    """

    counted_in: SearchAxis
    points: tuple[SearchPoint, ...]
    tally: Tally
    at: int | None
    incumbent: Trial | None


class Spending(NamedTuple):
    """What `n` searches of one kind found for the epochs they spent.

    Entry i of `median`, `low` and `high` is over the searches, of the lowest error that each had
    found after `epochs[i]` epochs.
    """

    n: int
    epochs: tuple[int, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def incumbents(trials: Iterable[Trial], counted_in: SearchAxis = "iterations") -> Incumbents:
    """The best so far after each step of a search.

    Args:
        trials: of the search.
        counted_in: `epochs` where trials have several budgets.
    """
    proposed = sorted(trials, key=lambda trial: trial.trial)
    steps = proposed if counted_in == "iterations" else endings(proposed)
    places = _epochs_spent(steps) if counted_in == "epochs" else range(1, len(steps) + 1)
    points: list[SearchPoint] = []
    best: float | None = None
    for place, trial in zip(places, steps, strict=True):
        error = final_error(trial)
        if error is not None:
            best = error if best is None else min(best, error)
        points.append(
            SearchPoint(place, trial.configuration.epochs, outcome_of(trial), error, best)
        )
    winner = best_trial(proposed)
    found = [
        place
        for place, trial in zip(places, steps, strict=True)
        if winner and trial.trial == winner.trial and len(trial.epochs) >= len(winner.epochs)
    ]
    at = found[0] if found else None
    return Incumbents(counted_in, tuple(points), tally_of(proposed), at, winner)


def _epochs_spent(steps: Iterable[Trial]) -> list[int]:
    """After each training that ended, the epochs of all trainings that had ended by then.

    A promoted trial goes on where it stopped, so it adds only what is new. Epochs that were lost
    with their worker are in no record.
    """
    reached: dict[int, int] = {}
    spent = []
    for trial in steps:
        reached[trial.trial] = max(reached.get(trial.trial, 0), len(trial.epochs))
        spent.append(sum(reached.values()))
    return spent


def spending(trials: Iterable[Trial]) -> tuple[SearchPoint, ...]:
    """What a search of any kind found for the epochs it spent, training by training."""
    return incumbents(trials, "epochs").points


def median_spending(searches: Sequence[Sequence[SearchPoint]]) -> Spending:
    """Several searches of one kind, from different seeds, as one: median and extremes.

    It begins where more than half of the searches have a result, and those without one count as an
    error of 1.0; it ends where the first of them does, as the others would go on without it.

    Args:
        searches: each as :func:`spending` tells it.
    """
    begun = [points for points in searches if points]
    end = min((points[-1].at for points in begun), default=0)
    places = sorted({point.at for points in begun for point in points if point.at <= end})
    rows = []
    for place in places:
        bests = [_best_by(place, points) for points in searches]
        if sum(best is not None for best in bests) > len(bests) / 2:
            errors = [1.0 if best is None else best for best in bests]
            rows.append((place, median(errors), min(errors), max(errors)))
    epochs, middle, low, high = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Spending(len(searches), epochs, middle, low, high)


def _best_by(place: int, points: Sequence[SearchPoint]) -> float | None:
    """The lowest error that a search had found after so many epochs."""
    return next((one.best_so_far for one in reversed(points) if one.at <= place), None)
