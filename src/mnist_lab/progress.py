"""What a person sees while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from mnist_lab.analysis.outcomes import best_trial
from mnist_lab.notebook import Cell
from mnist_lab.records import EpochDone, Event, Failed, Finished, Promoted, Started
from mnist_lab.views import drawn, last_error, running_table
from mnist_lab.words import describe, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from mnist_lab.forecast import Forecast
    from mnist_lab.records import Trial


class Watcher(Protocol):
    """Somebody who follows a study; called from several threads, one at a time."""

    def begin(self, title: str, forecast: Forecast) -> None:
        """A study starts, or continues with the trials of `forecast`, which follows its events."""

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

    def begin(self, title: str, forecast: Forecast) -> None:
        """Nothing to show."""

    def update(self, event: Event) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        """Nothing to show."""

    def tick(self) -> None:
        """Nothing to show."""

    def end(self) -> None:
        """Nothing to show."""


class _View:
    """What lines and table share: the study's state in words."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # The best is looked for again when another training has ended.
        self._best: tuple[int, Trial | None] = (0, None)

    def begin(self, title: str, forecast: Forecast) -> None:
        """Show what starts."""
        self._title, self._forecast, self._start = title, forecast, time.monotonic()

    def note(self, text: str) -> None:
        """Say it on a line of its own."""
        with _silent_when_lost(self._console):
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _n_failed(self) -> int:
        return sum(trial.state == "failed" for trial in self._forecast.trials)

    def _n_done(self) -> int:
        """How many trainings have ended, one for each budget of a trial."""
        return self._n_failed() + sum(len(trial.rungs) for trial in self._forecast.trials)

    def _of_all(self) -> str:
        return f"{self._n_done()} of {self._forecast.n_trainings} {self._forecast.noun}"

    def _outlook(self) -> list[str]:
        """The time left, and what fits before the deadline, in words, as far as they are known."""
        left = self._forecast.seconds_left()
        if not left:
            return []
        words = [f"about {duration(left)} left"]
        return [*words, self._forecast.words()] if self._forecast.deadline else words


class Lines(_View):
    """Plain lines, one for each epoch and each result: for log files and pipes."""

    _has_outlook = False

    def begin(self, title: str, forecast: Forecast) -> None:
        """Say what starts."""
        super().begin(title, forecast)
        self.note(title)

    def update(self, event: Event) -> None:
        """Say what happened."""
        trial = self._forecast.trials.numbered(event.trial)
        name = f"trial {event.trial}"
        if isinstance(event, Promoted):
            self.note(f"{name} is promoted to {event.budget} epochs")
        elif isinstance(event, Started):
            again = f", attempt {event.attempt}" if event.attempt > 1 else ""
            self.note(f"{name} starts{again}: {describe(trial.configuration)}")
        elif isinstance(event, EpochDone):
            self.note(
                f"{name} epoch {event.epoch.epoch}/{trial.configuration.epochs}: "
                f"{last_error([event.epoch])}, {event.epoch.duration_s:.1f} s"
            )
            if not self._has_outlook and (outlook := self._outlook()):
                self._has_outlook = True
                self.note(", ".join(outlook))
        elif isinstance(event, Finished | Failed):
            state = "failed" if isinstance(event, Failed) else "done"
            why = f" ({event.reason})" if event.reason else ""
            self.note(", ".join([f"{name} {state}{why}; {self._of_all()}", *self._outlook()]))

    def tick(self) -> None:
        """Lines come with their events."""

    def end(self) -> None:
        """Nothing stays open."""


class LiveTable(_View):
    """A table on the terminal, or in a notebook's cell, of the running trials; a line for all."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live  # only a terminal needs it

        super().__init__(console)
        self._drawn = 0.0
        # Redrawn by `tick`, not by a thread of rich's: the cores belong to the workers.
        self._live: Live | Cell = (
            Cell(console)
            if console.is_jupyter
            else Live(console=console, auto_refresh=False, transient=True)
        )

    def begin(self, title: str, forecast: Forecast) -> None:
        """Open the table."""
        super().begin(title, forecast)
        with _silent_when_lost(self._console):
            self._live.start()
        self.tick()

    def update(self, event: Event) -> None:
        """It is drawn at the next tick."""

    def tick(self) -> None:
        """Redraw, four times a second at most."""
        now = time.monotonic()
        if now - self._drawn < 0.25:  # noqa: PLR2004 - see above
            return
        self._drawn = now
        with _silent_when_lost(self._console):
            self._live.update(self._draw(now), refresh=True)

    def end(self) -> None:
        """Take the table away, as the summary follows; a notebook keeps it as it is at the end."""
        self._drawn = 0.0
        self.tick()
        with _silent_when_lost(self._console):
            self._live.stop()

    def _draw(self, now: float) -> Table:
        running = sorted(self._forecast.since.copy().items())
        numbered = self._forecast.trials.numbered
        table = running_table((numbered(number), now - since) for number, since in running)
        caption = self._caption(now, n_running=len(running))
        return drawn(table._replace(title=self._title, caption=caption))

    def _caption(self, now: float, *, n_running: int) -> str:
        n_done, n_failed = self._n_done(), self._n_failed()
        parts = [f"{self._of_all()} done"]
        if n_failed:
            parts.append(f"{n_failed} failed")
        if not n_running and n_done < self._forecast.n_trainings:
            parts.append("workers are starting")
        if n_done != self._best[0]:
            self._best = n_done, best_trial(self._forecast.trials)
        best = self._best[1]
        if best is not None and best.valid_error is not None:
            parts.append(f"best {percent(best.valid_error)} ({describe(best.configuration)})")
        parts.append(f"{duration(now - self._start)} so far")
        return " · ".join(parts + self._outlook())


@contextmanager
def _silent_when_lost(console: Console) -> Iterator[None]:
    """Let a study go on where nothing can be shown: a full log, a terminal that is gone."""
    try:
        yield
    except OSError:
        console.quiet = True
