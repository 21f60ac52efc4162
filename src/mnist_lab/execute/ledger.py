"""What the journal knows: what was proposed, how far each trial is, what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mnist_lab.errors import RunDirError
from mnist_lab.records import (
    EpochDone,
    Event,
    Failed,
    Finished,
    HpBandSterId,
    Promoted,
    Proposed,
    Retried,
    Started,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mnist_lab.config import TrainConfig
    from mnist_lab.records import Checkpoint, Result
    from mnist_lab.search.proposals import Proposal


class Store(Protocol):
    """Where the ledger keeps what is too large for the journal."""

    def write_checkpoint(self, trial: Proposed, checkpoint: Checkpoint) -> None:
        """Replace the trial's checkpoint."""

    def read_checkpoint(self, trial: Proposed) -> Checkpoint | None:
        """The trial's checkpoint, if it has a sound one."""

    def drop_checkpoint(self, trial: Proposed) -> None:
        """Remove the trial's checkpoint, if there is one."""

    def write_model(self, trial: Proposed, content: bytes) -> None:
        """Keep a trained model, the content of a `.keras` file."""


class Ledger:
    """Writes each thing that happens down, and answers what happened before.

    Args:
        history: the journal's events so far.
        base: the configuration that proposed hyperparameters are put into.
        emit: called with each new event; it is on the disk when `emit` returns.
        store: keeps checkpoints and models.
    """

    def __init__(
        self,
        history: Iterable[Event],
        *,
        base: TrainConfig,
        emit: Callable[[Event], None],
        store: Store,
    ) -> None:
        self._base = base
        self._emit = emit
        self._store = store
        self._proposed: dict[HpBandSterId, Proposed] = {}
        self._known: dict[tuple[int, int], Finished | Failed] = {}
        self._n_epochs: dict[int, int] = {}
        ids: dict[int, HpBandSterId] = {}
        for event in history:
            if isinstance(event, Proposed):
                self._proposed[event.id] = event
                ids[event.trial] = event.id
            elif isinstance(event, Promoted):
                id_ = ids[event.trial]
                self._proposed[id_] = _up_to(event.budget, self._proposed[id_])
            elif isinstance(event, Finished | Failed):
                self._known[event.trial, event.budget] = event
            elif isinstance(event, Started):
                self._n_epochs[event.trial] = event.from_epoch
            elif isinstance(event, EpochDone):
                self._n_epochs[event.trial] = event.epoch.epoch
            elif isinstance(event, Retried):
                self._known = {
                    place: end
                    for place, end in self._known.items()
                    if place[0] != event.trial or isinstance(end, Finished)
                }

    @property
    def replaying(self) -> bool:
        """Whether the journal holds results that nobody has asked for yet."""
        return bool(self._known)

    def proposed(self, proposal: Proposal) -> tuple[Proposed, Finished | Failed | None]:
        """The trial that is proposed, and its result if the journal has it.

        One that was trained before, for a smaller budget, is promoted.

        Raises:
            RunDirError: the journal holds another configuration under this id.
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
                "a search proposes the same again from the same seed",
                received=f"another configuration for trial {before.trial}",
                next_step="use the versions that run.json names, or give --fresh",
            )
        if budget > before.configuration.epochs:
            self._proposed[proposal.id] = same
            self._emit(Promoted(time=now(), trial=same.trial, budget=budget))
        return same, self._known.pop((same.trial, budget), None)

    def checkpoint(self, trial: Proposed) -> Checkpoint | None:
        """What the trial goes on from, if there is something.

        The checkpoint is written before its epoch is: it may know one epoch more than the journal,
        not two.
        """
        checkpoint = self._store.read_checkpoint(trial)
        n_known = self._n_epochs.get(trial.trial, 0)
        return None if checkpoint and checkpoint.epoch.epoch > n_known + 1 else checkpoint

    def started(self, trial: Proposed, worker: str, attempt: int, start: Checkpoint | None) -> None:
        """A worker takes the trial, and goes on from `start`.

        The journal learns the epoch that it lacks. Epochs of which there is no checkpoint are void,
        and trained again.
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
        """A worker finished an epoch of the trial; one that is known already is not written."""
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


def _up_to(budget: int, proposed: Proposed) -> Proposed:
    """The same trial, to be trained for another number of epochs."""
    configuration = proposed.configuration.model_copy(update={"epochs": budget})
    return proposed.model_copy(update={"configuration": configuration})
