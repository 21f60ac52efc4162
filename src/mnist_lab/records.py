"""The measurements: epochs, trials, studies; their JSON, with every unit stated once, here.

Units: errors are fractions between 0 and 1 (error = 1 - accuracy), losses are mean
cross-entropies in nats per image, times ending in `_s` are seconds, other times are RFC 3339 in
UTC. No record holds NaN: a number that does not exist is null, and the trial's `reason` says why.

The journal is a sequence of events. :class:`Trials` follows them; everything else is made of these.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from operator import not_
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, TypeAdapter

from mnist_lab.config import Epochs, Frozen, Seed, Text, TrainConfig
from mnist_lab.words import describe, epochs_text, in_words, percent, value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# 1: the first version.
# 2: the journal's lines are chained, a checkpoint's checksum covers its head, run.json has `id` and
#    `n_events`. Files of version 1 are read, and written anew in this one.
FORMAT_VERSION = 2

# What counts something: no number of a file, which may be anybody's, is beyond what is counted.
Count = Annotated[int, Field(ge=0, lt=2**31)]
Number = Annotated[int, Field(ge=1, lt=2**31)]
Fraction = Annotated[float, Field(ge=0, le=1)]
# What a float of 32 bits holds, in which it is computed, and exported.
Loss = Annotated[float, Field(ge=-3.4e38, le=3.4e38)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Digit = Annotated[int, Field(ge=0, le=9)]
# HpBandSter's id of a configuration: (iteration, stage it was sampled in, running index).
HpBandSterId = tuple[Count, Count, Count]
DIGITS = tuple("0123456789")  # the names of MNIST's classes
State = Literal["waiting", "running", "complete", "failed"]


def _time(text: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text, re.ASCII):
        with suppress(ValueError):
            timestamp(text)
            return text
    raise ValueError("a time is RFC 3339 in UTC, such as 2026-01-02T03:04:05.678Z")


Time = Annotated[str, AfterValidator(_time)]


def now() -> str:
    """The current time, RFC 3339 in UTC to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp(when: str | None) -> float:
    """Seconds since 1970 of an RFC 3339 time, as from :func:`now`; 0 without a time."""
    return datetime.fromisoformat(when).timestamp() if when else 0.0


class DatasetInfo(Frozen):
    """The identity of a data set.

    `source` is where it was found, an absolute path or `sample`, and can be passed to
    :func:`mnist_lab.data.load`. `is_mnist` means the whole of MNIST, byte for byte. `digests` are
    the MD5 of each array as an IDX file, by the name of the published file. `notice` is what a
    reader of the results must know; empty for MNIST. `warnings` name oddities of the data, one line
    each. `classes` are the names of the ten classes, empty if unknown. Older records lack the last
    two.
    """

    name: Text
    # As it is: it is a path.
    source: str
    is_mnist: bool
    n_train: Count
    n_valid: Count
    n_test: Count
    digests: dict[Text, Text]
    notice: Text
    warnings: tuple[Text, ...] = ()
    classes: tuple[Text, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything that a reader of the results must know, one line each."""
        return tuple(filter(None, (self.notice, *self.warnings)))

    @property
    def noun(self) -> str:
        """What an image shows: a "digit", or "class" if that is unknown."""
        # Older records have no names of classes.
        is_digits = self.is_mnist or self.source == "sample" or self.classes == DIGITS
        return "digit" if is_digits else "class"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the ten classes, or their numbers."""
        return self.classes if len(self.classes) == len(DIGITS) else DIGITS


class Epoch(Frozen):
    """One pass over the training images, or a part of one, and the validation after it.

    `epoch` is its end: 1 after the first pass, 0.125 if a budget ended within it. `train_loss` and
    `train_error` are means over the pass's steps so far, taken while the weights change (as in
    Keras), so they lag behind the validation. `duration_s` covers training and validation since
    the previous record. `n_valid` is the number of validation images; None, which files omit,
    means all of them.
    """

    epoch: Epochs
    train_loss: Loss | None
    train_error: Fraction
    valid_loss: Loss | None
    valid_error: Fraction | None
    n_valid: Number | None = Field(default=None, exclude_if=not_)
    duration_s: Seconds

    @property
    def diverged(self) -> bool:
        """Whether a loss is not finite; without validation images only the training has one."""
        validated = self.valid_error is not None
        return self.train_loss is None or (validated and self.valid_loss is None)


class Checkpoint(NamedTuple):
    """A training between two steps: its last record, and the state from which it resumes."""

    epoch: Epoch
    state: bytes


class Step(NamedTuple):
    """The result of a training step: the state of the training and, at its end, its outcome.

    `model` is the content of a `.keras` file, if models are kept.
    """

    checkpoint: Checkpoint
    result: Result | None = None
    model: bytes | None = None


class Mistake(Frozen):
    """A misclassified test image; `confidence` is the network's probability for its prediction."""

    image: Count  # its place among the test images, from 0
    true: Digit
    predicted: Digit
    confidence: Fraction


def _square(matrix: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    if len(matrix) > len(DIGITS) or any(len(row) != len(matrix) for row in matrix):
        raise ValueError("a confusion matrix has at most ten rows, and as many columns")
    return matrix


class TestScore(Frozen):
    """The result on the test images: `confusion[true digit][predicted digit]` counts images.

    `mistakes` are the most confident ones, most confident first; older records have none.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    test_error: Fraction
    test_loss: Loss | None
    confusion: Annotated[tuple[tuple[Count, ...], ...], AfterValidator(_square)]
    mistakes: tuple[Mistake, ...] = ()


class _Event(Frozen):
    """An event of a trial and its time; each kind has its own `event`."""

    event: str
    time: Time
    trial: Number


class Proposed(_Event):
    """A configuration that the study decided to train."""

    event: Literal["proposed"] = "proposed"
    id: HpBandSterId
    configuration: TrainConfig
    seed: Seed
    repeat: Number | None = None


class Promoted(_Event):
    """A trial that reached its budget continues, up to `budget` epochs in all."""

    event: Literal["promoted"] = "promoted"
    budget: Epochs


class Started(_Event):
    """A worker took a trial; an earlier attempt's epochs after `from_epoch` no longer count."""

    event: Literal["started"] = "started"
    worker: Text
    attempt: Number
    from_epoch: Epochs | Literal[0] = 0


class EpochDone(_Event):
    """A trial finished an epoch."""

    event: Literal["epoch"] = "epoch"
    epoch: Epoch


class Result(Frozen):
    """The outcome of a training; divergence is a result too.

    `loss` is what HpBandSter minimises: the last epoch's validation error, or its training error
    without validation images. `reason` says why a number is null.
    """

    loss: float
    diverged: bool = False
    reason: Text | None = None
    test: TestScore | None = None


class Finished(Result):
    """A trial was trained for its budget of epochs."""

    event: Literal["finished"] = "finished"
    time: Time
    trial: Number
    budget: Epochs


class Failed(_Event):
    """A trial could not be trained, after every attempt."""

    event: Literal["failed"] = "failed"
    budget: Epochs
    reason: Text


class Retried(_Event):
    """A failed trial is to be trained again, as the user asked."""

    event: Literal["retried"] = "retried"


Event = Annotated[
    Proposed | Promoted | Started | EpochDone | Finished | Failed | Retried,
    Field(discriminator="event"),
]
EVENT: TypeAdapter[Any] = TypeAdapter(Event)


class Rung(Frozen):
    """A budget that a trial reached: Hyperband's trials have several."""

    budget: Epochs
    valid_error: float | None
    valid_loss: float | None
    diverged: bool
    started: str | None
    ended: str


class Trial(Frozen):
    """One configuration trained from one seed: an entry of `curves.json`."""

    trial: int
    id: HpBandSterId
    configuration: TrainConfig
    seed: int
    repeat: int | None
    state: State
    diverged: bool
    reason: str | None
    # When it was started and ended last.
    started: str | None
    ended: str | None
    worker: str | None
    epochs: tuple[Epoch, ...]
    rungs: tuple[Rung, ...]
    test: TestScore | None

    def __repr__(self) -> str:
        """One line, where the records are many."""
        return f"<Trial {self.trial}: {self._standing}, {describe(self.configuration)}>"

    def _repr_html_(self) -> str:
        """The view in a notebook: the state, and the configuration as a small block."""
        rows = "".join(
            f"<tr><td>{in_words(name)}</td><td>{value_text(name, value)}</td></tr>"
            for name, value in self.configuration
            if value
        )
        return f"<b>trial {self.trial}</b>: {self._standing}<table>{rows}</table>"

    @property
    def _standing(self) -> str:
        if (error := self.valid_error) is None:
            return self.state
        return f"{self.state}, validation error {percent(error)} after {epochs_text(self.n_epochs)}"

    @property
    def valid_error(self) -> float | None:
        """The validation error after the last epoch; None without one."""
        return self.epochs[-1].valid_error if self.epochs else None

    @property
    def n_epochs(self) -> float:
        """The number of epochs trained."""
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def parts(self) -> list[float]:
        """The part of an epoch that each record covers."""
        starts = (0, *(one.epoch for one in self.epochs))
        return [one.epoch - start for one, start in zip(self.epochs, starts, strict=False)]

    def up_to(self, budget: float) -> tuple[Epoch, ...]:
        """The records up to this epoch."""
        return tuple(one for one in self.epochs if one.epoch <= budget)


class Trials:
    """The trials that events describe, in the order of proposal: the only live state of a run.

    One thread applies events; others may read meanwhile. `known` are the trials so far.
    """

    def __init__(self, events: Iterable[Event] = (), known: Iterable[Trial] = ()) -> None:
        self._trials = {trial.trial: trial for trial in known}
        # A tuple that grows with each epoch would be copied each time.
        self._epochs = {number: list(trial.epochs) for number, trial in self._trials.items()}
        for event in events:
            self.apply(event)

    def __len__(self) -> int:
        """The number of trials proposed."""
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        """Each trial in its current state."""
        return map(self.numbered, list(self._trials))

    @property
    def n_failed(self) -> int:
        """The number of failed trials."""
        return sum(trial.state == "failed" for trial in list(self._trials.values()))

    @property
    def n_trained(self) -> int:
        """The number of ended trainings, one for each budget of a trial, including failed ones."""
        return self.n_failed + sum(len(trial.rungs) for trial in list(self._trials.values()))

    def numbered(self, number: int) -> Trial:
        """The trial with this number, which must exist, in its current state."""
        trial, epochs = self._trials[number], self._epochs[number]
        if len(trial.epochs) == len(epochs):
            return trial
        return trial.model_copy(update={"epochs": tuple(epochs)})

    def apply(self, event: Event) -> None:
        """Apply one event; a ValueError if it contradicts those before it."""
        number, is_new = event.trial, isinstance(event, Proposed)
        if is_new == (number in self._trials):
            raise ValueError(f"trial {number} is proposed {'twice' if is_new else 'not at all'}")
        if isinstance(event, Proposed):
            values: dict[str, Any] = dict.fromkeys(Trial.model_fields) | dict(event)
            del values["event"], values["time"]
            values |= {"state": "waiting", "diverged": False, "epochs": (), "rungs": ()}
            self._epochs[number], self._trials[number] = [], Trial(**values)
        elif isinstance(event, EpochDone):
            epochs = self._epochs[number]
            before = epochs[-1].epoch if epochs else 0
            if not before < event.epoch.epoch <= int(before) + 1:
                raise ValueError(f"trial {number} has epoch {event.epoch.epoch} after {before}")
            epochs.append(event.epoch)
        else:
            trial = self.numbered(number)
            trial = trial.model_copy(update=_change(trial, event))
            self._trials[number], self._epochs[number] = trial, list(trial.epochs)


def fold(events: Iterable[Event]) -> list[Trial]:
    """The trials that a whole journal's events describe; raises as :meth:`Trials.apply`."""
    return list(Trials(events))


def _change(
    trial: Trial, event: Promoted | Started | Finished | Failed | Retried
) -> dict[str, Any]:
    if isinstance(event, Promoted):
        configuration = trial.configuration.model_copy(update={"epochs": event.budget})
        again = {"state": "waiting", "started": None, "ended": None}
        return {"configuration": configuration, **again}
    if isinstance(event, Started):
        kept = trial.up_to(event.from_epoch)
        started = event.time if trial.started is None or not kept else trial.started
        return {"state": "running", "worker": event.worker, "epochs": kept, "started": started}
    if isinstance(event, Retried):
        return {"state": "waiting", "reason": None, "ended": None}
    end = {"ended": event.time, "reason": event.reason}
    if isinstance(event, Failed):
        return {"state": "failed", **end}
    rung = Rung(
        budget=event.budget,
        valid_error=trial.valid_error,
        valid_loss=trial.epochs[-1].valid_loss if trial.epochs else None,
        diverged=event.diverged,
        started=trial.started,
        ended=event.time,
    )
    result = {"diverged": event.diverged, "test": event.test, "rungs": (*trial.rungs, rung)}
    return {"state": "complete"} | result | end
