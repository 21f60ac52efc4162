"""The progress: what lines and table show of a study, fed with made events by a made clock."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from made_events import (
    TIME,
    an_epoch,
    epoch_done,
    failed,
    finished,
    promoted,
    proposed,
    started,
    whole_trial,
)
from rich.console import Console

from mnist_lab import forecast, progress
from mnist_lab.config import Bracket
from mnist_lab.forecast import Deadline, Forecast
from mnist_lab.progress import Lines, LiveTable, Silent, live
from mnist_lab.records import EpochDone, fold
from mnist_lab.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnist_lab.records import Event

BASE = "lr 0.1 · batch 128 · 16 filters 3×3"


class Screen:
    """What a person sees of a watcher, as text; `now` passes only when a test says so."""

    def __init__(self, kind: Any, now: SimpleNamespace) -> None:
        self._file, self.now = io.StringIO(), now
        is_table = kind is LiveTable
        console = Console(
            file=self._file, force_terminal=is_table, width=120, color_system=None, _environ={}
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
    """A trial is a line at its end; after the first epoch of all there is one of the time left."""
    assert lines.shows(proposed(1), started(1)) == ""
    assert lines.shows(epoch_done(1, 1, 0.0816)).startswith("about ")
    assert lines.shows(epoch_done(1, 2), epoch_done(1, 3)) == ""
    shown = f"trial 1 ({BASE}): validation error 4.00 % after 3 epochs; 1 of 2 trials done, about "
    assert lines.shows(finished(1)).startswith(shown)


def test_lines_of_a_failure(lines: Screen) -> None:
    """A failed trial gives its reason, as it is, and counts as one that needs no more time."""
    lines.shows(proposed(1), started(1))
    reason = "MemoryError: [bold]1 GiB[/nothing]"
    assert lines.shows(failed(1, reason)) == f"trial 1 failed: {reason}; 1 of 2 trials done\n"
    assert lines.shows(started(1, attempt=2)) == "trial 1 starts again, attempt 2\n"


def test_a_line_a_minute(lines: Screen) -> None:
    """While nothing ends, a line a minute says how far it is, and what is best."""
    lines.shows(*whole_trial(1, 0.02), proposed(2), started(2))
    lines.now.s += 59
    assert lines.shows() == ""
    lines.now.s += 1
    assert re.fullmatch(
        rf"1 of 2 trials done, \d+ % of the work, best 2.00 % \({BASE}\)\n",
        lines.shows(),
    )
    assert lines.shows() == ""


def part_done(trial: int, valid_error: float) -> EpochDone:
    """Half an epoch of the trial."""
    return EpochDone(time=TIME, trial=trial, epoch=an_epoch(0.5, valid_error))


def test_lines_of_short_trials(screen: Callable[[Any], Screen]) -> None:
    """Of trials of a part of an epoch: a line for ten, for a rung, and for who goes to the last."""
    lines = screen(Lines)
    lines.begin(16, brackets=[Bracket((12, 2, 1), (0.5, 1, 3))])
    shown = ""
    for trial in range(1, 13):
        first = proposed(trial, epochs=0.5).model_copy(update={"id": (0, 0, trial)})
        shown += lines.shows(first, started(trial), part_done(trial, 0.1 + trial / 100))
        shown += lines.shows(finished(trial, budget=0.5))
    told = [line.partition(", about")[0] for line in shown.splitlines()[1:]]
    done = "bracket 1: 12 trials done after 1/2 epoch, the best with an error of 11.0 %"
    assert told == ["10 of 16 trials done", done]
    assert lines.shows(promoted(1, 1)) == ""
    lines.shows(started(1, from_epoch=0.5), epoch_done(1, 1, 0.05), finished(1, budget=1))
    assert lines.shows(promoted(1, 3)) == (
        "bracket 1: learning rate 0.1, batch size 128, 16 filters of 3×3 goes to the full 3 "
        "epochs; error 5.00 % after 1 epoch\n"
    )


def test_without_validation(lines: Screen, table: Screen) -> None:
    """Where nothing validates, the training error has its own name, and nothing is the best."""
    began = (proposed(1), started(1), epoch_done(1, 1, None))
    lines.shows(*began)
    ended = finished(1, reason="no validation")
    assert "training error 6.00 % after 1 epoch (no validation); " in lines.shows(ended)
    shown = table.shows(*began)
    assert re.search("train  .*\n.* 6.00 % ", shown)
    assert "best" not in table.shows(ended)


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
    assert len(lines.shows(*whole_trial()).splitlines()) == 1 + 1  # the time left, once


# --- the table


def test_table(table: Screen) -> None:
    """Each trial has a row with its error, epoch and time left; a line tells the whole."""
    shown = table.shows(proposed(1), proposed(2))
    assert re.search("0 of 2 trials done ─+ 0 % workers are starting", shown)
    shown = table.shows(started(1), started(2))
    assert len(re.findall(f"● {BASE} .* –      0/3", shown)) == 2
    assert "workers are starting" not in shown
    assert re.search(f"● {BASE} .* 8.16 %      1/3 ", table.shows(epoch_done(2, 1, 0.0816)))
    shown = table.shows(failed(1))
    assert f"✗ {BASE}" in shown
    assert "! 1 trial failed" in shown


@pytest.mark.parametrize("width", [60, 80, 160])
def test_screen_fits(width: int, screen: Callable[[Any], Screen]) -> None:
    """However many workers train, no line is wider than the terminal, and 20 are the most."""
    table = screen(LiveTable)
    table.begin(99, n_workers=40, brackets=[Bracket((81, 27, 9), (0.5, 3, 9))])
    begun = [event for n in range(2, 42) for event in (proposed(n), started(n))]
    table.shows(*whole_trial(1, 0.02), *begun, epoch_done(2), promoted(1, 9))
    state = table.watcher._screen
    drawn = state.draw(200.0, width, live.MOST_LINES, " and some words more")
    console = Console(file=io.StringIO(), width=width, color_system=None, _environ={})
    console.print(drawn)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined] # a StringIO
    assert len(lines) == 20
    assert "promoted" in lines[1]
    assert " ".join(lines[3].split()) == "3 epochs 1 of 27 1 2.00 %"
    assert "… and 29 more" in "".join(lines)
    assert max(map(len, lines)) <= width


def test_sparks() -> None:
    """Errors are blocks between their own lowest and highest; of many, some."""
    assert live.spark([0.4, 0.04, 0.2], 5) == "█▁▆"
    assert live.spark([n / 100 for n in range(50, 0, -1)], 5)[::4] == "█▁"
    assert (live.spark([], 5), live.spark([0.1], 5)) == ("", "▁")


def test_table_of_results(table: Screen) -> None:
    """What is done and what failed is counted, and the best so far is named."""
    shown = table.shows(*whole_trial(1, 0.02), proposed(2), started(2), failed(2))
    for text in ("2 of 2 trials done", "! 1 trial failed"):
        assert text in shown
    assert f"best 2.00 % · {BASE} · trial 1, after 3 epochs" in shown


def test_best_of_repeats(table: Screen) -> None:
    """Of configurations that are repeated the lowest mean is the best, not the luckiest seed."""
    events: list[Event] = []
    for number, error in ((1, 0.02), (2, 0.04)):
        first, *others = whole_trial(number, error)
        events += [first.model_copy(update={"repeat": number}), *others]
    assert f"best 3.00 % · {BASE} · mean of 2 repeats" in table.shows(*events)


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
    for text in ("3 of 5 trials done", "! 1 trial failed", "best 3.00 %"):
        assert text in shown
    assert re.search(f"● {BASE} .* 2/3 ", shown)
    assert re.search("● .* 3/3 ", table.shows(epoch_done(3, 3)))


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
    assert "about" not in table.shows(proposed(1), started(1), after_s=5)


def test_time_left_of_the_study(lines: Screen) -> None:
    """It is told as soon as it is known, and with each result; how long workers start is not."""
    lines.shows(proposed(1), proposed(2), after_s=60)
    assert re.fullmatch("about 1[01] s left\n", lines.shows(started(1), epoch_done(1, 1)))
    assert "left" not in lines.shows(epoch_done(1, 2))
    shown = lines.shows(epoch_done(1, 3), finished(1))
    # Three epochs of 2 s, and what there is to compile.
    assert re.search("1 of 2 trials done, about [67] s left", shown)
    assert lines.shows(*whole_trial(2)[1:], after_s=1).endswith("; 2 of 2 trials done\n")


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
    """A row's time is told by what epochs of its shape take; it passes while the trial trains."""
    table.shows(proposed(1), started(1))
    assert re.search(r"1/3 +4 s\n", table.shows(epoch_done(1, 1), after_s=20))
    table.now.s += 1
    assert re.search(r"1/3 +2 s\n", table.shows())


def test_silence(capsys: pytest.CaptureFixture[str], screen: Callable[[Any], Screen]) -> None:
    """The watcher that shows nothing takes everything."""
    silent = screen(lambda _: Silent())
    silent.watcher.note("a note")
    silent.begin(1)
    assert silent.shows(*whole_trial()) == ""
    assert capsys.readouterr() == ("", "")
