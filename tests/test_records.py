"""The records: their JSON, and the trials that a journal's events add up to."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import (
    TIME,
    an_epoch,
    configs,
    epoch_done,
    epochs,
    events,
    failed,
    finished,
    proposed,
    scores,
    started,
    whole_trial,
)
from pydantic import ValidationError

from mnist_lab.config import TrainConfig
from mnist_lab.records import (
    EVENT,
    Epoch,
    Mistake,
    Promoted,
    Retried,
    Rung,
    TestScore,
    Trial,
    fold,
    now,
)

if TYPE_CHECKING:
    from mnist_lab.records import Event


def test_now() -> None:
    """The time is RFC 3339 in UTC, and is now."""
    text = now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    age = datetime.now(UTC) - datetime.fromisoformat(text)
    assert 0 <= age.total_seconds() < 60


# --- JSON


@given(events)
def test_json_round_trip_of_events(event: Event) -> None:
    """Any event survives its JSON, which is one line and strict JSON: no NaN, no infinity."""
    text = event.model_dump_json()
    assert EVENT.validate_json(text) == event
    assert len(text.encode().splitlines()) == 1

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(constant)

    json.loads(text, parse_constant=refuse)


@given(
    st.builds(
        Trial,
        configuration=configs,
        id=st.tuples(*[st.integers(0, 99)] * 3),
        epochs=st.lists(epochs, max_size=3).map(tuple),
        rungs=st.lists(st.builds(Rung, valid_error=st.none() | st.floats(0, 1)), max_size=3).map(
            tuple
        ),
        test=st.none() | scores,
    )
)
def test_json_round_trip_of_trials(trial: Trial) -> None:
    """Any entry of curves.json survives its JSON, as events do."""
    assert Trial.model_validate_json(trial.model_dump_json()) == trial


def test_names_in_the_journal() -> None:
    """The keys of an epoch and of a configuration are those of the contract."""
    assert list(json.loads(an_epoch().model_dump_json())) == [
        "epoch",
        "train_loss",
        "train_error",
        "valid_loss",
        "valid_error",
        "duration_s",
    ]
    assert list(json.loads(TrainConfig().model_dump_json())) == [
        "learning_rate",
        "batch_size",
        "num_filters",
        "filter_size",
        "epochs",
    ]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "key", ["train_loss", "train_error", "valid_loss", "valid_error", "duration_s"]
)
def test_no_epoch_holds_nan(key: str, number: float) -> None:
    """An epoch refuses every number that is none, made here or read from a file."""
    values = an_epoch().model_dump() | {key: number}
    with pytest.raises(ValidationError, match=rf"{key}\n.*finite number"):
        Epoch(**values)
    with pytest.raises(ValidationError, match=rf"{key}\n.*finite number"):
        Epoch.model_validate_json(json.dumps(values))


def test_no_result_holds_nan() -> None:
    """Neither the loss of a result nor a test score is NaN."""
    with pytest.raises(ValidationError, match=r"loss\n.*finite number"):
        finished(loss=math.nan)
    with pytest.raises(ValidationError, match=r"test_error\n.*finite number"):
        TestScore(test_error=math.nan, test_loss=None, confusion=())


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"event": "guessed"}', "does not match any of the expected tags"),
        ("{}", "Unable to extract tag"),
        (
            f'{{"event": "failed", "time": "{TIME}", "trial": 1, "budget": 1}}',
            r"reason\n.*required",
        ),
        (f'{{"event": "started", "time": "{TIME}", "trial": "1"}}', r"trial\n.*valid integer"),
        ('{"event": "epoch"', "Invalid JSON"),
    ],
)
def test_no_event(line: str, match: str) -> None:
    """What is not exactly an event is refused."""
    with pytest.raises(ValidationError, match=match):
        EVENT.validate_json(line)


@pytest.mark.parametrize("changes", [{"epoch": 0}, {"accuracy": 0.9}])
def test_no_epoch(changes: dict[str, Any]) -> None:
    """Epochs count from 1, and hold nothing else than what the contract says."""
    with pytest.raises(ValidationError, match=next(iter(changes))):
        Epoch(**an_epoch().model_dump() | changes)


# --- folding


def test_life_of_a_trial() -> None:
    """A trial waits, runs and is complete; each event adds what it says and nothing else."""
    life: list[Event] = [
        proposed(4, learning_rate=0.03),
        started(4),
        epoch_done(4, 1, 0.05),
        finished(4, reason="because", diverged=True),
    ]
    steps = [fold(life[:n])[0] for n in range(1, 5)]
    assert [trial.state for trial in steps] == ["waiting", "running", "running", "complete"]
    assert [len(trial.epochs) for trial in steps] == [0, 0, 1, 1]
    assert [trial.valid_error for trial in steps] == [None, None, 0.05, 0.05]
    assert [trial.started for trial in steps] == [None, TIME, TIME, TIME]
    assert [trial.ended for trial in steps] == [None, None, None, TIME]
    assert steps[-1] == Trial(
        trial=4,
        id=(3, 0, 0),
        configuration=TrainConfig(learning_rate=0.03, epochs=3),
        seed=104,
        repeat=None,
        state="complete",
        diverged=True,
        reason="because",
        started=TIME,
        ended=TIME,
        worker="worker-1",
        epochs=(an_epoch(1, 0.05),),
        rungs=(Rung(budget=3, valid_error=0.05, diverged=True, started=TIME, ended=TIME),),
        test=None,
    )


def test_promoted_trial() -> None:
    """A trial that is promoted waits again, keeps its epochs, and has a rung for each budget."""
    life: list[Event] = [
        *whole_trial(1, 0.05),
        Promoted(time=TIME, trial=1, budget=9),
        started(1, from_epoch=3),
        epoch_done(1, 4, 0.03),
        finished(1, budget=9),
    ]
    waiting, running, _, done = (fold(life[:n])[0] for n in (7, 8, 9, 10))
    assert (waiting.state, waiting.ended, waiting.configuration.epochs) == ("waiting", None, 9)
    assert (running.state, len(running.epochs)) == ("running", 3)
    assert (done.state, len(done.epochs), done.valid_error) == ("complete", 4, 0.03)
    assert [(rung.budget, rung.valid_error) for rung in done.rungs] == [(3, 0.05), (9, 0.03)]


def test_failed_trial() -> None:
    """A failed trial keeps its reason, and the epochs that it had."""
    trial = fold([proposed(), started(), epoch_done(), failed(reason="out of memory")])[0]
    assert (trial.state, trial.reason, len(trial.epochs)) == ("failed", "out of memory", 1)
    assert trial.ended == TIME


def test_trial_without_validation() -> None:
    """Where nothing validates there is no validation error, and the reason is kept."""
    trial = fold([proposed(), started(), epoch_done(valid_error=None), finished(reason="none")])[0]
    assert (trial.valid_error, trial.reason, len(trial.epochs)) == (None, "none", 1)


def test_test_score_is_kept() -> None:
    """The look at the test images comes with the result."""
    score = TestScore(test_error=0.5, test_loss=0.7, confusion=((1, 1), (0, 2)))
    assert fold([proposed(), started(), finished(test=score)])[0].test == score


def test_test_score_without_mistakes() -> None:
    """A record from before mistakes were kept is read, and has none."""
    old = '{"test_error": 0.5, "test_loss": null, "confusion": [[1, 1], [0, 2]]}'
    assert TestScore.model_validate_json(old).mistakes == ()


@pytest.mark.parametrize("confidence", [-0.1, 1.1, math.nan])
def test_confidence_is_a_probability(confidence: float) -> None:
    """A mistake's confidence lies between 0 and 1."""
    with pytest.raises(ValidationError, match="confidence"):
        Mistake(image=0, true=4, predicted=9, confidence=confidence)


def test_later_start_is_the_one_that_counts() -> None:
    """Where an attempt begins anew the start is its own, not that of the attempt before."""
    later = started(attempt=2).model_copy(update={"time": "2026-01-03T00:00:00.000Z"})
    assert fold([proposed(), started(), epoch_done(), later])[0].started == later.time


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_a_new_attempt_voids_the_epochs_before(lengths: list[int]) -> None:
    """However many attempts there were, the trial has the epochs of the last one, each once."""
    life: list[Event] = [proposed()]
    for attempt, n_epochs in enumerate(lengths, start=1):
        life.append(started(attempt=attempt))
        life += [epoch_done(number=number) for number in range(1, n_epochs + 1)]
    trial = fold(life)[0]
    assert [epoch.epoch for epoch in trial.epochs] == list(range(1, lengths[-1] + 1))
    assert trial.worker == f"worker-{len(lengths)}"


@given(n_made=st.integers(0, 5), kept=st.integers(0, 5))
def test_an_attempt_from_a_checkpoint_keeps_epochs(n_made: int, kept: int) -> None:
    """An attempt that goes on after some epochs voids only the later ones."""
    made = [epoch_done(number=number) for number in range(1, n_made + 1)]
    trial = fold([proposed(), started(), *made, started(attempt=2, from_epoch=kept)])[0]
    assert len(trial.epochs) == min(n_made, kept)


@given(st.permutations([1] * 6 + [2] * 6 + [3] * 6))
def test_trials_do_not_touch_each_other(order: list[int]) -> None:
    """However the events of several trials mix, each trial is as if it had been alone."""
    lives = {number: whole_trial(number, valid_error=number / 50) for number in (1, 2, 3)}
    alone = {number: fold(life)[0] for number, life in lives.items()}
    queues = {number: iter(life) for number, life in lives.items()}
    mixed = fold(next(queues[number]) for number in order)
    assert [trial.trial for trial in mixed] == list(dict.fromkeys(order))
    assert {trial.trial: trial for trial in mixed} == alone


def test_no_events_no_trials() -> None:
    """An empty journal holds no trials."""
    assert fold([]) == []


@pytest.mark.parametrize("event", [started(2), epoch_done(2), finished(2), failed(2)])
def test_unknown_trial(event: Event) -> None:
    """An event of a trial that nobody proposed is an error, whatever it tells."""
    with pytest.raises(ValueError, match="trial 2 is proposed not at all"):
        fold([proposed(1), event])


def test_events_that_cannot_follow() -> None:
    """Neither can a second proposal, nor an epoch before the one that comes first."""
    with pytest.raises(ValueError, match="trial 1 is proposed twice"):
        fold([proposed(1), proposed(1)])
    with pytest.raises(ValueError, match="trial 1 has epoch 3 after 1"):
        fold([proposed(1), started(1), epoch_done(1, 1), epoch_done(1, 3)])
    with pytest.raises(ValueError, match="trial 1 has epoch 1 after 1"):
        fold([proposed(1), started(1), epoch_done(1, 1), epoch_done(1, 1)])


def test_trial_that_is_tried_again() -> None:
    """A failed trial waits again, as if it had never been tried."""
    (trial,) = fold([proposed(1), started(1), failed(1), Retried(time=TIME, trial=1)])
    assert (trial.state, trial.reason, trial.ended) == ("waiting", None, None)
