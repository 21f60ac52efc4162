"""The records: their JSON, and the trials that a journal's events add up to."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import (
    TIME,
    an_epoch,
    any_trials,
    epoch_done,
    failed,
    finished,
    promoted,
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
    Retried,
    Rung,
    TestScore,
    Trial,
    Trials,
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


@given(any_trials(scores))
def test_json_round_trip_of_trials(trial: Trial) -> None:
    """Any entry of curves.json survives its JSON, as events do in a journal."""
    assert Trial.model_validate_json(trial.model_dump_json()) == trial


def test_names_in_the_journal() -> None:
    """The keys of an epoch are those of the contract."""
    keys = "epoch train_loss train_error valid_loss valid_error duration_s"
    assert " ".join(json.loads(an_epoch().model_dump_json())) == keys


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_record_holds_nan(number: float) -> None:
    """Each refuses every number that is none, made here or read from a file."""
    made = an_epoch().model_dump()
    for key in made.keys() - {"epoch"}:
        with pytest.raises(ValidationError, match=rf"{key}\n.*finite number"):
            Epoch(**made | {key: number})
        with pytest.raises(ValidationError, match=rf"{key}\n.*finite number"):
            Epoch.model_validate_json(json.dumps(made | {key: number}))
    with pytest.raises(ValidationError, match=r"loss\n.*finite number"):
        finished(loss=number)
    with pytest.raises(ValidationError, match=r"test_error\n.*finite number"):
        TestScore(test_error=number, test_loss=None, confusion=())


@pytest.mark.parametrize("n", [3, 11])
def test_confusion_matrix(n: int) -> None:
    """It has a row and a column for each of at most ten classes."""
    with pytest.raises(ValidationError, match="at most ten rows, and as many columns"):
        TestScore(test_error=0.5, test_loss=None, confusion=((0,) * 11,) * n)


def test_no_event() -> None:
    """What is not exactly an event is refused."""
    begun = f'"time": "{TIME}", "trial"'
    for line, match in {
        '{"event": "guessed"}': "does not match any of the expected tags",
        "{}": "Unable to extract tag",
        f'{{"event": "failed", {begun}: 1, "budget": 1}}': r"reason\n.*required",
        f'{{"event": "started", {begun}: "1"}}': r"trial\n.*valid integer",
        '{"event": "epoch"': "Invalid JSON",
    }.items():
        with pytest.raises(ValidationError, match=match):
            EVENT.validate_json(line)


def test_ranges() -> None:
    """Epochs count from 1, nothing else is in them, chances are chances."""
    for changes in ({"epoch": 0}, {"accuracy": 0.9}):
        with pytest.raises(ValidationError, match=next(iter(changes))):
            Epoch(**an_epoch().model_dump() | changes)
    for confidence in (-0.1, 1.1, math.nan):
        with pytest.raises(ValidationError, match="confidence"):
            Mistake(image=0, true=4, predicted=9, confidence=confidence)


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
        rungs=(
            Rung(
                budget=3,
                valid_error=0.05,
                valid_loss=an_epoch().valid_loss,
                diverged=True,
                started=TIME,
                ended=TIME,
            ),
        ),
        test=None,
    )


def test_promoted_trial() -> None:
    """A trial that is promoted waits again, keeps its epochs, and has a rung for each budget."""
    life: list[Event] = [
        *whole_trial(1, 0.05),
        promoted(1),
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
    """It keeps its reason and its epochs; tried again, it waits as if it had never been."""
    life: list[Event] = [proposed(), started(), epoch_done(), failed(reason="out of memory")]
    (trial,) = fold(life)
    assert (trial.state, trial.reason, len(trial.epochs)) == ("failed", "out of memory", 1)
    assert trial.ended == TIME
    (trial,) = fold([*life, Retried(time=TIME, trial=1)])
    assert (trial.state, trial.reason, trial.ended) == ("waiting", None, None)


def test_result_of_a_trial() -> None:
    """Where nothing validates there is a reason; the look at the test images comes with it."""
    score = TestScore(test_error=0.5, test_loss=0.7, confusion=((1, 1), (0, 2)))
    begun: list[Event] = [proposed(), started(), epoch_done(valid_error=None)]
    (trial,) = fold([*begun, finished(reason="none", test=score)])
    assert (trial.valid_error, trial.reason, len(trial.epochs)) == (None, "none", 1)
    assert trial.test == score
    # In a record from before mistakes were kept there are none.
    old = '{"test_error": 0.5, "test_loss": 0.7, "confusion": [[1, 1], [0, 2]]}'
    assert TestScore.model_validate_json(old) == score


def test_how_many_have_ended() -> None:
    """A trial counts once for each budget that it was trained for, and when it fails."""
    lost: list[Event] = [promoted(1), failed(1)]
    trials = Trials([*whole_trial(1), *lost, *whole_trial(2), proposed(3), started(3)])
    assert (len(trials), trials.n_trained, trials.n_failed) == (3, 3, 1)


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


def test_events_that_cannot_follow() -> None:
    """One of an unknown trial, a second proposal, an epoch that is not the next; none is fine."""
    assert fold([]) == []
    for event in (started(2), epoch_done(2), finished(2), failed(2)):
        with pytest.raises(ValueError, match="trial 2 is proposed not at all"):
            fold([proposed(1), event])
    with pytest.raises(ValueError, match="trial 1 is proposed twice"):
        fold([proposed(1), proposed(1)])
    for number in (3, 1):
        with pytest.raises(ValueError, match=f"trial 1 has epoch {number} after 1"):
            fold([proposed(1), started(1), epoch_done(1, 1), epoch_done(1, number)])
