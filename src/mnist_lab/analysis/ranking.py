"""The trials of a search, from the best to the worst."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.analysis.trials import Outcome, largest_completed, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnist_lab.records import Trial


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
