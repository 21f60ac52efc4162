"""A run's trials as rows and cells, for the terminal, notebooks, reports, CSV and data frames.

In a sheet errors are fractions between 0 and 1, losses mean cross-entropies in nats per image,
times ending in `_s` seconds, other times RFC 3339 in UTC. None is what was not measured.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.intervals import Interval, error_interval
from mnist_lab.analysis.outcomes import (
    Spread,
    SummaryRow,
    best_row,
    best_trial,
    completed_error,
    outcome_of,
    seconds_per_epoch,
    summary,
)
from mnist_lab.config import VARIED, TrainConfig
from mnist_lab.records import Epoch
from mnist_lab.words import between, describe, duration, in_words, percent, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo

NOTHING = "–"
# A search is shown by its best; all of it is in curves.json.
MOST_ROWS = 10


class Sheet(NamedTuple):
    """Values for other programs: the columns' names, and a row for each trial or epoch."""

    columns: list[str]
    rows: list[list[Any]]


class Cell(NamedTuple):
    """What a reader sees, and the number that it is sorted by; words have none."""

    text: str = NOTHING
    value: float | None = None


class Table(NamedTuple):
    """What a reader sees. `trials` are the rows' numbers, where each is a trial; `best` is one."""

    heads: Sequence[str]
    rows: list[list[Cell]]
    caption: str = ""
    title: str = ""
    trials: Sequence[int] = ()
    best: int | None = None


class Best(NamedTuple):
    """The lowest error of a run, or the result of a test, over the repeats of a configuration.

    Each of `errors` is of `n_images`, 0 where there is no interval.
    """

    error: Spread
    configuration: TrainConfig
    errors: Sequence[float]
    n_images: int

    @property
    def interval(self) -> Interval | None:
        """That of the error, computed when it is asked for: SciPy takes a second to import."""
        return error_interval(self.errors, self.n_images) if self.n_images else None


_OF_TRIAL: dict[str, Callable[[Trial], Any]] = {
    **{name: attrgetter(name) for name in ("trial", "repeat", "seed", "state", "diverged")},
    **{
        name: attrgetter(f"configuration.{name}")
        for name in (*(name for name in TrainConfig.model_fields if name != "epochs"), "epochs")
    },
    "n_epochs": lambda trial: len(trial.epochs),
    "train_error": lambda trial: trial.epochs[-1].train_error if trial.epochs else None,
    "valid_error": attrgetter("valid_error"),
    "test_error": lambda trial: trial.test.test_error if trial.test else None,
    "epoch_s": seconds_per_epoch,
    **{name: attrgetter(name) for name in ("started", "ended", "worker", "reason")},
}


def trial_sheet(trials: Iterable[Trial]) -> Sheet:
    """A row for each trial, in the order of proposal.

    `epochs` is how many were asked for and `n_epochs` how many are done; the errors are those after
    the last of them, and `epoch_s` is the median duration of an epoch.
    """
    rows = [[value(trial) for value in _OF_TRIAL.values()] for trial in trials]
    return Sheet(list(_OF_TRIAL), rows)


def epoch_sheet(trials: Iterable[Trial]) -> Sheet:
    """A row for each epoch, trial after trial, with its configuration; `epoch` counts from 1."""
    names = ["trial", "repeat", *(one for one in TrainConfig.model_fields if one != "epochs")]
    rows = [
        [*(_OF_TRIAL[name](trial) for name in names), *dict(epoch).values()]
        for trial in trials
        for epoch in trial.epochs
    ]
    return Sheet([*names, *Epoch.model_fields], rows)


def summary_table(info: RunInfo, trials: Sequence[Trial]) -> Table:
    """The final table: a row for each configuration, of a test for each repeat."""
    if info.settings.experiment == "test":
        heads = ("repeat", "seed", "test error", "95 % interval", "s/epoch", "state")
        return trial_table(info, trials, heads)
    rows = summary(trials, VARIED.get(info.settings.experiment))
    shown, caption = rows, ""
    if info.settings.space is not None:
        shown = sorted(rows, key=_place)[:MOST_ROWS]
        if len(shown) < len(rows):
            caption = f"the best {len(shown)} of {len(rows)}; all are in curves.json"
    cells = [
        [
            Cell(describe(row.configuration)),
            number_cell(len(row.errors)),
            error_cell(row.error),
            number_cell(row.seconds_per_epoch, "{:.2f}"),
            Cell(_notes(row, is_running=info.state == "running")),
        ]
        for row in shown
    ]
    return Table(("configuration", "n", "validation error", "s/epoch", "notes"), cells, caption)


def unfinished_table(info: RunInfo, trials: Sequence[Trial]) -> Table:
    """The trials of :func:`unfinished`."""
    heads = ("trial", "configuration", "state", "epoch", "error", "s/epoch", "time left")
    return trial_table(info, unfinished(info, trials), heads)._replace(title="not finished")


def trial_table(info: RunInfo, trials: Sequence[Trial], heads: Sequence[str]) -> Table:
    """A row for each trial, with these of its cells."""
    rows = [[cells[head] for head in heads] for cells in (_cells(info, one) for one in trials)]
    best = best_trial(trials)
    numbers = [trial.trial for trial in trials]
    return Table(heads, rows, trials=numbers, best=best.trial if best else None)


def _cells(info: RunInfo, trial: Trial) -> dict[str, Cell]:
    """Everything that a table can say of a trial, by the heads of the columns."""
    n_epochs, budget = len(trial.epochs), trial.configuration.epochs
    result = confusion([trial.test] if trial.test else [])
    varied = {
        in_words(name): Cell(value_text(name, round(value, 6)), value)
        for name, value in trial.configuration
    }
    return varied | {
        "trial": number_cell(trial.trial),
        "repeat": number_cell(trial.repeat),
        "seed": number_cell(trial.seed),
        "configuration": Cell(describe(trial.configuration)),
        "state": Cell(state(info, trial)),
        "outcome": Cell(": ".join(filter(None, (outcome_of(trial), trial.reason)))),
        "epoch": Cell(f"{n_epochs}/{budget}", n_epochs),
        "epochs": Cell(str(n_epochs) + f" of {budget}" * (n_epochs != budget), n_epochs),
        "error": Cell(f"test error {percent(trial.test.test_error)}")
        if trial.test
        else Cell(last_error(trial.epochs)),
        "validation error": error_cell(completed_error(trial)),
        "training error": error_cell(_OF_TRIAL["train_error"](trial)),
        "test error": error_cell(result.error),
        "95 % interval": interval_cell(result.interval),
        "s/epoch": number_cell(seconds_per_epoch(trial), "{:.2f}"),
        "seconds": number_cell(sum(epoch.duration_s for epoch in trial.epochs), "{:,.1f}"),
        "time left": Cell()
        if (left_s := seconds_left(info, trial)) is None
        else Cell(duration(left_s), left_s),
    }


def best(info: RunInfo, trials: Sequence[Trial]) -> Best | None:
    """The lowest error so far; of a sweep with repeats, the lowest mean; of a test, its result.

    Only what was trained equally long is compared. Repeats that are all equal have no interval:
    one of no width would claim to know everything.
    """
    if info.settings.experiment == "test":
        scored = [(trial.configuration, trial.test) for trial in trials if trial.test is not None]
        result = confusion([score for _, score in scored])
        error, errors, n_images = result.error, result.errors, result.n_images
        return Best(error, scored[0][0], errors, n_images) if error else None
    row = best_row(info.settings, trials)
    if row is None or row.error is None:
        return None
    tells = row.error.n == 1 or row.error.low < row.error.high
    return Best(row.error, row.configuration, row.errors, info.data.n_valid if tells else 0)


def best_in_words(info: RunInfo, trials: Sequence[Trial]) -> list[str]:
    """One line about the best, or none."""
    if (found := best(info, trials)) is None:
        return []
    n, mean, sd, *_ = found.error
    if info.settings.experiment == "test":
        interval = found.interval
        width = f"95 % interval {between(interval)}, " if interval else ""
        return [f"test error: {percent(mean, sd)} ({width}n = {n})"]
    return [
        f"best: {describe(found.configuration)}, validation error {percent(mean, sd)} (n = {n})"
    ]


def unfinished(info: RunInfo, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that are trained now, and those that were for a part of their epochs."""
    return [
        trial
        for trial in trials
        if trial.ended is None and (trial.epochs or state(info, trial) == "running")
    ]


def state(info: RunInfo, trial: Trial) -> str:
    """What became of a trial; of an unfinished one `running` or `waiting` for a worker.

    `stopped` in a run that nobody trains.
    """
    if (outcome := outcome_of(trial)) != "unfinished":
        return outcome
    return trial.state if info.state == "running" else "stopped"


def seconds_left(info: RunInfo, trial: Trial) -> float | None:
    """About how long a running trial still takes, by its own epochs; None before the first."""
    speed = seconds_per_epoch(trial)
    if speed is None or state(info, trial) != "running":
        return None
    return round(speed * (trial.configuration.epochs - len(trial.epochs)), 3)


def last_error(epochs: Sequence[Epoch]) -> str:
    """The last epoch's validation error, or its training error where nothing validates."""
    if not epochs:
        return NOTHING
    last = epochs[-1]
    if last.valid_error is None:
        return f"training error {percent(last.train_error)}"
    return f"validation error {percent(last.valid_error)}"


def _place(row: SummaryRow) -> tuple[int, float]:
    """Sorts the best to the front: only what was trained equally long can be compared."""
    return -row.configuration.epochs, row.error.mean if row.error else 1.0


def _notes(row: SummaryRow, *, is_running: bool) -> str:
    tally, running = row.tally, []
    if is_running:
        n_running = sum(trial.state == "running" for trial in row.trials)
        counts = {"running": n_running, "waiting": tally.unfinished - n_running}
        running = [f"{n} {what}" for what, n in counts.items()]
        running = [one for one in running if one[:2] != "0 "]
        tally = tally._replace(unfinished=0)
    return ", ".join([*tally.but_complete(), *running])


def number_cell(value: float | None, text: str = "{}") -> Cell:
    """A number as `text` formats it."""
    return Cell() if value is None else Cell(text.format(value), value)


def error_cell(error: Spread | float | None) -> Cell:
    """An error in percent, with its deviation if it has one."""
    if isinstance(error, Spread):
        return Cell(percent(error.mean, error.sd), error.mean)
    return Cell() if error is None else Cell(percent(error), error)


def interval_cell(interval: Interval | None) -> Cell:
    """A 95 % interval of an error."""
    return Cell() if interval is None else Cell(between(interval), interval.low)
