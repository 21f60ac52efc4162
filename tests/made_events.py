"""Events, trials and runs made for the tests, and hypothesis strategies for any of them."""

from __future__ import annotations

import json
import zlib
from datetime import UTC
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from mnist_lab.config import StudySettings, TrainConfig
from mnist_lab.records import (
    Epoch,
    EpochDone,
    Failed,
    Finished,
    Mistake,
    Promoted,
    Proposed,
    Rung,
    Started,
    TestScore,
    Trial,
)
from mnist_lab.rundir import Journal, RunInfo
from mnist_lab.rundir.journal import CHAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnist_lab.records import Event, State
    from mnist_lab.rundir import RunDir

TIME = "2026-01-02T03:04:05.678Z"


def proposed(trial: int = 1, **configuration: Any) -> Proposed:
    """Trial `trial` is proposed, with these hyperparameters and else the base configuration."""
    config = TrainConfig(**{"epochs": 3, **configuration})
    return Proposed(
        time=TIME, trial=trial, id=(trial - 1, 0, 0), configuration=config, seed=100 + trial
    )


def promoted(trial: int = 1, budget: float = 9) -> Promoted:
    """The trial goes on, up to this many epochs in all."""
    return Promoted(time=TIME, trial=trial, budget=budget)


def started(trial: int = 1, attempt: int = 1, from_epoch: float = 0) -> Started:
    """A worker takes the trial."""
    return Started(
        time=TIME, trial=trial, worker=f"worker-{attempt}", attempt=attempt, from_epoch=from_epoch
    )


def an_epoch(number: float = 1, valid_error: float | None = 0.04, duration_s: float = 2.0) -> Epoch:
    """Epoch `number`; without an error nothing validates."""
    return Epoch(
        epoch=number,
        train_loss=0.2,
        train_error=0.06,
        valid_loss=None if valid_error is None else 0.15,
        valid_error=valid_error,
        duration_s=duration_s,
    )


def epoch_done(trial: int = 1, number: int = 1, valid_error: float | None = 0.04) -> EpochDone:
    """The trial finishes an epoch."""
    return EpochDone(time=TIME, trial=trial, epoch=an_epoch(number, valid_error))


def finished(trial: int = 1, **outcome: Any) -> Finished:
    """The trial finishes its three epochs."""
    return Finished(**{"time": TIME, "trial": trial, "budget": 3, "loss": 0.04, **outcome})


def failed(trial: int = 1, reason: str = "its worker was killed") -> Failed:
    """The trial fails for good."""
    return Failed(time=TIME, trial=trial, budget=3, reason=reason)


def whole_trial(trial: int = 1, valid_error: float = 0.04, **configuration: Any) -> list[Event]:
    """All events of a trial that goes well: three epochs, ending with this error."""
    epochs = [epoch_done(trial, number, valid_error + (3 - number) / 100) for number in (1, 2, 3)]
    proposal, end = proposed(trial, **configuration), finished(trial, loss=valid_error)
    return [proposal, started(trial), *epochs, end]


def made_trial(
    number: int,
    errors: Sequence[float | None],
    *,
    seed: int = 7,
    at: Sequence[float] = (),
    train: float | Sequence[float] | None = None,
    losses: Sequence[tuple[float, float]] = (),
    seconds: float | Sequence[float] = 1.0,
    diverged: bool = False,
    state: State = "complete",
    test: TestScore | None = None,
    **configuration: Any,
) -> Trial:
    """A trial with these validation errors; its training errors are `train`, else the same.

    `losses` are those of validation and training, by epoch. It has as many epochs as it asked for;
    or it was trained for the budgets `at`, one after the other, each with an error.
    """
    n, reached = len(errors), at or range(1, len(errors) + 1)
    trained = [train] * n if isinstance(train, float) else train or [e or 0.25 for e in errors]
    took = [seconds] * n if isinstance(seconds, float) else seconds
    epochs = tuple(
        Epoch(
            epoch=epoch,
            train_loss=of_train,
            train_error=train_error,
            valid_loss=of_valid,
            valid_error=error,
            duration_s=duration,
        )
        for epoch, error, train_error, duration, (of_valid, of_train) in zip(
            reached, errors, trained, took, losses or [(0.1, 0.1)] * n, strict=True
        )
    )
    config = TrainConfig(**{"epochs": max(reached, default=1), **configuration})
    ends: list[tuple[float, float | None]] = list(zip(at, errors, strict=False))
    ends = ends or [(config.epochs, errors[-1] if errors else None)]
    rungs = tuple(
        Rung(
            budget=budget,
            valid_error=error,
            valid_loss=None,
            diverged=diverged,
            started=None,
            ended="",
        )
        for budget, error in ends
    )
    return Trial(
        trial=number,
        id=(number, 0, 0),
        configuration=config,
        seed=seed,
        repeat=None,
        state=state,
        diverged=diverged,
        reason=None,
        started=None,
        ended="" if state in {"complete", "failed"} else None,
        worker=None,
        epochs=epochs,
        rungs=rungs if state == "complete" else (),
        test=test,
    )


def study_settings(**values: Any) -> StudySettings:
    """A learning-rate sweep of two values, or what `values` say."""
    sweep: dict[str, Any] = {
        "experiment": "lr-sweep",
        "base": TrainConfig(epochs=3),
        "values": (0.1, 0.01),
    }
    return StudySettings(**sweep | values)


def run_info(**values: Any) -> RunInfo:
    """What run.json of that sweep holds while it runs."""
    data = {
        "name": "MNIST",
        "source": "/data/mnist.npz",
        "is_mnist": True,
        "n_train": 50_000,
        "n_valid": 10_000,
        "n_test": 10_000,
        "digests": {"train-images-idx3-ubyte": "6bbc"},
        "notice": "",
    }
    info: dict[str, Any] = {
        "settings": study_settings(),
        "data": data,
        "versions": {"python": "3.11.0"},
        "machine": {"host": "pool-7", "cores": 2},
        "command": "mnist-lab lr-sweep",
        "state": "running",
        "started": TIME,
    }
    return RunInfo(**info | values)


def write_events(run: RunDir, *made: Event) -> None:
    """Append to the run's journal, as one session does."""
    journal = open_journal(run)
    for event in made:
        journal.append(event)
    journal.close()


def journal_lines(run: RunDir) -> list[dict[str, Any]]:
    """Each line of the run's journal, of which the first says whose it is."""
    return [json.loads(line) for line in run.journal.read_bytes().splitlines()]


def forge(run: RunDir, lines: Iterable[dict[str, Any]]) -> None:
    """Write the journal anew of these lines, numbered and chained as a stranger can do it, too."""
    content, last = b"", "00000000"
    for number, line in enumerate(lines, start=1):
        values = {key: value for key, value in line.items() if key not in CHAIN}
        chained = json.dumps({"line": number, "after": last} | values, separators=(",", ":"))
        last = f"{zlib.crc32(chained[:-1].encode()):08x}"
        content += f'{chained[:-1]},"crc32":"{last}"}}\n'.encode()
    run.journal.write_bytes(content)


def begun_as(run: RunDir) -> dict[str, Any]:
    """The first line of a journal that belongs to the run.json that is there, whatever it says."""
    info = json.loads(run.run.read_bytes())
    digests = info["data"]["digests"]
    values = {"id": info["id"], "settings": info["settings"], "digests": digests}
    return values | {"event": "begun", "time": TIME}


def open_journal(run: RunDir) -> Journal:
    """The run's journal, open for writing."""
    return Journal(run.journal, (run.read_info() if run.exists() else run_info()).identity)


# --- any of them, for hypothesis

_positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
_seconds = st.floats(0, 1e12)
_fractions = st.floats(0, 1)
_numbers = st.integers(1, 10**6)
_seeds = st.integers(0, 2**63 - 1)
_texts = st.text()
_times = st.datetimes(timezones=st.just(UTC)).map(
    lambda when: when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
)
_losses = st.none() | st.floats(-3.4e38, 3.4e38)

configs = st.builds(
    TrainConfig,
    learning_rate=_positive,
    batch_size=_numbers,
    num_filters=st.integers(1, 1024),
    filter_size=st.integers(1, 28),
    epochs=_numbers,
)
epochs = st.builds(
    Epoch,
    epoch=_numbers,
    train_loss=_losses,
    train_error=_fractions,
    valid_loss=_losses,
    valid_error=st.none() | _fractions,
    duration_s=_seconds,
)
mistakes = st.builds(
    Mistake,
    image=_numbers,
    true=st.integers(0, 9),
    predicted=st.integers(0, 9),
    confidence=_fractions,
)
scores = st.builds(
    TestScore,
    test_error=_fractions,
    test_loss=_losses,
    confusion=st.integers(0, 3).flatmap(lambda n: st.tuples(*[st.tuples(*[_numbers] * n)] * n)),
    mistakes=st.lists(mistakes, max_size=3).map(tuple),
)


def any_trials(tests: st.SearchStrategy[TestScore]) -> st.SearchStrategy[Trial]:
    """Trials with any of these test scores or none; of few seeds, so that some agree."""
    rungs = st.builds(
        Rung, valid_error=st.none() | _fractions, valid_loss=st.none() | st.floats(0, 9)
    )
    return st.builds(
        Trial,
        id=st.tuples(*[st.integers(0, 9)] * 3),
        configuration=configs,
        seed=st.integers(0, 2),
        diverged=st.booleans(),
        epochs=st.lists(epochs, max_size=9).map(tuple),
        rungs=st.lists(rungs, max_size=2).map(tuple),
        test=st.none() | tests,
    )


events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Proposed,
        time=_times,
        trial=_numbers,
        id=st.tuples(_numbers, _numbers, _numbers),
        configuration=configs,
        seed=_seeds,
        repeat=st.none() | _numbers,
    ),
    st.builds(Promoted, time=_times, trial=_numbers, budget=_numbers),
    st.builds(
        Started, time=_times, trial=_numbers, worker=_texts, attempt=_numbers, from_epoch=_numbers
    ),
    st.builds(EpochDone, time=_times, trial=_numbers, epoch=epochs),
    st.builds(
        Finished,
        time=_times,
        trial=_numbers,
        budget=_numbers,
        loss=_fractions,
        diverged=st.booleans(),
        reason=st.none() | _texts,
        test=st.none() | scores,
    ),
    st.builds(Failed, time=_times, trial=_numbers, budget=_numbers, reason=_texts),
)
