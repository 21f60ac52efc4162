"""A run's trials as rows and cells, for the terminal, notebooks, reports, CSV and data frames.

In a sheet errors are fractions between 0 and 1, losses mean cross-entropies in nats per image,
times ending in `_s` seconds, other times RFC 3339 in UTC. None means not measured.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.outcomes import (
    Spread,
    SummaryRow,
    best_row,
    completed_error,
    endings,
    final_error,
    outcome_of,
    race_rows,
    seconds_per_epoch,
    summary,
)
from mnist_lab.config import OPTIONAL, VARIED, TrainConfig
from mnist_lab.racing import race_of
from mnist_lab.records import Epoch
from mnist_lab.words import (
    between,
    budget_text,
    describe,
    duration,
    in_words,
    percent,
    reached_text,
    rounded,
    short,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from mnist_lab.analysis.intervals import Interval
    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo

NOTHING = "–"
# A search is shown by its best; all of it is in curves.json.
MOST_ROWS = 10
_WIDTH = 80


class Sheet(NamedTuple):
    """Values for other programs: the columns' names, and a row for each trial or epoch."""

    columns: list[str]
    rows: list[list[Any]]


class Cell(NamedTuple):
    """The text that a reader sees, and the number to sort it by; words have none."""

    text: str = NOTHING
    value: float | None = None


class Table(NamedTuple):
    """A table for a reader. `trials` are the rows' trials, if each is one; `best` marks some."""

    heads: Sequence[str]
    rows: list[list[Cell]]
    caption: str = ""
    title: str = ""
    trials: Sequence[int] = ()
    best: Collection[int] = ()

    @property
    def is_number(self) -> list[bool]:
        """Which columns hold numbers: they are on the right."""
        return [any(row[n].value is not None for row in self.rows) for n in range(len(self.heads))]


class Best(NamedTuple):
    """The lowest error of a run, or the result of a test, over the repeats of a configuration.

    `interval` is computed on demand: SciPy takes a second to import.
    """

    error: Spread
    configuration: TrainConfig
    interval: Callable[[], Interval | None]


_VARIED = [name for name in TrainConfig.model_fields if name != "epochs"]
_OF_TRIAL: dict[str, Callable[[Trial], Any]] = {
    **{name: attrgetter(name) for name in ("trial", "repeat", "seed", "state", "diverged")},
    **{name: attrgetter(f"configuration.{name}") for name in (*_VARIED, "epochs")},
    "n_epochs": attrgetter("n_epochs"),
    "train_error": lambda trial: trial.epochs[-1].train_error if trial.epochs else None,
    "valid_error": attrgetter("valid_error"),
    "test_error": lambda trial: trial.test.test_error if trial.test else None,
    "epoch_s": seconds_per_epoch,
    **{name: attrgetter(name) for name in ("started", "ended", "worker", "reason")},
}


def differing(configurations: Sequence[TrainConfig]) -> list[str]:
    """The hyperparameters in which these differ, in the order of the configuration."""
    return [name for name in _VARIED if len({getattr(one, name) for one in configurations}) > 1]


def trial_sheet(trials: Iterable[Trial]) -> Sheet:
    """A row for each trial, in the order of proposal.

    `epochs` is the number asked for and `n_epochs` the number done. The errors are those after the
    last epoch, and `epoch_s` is the median duration of an epoch.
    """
    rows = [[value(trial) for value in _OF_TRIAL.values()] for trial in trials]
    return Sheet(list(_OF_TRIAL), rows)


def epoch_sheet(trials: Iterable[Trial]) -> Sheet:
    """A row for each epoch, trial after trial, with its configuration; `epoch` counts from 1."""
    names = ["trial", "repeat", *_VARIED]
    rows = [
        [*(_OF_TRIAL[name](trial) for name in names), *dict(epoch).values()]
        for trial in trials
        for epoch in trial.epochs
    ]
    return Sheet([*names, *Epoch.model_fields], rows)


def summary_table(info: RunInfo, trials: Sequence[Trial]) -> Table:
    """What there is so far, quickly: a row for each value or configuration, or repeat of a test.

    A search is shown by its best; a race by whoever is left, then by whoever it dropped.
    """
    if info.settings.experiment == "test":
        heads = ("repeat", "seed", "test error", "95 % interval", "s/epoch", "state")
        return trial_table(info, trials, heads)
    if info.settings.space is not None:
        ranked, n_all = ranked_table(trials, MOST_ROWS), len(trials)
        caption = f"the best {len(ranked.rows)} of {n_all}; all are in curves.json"
        return ranked._replace(caption=caption * (len(ranked.rows) < n_all))
    rows, dropped = _rows(info, trials), set[TrainConfig]()
    if info.settings.configurations:
        contenders = race_of(info.settings, trials).contenders
        given = info.settings.configurations
        dropped = {given[one.place] for one in contenders if one.dropped is not None}
        rows.sort(key=lambda row: (row.configuration in dropped, *_place(row)))
    is_running = info.state == "running"
    cells = [
        [
            _name_cell(info, row),
            number_cell(len(row.errors)),
            error_cell(row.error),
            number_cell(row.seconds_per_epoch, "{:.2f}"),
            Cell(
                ", ".join(
                    ["dropped"] * (row.configuration in dropped)
                    + _notes(row, is_running=is_running)
                )
            ),
        ]
        for row in rows
    ]
    return Table((_varied(info), "n", "validation error", "s/epoch", "notes"), cells)


def _varied(info: RunInfo) -> str:
    """The head of the column that tells a run's rows apart."""
    name = VARIED.get(info.settings.experiment)
    return in_words(name) if name else "configuration"


def _name_cell(info: RunInfo, row: SummaryRow) -> Cell:
    if info.settings.experiment in VARIED:
        return Cell(row.name, row.value)
    told = short(row.configuration)
    if given := info.settings.configurations:  # the findings of a race call it by its number
        told = f"{given.index(row.configuration) + 1}: {told}"
    return Cell(told)


def _rows(info: RunInfo, trials: Sequence[Trial]) -> list[SummaryRow]:
    if info.settings.configurations:
        return race_rows(info.settings, trials)
    return summary(trials, VARIED.get(info.settings.experiment))


def result_table(info: RunInfo, trials: Sequence[Trial]) -> Table:
    """What a run found, for a page that others read: errors with their spread, n and interval.

    A row for each value or configuration; of a search the best ones, of a test its result.
    """
    if info.settings.space is not None:
        return ranked_table(trials, MOST_ROWS)
    spread = ("n", "error", "95 % interval")
    if info.settings.experiment == "test":
        found, on = best(info, trials), Cell(fitted_on(info))
        tested = [[on, *_spread_cells(found.error, found.interval())]] if found else []
        return Table(("trained on", *spread), tested)
    rows = [
        [
            _name_cell(info, row),
            *_spread_cells(row.error, row.interval(info.data.n_valid)),
            number_cell(row.seconds_per_epoch, "{:.2f}"),
        ]
        for row in _rows(info, trials)
    ]
    return Table((_varied(info), *spread, "s/epoch"), rows)


def ranked_table(trials: Sequence[Trial], most: int) -> Table:
    """The best so many configurations of a search, of those that reached its largest budget."""
    ended = [(one, error) for one in endings(trials) if (error := final_error(one)) is not None]
    largest = max((one.configuration.epochs for one, _ in ended), default=0)
    ranked = sorted(
        (error, one.trial, one.configuration)
        for one, error in ended
        if one.configuration.epochs == largest
    )[:most]
    names = [
        name
        for name in _HEADS
        if name not in OPTIONAL or any(getattr(one, name) for *_, one in ranked)
    ]
    rows = [
        [number_cell(place), error_cell(error), *(_value_cell(one, name) for name in names)]
        for place, (error, _, one) in enumerate(ranked, start=1)
    ]
    return Table(("rank", "error", *(_HEADS[name] for name in names)), rows)


_HEADS = {
    "learning_rate": "learning rate",
    "batch_size": "batch",
    "num_filters": "filters",
    "filter_size": "size",
    "momentum": "momentum",
    "dropout": "dropout",
    "weight_decay": "decay",
}


def _value_cell(configuration: TrainConfig, name: str) -> Cell:
    value = getattr(configuration, name)
    return Cell(f"{value}×{value}" if name == "filter_size" else rounded(value))


def _spread_cells(error: Spread | None, interval: Interval | None) -> list[Cell]:
    return [number_cell(error.n if error else 0), error_cell(error), interval_cell(interval)]


def fitted_on(info: RunInfo) -> str:
    """The images that a test's networks were trained on."""
    data = info.data
    if info.settings.fit_on == "train":
        return f"{data.n_train:,} images"
    return f"all {data.n_train + data.n_valid:,} images, validation images included"


def unfinished_table(info: RunInfo, trials: Sequence[Trial]) -> Table:
    """The trials of :func:`unfinished`."""
    heads = ("trial", "configuration", "epoch", "error", "s/epoch", "time left")
    return trial_table(info, unfinished(info, trials), heads)._replace(title="not finished")


def trial_table(info: RunInfo, trials: Sequence[Trial], heads: Sequence[str]) -> Table:
    """A row for each trial, with these cells."""
    cells = [_cells(trial, state(info, trial)) for trial in trials]
    row = None if info.settings.experiment == "test" else best_row(info.settings, trials)
    best = {trial.trial for trial in row.completed} if row else ()
    rows = [[one[head] for head in heads] for one in cells]
    return Table(heads, rows, trials=[trial.trial for trial in trials], best=best)


def aligned(shown: Table) -> list[str]:
    """A table as lines of text without frames: numbers right-aligned, gaps small if necessary."""
    texts = [list(shown.heads), *([cell.text for cell in row] for row in shown.rows)]
    columns = list(zip(*texts, strict=True))
    widths = [max(map(len, column)) for column in columns]
    gap = 3 if sum(widths) + 3 * len(widths) <= _WIDTH else 2
    return [
        "  "
        + (" " * gap)
        .join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, shown.is_number, strict=True)
        )
        .rstrip()
        for row in texts
    ]


def _cells(trial: Trial, state: str) -> dict[str, Cell]:
    """All the cells that a table can have for a trial, by column heading."""
    n_epochs, budget = trial.n_epochs, trial.configuration.epochs
    result = confusion([trial.test] if trial.test else [])
    left_s = seconds_left(trial, state)
    varied = {
        in_words(name): Cell(value_text(name, round(value, 6)), value)
        for name, value in trial.configuration
    }
    return varied | {
        "trial": number_cell(trial.trial),
        "repeat": number_cell(trial.repeat),
        "seed": number_cell(trial.seed),
        "configuration": Cell(short(trial.configuration)),
        "state": Cell(state),
        "outcome": Cell(": ".join(filter(None, (outcome_of(trial), trial.reason)))),
        "epoch": Cell(reached_text(n_epochs, budget), n_epochs),
        "epochs": Cell(
            budget_text(n_epochs) + f" of {budget_text(budget)}" * (n_epochs != budget), n_epochs
        ),
        "error": _error_so_far(trial),
        "validation error": error_cell(completed_error(trial)),
        "training error": error_cell(_OF_TRIAL["train_error"](trial)),
        "test error": error_cell(result.error),
        "95 % interval": interval_cell(result.interval),
        "s/epoch": number_cell(seconds_per_epoch(trial), "{:.2f}"),
        "seconds": number_cell(sum(epoch.duration_s for epoch in trial.epochs), "{:,.1f}"),
        "time left": Cell(state) if left_s is None else Cell(duration(left_s), left_s),
    }


def best(info: RunInfo, trials: Sequence[Trial]) -> Best | None:
    """The lowest error so far; for a sweep with repeats, the lowest mean; for a test, its result.

    Only trials with the same number of epochs are compared.
    """
    if info.settings.experiment == "test":
        scored = [(trial.configuration, trial.test) for trial in trials if trial.test is not None]
        result = confusion([score for _, score in scored])
        return Best(result.error, scored[0][0], lambda: result.interval) if result.error else None
    row = best_row(info.settings, trials)
    if row is None or row.error is None:
        return None
    return Best(row.error, row.configuration, partial(row.interval, info.data.n_valid))


def best_in_words(info: RunInfo, trials: Sequence[Trial]) -> list[str]:
    """One line about the best, or none."""
    if (found := best(info, trials)) is None:
        return []
    n, mean, sd = found.error
    if info.settings.experiment == "test":
        interval = found.interval()
        width = f"95 % interval {between(interval)}, " if interval else ""
        return [f"test error: {percent(mean, sd)} ({width}n = {n})"]
    return [
        f"best: {describe(found.configuration)}, validation error {percent(mean, sd)} (n = {n})"
    ]


def unfinished(info: RunInfo, trials: Sequence[Trial]) -> list[Trial]:
    """The trials in training, and those with only a part of their epochs."""
    return [
        trial
        for trial in trials
        if trial.ended is None and (trial.epochs or state(info, trial) == "running")
    ]


def state(info: RunInfo, trial: Trial) -> str:
    """The state of a trial; an unfinished one is `running` or `waiting` for a worker.

    It is `stopped` in a run that no process trains.
    """
    if (outcome := outcome_of(trial)) != "unfinished":
        return outcome
    return trial.state if info.state == "running" else "stopped"


def seconds_left(trial: Trial, state: str) -> float | None:
    """About how long a running trial still takes, by its own epochs; None before the first.

    Args:
        trial: the trial.
        state: as :func:`state` returns it.
    """
    speed = seconds_per_epoch(trial)
    if speed is None or state != "running":
        return None
    return round(speed * (trial.configuration.epochs - trial.n_epochs), 3)


def last_error(epochs: Sequence[Epoch]) -> str:
    """The last epoch's validation error, or its training error without validation."""
    if not epochs:
        return NOTHING
    last = epochs[-1]
    if last.valid_error is None:
        return f"training error {percent(last.train_error)}"
    return f"validation error {percent(last.valid_error)}"


def _error_so_far(trial: Trial) -> Cell:
    """The validation error of the last epoch, or which other error it is."""
    if trial.test:
        return Cell(f"{percent(trial.test.test_error)} (test)", trial.test.test_error)
    if not trial.epochs:
        return Cell()
    last = trial.epochs[-1]
    if last.valid_error is None:
        return Cell(f"{percent(last.train_error)} (training)", last.train_error)
    return error_cell(last.valid_error)


def _place(row: SummaryRow) -> tuple[float, float]:
    """A key that sorts the best first, comparing only trials with as many epochs."""
    return -row.configuration.epochs, row.error.mean if row.error else 1.0


def _notes(row: SummaryRow, *, is_running: bool) -> list[str]:
    tally = row.tally
    if not is_running:
        return tally.but_complete()
    n_running = sum(trial.state == "running" for trial in row.trials)
    counts = {"running": n_running, "waiting": tally.unfinished - n_running}
    running = [f"{n} {what}" for what, n in counts.items() if n]
    return [*tally._replace(unfinished=0).but_complete(), *running]


def number_cell(value: float | None, text: str = "{}") -> Cell:
    """A cell with a number, formatted by `text`."""
    return Cell() if value is None else Cell(text.format(value), value)


def error_cell(error: Spread | float | None) -> Cell:
    """A cell with an error in percent, and its deviation if it has one."""
    if isinstance(error, Spread):
        return Cell(percent(error.mean, error.sd), error.mean)
    return Cell() if error is None else Cell(percent(error), error)


def interval_cell(interval: Interval | None) -> Cell:
    """A 95 % interval of an error."""
    return Cell() if interval is None else Cell(between(interval), interval.low)
