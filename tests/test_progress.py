"""The progress: what lines and table show of a study, fed with made events by a made clock."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from made_events import epoch_done, failed, finished, promoted, proposed, started, whole_trial
from rich.console import Console

from mnist_lab import forecast, progress
from mnist_lab.forecast import Deadline, Forecast
from mnist_lab.progress import Lines, LiveTable, Silent
from mnist_lab.records import fold
from mnist_lab.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnist_lab.progress import Watcher
    from mnist_lab.records import Event, Trial

BASE = "learning rate 0.1, batch size 128, 16 filters of 3×3, 3 epochs"


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        """Seconds since some moment."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the progress looks at."""
    clock = Clock()
    for module in (forecast, progress):
        both = SimpleNamespace(monotonic=clock.time, time=clock.time)
        monkeypatch.setattr(module, "time", both)
    return clock


class Screen:
    """What a person sees of a watcher, as text."""

    def __init__(
        self, watcher: Callable[[Console], Watcher], *, terminal: bool, clock: Clock
    ) -> None:
        self._file = io.StringIO()
        self._clock = clock
        console = Console(
            file=self._file, force_terminal=terminal, width=200, color_system=None, _environ={}
        )
        self.watcher = watcher(console)

    def begin(
        self,
        title: str,
        n_trainings: int,
        trials: Sequence[Trial] = (),
        *,
        n_workers: int = 1,
        deadline: Deadline | None = None,
    ) -> None:
        """A study of so many trainings of three epochs starts."""
        self._forecast = Forecast(
            [proposed().configuration] * n_trainings,
            trials,
            n_images=50_000,
            n_workers=n_workers,
            deadline=deadline,
        )
        self.watcher.begin(title, self._forecast)

    def shows(self, *events: Event, after_s: float = 0.0) -> str:
        """What is added to the screen by these events, so many seconds before each."""
        self._file.seek(0)
        self._file.truncate()
        for event in events:
            self._clock.now += after_s
            self._forecast.update(event)
            self.watcher.update(event)
        self._clock.now += 0.25
        self.watcher.tick()
        return self._file.getvalue()


@pytest.fixture
def lines(clock: Clock) -> Screen:
    """Plain lines of a study of two trials."""
    screen = Screen(Lines, terminal=False, clock=clock)
    screen.begin("a sweep", 2)
    return screen


@pytest.fixture
def table(clock: Clock) -> Any:
    """The table of a study of two trials."""
    screen = Screen(LiveTable, terminal=True, clock=clock)
    screen.begin("a sweep", 2)
    yield screen
    screen.watcher.end()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (48.4, "48 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """Seconds are told with two numbers at the most, rounded before they are divided."""
    assert duration(seconds) == text


# --- plain lines


def test_lines_of_a_trial(lines: Screen) -> None:
    """A trial is a line when it starts, one for each epoch and one at its end."""
    assert lines.shows(proposed(1)) == ""
    assert lines.shows(started(1)) == f"trial 1 starts: {BASE}\n"
    shown = lines.shows(epoch_done(1, 1, 0.0816))
    assert shown.startswith("trial 1 epoch 1/3: validation error 8.16 %, 2.0 s\n")
    assert lines.shows(finished(1)).startswith("trial 1 done; 1 of 2 trials, about ")


def test_lines_of_a_failure(lines: Screen) -> None:
    """A failed trial gives its reason, as it is, and counts as one that needs no more time."""
    lines.shows(proposed(1), started(1))
    reason = "MemoryError: [bold]1 GiB[/nothing]"
    assert lines.shows(failed(1, reason)) == f"trial 1 failed ({reason}); 1 of 2 trials\n"


def test_lines_of_another_attempt(lines: Screen) -> None:
    """A trial that is tried again says so, and counts its epochs anew."""
    lines.shows(proposed(1), started(1), epoch_done(1, 1), epoch_done(1, 2))
    assert lines.shows(started(1, attempt=2)) == f"trial 1 starts, attempt 2: {BASE}\n"
    assert "epoch 1/3" in lines.shows(epoch_done(1, 1))


def test_lines_without_validation(lines: Screen) -> None:
    """Where nothing validates, the training error is shown under its own name, and the reason."""
    lines.shows(proposed(1), started(1))
    shown = lines.shows(epoch_done(1, 1, None))
    assert shown.startswith("trial 1 epoch 1/3: training error 6.00 %, 2.0 s\n")
    assert "trial 1 done (no validation); " in lines.shows(finished(1, reason="no validation"))


def test_lines_of_continuing_trials(clock: Clock) -> None:
    """A study that goes on counts what was done, and starts again trials that it knows."""
    screen = Screen(Lines, terminal=False, clock=clock)
    known = fold([*whole_trial(1), proposed(2), started(2), epoch_done(2)])
    screen.begin("a sweep, continuing", 3, known)
    assert screen.shows(started(2)) == f"trial 2 starts: {BASE}\n"
    screen.shows(epoch_done(2))
    assert "trial 2 done; 2 of 3 trials, about " in screen.shows(finished(2))


def test_titles_are_shown_as_they_are(clock: Clock) -> None:
    """Brackets in the name of a data set are text, for lines and for the table."""
    title = "lr-sweep on digits[copy].npz"
    for watcher, terminal in ((Lines, False), (LiveTable, True)):
        screen = Screen(watcher, terminal=terminal, clock=clock)
        screen.begin(title, 1)
        shown = screen._file.getvalue()
        screen.watcher.end()
        assert title in shown


def test_lines_are_never_wrapped(clock: Clock) -> None:
    """A line stays one line, however narrow the console of a log file is thought to be."""
    screen = Screen(
        lambda console: Lines(Console(file=console.file, width=20, _environ={})),
        terminal=False,
        clock=clock,
    )
    screen.begin("a sweep", 1)
    shown = screen.shows(*whole_trial())
    assert len(shown.splitlines()) == 1 + 3 + 1 + 1  # the outlook, once


# --- the table


def test_table(table: Screen) -> None:
    """Each running trial has a row with its epoch, error and speed; the caption tells the whole."""
    assert "0 of 2 trials done · workers are starting" in table.shows(proposed(1), proposed(2))
    shown = table.shows(started(1), started(2))
    assert f"│     1 │ {BASE} │   0/3 │" in shown
    assert f"│     2 │ {BASE} │   0/3 │" in shown
    assert "workers are starting" not in shown
    shown = table.shows(epoch_done(2, 1, 0.0816))
    assert "│   1/3 │ validation error 8.16 % │    2.00 │" in shown
    assert table.shows(failed(1)).count("│     1 │") == 0


def test_table_of_results(table: Screen) -> None:
    """The caption counts what is done and what failed, and names the best so far."""
    shown = table.shows(*whole_trial(1, 0.02), proposed(2), started(2), failed(2))
    caption = " ".join(shown.split())  # as wide as the table, which has no row now
    assert f"2 of 2 trials done · 1 failed · best 2.00 % ({BASE})" in caption


def test_best_of_several_budgets(clock: Clock) -> None:
    """What trained longer is the best, whatever shorter trainings say; what diverged never is."""
    screen = Screen(LiveTable, terminal=True, clock=clock)
    earlier: list[Event] = [*whole_trial(1, 0.03), promoted(1, 4), started(1, from_epoch=3)]
    screen.begin("a search", 5, fold(earlier))
    assert "best 3.00 %" in screen.shows(started(1, attempt=2, from_epoch=3))
    longer: list[Event] = [epoch_done(1, 4, 0.05), finished(1, budget=4), *whole_trial(2, 0.02)]
    assert "best 5.00 %" in screen.shows(*longer)
    lost: list[Event] = [proposed(3, epochs=9), started(3), epoch_done(3, 1, 0.01)]
    shown = screen.shows(*lost, finished(3, diverged=True))
    screen.watcher.end()
    assert "best 5.00 %" in shown


def test_table_without_validation(table: Screen) -> None:
    """Where nothing validates the row says so, and nothing is called the best."""
    shown = table.shows(proposed(1), started(1), epoch_done(1, 1, None))
    assert "training error 6.00 %" in shown
    assert "best" not in table.shows(finished(1, reason="no validation"))


def test_table_of_continuing_trials(clock: Clock) -> None:
    """A study that goes on shows at once what was done, failed and best in earlier sessions."""
    screen = Screen(LiveTable, terminal=True, clock=clock)
    lost: list[Event] = [proposed(2), started(2), failed(2)]
    done = [*whole_trial(1, 0.03), *whole_trial(4, 0.05)]
    screen.begin("a sweep", 5, fold([*done, *lost, proposed(3)]))
    shown = screen.shows(started(3))
    screen.watcher.end()
    assert "3 of 5 trials done · 1 failed · best 3.00 %" in shown
    assert f"│     3 │ {BASE} │" in shown


def test_table_is_drawn_four_times_a_second(table: Screen, clock: Clock) -> None:
    """Ticks in between draw nothing: the cores belong to the workers."""
    table.shows(proposed(1))
    before = table._file.tell()
    clock.now += 0.2
    table.watcher.tick()
    assert table._file.tell() == before
    clock.now += 0.1
    table.watcher.tick()
    assert table._file.tell() > before


# --- the time that is left


def test_no_time_left_is_guessed(lines: Screen, table: Screen) -> None:
    """Before the first epoch nothing is known, so nothing is said."""
    assert "left" not in lines.shows(proposed(1), started(1), failed(1), after_s=5)
    shown = table.shows(proposed(1), started(1), after_s=5)
    assert "│ –       │ –         │" in shown
    assert "about" not in shown


def test_time_left_of_the_study(lines: Screen) -> None:
    """Three epochs of 2 s and 0.6 s of compiling are left; how long the workers started is not."""
    lines.shows(proposed(1), proposed(2), after_s=60)
    lines.shows(started(1), epoch_done(1, 1), epoch_done(1, 2))
    shown = lines.shows(epoch_done(1, 3), finished(1))
    assert "1 of 2 trials, about 7 s left" in shown


def test_first_epoch_tells_what_to_expect(lines: Screen) -> None:
    """The time left is told as soon as it is known, and then with each result."""
    lines.shows(proposed(1), started(1))
    assert lines.shows(epoch_done(1, 1)).splitlines()[1] == "about 11 s left"
    assert "left" not in lines.shows(epoch_done(1, 2))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5.0, "1 of 2 trials will fit before "),
        (12.0, "all 2 trials will fit before "),
        (3.0, "0 of 2 trials will fit before "),
    ],
)
@pytest.mark.parametrize("watcher", [Lines, LiveTable])
def test_deadline(seconds: float, text: str, watcher: Any, clock: Clock) -> None:
    """Lines and table tell how many trials will fit before the deadline."""
    screen = Screen(watcher, terminal=watcher is LiveTable, clock=clock)
    screen.begin("a sweep", 2, deadline=Deadline(clock.now + seconds))
    shown = screen.shows(proposed(1), proposed(2), started(1), epoch_done(1, 1))
    screen.watcher.end()
    assert text in " ".join(shown.split())


@pytest.mark.parametrize("watcher", [Lines, LiveTable])
def test_notes_are_shown_as_they_are(watcher: Any, clock: Clock) -> None:
    """A note is a line of its own, before the study begins and while it runs."""
    screen = Screen(watcher, terminal=watcher is LiveTable, clock=clock)
    screen.watcher.note("a [torn] line")
    screen.begin("a sweep", 1)
    screen.watcher.note("a [lost] worker")
    screen.watcher.end()
    shown = screen._file.getvalue()
    assert "a [torn] line\n" in shown
    assert "a [lost] worker\n" in shown


def test_nothing_left_at_the_end(lines: Screen) -> None:
    """The last trial leaves no time to be told."""
    shown = lines.shows(*whole_trial(1), *whole_trial(2), after_s=1)
    assert shown.endswith("trial 2 done; 2 of 2 trials\n")


def test_time_left_of_trials(table: Screen, clock: Clock) -> None:
    """A row's time is its own: the first epoch, which compiles, counts only while it is alone."""
    slow = epoch_done(1, 1).epoch.model_copy(update={"duration_s": 20.0})
    compiling = epoch_done(1, 1).model_copy(update={"epoch": slow})
    table.shows(proposed(1), started(1))
    assert "│   20.00 │      40 s │" in table.shows(compiling, after_s=20)
    assert "│    2.00 │       2 s │" in table.shows(epoch_done(1, 2), after_s=2)
    clock.now += 100
    assert "│    2.00 │       0 s │" in table.shows()


def test_two_workers_halve_the_time_left(clock: Clock) -> None:
    """The time left of the whole is that of the worker who ends last."""
    screen = Screen(Lines, terminal=False, clock=clock)
    screen.begin("a sweep", 2, n_workers=2)
    shown = screen.shows(proposed(1), proposed(2), started(1), started(2), epoch_done(1, 1))
    assert "about 6 s left" in shown


def test_silence() -> None:
    """The watcher that shows nothing takes everything."""
    watcher = Silent()
    watcher.begin("a sweep", Forecast([], n_images=1, n_workers=1))
    watcher.note("a note")
    for event in whole_trial():
        watcher.update(event)
    watcher.tick()
    watcher.end()


def test_trial_that_goes_on_shows_where_it_stands(clock: Clock) -> None:
    """A trial with a checkpoint counts the epochs of earlier sessions, not only its own."""
    known: list[Event] = [proposed(1), started(1), epoch_done(1, 1), epoch_done(1, 2)]
    screen = Screen(LiveTable, terminal=True, clock=clock)
    screen.begin("a sweep", 1, fold(known))
    n_epochs = proposed(1).configuration.epochs
    assert f"2/{n_epochs} │" in screen.shows(started(1, from_epoch=2))
    assert f"3/{n_epochs} │" in screen.shows(epoch_done(1, 3))
    screen.watcher.end()
