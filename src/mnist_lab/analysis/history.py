"""The course of a search: step by step, through the brackets, and its trials by rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mnist_lab.analysis.outcomes import (
    Outcome,
    best_trial,
    endings,
    final_error,
    grouped,
    largest_completed,
    outcome_of,
)
from mnist_lab.config import whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnist_lab.config import Bracket
    from mnist_lab.records import Trial


class Point(NamedTuple):
    """A step of a search, at an iteration or after so many epochs of all trials together.

    `trial` is its state then; `best_so_far` is the lowest final error up to here, at any budget.
    """

    at: float
    trial: Trial
    best_so_far: float | None


def progress(trials: Iterable[Trial], *, by_epochs: bool = True) -> list[Point]:
    """The best so far after each step of a search.

    Args:
        trials: of the search.
        by_epochs: a step is a training that ended, in that order: a trial with several budgets
            makes several. Epochs lost with their worker are not recorded. Without it, a step is a
            trial, in the order of proposal, and steps are counted.
    """
    steps = endings(trials) if by_epochs else sorted(trials, key=lambda trial: trial.trial)
    points: list[Point] = []
    # A promoted trial goes on where it stopped, so it adds only what is new.
    reached: dict[int, float] = {}
    known: list[float] = []
    for place, trial in enumerate(steps, start=1):
        reached[trial.trial] = max(reached.get(trial.trial, 0), trial.n_epochs)
        error = final_error(trial)
        known = [min([*known, error])] if error is not None else known
        at = whole(sum(reached.values())) if by_epochs else place
        points.append(Point(at, trial, min(known, default=None)))
    return points


def lowest_by_epoch(trials: Iterable[Trial]) -> list[tuple[float, float]]:
    """The lowest validation error after each epoch, over the trials that were trained for it.

    Where no image validates it is the training error.
    """
    lowest: dict[float, float] = {}
    for trial in trials:
        for one in trial.epochs:
            error = one.train_error if one.valid_error is None else one.valid_error
            lowest[one.epoch] = min(error, lowest.get(one.epoch, 1.0))
    return sorted(lowest.items())


Look = Outcome | Literal["promoted", "beaten", "winner", "best", "undecided"]


class Step(NamedTuple):
    """One budget of a `trial` of Hyperband; `error` is None unless the trial completed it.

    `look` is its outcome. A complete one is `undecided` until its whole rung has ended; `winner`
    is the best of its bracket, `best` that of the whole search so far.
    """

    trial: int
    budget: float
    look: Look
    error: float | None


class BracketPanel(NamedTuple):
    """Hyperband's brackets with the same numbers; `n_over` of `n_planned` have ended.

    `climbs` are the trials on their way up the rungs, each with the number of its bracket, from 0.
    """

    bracket: Bracket
    n_planned: int
    n_over: int
    climbs: list[tuple[int, list[Step]]]


def bracket_panels(trials: Iterable[Trial], planned: Sequence[Bracket]) -> list[BracketPanel]:
    """The brackets of Hyperband or BOHB, grouped by equal numbers, in the order planned.

    Args:
        trials: of the search; HpBandSter's id says which bracket each belongs to.
        planned: the brackets in their order (`StudySettings.brackets`).
    """
    trials = list(trials)
    members, best_of_all = grouped(trials, lambda trial: trial.id[0]), best_trial(trials)
    panels = []
    for bracket in dict.fromkeys(planned):
        numbers = [number for number, one in enumerate(planned) if one == bracket]
        last, n_over = bracket.epochs[-1], 0
        climbs = []
        for place, number in enumerate(numbers):
            own = members.get(number, [])
            decided = _decided(own, bracket)
            n_over += last in decided
            best = best_trial(own) if last in decided else None
            for trial in own:
                steps = []
                for one in endings([trial]):
                    budget, look = one.configuration.epochs, outcome_of(one)
                    if budget not in bracket.epochs:  # a file may say anything
                        continue
                    if look != "complete":
                        steps.append(Step(one.trial, budget, look, None))
                    elif _is_same(best_of_all, one):
                        steps.append(Step(one.trial, budget, "best", final_error(one)))
                    elif trial.configuration.epochs > budget:
                        steps.append(Step(one.trial, budget, "promoted", final_error(one)))
                    else:
                        over: Look = "beaten" if budget in decided else "undecided"
                        look_over = "winner" if _is_same(best, one) else over
                        steps.append(Step(one.trial, budget, look_over, final_error(one)))
                climbs.append((place, steps))
        panels.append(BracketPanel(bracket, len(numbers), n_over, climbs))
    return panels


def _is_same(best: Trial | None, one: Trial) -> bool:
    """Whether a trial is the best one, as it was at the budget that made it that."""
    if best is None:
        return False
    return (best.trial, best.configuration.epochs) == (one.trial, one.configuration.epochs)


def _decided(trials: list[Trial], bracket: Bracket) -> set[float]:
    """The budgets of a bracket's rungs whose promotions, or whose winner, are known."""
    reached = [trial.configuration.epochs for trial in trials]
    above = zip(bracket.epochs, bracket.epochs[1:], bracket.n_configs[1:], strict=False)
    decided = {budget for budget, more, n in above if sum(one >= more for one in reached) >= n}
    last = bracket.epochs[-1]
    n_ended = sum(one.configuration.epochs == last for one in endings(trials))
    return decided | ({last} if n_ended >= bracket.n_configs[-1] else set())


class RankedTrial(NamedTuple):
    """A trial among all of its search.

    `error` is measured at `budget`, the largest budget that the trial completed. `rank` counts from
    1, the best. Without a completed budget both are None, and a trial that neither failed nor
    diverged is unfinished. `values` are those of the active hyperparameters. `curve` has the
    validation errors, each with the epoch after which it was measured.
    """

    number: int
    outcome: Outcome
    budget: float
    error: float | None
    rank: int | None
    values: Mapping[str, Any]
    curve: tuple[tuple[float, float], ...]


def rank(trials: Iterable[Trial], values: Sequence[Mapping[str, Any]]) -> list[RankedTrial]:
    """The trials of a search by rank, then those without an error.

    A trial with more epochs ranks before one with fewer, as in ``best_trial``; then the lower
    error ranks first, then the earlier proposal.

    Args:
        trials: of the search.
        values: the active hyperparameters of each trial.
    """
    found = []
    for trial, own in zip(trials, values, strict=True):
        completed = largest_completed(trial)
        budget = (completed or trial).configuration.epochs
        error = completed.valid_error if completed else None
        outcome = outcome_of(trial)
        if outcome == "complete" and error is None:
            outcome = "unfinished"
        curve = tuple(
            (epoch.epoch, epoch.valid_error)
            for epoch in trial.epochs
            if epoch.valid_error is not None
        )
        found.append(RankedTrial(trial.trial, outcome, budget, error, None, own, curve))
    found.sort(key=lambda one: (one.error is None, -one.budget, one.error or 0.0, one.number))
    return [
        one if one.error is None else one._replace(rank=rank)
        for rank, one in enumerate(found, start=1)
    ]
