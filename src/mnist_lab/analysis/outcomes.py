"""The outcomes of trials, alone and together: errors, spreads, the final table."""

from __future__ import annotations

from operator import attrgetter
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from mnist_lab import racing
from mnist_lab.analysis.intervals import error_interval
from mnist_lab.config import VARIED, whole
from mnist_lab.words import describe, in_words, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from mnist_lab.analysis.intervals import Interval
    from mnist_lab.config import StudySettings, TrainConfig
    from mnist_lab.records import Rung, Trial

T = TypeVar("T")
# What the exercise sheet asks for: 90 % of the validation images recognised.
GOAL = 0.1
Outcome = Literal["complete", "diverged", "failed", "unfinished"]


class Spread(NamedTuple):
    """One number over `n` repeats; `sd` is the sample standard deviation, None with one repeat."""

    n: int
    mean: float
    sd: float | None


class Tally(NamedTuple):
    """The number of trials by outcome; `unfinished` ones wait or run."""

    complete: int = 0
    diverged: int = 0
    failed: int = 0
    unfinished: int = 0

    @property
    def total(self) -> int:
        """The number of all trials."""
        return sum(self)

    def but_complete(self) -> list[str]:
        """The outcomes other than complete, in words: `2 failed`, `1 unfinished`."""
        return [f"{n} {what}" for what, n in self._asdict().items() if n and what != "complete"]


class SummaryRow(NamedTuple):
    """The repeats of one configuration: a row of every table and every comparison.

    `value` is that of the varied hyperparameter, None if none varies. `name` distinguishes the row
    from the others, such as `0.1`; `title` is clear without them. `completed` are the trials whose
    errors count, each as :func:`largest_completed` returns it.
    """

    value: float | None
    name: str
    title: str
    trials: tuple[Trial, ...]
    completed: tuple[Trial, ...]

    @property
    def configuration(self) -> TrainConfig:
        """The configuration behind the errors."""
        return (self.completed or self.trials)[0].configuration

    @property
    def tally(self) -> Tally:
        """The outcomes of the trials."""
        return tally_of(self.trials)

    @property
    def errors(self) -> list[float]:
        """The final validation errors of the repeats that count."""
        return [error for one in self.completed if (error := one.valid_error) is not None]

    @property
    def error(self) -> Spread | None:
        """The spread of the errors."""
        return spread_of(self.errors)

    @property
    def mean(self) -> float:
        """The mean of the errors; there must be one."""
        return fmean(self.errors)

    @property
    def train_error(self) -> float:
        """The mean training error of the last epochs; there must be one."""
        return fmean(trial.epochs[-1].train_error for trial in self.completed)

    @property
    def seconds_per_epoch(self) -> float | None:
        """The median duration of an epoch; None before the first."""
        return seconds_per_epoch(*self.trials)

    @property
    def budget(self) -> float:
        """The number of epochs asked for."""
        return max(trial.configuration.epochs for trial in self.trials)

    def interval(self, n_images: int) -> Interval | None:
        """The 95 % interval of the error on so many images, if there is one."""
        return error_interval(self.errors, n_images)

    @property
    def passed(self) -> tuple[float, float] | None:
        """The first epoch after which the mean error was below :data:`GOAL`, and that error."""
        points = zip(self.positions, self.curve("valid_error"), strict=True)
        return next(((at, one.mean) for at, one in points if one and one.mean < GOAL), None)

    @property
    def positions(self) -> list[float]:
        """The epochs after which the longest trial was validated."""
        return [one.epoch for one in max((trial.epochs for trial in self.trials), key=len)]

    def curve(self, error: Literal["valid_error", "train_error"]) -> list[Spread | None]:
        """The errors at each of the `positions`, over the trials that reached it.

        None where no trial validated.

        The epoch in which a trial diverged ends its curve. It enters the mean only if there is no
        other trial: the mean of 90 % and four times 1 % says nothing about either.
        """
        spreads = []
        for n in range(1, len(self.positions) + 1):
            having = [trial for trial in self.trials if len(trial.epochs) >= n]
            sound = [one for one in having if not (one.diverged and len(one.epochs) == n)]
            spreads.append(spread_of(getattr(one.epochs[n - 1], error) for one in sound or having))
        return spreads


def spread_of(values: Iterable[float | None]) -> Spread | None:
    """Mean and spread of the values that are not None; None if no value is left."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    sd = stdev(known) if len(known) > 1 else None
    return Spread(len(known), fmean(known), sd)


def outcome_of(trial: Trial) -> Outcome:
    """The outcome of a trial."""
    if trial.state == "complete":
        return "diverged" if trial.diverged else "complete"
    return "failed" if trial.state == "failed" else "unfinished"


def tally_of(trials: Iterable[Trial]) -> Tally:
    """The number of trials with each outcome."""
    outcomes = [outcome_of(trial) for trial in trials]
    return Tally(*(outcomes.count(one) for one in Tally._fields))  # type: ignore[arg-type]


def n_ended(trials: Iterable[Trial]) -> int:
    """How many of the trials have ended, in any way."""
    return sum(trial.ended is not None for trial in trials)


def n_planned(settings: StudySettings, trials: Collection[Trial]) -> int:
    """How many trials a study will have, as far as known.

    A race continues only with those that are left. HpBandSter proposes extra trials where too few
    of a rung could be trained.
    """
    if settings.configurations:
        return len(racing.planned(settings, trials))
    return max(settings.n_trials, len(trials))


def n_epochs_done(trials: Iterable[Trial]) -> float:
    """How many epochs all trials together have trained."""
    return whole(sum(trial.n_epochs for trial in trials))


def n_epochs_planned(settings: StudySettings, trials: Collection[Trial]) -> float:
    """How many epochs a study will train, as :func:`n_planned` counts trials."""
    if settings.configurations:
        return whole(sum(one.epochs for one in racing.planned(settings, trials)))
    return settings.n_epochs


def n_epochs_left(settings: StudySettings, trials: Collection[Trial]) -> float:
    """How many epochs are still to be trained; the missing ones of failed trials do not count."""
    spent = sum(
        trial.n_epochs if trial.ended is None else trial.configuration.epochs for trial in trials
    )
    return whole(max(n_epochs_planned(settings, trials) - spent, 0))


def final_error(trial: Trial) -> float | None:
    """The validation error that counts: of a trial that completed its budget, else None."""
    reached = trial.n_epochs >= trial.configuration.epochs
    return trial.valid_error if reached and outcome_of(trial) == "complete" else None


def endings(trials: Iterable[Trial]) -> list[Trial]:
    """Every training that ended, in that order: each trial as it was then.

    A trial with several budgets appears once for each that it completed.
    """
    ended = []
    for trial in trials:
        ended += [_as_of(trial, rung) for rung in trial.rungs]
        ended += [trial] if trial.state == "failed" else []
    return sorted(ended, key=lambda one: (one.ended or "", one.trial, one.configuration.epochs))


def _as_of(trial: Trial, rung: Rung) -> Trial:
    """The trial as it was when it ended this rung."""
    if trial.state == "complete" and rung == trial.rungs[-1]:
        return trial
    configuration = trial.configuration.model_copy(update={"epochs": rung.budget})
    changed = {"configuration": configuration, "state": "complete", "reason": None}
    changed |= {"diverged": rung.diverged, "started": rung.started, "ended": rung.ended}
    changed |= {"epochs": trial.up_to(rung.budget)}
    changed |= {"rungs": trial.rungs[: trial.rungs.index(rung) + 1]}
    return trial.model_copy(update=changed)


def largest_completed(trial: Trial) -> Trial | None:
    """The trial as it was at the largest budget that it completed with an error that counts.

    None before the first. A promoted trial that still trains or has failed since appears with what
    it reached before.
    """
    return next((one for one in reversed(endings([trial])) if final_error(one) is not None), None)


def best_trial(trials: Iterable[Trial]) -> Trial | None:
    """The incumbent: the lowest final validation error; among equals, the one proposed first.

    As in HpBandSter, only trials of the largest budget that any trial completed are compared. A
    trial promoted since appears as it was at that budget.
    """
    counted = [one for one in endings(trials) if final_error(one) is not None]
    return min(
        counted,
        key=lambda one: (-one.configuration.epochs, one.valid_error, one.trial),
        default=None,
    )


def seconds_per_epoch(*trials: Trial) -> float | None:
    """The median duration of a whole epoch; None before the first.

    A trial's first epoch includes the compilation, so it counts only if there is no other.
    """
    whole_ones = [
        (place, epoch.duration_s)
        for trial in trials
        for place, (epoch, part) in enumerate(zip(trial.epochs, trial.parts, strict=True))
        if part == 1
    ]
    durations = [s for place, s in whole_ones if place] or [s for _, s in whole_ones]
    return median(durations) if durations else None


def summary(trials: Iterable[Trial], varied: str | None = None) -> list[SummaryRow]:
    """The rows of the final table, in the order of proposal.

    Args:
        trials: of any study.
        varied: the hyperparameter with a row for each value; None: a row for each configuration.
    """
    rows, key_of = [], attrgetter(f"configuration.{varied}" if varied else "configuration")
    for key, group in grouped(trials, key_of).items():
        name = value_text(varied, key) if varied else "this configuration"
        title = f"{in_words(varied)} {name}" if varied else name
        completed = tuple(one for trial in group if (one := largest_completed(trial)) is not None)
        rows.append(SummaryRow(key if varied else None, name, title, tuple(group), completed))
    return rows


def best_row(settings: StudySettings, trials: Iterable[Trial]) -> SummaryRow | None:
    """The best of a study: the lowest mean of a sweep, the incumbent of a search; None before.

    In a race it is the lowest mean of those left.
    """
    if settings.configurations:
        leader = racing.race_of(settings, trials).leader
        rows = race_rows(settings, trials)
        return None if leader is None else rows[leader.place]
    if settings.space is not None:
        winner = best_trial(trials)
        if winner is None:
            return None
        return SummaryRow(None, "the best", "the best", (winner,), (winner,))
    rows = summary(trials, VARIED.get(settings.experiment))
    return min((row for row in rows if row.errors), key=lambda row: row.mean, default=None)


def race_rows(settings: StudySettings, trials: Iterable[Trial]) -> list[SummaryRow]:
    """The rows of a race's table, in the order in which the configurations were given."""
    rows, found = [], grouped(trials, lambda one: one.id[2])
    for place, configuration in enumerate(settings.configurations or ()):
        group = tuple(found.get(place, ()))
        name = f"configuration {place + 1}"
        completed = tuple(one for one in group if final_error(one) is not None)
        rows.append(SummaryRow(None, name, describe(configuration), group, completed))
    return [row for row in rows if row.trials]


def completed_error(trial: Trial) -> float | None:
    """The validation error of :func:`largest_completed`; None before the first."""
    completed = largest_completed(trial)
    return completed.valid_error if completed else None


def grouped(items: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    """The items by key, keys in order of first appearance."""
    groups: dict[Any, list[T]] = {}
    for one in items:
        groups.setdefault(key(one), []).append(one)
    return groups
