"""What a person sees while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mnist_lab.notebook import Cell
from mnist_lab.records import EpochDone, Event, Failed, Finished, Promoted, Proposed, Started
from mnist_lab.views import last_error
from mnist_lab.words import describe, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from mnist_lab.config import TrainConfig
    from mnist_lab.forecast import Forecast
    from mnist_lab.records import Epoch, Trial


class Watcher(Protocol):
    """Somebody who follows a study; called from several threads, one at a time."""

    def begin(self, title: str, forecast: Forecast, trials: Sequence[Trial]) -> None:
        """A study starts, or continues with these trials; `forecast` follows its events too."""

    def update(self, event: Event) -> None:
        """Something happened; it is in the journal already, and the forecast knows it."""

    def note(self, text: str) -> None:
        """One line that a person should read, before or during the study."""

    def tick(self) -> None:
        """Called about ten times a second from the main thread."""

    def end(self) -> None:
        """The study ended, however it did."""


class Silent:
    """A watcher that shows nothing."""

    def begin(self, title: str, forecast: Forecast, trials: Sequence[Trial]) -> None:
        """Nothing to show."""

    def update(self, event: Event) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        """Nothing to show."""

    def tick(self) -> None:
        """Nothing to show."""

    def end(self) -> None:
        """Nothing to show."""


@dataclass
class _Running:
    """A trial that a worker trains now."""

    configuration: TrainConfig
    since: float
    # Epochs done, those of earlier sessions included; `epochs` are this session's.
    n_done: int
    epochs: list[Epoch] = field(default_factory=list)

    @property
    def seconds_per_epoch(self) -> float | None:
        """Mean over the epochs without the first, which compiles; over the first if alone."""
        durations = [epoch.duration_s for epoch in self.epochs]
        usable = durations[1:] or durations
        return sum(usable) / len(usable) if usable else None

    def seconds_left(self, now: float) -> float | None:
        """An estimate from its own speed; None before its first epoch."""
        speed = self.seconds_per_epoch
        if speed is None:
            return None
        spent = now - self.since
        n_left = self.configuration.epochs - self.n_done
        return max(n_left * speed - spent, 0.0)


class _Board:
    """The state that both views draw: who runs, what is done, the best so far, the time left."""

    def __init__(self, forecast: Forecast, trials: Sequence[Trial]) -> None:
        self.forecast = forecast
        self.start = time.monotonic()
        self.running: dict[int, _Running] = {}
        self.configurations = {trial.trial: trial.configuration for trial in trials}
        self.n_done = self.n_failed = 0
        self.best: tuple[float, TrainConfig] | None = None
        for trial in trials:
            self.n_done += len(trial.rungs)
            if trial.state == "failed":
                self._count(failed=True)
            for rung in trial.rungs:
                if not rung.diverged:
                    reached = {"epochs": rung.budget}
                    self._consider(rung.valid_error, trial.configuration.model_copy(update=reached))

    def update(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, Proposed):
            self.configurations[event.trial] = event.configuration
        elif isinstance(event, Promoted):
            before = self.configurations[event.trial]
            self.configurations[event.trial] = before.model_copy(update={"epochs": event.budget})
        elif isinstance(event, Started):
            self.running[event.trial] = _Running(
                self.configurations[event.trial], time.monotonic(), event.from_epoch
            )
        elif isinstance(event, EpochDone):
            running = self.running[event.trial]
            running.epochs.append(event.epoch)
            running.n_done = event.epoch.epoch
            running.since = time.monotonic()
        else:
            running = self.running.pop(event.trial)
            self._count(failed=isinstance(event, Failed))
            if running.epochs and isinstance(event, Finished) and not event.diverged:
                error = running.epochs[-1].valid_error
                self._consider(error, running.configuration)

    def outlook(self) -> list[str]:
        """The time left, and what fits before the deadline, in words, as far as they are known."""
        left = self.forecast.seconds_left()
        if not left:
            return []
        words = [f"about {duration(left)} left"]
        return [*words, self.forecast.words()] if self.forecast.deadline else words

    def _count(self, *, failed: bool) -> None:
        self.n_done += 1
        self.n_failed += failed

    def _consider(self, error: float | None, configuration: TrainConfig) -> None:
        """Keep the best: only what was trained for the largest budget so far is compared."""
        best = self.best
        if error is not None and (
            best is None or (-configuration.epochs, error) < (-best[1].epochs, best[0])
        ):
            self.best = (error, configuration)


class Lines:
    """Plain lines, one for each epoch and each result: for log files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._has_outlook = False

    def begin(self, title: str, forecast: Forecast, trials: Sequence[Trial]) -> None:
        """Say what starts."""
        self._board = _Board(forecast, trials)
        self._say(title)

    def update(self, event: Event) -> None:
        """Say what happened."""
        running = self._board.running.get(event.trial)
        self._board.update(event)
        name = f"trial {event.trial}"
        if isinstance(event, Promoted):
            self._say(f"{name} is promoted to {event.budget} epochs")
        elif isinstance(event, Started):
            again = f", attempt {event.attempt}" if event.attempt > 1 else ""
            config = self._board.configurations[event.trial]
            self._say(f"{name} starts{again}: {describe(config)}")
        elif isinstance(event, EpochDone) and running is not None:
            n_epochs = running.configuration.epochs
            self._say(
                f"{name} epoch {event.epoch.epoch}/{n_epochs}: "
                f"{last_error(running.epochs)}, {event.epoch.duration_s:.1f} s"
            )
            if not self._has_outlook and (outlook := self._board.outlook()):
                self._has_outlook = True
                self._say(", ".join(outlook))
        elif isinstance(event, Finished | Failed):
            board = self._board
            state = "failed" if isinstance(event, Failed) else "done"
            why = f" ({event.reason})" if event.reason else ""
            n_done = f"{board.n_done} of {board.forecast.n_trainings} {board.forecast.noun}"
            self._say(", ".join([f"{name} {state}{why}; {n_done}", *board.outlook()]))

    def note(self, text: str) -> None:
        """Say it."""
        self._say(text)

    def tick(self) -> None:
        """Lines come with their events."""

    def end(self) -> None:
        """Nothing stays open."""

    def _say(self, text: str) -> None:
        with _silent_when_lost(self._console):
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class LiveTable:
    """A table on the terminal, or in a notebook's cell, of the running trials; a line for all."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live  # only a terminal needs it

        self._title = ""
        self._lock = threading.Lock()
        self._drawn = 0.0
        # Redrawn by `tick`, not by a thread of rich's: the cores belong to the workers.
        self._live: Live | Cell = (
            Cell(console)
            if console.is_jupyter
            else Live(console=console, auto_refresh=False, transient=True)
        )

    def begin(self, title: str, forecast: Forecast, trials: Sequence[Trial]) -> None:
        """Open the table."""
        self._title = title
        self._board = _Board(forecast, trials)
        with _silent_when_lost(self._live.console):
            self._live.start()
        self.tick()

    def update(self, event: Event) -> None:
        """Follow one event; it is drawn at the next tick."""
        with self._lock:
            self._board.update(event)

    def note(self, text: str) -> None:
        """Say it above the table."""
        with _silent_when_lost(self._live.console):
            self._live.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def tick(self) -> None:
        """Redraw, four times a second at most."""
        now = time.monotonic()
        if now - self._drawn < 0.25:  # noqa: PLR2004 - see above
            return
        self._drawn = now
        with self._lock:
            table = self._draw(now)
        with _silent_when_lost(self._live.console):
            self._live.update(table, refresh=True)

    def end(self) -> None:
        """Take the table away, as the summary follows; a notebook keeps it as it is at the end."""
        self._drawn = 0.0
        self.tick()
        with _silent_when_lost(self._live.console):
            self._live.stop()

    def _draw(self, now: float) -> Table:
        from rich.table import Table
        from rich.text import Text

        board = self._board
        title = Text(self._title)  # not markup: a data set may be called [red]
        table = Table(title=title, title_justify="left", caption_justify="left")
        for name in ("trial", "configuration"):
            table.add_column(name)
        for name in ("epoch", "error", "s/epoch", "time left"):
            table.add_column(name, justify="right")
        for number, running in sorted(board.running.items()):
            epochs, speed = running.epochs, running.seconds_per_epoch
            left = running.seconds_left(now)
            table.add_row(
                str(number),
                describe(running.configuration),
                f"{running.n_done}/{running.configuration.epochs}",
                last_error(epochs),
                "–" if speed is None else f"{speed:.2f}",
                "–" if left is None else duration(left),
            )
        table.caption = self._caption(now)
        return table

    def _caption(self, now: float) -> str:
        board = self._board
        n_trainings = board.forecast.n_trainings
        parts = [f"{board.n_done} of {n_trainings} {board.forecast.noun} done"]
        if board.n_failed:
            parts.append(f"{board.n_failed} failed")
        if not board.running and board.n_done < n_trainings:
            parts.append("workers are starting")
        if board.best is not None:
            parts.append(f"best {percent(board.best[0])} ({describe(board.best[1])})")
        parts.append(f"{duration(now - board.start)} so far")
        return " · ".join(parts + board.outlook())


@contextmanager
def _silent_when_lost(console: Console) -> Iterator[None]:
    """Let a study go on where nothing can be shown: a full log, a terminal that is gone."""
    try:
        yield
    except OSError:
        console.quiet = True
