"""What was proposed, trained and answered: between HpBandSter's jobs and the journal's events."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any

from mnist_lab.config import TrainConfig, check
from mnist_lab.errors import RunDirError
from mnist_lab.records import (
    Epoch,
    EpochDone,
    Event,
    Failed,
    Finished,
    HpBandSterId,
    Outcome,
    Proposed,
    Started,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Ledger:
    """Knows every trial of a run by HpBandSter's id; safe to use from several threads.

    Args:
        history: the journal's events so far.
        base: the configuration that proposed hyperparameters are put into.
        emit: called with each new event, one at a time; it is on the disk when `emit` returns.
        keep_model: called with the content of a `.keras` file, where the trial brings one.
    """

    def __init__(
        self,
        history: Iterable[Event],
        *,
        base: TrainConfig,
        emit: Callable[[Event], None],
        keep_model: Callable[[int, bytes], None],
    ) -> None:
        self._base = base
        self._emit = emit
        self._keep_model = keep_model
        self._lock = threading.Lock()
        self._proposed: dict[HpBandSterId, Proposed] = {}
        self._known: dict[tuple[int, int], Finished | Failed] = {}
        for event in history:
            if isinstance(event, Proposed):
                self._proposed[event.id] = event
            elif isinstance(event, Finished | Failed):
                self._known[event.trial, event.budget] = event

    @property
    def replaying(self) -> bool:
        """Whether the journal holds results that the master has not asked for yet."""
        return bool(self._known)

    def proposed(
        self, id_: HpBandSterId, values: dict[str, Any], info: dict[str, Any], budget: int
    ) -> tuple[Proposed, Finished | Failed | None]:
        """A configuration that HpBandSter wants trained, and its result if the journal has it.

        Args:
            id_: HpBandSter's id.
            values: the proposed hyperparameters.
            info: `seed` and `repeat` of the trial.
            budget: epochs.

        Raises:
            RunDirError: the journal holds another configuration under this id.
        """
        configuration = check(
            TrainConfig,
            self._base.model_dump() | values | {"epochs": budget},
            source="the proposed configuration",
        )
        with self._lock:
            before = self._proposed.get(id_)
            if before is not None:
                if (before.configuration, before.seed) != (configuration, info["seed"]):
                    raise RunDirError(
                        "a search proposes the same again from the same seed",
                        received=f"another configuration for trial {before.trial}",
                        next_step="use the versions that run.json names, or give --fresh",
                    )
                return before, self._known.pop((before.trial, budget), None)
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

    def started(self, id_: HpBandSterId, worker: str, attempt: int) -> None:
        """A worker took the trial; what an earlier attempt measured is void."""
        trial = self._proposed[id_].trial
        self._tell(Started(time=now(), trial=trial, worker=worker, attempt=attempt))

    def epoch(self, id_: HpBandSterId, epoch: Epoch) -> None:
        """A worker finished an epoch of the trial."""
        self._tell(EpochDone(time=now(), trial=self._proposed[id_].trial, epoch=epoch))

    def finished(self, id_: HpBandSterId, budget: int, outcome: Outcome, model: str | None) -> None:
        """The trial was trained for its budget; `model` is a `.keras` file in base64."""
        trial = self._proposed[id_].trial
        if model is not None:
            self._keep_model(trial, base64.b64decode(model))
        self._tell(Finished(time=now(), trial=trial, budget=budget, **dict(outcome)))

    def failed(self, id_: HpBandSterId, budget: int, reason: str) -> None:
        """The trial could not be trained."""
        trial = self._proposed[id_].trial
        self._tell(Failed(time=now(), trial=trial, budget=budget, reason=reason))

    def _tell(self, event: Event) -> None:
        with self._lock:
            self._emit(event)
