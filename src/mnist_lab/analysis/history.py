"""How a search went: the incumbent step by step, the brackets, and the trials by their rank."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mnist_lab.analysis.outcomes import (
    Outcome,
    Tally,
    best_trial,
    endings,
    final_error,
    grouped,
    largest_completed,
    outcome_of,
    tally_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnist_lab.config import Bracket
    from mnist_lab.records import Trial

SearchAxis = Literal["iterations", "epochs"]
# Of a trial at a rung of its bracket; `undecided` until the whole rung has ended.
Standing = Literal["promoted", "beaten", "winner", "undecided"]


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


class Step(NamedTuple):
    """One budget of a trial of Hyperband; `error` is None unless the trial completed it."""

    budget: int
    outcome: Outcome
    error: float | None
    standing: Standing


class Climb(NamedTuple):
    """A trial on its way up the rungs of a bracket; `bracket` counts its panel's from 0."""

    bracket: int
    steps: tuple[Step, ...]


class BracketPanel(NamedTuple):
    """The brackets of Hyperband that have the same numbers; `n_over` of `n_planned` have ended."""

    bracket: Bracket
    n_planned: int
    n_over: int
    climbs: tuple[Climb, ...]


def bracket_panels(trials: Iterable[Trial], planned: Sequence[Bracket]) -> list[BracketPanel]:
    """The brackets of Hyperband or BOHB, those of equal numbers together, in the order planned.

    Args:
        trials: of the search; HpBandSter's id says which bracket each belongs to.
        planned: the brackets in their order (`StudySettings.brackets`).
    """
    members = grouped(trials, lambda trial: trial.id[0])
    panels = []
    for bracket in dict.fromkeys(planned):
        numbers = [number for number, one in enumerate(planned) if one == bracket]
        last, n_over = bracket.epochs[-1], 0
        climbs: list[Climb] = []
        for place, number in enumerate(numbers):
            own = members.get(number, [])
            decided = _decided(own, bracket)
            n_over += last in decided
            best = best_trial(own) if last in decided else None
            won = best is not None and best.configuration.epochs == last
            for trial in own:
                steps = [
                    _step(one, trial, decided)
                    for one in endings([trial])
                    if one.configuration.epochs in bracket.epochs  # a file may say anything
                ]
                if best and won and best.trial == trial.trial:
                    steps[-1] = steps[-1]._replace(standing="winner")
                climbs.append(Climb(place, tuple(steps)))
        panels.append(BracketPanel(bracket, len(numbers), n_over, tuple(climbs)))
    return panels


def _decided(trials: list[Trial], bracket: Bracket) -> set[int]:
    """The budgets of a bracket's rungs where it is known who goes on, or who won."""
    reached = [trial.configuration.epochs for trial in trials]
    decided = {
        budget
        for budget, above, n in zip(
            bracket.epochs, bracket.epochs[1:], bracket.n_configs[1:], strict=False
        )
        if sum(one >= above for one in reached) >= n
    }
    last = bracket.epochs[-1]
    n_ended = sum(one.configuration.epochs == last for one in endings(trials))
    return decided | ({last} if n_ended >= bracket.n_configs[-1] else set())


def _step(one: Trial, trial: Trial, decided: set[int]) -> Step:
    """The step of `trial` that ended as `one`."""
    budget = one.configuration.epochs
    standing: Standing = "undecided"
    if trial.configuration.epochs > budget:
        standing = "promoted"
    elif budget in decided or one.state == "failed":
        standing = "beaten"
    return Step(budget, outcome_of(one), final_error(one), standing)


class RankedTrial(NamedTuple):
    """A trial among all of its search.

    `error` is that of the largest budget that the trial completed, `budget`; without one it is
    None, and so is the `rank`, which counts from 1, the best; what then is neither failed nor
    diverged is unfinished. `values` are those of the
    hyperparameters that are active. `curve` are the validation errors after each epoch, None where
    there is none.
    """

    number: int
    outcome: Outcome
    budget: int
    error: float | None
    rank: int | None
    values: Mapping[str, Any]
    curve: tuple[float | None, ...]


def rank(trials: Iterable[Trial], values: Sequence[Mapping[str, Any]]) -> list[RankedTrial]:
    """The trials of a search by rank, then those without an error.

    What was trained for more epochs ranks before what was trained for fewer, as
    ``best_trial`` has it; then the lower error, then the earlier proposal.

    Args:
        trials: of the search.
        values: of each trial, those of the active hyperparameters.
    """
    found = [_unranked(trial, own) for trial, own in zip(trials, values, strict=True)]
    found.sort(key=lambda one: (one.error is None, -one.budget, one.error or 0.0, one.number))
    return [
        one if one.error is None else one._replace(rank=rank)
        for rank, one in enumerate(found, start=1)
    ]


def _unranked(trial: Trial, values: Mapping[str, Any]) -> RankedTrial:
    completed = largest_completed(trial)
    budget = (completed or trial).configuration.epochs
    error = completed.valid_error if completed else None
    curve = tuple(epoch.valid_error for epoch in trial.epochs)
    what = outcome_of(trial)
    if what == "complete" and error is None:
        what = "unfinished"
    return RankedTrial(trial.trial, what, budget, error, None, values, curve)
