"""The view of a running study on a terminal, in as many columns as there are."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.outcomes import best_trial, outcome_of, summary
from mnist_lab.views import NOTHING, differing
from mnist_lab.words import (
    counted,
    describe,
    duration,
    epochs_text,
    in_words,
    percent,
    reached_text,
    roughly,
    short,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from mnist_lab.config import Bracket
    from mnist_lab.forecast import Forecast
    from mnist_lab.records import Trial

MOST_LINES = 20
# A study of so few trials shows those that are done, too.
_FEW = 8
_BLOCKS = "▁▂▃▄▅▆▇█"
# From so many columns on there is room for the epoch and the time left, and for long bars.
_MEDIUM, _WIDE = 80, 120

# How a trial stands that nobody trains at this moment.
_MARKS = {"complete": "✓", "diverged": "✗", "failed": "✗", "unfinished": " "}


class RungRow(NamedTuple):
    """The state of all trials of one budget; `best` is the lowest validation error."""

    budget: float
    n_trained: int
    n_planned: int
    n_promoted: int
    best: float | None


class Standing(NamedTuple):
    """The best so far: its error, its name, and what the error is of."""

    error: str
    name: str
    of: str


def rung_rows(brackets: Sequence[Bracket], trials: Iterable[Trial]) -> list[RungRow]:
    """A row for each budget over all brackets, shortest first; failed trials count."""
    planned: Counter[float] = Counter()
    for bracket in brackets:
        planned.update(dict(zip(bracket.epochs, bracket.n_configs, strict=True)))
    trained, promoted = Counter[float](), Counter[float]()
    best: dict[float, float] = {}
    for trial in trials:
        for rung in trial.rungs:
            trained[rung.budget] += 1
            promoted[rung.budget] += trial.configuration.epochs > rung.budget
            if rung.valid_error is not None and not rung.diverged:
                best[rung.budget] = min(rung.valid_error, best.get(rung.budget, 1.0))
        trained[trial.configuration.epochs] += trial.state == "failed"
    return [
        RungRow(
            budget, trained[budget], max(n, trained[budget]), promoted[budget], best.get(budget)
        )
        for budget, n in sorted(planned.items())
    ]


def spark(errors: Sequence[float], width: int) -> str:
    """Errors as a line of blocks, on a logarithmic scale from lowest to highest."""
    if len(errors) > width:
        errors = [errors[round(n * (len(errors) - 1) / (width - 1))] for n in range(width)]
    logs = [math.log(max(error, 1e-4)) for error in errors]
    low, high = min(logs, default=0.0), max(logs, default=0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((one - low) * scale)] for one in logs)


def _bar(share: float, width: int) -> Text:
    """A bar filled to this share of its width; it also works without colours."""
    from rich.text import Text

    n_halves = min(round(2 * width * share), 2 * width)
    filled = "━" * (n_halves // 2) + "╸" * (n_halves % 2)
    return Text.assemble((filled, "blue"), ("─" * (width - len(filled)), "dim"))


class Screen:
    """Draws a study; its trials are named by the hyperparameter that varies, or by all."""

    def __init__(self, forecast: Forecast) -> None:
        self._forecast = forecast
        fields = differing(forecast.planned)
        self._fields = fields if len(fields) == 1 else []
        self._repeats = len(set(forecast.planned)) < len(forecast.planned)
        self.rungs: list[RungRow] = []
        self.best: Standing | None = None

    def name(self, trial: Trial) -> str:
        """The short name of a trial: `lr 0.1`, or its whole configuration."""
        name = short(trial.configuration, self._fields)
        return f"{name} · repeat {trial.repeat}" if self._repeats and trial.repeat else name

    def standing(self) -> Standing | None:
        """The lowest error so far; where configurations are repeated, the lowest mean."""
        best = best_trial(self._forecast.trials)
        if best is None or best.valid_error is None:
            return None
        if not (self._repeats and best.repeat):
            after = epochs_text(best.configuration.epochs)
            more = f"trial {best.trial}, after {after}"
            return Standing(percent(best.valid_error), self.name(best), more)
        rows = [row for row in summary(self._forecast.trials) if row.errors]
        row = min(rows, key=lambda row: row.mean)
        more = f"mean of {counted(len(row.errors), 'repeat')}"
        return Standing(percent(row.mean), short(row.configuration, self._fields), more)

    def draw(self, spent_s: float, width: int, height: int, footer: str) -> Table:
        """The whole screen: at most `height` lines of at most `width` columns."""
        from rich.table import Table  # only a terminal needs it, as a notebook while it trains
        from rich.text import Text

        top: list[RenderableType] = [self._whole(width)]
        if self._forecast.brackets:
            top.append(self._rungs())
        best = f"best {' · '.join(self.best)}" if self.best else ""
        texts = (best, f"{duration(spent_s)} so far{footer}", self._forecast.words())
        bottom = [Text(text, no_wrap=True, overflow="ellipsis") for text in texts if text]
        if n := self._forecast.trials.n_failed:
            bottom.append(Text(f"! {counted(n, 'trial')} failed", style="yellow"))
        n_top = 1 + (1 + len(self.rungs)) * bool(self._forecast.brackets)
        screen = Table.grid()
        for one in (*top, *self._trials(width, height - n_top - len(bottom)), *bottom):
            screen.add_row(one)
        return screen

    def _whole(self, width: int) -> Table:
        """The bar of the whole study, and its time left."""
        from rich.table import Table

        forecast, share = self._forecast, self._forecast.share_done()
        n_done = forecast.trials.n_trained
        done = f"{n_done} of {forecast.n_trainings} {forecast.noun} done"
        left_s = forecast.seconds_left()
        left = f"about {roughly(left_s)} left" if left_s else ""
        if not forecast.since and n_done < forecast.n_trainings:
            left = "workers are starting"
        share_text = f"{math.floor(100 * share)} %"  # 100 only where all is done
        n_free = width - sum(map(len, (done, share_text, left))) - 3
        bar = _bar(share, max(4, min(n_free, 40)))
        whole = Table.grid(padding=(0, 1, 0, 0))
        whole.add_row(done, bar, share_text, *[left] * bool(left))
        return whole

    def _rungs(self) -> Table:
        from rich.table import Table

        table = Table("budget", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for head in ("trained", "promoted", "best error"):
            table.add_column(head, justify="right", no_wrap=True)
        for one in self.rungs:
            table.add_row(
                epochs_text(one.budget),
                f"{one.n_trained} of {one.n_planned}",
                f"{one.n_promoted}" if one.n_promoted else NOTHING,
                NOTHING if one.best is None else percent(one.best),
            )
        return table

    def _trials(self, width: int, n_lines: int) -> Iterator[Table]:
        """A row for each trial that a worker trains, with its bar, errors and time left."""
        from rich.table import Table

        forecast = self._forecast
        running = {one.trial.trial: one for one in forecast.running()}
        trials = [one.trial for one in running.values()]
        if not forecast.brackets and forecast.n_trainings <= _FEW:
            trials = list(forecast.trials)
        n_shown = len(trials) if len(trials) < n_lines else max(n_lines - 2, 1)
        bar_width, spark_width = (20, 16) if width >= _WIDE else (5, 5)
        fixed = [1, bar_width, spark_width, 6] + [8, 10] * (width >= _MEDIUM)
        names = [self.name(trial) for trial in trials]
        room = width - sum(fixed) - len(fixed)
        wanted = max(map(len, names), default=0)
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        head = in_words(self._fields[0]) if self._fields else "configuration"
        table.add_column("", width=1)
        table.add_column(
            head, width=min(max(wanted, len(head)), room), no_wrap=True, overflow="ellipsis"
        )
        table.add_column("", width=bar_width)
        table.add_column("", width=spark_width, no_wrap=True)
        validates = any(one.valid_error is not None for one in trials)
        is_training = any(one.epochs for one in trials) and not validates
        table.add_column("train" if is_training else "error", width=6, justify="right")
        if width >= _MEDIUM:
            table.add_column("epoch", width=8, justify="right", no_wrap=True)
            table.add_column("time left", width=10, justify="right", no_wrap=True)
        for trial, name in zip(trials[:n_shown], names, strict=False):
            now = running.get(trial.trial)
            budget = trial.configuration.epochs
            errors = [
                one.train_error if one.valid_error is None else one.valid_error
                for one in trial.epochs
            ]
            cells: list[RenderableType] = [
                "●" if now else _MARKS[outcome_of(trial)],
                name,
                _bar((now.position if now else trial.n_epochs) / budget, bar_width),
                spark(errors, spark_width),
                percent(errors[-1]) if errors else NOTHING,
            ]
            if width >= _MEDIUM:
                cells.append(reached_text(trial.n_epochs, budget))
                left_s = now.left_s if now else None
                cells.append(NOTHING if left_s is None else duration(left_s))
            table.add_row(*cells)
        if n_more := len(trials) - n_shown:
            table.add_row("", f"… and {n_more} more")
        if trials:
            yield table


def finalist(trial: Trial, brackets: Sequence[Bracket]) -> str:
    """The line for a trial promoted to its bracket's last rung; empty for other rungs."""
    number, budget = trial.id[0], trial.configuration.epochs
    if number >= len(brackets) or budget != brackets[number].epochs[-1]:
        return ""
    after = f" after {epochs_text(trial.n_epochs)}"
    error = "" if trial.valid_error is None else f"; error {percent(trial.valid_error)}{after}"
    return (
        f"bracket {number + 1}: {describe(trial.configuration, without='epochs')} goes to the full "
        f"{epochs_text(budget)}{error}"
    )


def rung_done(forecast: Forecast, trial: Trial, budget: float) -> str:
    """The line for a rung whose last trial has ended; empty before."""
    number = trial.id[0]
    if number >= len(forecast.brackets) or budget not in forecast.brackets[number].epochs:
        return ""
    bracket = forecast.brackets[number]
    own = (one for one in forecast.trials if one.id[0] == number)
    row = next(one for one in rung_rows([bracket], own) if one.budget == budget)
    if row.n_trained < row.n_planned or row.n_planned == 1:
        return ""
    best = "" if row.best is None else f", the best with an error of {percent(row.best)}"
    trials = counted(row.n_planned, "trial")
    return f"bracket {number + 1}: {trials} done after {epochs_text(budget)}{best}"
