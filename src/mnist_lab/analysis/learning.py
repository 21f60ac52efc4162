"""The learning curves of a sweep: the repeats of a value together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.trials import Spread, Tally, grouped, spread_of, tally_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnist_lab.records import Epoch, Trial


class LearningCurve(NamedTuple):
    """The errors by epoch of all trials that share a value of the varied hyperparameter.

    Entry i of `epochs`, `valid` and `train` is epoch i + 1, over the trials that reached it (as
    `Spread.n` says); None where none of them validated. The epoch in which a trial diverged ends
    its curve, and enters the mean only where there is no other trial: the mean of 90 % and four
    times 1 % says nothing about either. `budget` is how many epochs were asked for.
    """

    value: float
    epochs: tuple[int, ...]
    valid: tuple[Spread | None, ...]
    train: tuple[Spread | None, ...]
    budget: int
    tally: Tally


class LearningCurves(NamedTuple):
    """A sweep: `varied` is the name of the hyperparameter; one curve for each of its values."""

    varied: str
    curves: tuple[LearningCurve, ...]


def learning_curves(trials: Iterable[Trial], varied: str) -> LearningCurves:
    """The curves of a sweep, in the order in which the values were proposed.

    Args:
        trials: of the sweep; those with the same value are repeats.
        varied: the field of the configuration that varies, such as `learning_rate`.
    """
    groups = grouped(trials, lambda trial: getattr(trial.configuration, varied))
    return LearningCurves(
        varied, tuple(_learning_curve(value, group) for value, group in groups.items())
    )


def _learning_curve(value: float, trials: list[Trial]) -> LearningCurve:
    n_epochs = max(len(trial.epochs) for trial in trials)
    rows = [_reached(trials, number) for number in range(1, n_epochs + 1)]
    return LearningCurve(
        value,
        tuple(range(1, n_epochs + 1)),
        tuple(spread_of(epoch.valid_error for epoch in row) for row in rows),
        tuple(spread_of(epoch.train_error for epoch in row) for row in rows),
        max(trial.configuration.epochs for trial in trials),
        tally_of(trials),
    )


def _reached(trials: list[Trial], number: int) -> list[Epoch]:
    """Epoch `number` of the trials that have it, of the sound ones if there are any."""
    having = [trial for trial in trials if len(trial.epochs) >= number]
    sound = [trial for trial in having if not (trial.diverged and len(trial.epochs) == number)]
    return [trial.epochs[number - 1] for trial in sound or having]
