"""What a person sees while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from mnist_lab.analysis.outcomes import best_trial
from mnist_lab.notebook import Cell
from mnist_lab.records import EpochDone, Event, Failed, Finished, Promoted, Started
from mnist_lab.views import drawn, last_error, running_table
from mnist_lab.words import describe, duration, epochs_text, percent, reached_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from mnist_lab.forecast import Forecast
    from mnist_lab.records import Trial


class Watcher:
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


class Silent(Watcher):
    """A watcher that shows nothing."""


class _View(Watcher):
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

    def _of_all(self) -> str:
        forecast = self._forecast
        return f"{forecast.trials.n_trained} of {forecast.n_trainings} {forecast.noun}"

    def _outlook(self) -> list[str]:
        """The time left, and what fits before the deadline, in words, as far as they are known."""
        if not (left := self._forecast.seconds_left()):
            return []
        return list(filter(None, [f"about {duration(left)} left", self._forecast.words()]))


# Of trainings for a part of an epoch there may be hundreds: one line for so many of them.
_MANY = 10


class Lines(_View):
    """Plain lines, one for each epoch and each result: for log files and pipes."""

    _has_outlook = False

    def begin(self, title: str, forecast: Forecast) -> None:
        """Say what starts."""
        super().begin(title, forecast)
        self.note(title)

    def update(self, event: Event) -> None:
        """Say what happened."""
        trial, name = self._forecast.trials.numbered(event.trial), f"trial {event.trial}"
        if isinstance(event, Promoted):
            self.note(f"{name} is promoted to {epochs_text(event.budget)}")
        elif trial.configuration.epochs < 1 and not isinstance(event, Failed):
            if isinstance(event, Finished) and self._forecast.trials.n_trained % _MANY == 0:
                self.note(", ".join([self._of_all(), *self._outlook()]))
        elif isinstance(event, Started):
            again = f", attempt {event.attempt}" if event.attempt > 1 else ""
            self.note(f"{name} starts{again}: {describe(trial.configuration)}")
        elif isinstance(event, EpochDone):
            self.note(
                f"{name} epoch {reached_text(event.epoch.epoch, trial.configuration.epochs)}: "
                f"{last_error([event.epoch])}, {event.epoch.duration_s:.1f} s"
            )
            if not self._has_outlook and (outlook := self._outlook()):
                self._has_outlook = True
                self.note(", ".join(outlook))
        elif isinstance(event, Finished | Failed):
            state = "failed" if isinstance(event, Failed) else "done"
            why = f" ({event.reason})" if event.reason else ""
            self.note(", ".join([f"{name} {state}{why}; {self._of_all()}", *self._outlook()]))


class LiveTable(_View):
    """A table on the terminal, or in a notebook's cell, of the running trials; a line for all."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live  # only a terminal needs it

        super().__init__(console)
        self._drawn = 0.0
        # Redrawn by `tick`, not by a thread of rich's: the cores belong to the workers.
        live = partial(Live, auto_refresh=False, transient=True)
        self._live: Live | Cell = (Cell if console.is_jupyter else live)(console=console)

    def begin(self, title: str, forecast: Forecast) -> None:
        """Open the table."""
        super().begin(title, forecast)
        with _silent_when_lost(self._console):
            self._live.start()
        self.tick()

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
        trials = self._forecast.trials
        parts = [f"{self._of_all()} done"]
        if trials.n_failed:
            parts.append(f"{trials.n_failed} failed")
        if not n_running and trials.n_trained < self._forecast.n_trainings:
            parts.append("workers are starting")
        if trials.n_trained != self._best[0]:
            self._best = trials.n_trained, best_trial(trials)
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
