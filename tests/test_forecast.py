"""The forecast: what an epoch costs, what is left, and what fits before a deadline."""

from __future__ import annotations

import itertools
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from made_events import epoch_done, failed, finished, proposed, started, whole_trial

from mnist_lab import forecast
from mnist_lab.config import TrainConfig
from mnist_lab.errors import SettingsError
from mnist_lab.forecast import CostModel, Deadline, Forecast, deadline_of
from mnist_lab.records import fold

if TYPE_CHECKING:
    from mnist_lab.records import EpochDone

NOON = datetime(2026, 3, 2, 12, 0, 0).timestamp()  # noqa: DTZ001 - the user's own clock

# Measured on one core of an AMD EPYC with AVX-512, 50,000 images, a second training beside it:
# (batch size, filters, filter size) and seconds of an epoch.
MEASURED = {
    (128, 16, 3): 2.35,
    (16, 8, 3): 1.6,
    (24, 12, 5): 2.8,
    (48, 24, 3): 4.2,
    (95, 22, 5): 7.2,
    (64, 48, 5): 18.8,
    (128, 64, 3): 21.0,
}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clocks that the forecast looks at: `clock.now` is the time, `clock.jump` how far off."""
    clock = SimpleNamespace(now=NOON, jump=0.0)
    both = SimpleNamespace(time=lambda: clock.now + clock.jump, monotonic=lambda: clock.now - NOON)
    monkeypatch.setattr(forecast, "time", both)
    return clock


def config(batch_size: int, num_filters: int, filter_size: int) -> TrainConfig:
    """A configuration of this shape."""
    return TrainConfig(batch_size=batch_size, num_filters=num_filters, filter_size=filter_size)


def deadline(time_limit: str | None = None, until: str | None = None) -> Deadline:
    """The deadline; there is one."""
    found = deadline_of(time_limit, until)
    assert found is not None
    return found


# --- deadlines


def test_time_limit() -> None:
    """Durations as people write them count from now."""
    lengths = {"2h": 7200, "90m": 5400, "90min": 5400, "1h30m": 5400, "1.5h": 5400, "45s": 45}
    for text, seconds in (lengths | {"1d": 86400, "1d2h3m4s": 93784}).items():
        assert deadline(text).seconds_left() == seconds


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_wall_clock_that_is_set(clock: SimpleNamespace, jump: float) -> None:
    """A duration ends as it would have, at another time of day; a time of day stays one."""
    limit, until = deadline("2h"), deadline(until="18:00")
    followed = study(seconds=4.1)
    feed(followed, proposed(1), started(1), epoch_done(1, 1))
    clock.jump = jump
    assert (limit.seconds_left(), limit.words()) == (7200, "14:00")
    assert until.seconds_left() == 6 * 3600 - jump
    assert followed.seconds_left() == pytest.approx(4 + 3 * 6)
    assert followed.words().startswith("1 of 4 trials")


def test_until() -> None:
    """A time of day is the next one, and a day that is not today is named."""
    for text, hours, words in [
        ("18:00", 6, "18:00"),
        ("12:30", 0.5, "12:30"),
        ("9:05", 21 + 5 / 60, "Tuesday 09:05"),
        ("12:00", 24, "Tuesday 12:00"),
        ("0:00", 12, "Tuesday 00:00"),
        ("23:59", 11 + 59 / 60, "23:59"),
    ]:
        assert deadline(until=text).seconds_left() == pytest.approx(hours * 3600)
        assert deadline(until=text).words() == words


def test_what_cannot_be_read() -> None:
    """The rule, what was received, the option."""
    for text in [
        "",
        "2",
        "h",
        "-1h",
        "2 h",
        "2x",
        "1h30",
        "0s",
        "0.5s",
        "infh",
        "nan",
        "99999999d",
    ]:
        with pytest.raises(
            SettingsError, match=r"^--time-limit: '.* is not a duration .*; write it"
        ):
            deadline_of(text, None)
    for text in ["", "18", "24:00", "12:60", "6pm", "18:00:00", "-1:00", "1 8:00"]:
        with pytest.raises(SettingsError, match=r"^--until: '.* is not a time of day; write it"):
            deadline_of(None, text)


def test_earlier_deadline_counts() -> None:
    """With both the earlier one holds; with neither there is none; a near one names its seconds."""
    for limit, seconds, words in [("2h", 3600, "13:00"), ("90s", 90, "12:01:30")]:
        earlier = deadline(limit, "13:00")
        assert (earlier.seconds_left(), earlier.words()) == (seconds, words)
    assert deadline_of(None, None) is None


# --- what an epoch costs


def test_first_guess_is_of_the_right_size() -> None:
    """Before anything is known the model says what was measured on one machine, within a third."""
    costs = CostModel(50_000)
    for shape, seconds in MEASURED.items():
        assert costs.epoch_s(config(*shape)) == pytest.approx(seconds, rel=0.35)


def test_one_configuration_tells_the_speed_of_the_machine() -> None:
    """After one epoch the others are forecast within a factor of 1.6, on any machine."""
    for speed, learnt in itertools.product((0.05, 0.5, 1, 20), MEASURED):
        costs = CostModel(50_000)
        costs.learn(config(*learnt), 1, MEASURED[learnt] * speed)
        for shape, seconds in MEASURED.items():
            assert 1 / 1.6 < costs.epoch_s(config(*shape)) / (seconds * speed) < 1.6


def test_what_is_known_is_repeated() -> None:
    """A shape that was trained costs the median of its epochs, whatever its learning rate."""
    costs = CostModel(50_000)
    for seconds in (9.0, 2.0, 2.1):
        costs.learn(config(128, 16, 3), 1, seconds)
    assert costs.epoch_s(TrainConfig(learning_rate=0.5, epochs=99)) == 2.1


# --- what is left


def study(n: int = 4, *, n_workers: int = 1, seconds: float | None = None) -> Forecast:
    """A study of `n` equal trials of three epochs."""
    deadline = None if seconds is None else Deadline(monotonic_s=seconds)
    planned = [proposed().configuration] * n
    return Forecast(planned, n_images=50_000, n_workers=n_workers, deadline=deadline)


def feed(followed: Forecast, *events: Any) -> None:
    """Let events happen."""
    for event in events:
        followed.update(event)


def test_nothing_is_known_before_the_first_epoch(clock: SimpleNamespace) -> None:
    """Neither the time left nor what fits is guessed."""
    followed = study(seconds=10)
    feed(followed, proposed(1), started(1))
    clock.now += 100
    assert followed.seconds_left() is None
    assert followed.words() == ""


def test_time_left_falls_as_time_passes(clock: SimpleNamespace) -> None:
    """Epochs of 2 s: what runs needs 4 s, the other three trials 6 s each."""
    followed = study()
    feed(followed, proposed(1), started(1), epoch_done(1, 1))
    assert followed.seconds_left() == pytest.approx(4 + 3 * 6)
    clock.now += 1
    assert followed.seconds_left() == pytest.approx(3 + 3 * 6)
    clock.now += 100  # late: what runs may end at any moment
    assert followed.seconds_left() == pytest.approx(3 * 6)


@pytest.mark.parametrize("end", [finished, failed])
def test_ended_trials_take_no_time(end: Any) -> None:
    """Whether it was trained or could not be: nothing of it is left."""
    followed = study()
    feed(followed, proposed(1), started(1), epoch_done(1, 1), end(1))
    assert followed.seconds_left() == pytest.approx(3 * 6)


def test_waiting_trials_go_to_whoever_is_free_first() -> None:
    """Three workers, of which one starts late, train five trials in two rounds."""
    followed = study(5, n_workers=3)
    feed(followed, proposed(1), started(1), proposed(2), started(2), epoch_done(1, 1))
    # 1 ends at 4, 2 and 3 at 6; 4 goes on at 4 to 10, 5 at 6 to 12.
    assert followed.seconds_left() == pytest.approx(12)


def test_what_fits() -> None:
    """Trials that end before the deadline fit; those that are done are counted too."""
    for seconds, n, end in [(3.9, 0, "04"), (4.1, 1, "04"), (10.1, 2, "10"), (16.1, 3, "16")]:
        followed = study(seconds=seconds)
        feed(followed, proposed(1), started(1), epoch_done(1, 1))
        assert followed.words() == f"{n} of 4 trials will fit before 12:00:{end}"
    for n, many in ((4, "all 4"), (1, "1 of 1")):
        followed = study(n, seconds=23.9)
        feed(followed, proposed(1), started(1), epoch_done(1, 1))
        assert followed.words() == f"{many} trials will fit before 12:00:24"


def test_study_that_goes_on_knows_its_costs() -> None:
    """Earlier sessions tell the costs and what is left, checkpoints included, before any epoch."""
    earlier = fold([*whole_trial(1), proposed(2), started(2), epoch_done(2, 1)])
    followed = Forecast([proposed().configuration] * 3, earlier, n_images=50_000, n_workers=1)
    assert followed.seconds_left() == pytest.approx(2 * 2 + 6)
    feed(followed, started(2, from_epoch=1))
    assert followed.seconds_left() == pytest.approx(4 + 6)


def lasting(seconds: float) -> EpochDone:
    """The first epoch of the first trial, which took so long."""
    epoch = epoch_done(1, 1).epoch.model_copy(update={"duration_s": seconds})
    return epoch_done(1, 1).model_copy(update={"epoch": epoch})


def test_epoch_that_took_no_time_tells_nothing() -> None:
    """A duration of nought, as a coarse clock gives it, is no measurement."""
    followed = study()
    feed(followed, proposed(1), started(1), lasting(0))
    assert followed.seconds_left() is None


def test_patience() -> None:
    """A worker is given five minutes, or ten times what its epoch should take."""
    followed = study()
    assert followed.patience_s(config(128, 16, 3)) == 300
    feed(followed, proposed(1), started(1), lasting(60))
    assert followed.patience_s(config(128, 16, 3)) == 600
    assert followed.patience_s(config(128, 64, 5)) > 3000
