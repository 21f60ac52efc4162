"""Records -> rows of a table, one for each trial or epoch: what data frames and CSV hold.

Errors are fractions between 0 and 1, losses mean cross-entropies in nats per image, times ending in
`_s` seconds, other times RFC 3339 in UTC. None is what was not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.outcomes import seconds_per_epoch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnist_lab.records import Trial


class TrialRow(NamedTuple):
    """A trial.

    `epochs` is how many were asked for and `n_epochs` how many are done; the errors are those after
    the last of them, and `epoch_s` is the median duration of an epoch.
    """

    trial: int
    repeat: int | None
    seed: int
    state: str
    diverged: bool
    learning_rate: float
    batch_size: int
    num_filters: int
    filter_size: int
    momentum: float
    dropout: float
    weight_decay: float
    epochs: int
    n_epochs: int
    train_error: float | None
    valid_error: float | None
    test_error: float | None
    epoch_s: float | None
    started: str | None
    ended: str | None
    worker: str | None
    reason: str | None


class EpochRow(NamedTuple):
    """An epoch, with the configuration of its trial; `epoch` counts from 1."""

    trial: int
    repeat: int | None
    learning_rate: float
    batch_size: int
    num_filters: int
    filter_size: int
    momentum: float
    dropout: float
    weight_decay: float
    epoch: int
    train_loss: float | None
    train_error: float
    valid_loss: float | None
    valid_error: float | None
    duration_s: float


def trial_rows(trials: Iterable[Trial]) -> list[TrialRow]:
    """One row for each trial, in the order of proposal."""
    return [
        TrialRow(
            **dict(trial.configuration),
            trial=trial.trial,
            repeat=trial.repeat,
            seed=trial.seed,
            state=trial.state,
            diverged=trial.diverged,
            n_epochs=len(trial.epochs),
            train_error=trial.epochs[-1].train_error if trial.epochs else None,
            valid_error=trial.valid_error,
            test_error=trial.test.test_error if trial.test else None,
            epoch_s=seconds_per_epoch(trial),
            started=trial.started,
            ended=trial.ended,
            worker=trial.worker,
            reason=trial.reason,
        )
        for trial in trials
    ]


def epoch_rows(trials: Iterable[Trial]) -> list[EpochRow]:
    """One row for each epoch, trial after trial."""
    rows = []
    for trial in trials:
        configuration = dict(trial.configuration)
        del configuration["epochs"]
        rows += [
            EpochRow(**configuration, trial=trial.trial, repeat=trial.repeat, **dict(epoch))
            for epoch in trial.epochs
        ]
    return rows
