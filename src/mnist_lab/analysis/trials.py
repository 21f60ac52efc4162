"""What each trial came to, and several of them together: errors, spreads, the final table."""

from __future__ import annotations

from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from mnist_lab.config import StudySettings, TrainConfig
    from mnist_lab.records import Rung, Trial

Outcome = Literal["complete", "diverged", "failed", "unfinished"]


class Spread(NamedTuple):
    """One number over `n` repeats; `sd` is the sample standard deviation, None with one repeat."""

    n: int
    mean: float
    sd: float | None
    low: float
    high: float


class Tally(NamedTuple):
    """How many trials there are, by what became of them; `unfinished` ones wait or run."""

    complete: int = 0
    diverged: int = 0
    failed: int = 0
    unfinished: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)

    def but_complete(self) -> list[str]:
        """What became of the others: `2 failed`, `1 unfinished`."""
        return [f"{n} {what}" for what, n in self._asdict().items() if n and what != "complete"]


class SummaryRow(NamedTuple):
    """What one configuration achieved and cost: a line of the final table.

    `value` is that of the varied hyperparameter, None where nothing in particular varies; `errors`
    are the final validation errors of the repeats that count, and `error` is their spread. Where
    trials are promoted, errors and configuration are those of :func:`largest_completed`.
    `n_running` of the unfinished ones were taken by a worker.
    """

    value: float | None
    configuration: TrainConfig
    tally: Tally
    errors: tuple[float, ...]
    error: Spread | None
    seconds_per_epoch: float | None
    n_running: int = 0


def spread_of(values: Iterable[float | None]) -> Spread | None:
    """Mean and spread of the values that are not None; None if no value is left."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    sd = stdev(known) if len(known) > 1 else None
    return Spread(len(known), fmean(known), sd, min(known), max(known))


def outcome_of(trial: Trial) -> Outcome:
    """What became of a trial."""
    if trial.state == "complete":
        return "diverged" if trial.diverged else "complete"
    return "failed" if trial.state == "failed" else "unfinished"


def tally_of(trials: Iterable[Trial]) -> Tally:
    """How many trials met each outcome."""
    outcomes = [outcome_of(trial) for trial in trials]
    return Tally(*(outcomes.count(one) for one in Tally._fields))  # type: ignore[arg-type]


def n_ended(trials: Iterable[Trial]) -> int:
    """How many of the trials have ended, however they did."""
    return sum(trial.ended is not None for trial in trials)


def n_planned(settings: StudySettings, trials: Collection[Trial]) -> int:
    """How many trials a study comes to, as far as is known.

    HpBandSter proposes more than it was asked for where too few of a rung could be trained.
    """
    return max(settings.n_trials, len(trials))


def n_epochs_left(settings: StudySettings, trials: Iterable[Trial]) -> int:
    """How many epochs are still to be trained; those that a failed trial lacks are not."""
    spent = sum(
        len(trial.epochs) if trial.ended is None else trial.configuration.epochs for trial in trials
    )
    return max(settings.n_epochs - spent, 0)


def final_error(trial: Trial) -> float | None:
    """The validation error that counts: of a trial that completed its budget, else None."""
    reached = len(trial.epochs) >= trial.configuration.epochs
    return trial.valid_error if reached and outcome_of(trial) == "complete" else None


def endings(trials: Iterable[Trial]) -> list[Trial]:
    """Every training that ended, in the order in which they did: each trial as it was then.

    A trial with several budgets is there once for each that it was trained for.
    """
    ended = [
        one
        for trial in trials
        for one in (
            *(_as_of(trial, rung) for rung in trial.rungs),
            *([trial] if trial.state == "failed" else []),
        )
    ]
    return sorted(ended, key=lambda one: (one.ended or "", one.trial, one.configuration.epochs))


def _as_of(trial: Trial, rung: Rung) -> Trial:
    """The trial as it was when it ended this rung."""
    if trial.state == "complete" and rung == trial.rungs[-1]:
        return trial
    return trial.model_copy(
        update={
            "configuration": trial.configuration.model_copy(update={"epochs": rung.budget}),
            "state": "complete",
            "diverged": rung.diverged,
            "reason": None,
            "started": rung.started,
            "ended": rung.ended,
            "epochs": trial.epochs[: rung.budget],
            "rungs": trial.rungs[: trial.rungs.index(rung) + 1],
        }
    )


def largest_completed(trial: Trial) -> Trial | None:
    """The trial as it was at the largest budget that it completed with an error that counts.

    None before the first. A trial that was promoted, and trains on or failed since, stands here
    with what it reached before.
    """
    return next((one for one in reversed(endings([trial])) if final_error(one) is not None), None)


def best_trial(trials: Iterable[Trial]) -> Trial | None:
    """The incumbent: the lowest final validation error; of equals, the one proposed first.

    Only what was trained for the largest budget that any trial completed is compared, as HpBandSter
    does. A trial that has since been promoted stands here as it was at that budget.
    """
    counted = [
        (-one.configuration.epochs, error, one.trial, one)
        for one in endings(trials)
        if (error := final_error(one)) is not None
    ]
    return min(counted, key=lambda entry: entry[:3])[3] if counted else None


def seconds_per_epoch(*trials: Trial) -> float | None:
    """The median duration of an epoch; None before the first.

    The first epoch of a trial includes the compilation, so it only counts if there is no other.
    """
    later = [epoch.duration_s for trial in trials for epoch in trial.epochs[1:]]
    first = [epoch.duration_s for trial in trials for epoch in trial.epochs[:1]]
    durations = later or first
    return median(durations) if durations else None


def summary(trials: Iterable[Trial], varied: str | None = None) -> list[SummaryRow]:
    """The rows of the final table, in the order of proposal.

    Args:
        trials: of any study.
        varied: the hyperparameter whose values make the rows; without it each configuration is one.
    """
    groups = grouped(
        trials,
        lambda trial: getattr(trial.configuration, varied) if varied else trial.configuration,
    )
    return [_summary_row(value if varied else None, group) for value, group in groups.items()]


def completed_error(trial: Trial) -> float | None:
    """The validation error of :func:`largest_completed`; None before the first."""
    completed = largest_completed(trial)
    return completed.valid_error if completed else None


def _summary_row(value: float | None, trials: list[Trial]) -> SummaryRow:
    completed = [one for trial in trials if (one := largest_completed(trial)) is not None]
    errors = tuple(error for one in completed if (error := one.valid_error) is not None)
    return SummaryRow(
        value=value,
        configuration=(completed or trials)[0].configuration,
        tally=tally_of(trials),
        errors=errors,
        error=spread_of(errors),
        seconds_per_epoch=seconds_per_epoch(*trials),
        n_running=sum(trial.state == "running" for trial in trials),
    )


def grouped(trials: Iterable[Trial], key: Callable[[Trial], Any]) -> dict[Any, list[Trial]]:
    """The trials by key, keys in the order of their first trial."""
    groups: dict[Any, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(key(trial), []).append(trial)
    return groups
