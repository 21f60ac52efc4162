"""What was proposed, trained and answered: between HpBandSter's jobs and the journal's events."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

from mnist_lab.errors import RunDirError
from mnist_lab.records import (
    Checkpoint,
    EpochDone,
    Event,
    Failed,
    Finished,
    HpBandSterId,
    Promoted,
    Proposed,
    Result,
    Retried,
    Started,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mnist_lab.config import TrainConfig


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
    """Knows every trial of a run by HpBandSter's id; safe to use from several threads.

    Args:
        history: the journal's events so far.
        base: the configuration that proposed hyperparameters are put into.
        emit: called with each new event, one at a time; it is on the disk when `emit` returns.
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
        self._lock = threading.Lock()
        self._proposed: dict[HpBandSterId, Proposed] = {}
        self._known: dict[tuple[int, int], Finished | Failed] = {}
        self._n_epochs: dict[int, int] = {}
        for event in history:
            if isinstance(event, Proposed):
                self._proposed[event.id] = event
            elif isinstance(event, Promoted):
                id_ = next(id_ for id_, one in self._proposed.items() if one.trial == event.trial)
                self._proposed[id_] = _up_to(event.budget, self._proposed[id_])
            elif isinstance(event, Finished | Failed):
                self._known[event.trial, event.budget] = event
            elif isinstance(event, Retried):
                self._known = {
                    place: end
                    for place, end in self._known.items()
                    if place[0] != event.trial or isinstance(end, Finished)
                }
            else:
                self._count(event)

    @property
    def replaying(self) -> bool:
        """Whether the journal holds results that the master has not asked for yet."""
        return bool(self._known)

    def proposed(
        self, id_: HpBandSterId, values: dict[str, Any], info: dict[str, Any], budget: int
    ) -> tuple[Proposed, Finished | Failed | None]:
        """A configuration that HpBandSter wants trained, and its result if the journal has it.

        One that was trained before, for a smaller budget, is promoted.

        Args:
            id_: HpBandSter's id.
            values: the proposed hyperparameters.
            info: `seed` and `repeat` of the trial.
            budget: epochs.

        Raises:
            RunDirError: the journal holds another configuration under this id.
        """
        configuration = self._base.model_copy(update=values | {"epochs": budget})
        with self._lock:
            before = self._proposed.get(id_)
            if before is not None:
                same = _up_to(budget, before)
                if (same.configuration, same.seed) != (configuration, info["seed"]):
                    raise RunDirError(
                        "a search proposes the same again from the same seed",
                        received=f"another configuration for trial {before.trial}",
                        next_step="use the versions that run.json names, or give --fresh",
                    )
                if budget > before.configuration.epochs:
                    self._proposed[id_] = same
                    self._emit(Promoted(time=now(), trial=same.trial, budget=budget))
                return same, self._known.pop((same.trial, budget), None)
            event = Proposed(
                time=now(),
                trial=len(self._proposed) + 1,
                id=id_,
                configuration=configuration,
                seed=info["seed"],
                repeat=info.get("repeat"),
            )
            self._proposed[id_] = event
            self._emit(event)
            return event, None

    def started(self, id_: HpBandSterId, worker: str, attempt: int) -> Checkpoint | None:
        """A worker takes the trial; returns the checkpoint that it goes on from, if there is one.

        The checkpoint is written before its epoch is: it may know one epoch more than the journal,
        which then learns it. Epochs of which there is no checkpoint are void, and trained again.
        """
        trial = self._proposed[id_]
        checkpoint = self._store.read_checkpoint(trial)
        n_known = self._n_epochs.get(trial.trial, 0)
        if checkpoint is not None and checkpoint.epoch.epoch > n_known + 1:
            checkpoint = None  # the journal is older than the checkpoint, and lacks epochs
        reached = checkpoint.epoch.epoch if checkpoint else 0
        self._tell(
            Started(
                time=now(),
                trial=trial.trial,
                worker=worker,
                attempt=attempt,
                from_epoch=min(reached, n_known),
            )
        )
        if checkpoint is not None and reached > n_known:
            self._tell(EpochDone(time=now(), trial=trial.trial, epoch=checkpoint.epoch))
        return checkpoint

    def epoch(self, id_: HpBandSterId, checkpoint: Checkpoint) -> None:
        """A worker finished an epoch of the trial; one that is told twice counts once."""
        trial = self._proposed[id_]
        if checkpoint.epoch.epoch <= self._n_epochs.get(trial.trial, 0):
            return
        self._store.write_checkpoint(trial, checkpoint)
        self._tell(EpochDone(time=now(), trial=trial.trial, epoch=checkpoint.epoch))

    def finished(
        self, id_: HpBandSterId, budget: int, outcome: Result, model: bytes | None
    ) -> None:
        """The trial was trained for its budget; `model` is the content of a `.keras` file."""
        trial = self._proposed[id_]
        if model is not None:
            self._store.write_model(trial, model)
        self._tell(Finished(time=now(), trial=trial.trial, budget=budget, **dict(outcome)))

    def failed(self, id_: HpBandSterId, budget: int, reason: str) -> None:
        """The trial could not be trained."""
        trial = self._proposed[id_]
        self._tell(Failed(time=now(), trial=trial.trial, budget=budget, reason=reason))

    def over(self, id_: HpBandSterId) -> None:
        """The trial will not be trained any further."""
        self._store.drop_checkpoint(self._proposed[id_])

    def _tell(self, event: Event) -> None:
        with self._lock:
            known = self._n_epochs.get(event.trial, 0)
            if isinstance(event, EpochDone) and event.epoch.epoch <= known:
                return  # told a second time while the first was on its way to the disk
            if isinstance(event, Started | EpochDone):
                self._count(event)
            self._emit(event)

    def _count(self, event: Started | EpochDone) -> None:
        if isinstance(event, Started):
            self._n_epochs[event.trial] = event.from_epoch
        else:
            self._n_epochs[event.trial] = event.epoch.epoch


def _up_to(budget: int, proposed: Proposed) -> Proposed:
    """The same trial, to be trained for another number of epochs."""
    configuration = proposed.configuration.model_copy(update={"epochs": budget})
    return proposed.model_copy(update={"configuration": configuration})
