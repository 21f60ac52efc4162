"""The knowledge in the journal: the proposals, the progress of each trial, its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from mnist_lab.config import next_stop
from mnist_lab.errors import RunDirError
from mnist_lab.records import (
    EpochDone,
    Event,
    Failed,
    Finished,
    HpBandSterId,
    Promoted,
    Proposed,
    Started,
    now,
)
from mnist_lab.search.proposals import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mnist_lab.config import TrainConfig
    from mnist_lab.records import Checkpoint, Result, Rung, Trial
    from mnist_lab.search.proposals import Proposal


class Store(Protocol):
    """Storage for what is too large for the journal."""

    def write_checkpoint(self, trial: Proposed, checkpoint: Checkpoint) -> None:
        """Replace the trial's checkpoint."""

    def read_checkpoint(self, trial: Proposed) -> Checkpoint | None:
        """The trial's checkpoint, if it has an undamaged one."""

    def drop_checkpoint(self, trial: Proposed) -> None:
        """Remove the trial's checkpoint, if there is one."""

    def write_model(self, trial: Proposed, content: bytes) -> None:
        """Keep a trained model, the content of a `.keras` file."""


class Known(NamedTuple):
    """The result of a training in the journal; None: it failed."""

    trained: Trained | None


class Ledger:
    """Records each event, and answers from earlier ones.

    Args:
        trials: those in the journal so far.
        base: the configuration that proposed hyperparameters modify.
        emit: called with each new event, which is on the disk when `emit` returns.
        store: keeps checkpoints and models.
    """

    def __init__(
        self,
        trials: Iterable[Trial],
        *,
        base: TrainConfig,
        emit: Callable[[Event], None],
        store: Store,
    ) -> None:
        self._base = base
        self._emit = emit
        self._store = store
        self._proposed: dict[HpBandSterId, Proposed] = {}
        self._known: dict[tuple[int, float], Known] = {}
        self._n_epochs: dict[int, float] = {}
        for trial in trials:
            self._proposed[trial.id] = Proposed(
                time=trial.started or now(),
                trial=trial.trial,
                id=trial.id,
                configuration=trial.configuration,
                seed=trial.seed,
                repeat=trial.repeat,
            )
            self._n_epochs[trial.trial] = trial.n_epochs
            for rung in trial.rungs:
                self._known[trial.trial, rung.budget] = Known(_trained(trial, rung))
            if trial.state == "failed":
                self._known[trial.trial, trial.configuration.epochs] = Known(None)

    def proposed(self, proposal: Proposal) -> tuple[Proposed, Known | None]:
        """The proposed trial, and its result if the journal has it.

        A trial with a smaller budget so far is promoted.

        Raises:
            RunDirError: the journal has another configuration under this id.
        """
        budget = proposal.budget
        configuration = self._base.model_copy(update=proposal.values | {"epochs": budget})
        before = self._proposed.get(proposal.id)
        if before is None:
            event = Proposed(
                time=now(),
                trial=len(self._proposed) + 1,
                id=proposal.id,
                configuration=configuration,
                seed=proposal.seed,
                repeat=proposal.repeat,
            )
            self._proposed[proposal.id] = event
            self._emit(event)
            return event, None
        same = _up_to(budget, before)
        if (same.configuration, same.seed) != (configuration, proposal.seed):
            raise RunDirError(
                f"the search now proposes another configuration for trial {before.trial}",
                next_step="use the versions in run.json, or start anew with --fresh",
            )
        if budget > before.configuration.epochs:
            self._proposed[proposal.id] = same
            self._emit(Promoted(time=now(), trial=same.trial, budget=budget))
        return same, self._known.pop((same.trial, budget), None)

    def checkpoint(self, trial: Proposed, stops: Iterable[float]) -> Checkpoint | None:
        """The state from which the trial resumes, if there is one.

        The checkpoint is written before its record, so it may be one step ahead of the journal, not
        two.
        """
        checkpoint = self._store.read_checkpoint(trial)
        n_known = self._n_epochs.get(trial.trial, 0)
        too_far = checkpoint and checkpoint.epoch.epoch > next_stop(n_known, stops)
        return None if too_far else checkpoint

    def started(self, trial: Proposed, worker: str, attempt: int, start: Checkpoint | None) -> None:
        """A worker takes the trial and resumes from `start`.

        The journal receives a missing epoch. Epochs without a checkpoint no longer count and are
        trained again.
        """
        reached = start.epoch.epoch if start else 0
        n_known = self._n_epochs.get(trial.trial, 0)
        self._n_epochs[trial.trial] = from_epoch = min(reached, n_known)
        self._emit(
            Started(
                time=now(),
                trial=trial.trial,
                worker=worker,
                attempt=attempt,
                from_epoch=from_epoch,
            )
        )
        if start is not None and reached > n_known:
            self._write(trial, start)

    def epoch(self, trial: Proposed, checkpoint: Checkpoint) -> None:
        """A worker finished an epoch of the trial; a known one is not written again."""
        if checkpoint.epoch.epoch > self._n_epochs[trial.trial]:
            self._store.write_checkpoint(trial, checkpoint)
            self._write(trial, checkpoint)

    def finished(self, trial: Proposed, result: Result, model: bytes | None) -> None:
        """The trial was trained for its budget; `model` is the content of a `.keras` file."""
        if model is not None:
            self._store.write_model(trial, model)
        budget = trial.configuration.epochs
        self._emit(Finished(time=now(), trial=trial.trial, budget=budget, **dict(result)))

    def failed(self, trial: Proposed, reason: str) -> None:
        """The trial could not be trained."""
        budget = trial.configuration.epochs
        self._emit(Failed(time=now(), trial=trial.trial, budget=budget, reason=reason))

    def over(self, id_: HpBandSterId) -> None:
        """The trial will not be trained any further."""
        self._store.drop_checkpoint(self._proposed[id_])

    def _write(self, trial: Proposed, checkpoint: Checkpoint) -> None:
        self._n_epochs[trial.trial] = checkpoint.epoch.epoch
        self._emit(EpochDone(time=now(), trial=trial.trial, epoch=checkpoint.epoch))


def _trained(trial: Trial, rung: Rung) -> Trained:
    """The result of a training; without validation there is one rung, and its last record."""
    error = trial.epochs[-1].train_error if rung.valid_error is None else rung.valid_error
    return Trained(error, rung.valid_loss)


def _up_to(budget: float, proposed: Proposed) -> Proposed:
    """The same trial with another number of epochs."""
    configuration = proposed.configuration.model_copy(update={"epochs": budget})
    return proposed.model_copy(update={"configuration": configuration})
