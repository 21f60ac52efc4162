"""What the user sees while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from mnist_lab.notebook import Cell
from mnist_lab.progress.live import MOST_LINES, Screen, finalist, rung_done, rung_rows
from mnist_lab.records import EpochDone, Event, Failed, Finished, Promoted, Started
from mnist_lab.views import last_error
from mnist_lab.words import epochs_text, roughly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from mnist_lab.forecast import Forecast
    from mnist_lab.progress.live import Standing


class Watcher:
    """A follower of a study; called from several threads, one at a time."""

    def begin(self, title: str, forecast: Forecast) -> None:
        """The study starts or continues; `forecast` has its trials and follows its events."""

    def update(self, event: Event) -> None:
        """Something happened; the journal and the forecast already know it."""

    def note(self, text: str) -> None:
        """One line for the user, before or during the study."""

    def tick(self) -> None:
        """Called about ten times a second from the main thread."""

    def end(self) -> None:
        """The study ended, in any way."""


class Silent(Watcher):
    """A watcher that shows nothing."""


class _View(Watcher):
    """What lines and table share: the state of the study in words."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # The best is looked for again when another training has ended.
        self._best: tuple[int, Standing | None] = (0, None)

    def begin(self, title: str, forecast: Forecast) -> None:
        """Say what starts."""
        self._forecast, self._start = forecast, time.monotonic()
        self._screen = Screen(forecast)
        self.note(title)

    def update(self, event: Event) -> None:
        """Say which trials reach the last rung of a bracket; the best is among them."""
        if isinstance(event, Promoted):
            trial = self._forecast.trials.numbered(event.trial)
            if text := finalist(trial, self._forecast.brackets):
                self.note(text)

    def note(self, text: str) -> None:
        """Say it on a line of its own."""
        with _silent_when_lost(self._console):
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _best_so_far(self) -> Standing | None:
        n_trained = self._forecast.trials.n_trained
        if n_trained != self._best[0]:
            self._best = n_trained, self._screen.standing()
        return self._best[1]


# Of trainings for a part of an epoch there may be hundreds: one line for so many of them.
_MANY = 10
# A line at least so often, while nothing ends.
_QUIET_S = 60.0


class Lines(_View):
    """Plain lines, for log files and pipes: one for each result, and one a minute.

    Trials that train for a part of an epoch share a line: one for ten, and one for each rung.
    """

    _has_outlook = False

    def note(self, text: str) -> None:
        """Say it on a line of its own."""
        super().note(text)
        self._last = time.monotonic()

    def update(self, event: Event) -> None:
        """Say what ended."""
        super().update(event)
        trial, name = self._forecast.trials.numbered(event.trial), f"trial {event.trial}"
        if isinstance(event, Started) and event.attempt > 1:
            self.note(f"{name} starts again, attempt {event.attempt}")
        elif isinstance(event, EpochDone) and not self._has_outlook and (left := self._outlook()):
            self._has_outlook = True
            self.note(", ".join(left))
        elif isinstance(event, Failed):
            self.note(f"{name} failed: {event.reason}; {self._standing()}")
        elif isinstance(event, Finished):
            if event.budget >= 1:
                result = "diverged" if event.diverged else last_error(trial.epochs)
                why = f" ({event.reason})" if event.reason else ""
                after = epochs_text(trial.n_epochs)
                what = self._screen.name(trial)
                self.note(f"{name} ({what}): {result} after {after}{why}; {self._standing()}")
            elif self._forecast.trials.n_trained % _MANY == 0:
                self.note(self._standing())
            if text := rung_done(self._forecast, trial, event.budget):
                self.note(text)

    def tick(self) -> None:
        """Report the state, if nothing was said for a minute."""
        if time.monotonic() - self._last >= _QUIET_S:
            self.note(self._standing(with_best=True))

    def _standing(self, *, with_best: bool = False) -> str:
        forecast, best = self._forecast, self._best_so_far()
        done = [f"{forecast.trials.n_trained} of {forecast.n_trainings} {forecast.noun} done"]
        if with_best:
            done.append(f"{100 * forecast.share_done():.0f} % of the work")
        if with_best and best is not None:
            done.append(f"best {best.error} ({best.name})")
        return ", ".join(done + self._outlook())

    def _outlook(self) -> list[str]:
        """The time left, and what fits before the deadline, in words, as far as known."""
        if not (left_s := self._forecast.seconds_left()):
            return []
        return list(filter(None, [f"about {roughly(left_s)} left", self._forecast.words()]))


class LiveTable(_View):
    """The whole study on the terminal, or in a notebook's cell, redrawn in place."""

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
        self._rungs_are_old = True
        with _silent_when_lost(self._console):
            self._live.start()
        self.tick()

    def update(self, event: Event) -> None:
        """Note that the rungs have changed."""
        super().update(event)
        self._rungs_are_old |= isinstance(event, Finished | Failed | Promoted)

    def tick(self) -> None:
        """Redraw, four times a second at most."""
        now = time.monotonic()
        if now - self._drawn < 0.25:  # noqa: PLR2004 - see above
            return
        self._drawn = now
        with _silent_when_lost(self._console):
            self._live.update(self._draw(now), refresh=True)

    def end(self) -> None:
        """Remove the table, because the summary follows; a notebook keeps it."""
        self._drawn = 0.0
        self.tick()
        with _silent_when_lost(self._console):
            self._live.stop()

    def _draw(self, now: float) -> Table:
        screen, forecast = self._screen, self._forecast
        if self._rungs_are_old and forecast.brackets:
            self._rungs_are_old = False
            screen.rungs = rung_rows(forecast.brackets, forecast.trials)
        screen.best = self._best_so_far()
        width, height = self._console.size
        footer = "" if self._console.is_jupyter else " · Ctrl-C stops; the same command continues"
        return screen.draw(now - self._start, width, min(MOST_LINES, height - 1), footer)


@contextmanager
def _silent_when_lost(console: Console) -> Iterator[None]:
    """Let a study continue when nothing can be shown: a full log, a closed terminal."""
    try:
        yield
    except OSError:
        console.quiet = True
