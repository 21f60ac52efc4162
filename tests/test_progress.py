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
    from collections.abc import Callable, Iterator

    from mnist_lab.records import Event

BASE = "learning rate 0.1, batch size 128, 16 filters of 3×3, 3 epochs"


class Screen:
    """What a person sees of a watcher, as text; `now` passes only when a test says so."""

    def __init__(self, kind: Any, now: SimpleNamespace) -> None:
        self._file, self.now = io.StringIO(), now
        is_table = kind is LiveTable
        console = Console(
            file=self._file, force_terminal=is_table, width=200, color_system=None, _environ={}
        )
        self.watcher = kind(console)

    def begin(self, n_trainings: int, *known: Event, title: str = "a sweep", **more: Any) -> None:
        """A study of so many trainings of three epochs starts."""
        planned = [proposed().configuration] * n_trainings
        options = {"n_images": 50_000, "n_workers": 1} | more
        self._forecast = Forecast(planned, fold(known), **options)
        self.watcher.begin(title, self._forecast)

    def shows(self, *events: Event, after_s: float = 0.0) -> str:
        """What is added to the screen by these events, so many seconds before each."""
        self._file.seek(0)
        self._file.truncate()
        for event in events:
            self.now.s += after_s
            self._forecast.update(event)
            self.watcher.update(event)
        self.now.s += 0.25
        self.watcher.tick()
        return self.text()

    def text(self) -> str:
        """All that stands there."""
        return self._file.getvalue()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Screen]]:
    """Makes the screen of a watcher, whose clock is a made one."""
    now, made = SimpleNamespace(s=1000.0), []
    clock = SimpleNamespace(monotonic=lambda: now.s, time=lambda: now.s)
    for module in (forecast, progress):
        monkeypatch.setattr(module, "time", clock)

    def make(kind: Any) -> Screen:
        made.append(Screen(kind, now))
        return made[-1]

    yield make
    for one in made:
        one.watcher.end()


@pytest.fixture
def lines(screen: Callable[[Any], Screen]) -> Screen:
    """Plain lines of a study of two trials."""
    made = screen(Lines)
    made.begin(2)
    return made


@pytest.fixture
def table(screen: Callable[[Any], Screen]) -> Screen:
    """The table of a study of two trials."""
    made = screen(LiveTable)
    made.begin(2)
    return made


def test_duration() -> None:
    """Seconds are told with two numbers at the most, rounded before they are divided."""
    told = {0: "0 s", 0.4: "0 s", 48.4: "48 s", 59.6: "1 min 00 s", 200: "3 min 20 s"}
    told |= {3599.6: "1 h 00 min", 7500: "2 h 05 min", 90_000: "25 h 00 min"}
    assert {seconds: duration(seconds) for seconds in told} == told


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


def test_without_validation(lines: Screen, table: Screen) -> None:
    """Where nothing validates, the training error has its own name, and nothing is the best."""
    began = (proposed(1), started(1), epoch_done(1, 1, None))
    assert "\ntrial 1 epoch 1/3: training error 6.00 %, 2.0 s\n" in lines.shows(*began)
    ended = finished(1, reason="no validation")
    assert "trial 1 done (no validation); " in lines.shows(ended)
    assert "training error 6.00 %" in table.shows(*began)
    assert "best" not in table.shows(ended)


def test_lines_of_continuing_trials(screen: Callable[[Any], Screen]) -> None:
    """A study that goes on counts what was done, and starts again trials that it knows."""
    lines = screen(Lines)
    lines.begin(3, *whole_trial(1), proposed(2), started(2), epoch_done(2))
    assert lines.shows(started(2)) == f"trial 2 starts: {BASE}\n"
    lines.shows(epoch_done(2))
    assert "trial 2 done; 2 of 3 trials, about " in lines.shows(finished(2))


@pytest.mark.parametrize("kind", [Lines, LiveTable])
def test_names_are_shown_as_they_are(kind: Any, screen: Callable[[Any], Screen]) -> None:
    """Brackets in a title or a note are text; a note is a line of its own, at any time."""
    made = screen(kind)
    made.watcher.note("a [torn] line")
    made.begin(1, title="lr-sweep on digits[copy].npz")
    made.watcher.note("a [lost] worker")
    for text in ("a [torn] line\n", "lr-sweep on digits[copy].npz", "a [lost] worker\n"):
        assert text in made.text()


def test_lines_are_never_wrapped(screen: Callable[[Any], Screen]) -> None:
    """A line stays one line, however narrow the console of a log file is thought to be."""
    lines = screen(lambda console: Lines(Console(file=console.file, width=20, _environ={})))
    lines.begin(1)
    assert len(lines.shows(*whole_trial()).splitlines()) == 1 + 3 + 1 + 1  # the outlook, once


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


def test_best_of_several_budgets(screen: Callable[[Any], Screen]) -> None:
    """What trained longer is the best, whatever shorter trainings say; what diverged never is."""
    table = screen(LiveTable)
    table.begin(5, *whole_trial(1, 0.03), promoted(1, 4), started(1, from_epoch=3))
    assert "best 3.00 %" in table.shows(started(1, attempt=2, from_epoch=3))
    longer: list[Event] = [epoch_done(1, 4, 0.05), finished(1, budget=4), *whole_trial(2, 0.02)]
    assert "best 5.00 %" in table.shows(*longer)
    lost: list[Event] = [proposed(3, epochs=9), started(3), epoch_done(3, 1, 0.01)]
    assert "best 5.00 %" in table.shows(*lost, finished(3, diverged=True))


def test_table_of_continuing_trials(screen: Callable[[Any], Screen]) -> None:
    """A study that goes on shows at once what was done, failed and best in earlier sessions.

    A trial with a checkpoint counts the epochs of those sessions, too.
    """
    table = screen(LiveTable)
    lost: list[Event] = [proposed(2), started(2), failed(2)]
    begun: list[Event] = [proposed(3), started(3), epoch_done(3, 1, 0.3), epoch_done(3, 2, 0.3)]
    table.begin(5, *whole_trial(1, 0.03), *whole_trial(4, 0.05), *lost, *begun)
    shown = table.shows(started(3, from_epoch=2))
    assert "3 of 5 trials done · 1 failed · best 3.00 %" in shown
    assert f"│     3 │ {BASE} │   2/3 │" in shown
    assert "3/3 │" in table.shows(epoch_done(3, 3))


def test_table_is_drawn_four_times_a_second(table: Screen) -> None:
    """Ticks in between draw nothing: the cores belong to the workers."""
    before = table.shows(proposed(1))
    for seconds, is_drawn in ((0.2, False), (0.1, True)):
        table.now.s += seconds
        table.watcher.tick()
        assert (table.text() != before) is is_drawn


# --- the time that is left


def test_no_time_left_is_guessed(lines: Screen, table: Screen) -> None:
    """Before the first epoch nothing is known, so nothing is said."""
    assert "left" not in lines.shows(proposed(1), started(1), failed(1), after_s=5)
    shown = table.shows(proposed(1), started(1), after_s=5)
    assert "│ –       │ –         │" in shown
    assert "about" not in shown


def test_time_left_of_the_study(lines: Screen) -> None:
    """It is told as soon as it is known, and with each result; how long workers start is not."""
    lines.shows(proposed(1), proposed(2), after_s=60)
    assert lines.shows(started(1), epoch_done(1, 1)).splitlines()[2] == "about 11 s left"
    assert "left" not in lines.shows(epoch_done(1, 2))
    shown = lines.shows(epoch_done(1, 3), finished(1))
    assert "1 of 2 trials, about 7 s left" in shown  # three epochs of 2 s and 0.6 s of compiling
    assert lines.shows(*whole_trial(2)[1:], after_s=1).endswith("trial 2 done; 2 of 2 trials\n")


@pytest.mark.parametrize("kind", [Lines, LiveTable])
def test_deadline(kind: Any, screen: Callable[[Any], Screen]) -> None:
    """Lines and table tell how many trials will fit before the deadline."""
    for seconds, text in ((5.0, "1 of 2"), (12.0, "all 2"), (3.0, "0 of 2")):
        made = screen(kind)
        made.begin(2, deadline=Deadline(made.now.s + seconds))
        shown = made.shows(proposed(1), proposed(2), started(1), epoch_done(1, 1))
        made.watcher.end()
        assert f"{text} trials will fit before " in " ".join(shown.split())


def test_time_left_of_trials(table: Screen) -> None:
    """A row's time is its own: the first epoch, which compiles, counts only while it is alone."""
    slow = epoch_done(1, 1).epoch.model_copy(update={"duration_s": 20.0})
    compiling = epoch_done(1, 1).model_copy(update={"epoch": slow})
    table.shows(proposed(1), started(1))
    assert "│   20.00 │      40 s │" in table.shows(compiling, after_s=20)
    assert "│    2.00 │       2 s │" in table.shows(epoch_done(1, 2), after_s=2)
    table.now.s += 100
    assert "│    2.00 │       0 s │" in table.shows()


def test_two_workers_halve_the_time_left(screen: Callable[[Any], Screen]) -> None:
    """The time left of the whole is that of the worker who ends last."""
    lines = screen(Lines)
    lines.begin(2, n_workers=2)
    shown = lines.shows(proposed(1), proposed(2), started(1), started(2), epoch_done(1, 1))
    assert "about 6 s left" in shown


def test_silence(capsys: pytest.CaptureFixture[str], screen: Callable[[Any], Screen]) -> None:
    """The watcher that shows nothing takes everything."""
    silent = screen(lambda _: Silent())
    silent.watcher.note("a note")
    silent.begin(1)
    assert silent.shows(*whole_trial()) == ""
    assert capsys.readouterr() == ("", "")
