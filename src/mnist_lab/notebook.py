"""What a notebook shows: a run as HTML, rows as data frames, and progress that changes in place.

Whatever comes from files is escaped: a run may be anybody's.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

from rich.console import Console

from mnist_lab.analysis.outcomes import best_trial, n_planned, seconds_per_epoch, tally_of
from mnist_lab.errors import not_installed, printable
from mnist_lab.words import describe, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.figure import Figure
    from rich.table import Table

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo

_LEFT = ' style="text-align: left"'


class Cell:
    """A place in the output of a notebook's cell whose content is replaced; nothing elsewhere.

    It stands in for rich's `Live`, which needs ipywidgets there.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._handle: Any = None

    def start(self) -> None:
        """The place is made when there is something to show."""

    def update(self, table: Table, *, refresh: bool) -> None:
        """Show this table; `refresh` is rich's, whose tables show themselves as HTML."""
        del refresh
        self._show(table)

    def show_html(self, html: str) -> None:
        """Show this HTML."""
        self._show(_Html(html))

    def stop(self) -> None:
        """What was shown last stays."""

    def clear(self) -> None:
        """Show nothing any more."""
        if self._handle is not None:
            self.show_html("")

    def _show(self, content: Any) -> None:
        if not self.console.is_jupyter:
            return
        if self._handle is None:
            from IPython.display import display  # it is there: a kernel runs this

            self._handle = display(content, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(content)


class _Html(NamedTuple):
    """Something that a notebook shows as this HTML."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def frame(columns: type[Any], rows: Sequence[Any]) -> Any:
    """Rows as a `pandas.DataFrame`, whose columns are the fields of their NamedTuple.

    Args:
        columns: the NamedTuple; it says what a column without a row is.
        rows: of that type. None becomes NaN in a column of numbers.

    Raises:
        LabError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise not_installed("a data frame", "pandas") from None
    numbers = [
        name for name, kind in get_type_hints(columns).items() if float in (kind, *get_args(kind))
    ]
    return pd.DataFrame(rows, columns=columns._fields).astype(dict.fromkeys(numbers, "float64"))


def trials_html(name: str, info: RunInfo, trials: Sequence[Trial]) -> str:
    """A run as HTML: how it stands, the best of it, and a table of one row for each trial.

    Args:
        name: of the run, as the reader calls it.
        info: its `run.json`.
        trials: its trials.
    """
    settings, tally, best = info.settings, tally_of(trials), best_trial(trials)
    n_done = tally.total - tally.unfinished
    planned = n_planned(settings, trials)
    what = f"{settings.experiment} on {escape(info.data.name)}"
    done = f"{info.state}, {n_done} of {planned} trials done"
    lines = [f"<b>{escape(printable(name))}</b>: {what}, {done}"]
    lines += [f"note: {escape(note)}" for note in info.data.notes]
    if best is not None and best.valid_error is not None:
        lines.append(
            f"best: trial {best.trial}, {escape(describe(best.configuration))}, "
            f"validation error {percent(best.valid_error)}"
        )
    heads = ("trial", "configuration", "state", "epoch", "error", "s/epoch")
    head = "".join(f"<th{_LEFT}>{name}</th>" for name in heads)
    rows = "".join(
        _row(trial, is_best=best is not None and trial.trial == best.trial) for trial in trials
    )
    return (
        f"<div>{'<br>'.join(lines)}</div>"
        '<div style="max-height: 24em; overflow: auto">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def figure_html(name: str, figure: Figure) -> str:
    """A figure as HTML that needs no other file."""
    from mnist_lab import plots  # matplotlib, only to draw

    source = "data:image/png;base64," + b64encode(plots.content(figure, "png")).decode()
    return f'<img alt="{escape(name)}" src="{source}" style="max-width: 50em; width: 100%">'


def _row(trial: Trial, *, is_best: bool) -> str:
    speed = seconds_per_epoch(trial)
    cells: Iterable[str] = (
        str(trial.trial),
        describe(trial.configuration),
        "diverged" if trial.diverged else trial.state,
        f"{len(trial.epochs)}/{trial.configuration.epochs}",
        _error(trial),
        "–" if speed is None else f"{speed:.2f}",
    )
    bold = "; font-weight: bold" if is_best else ""
    return "".join(
        (
            "<tr>",
            *(f'<td style="text-align: left{bold}">{escape(cell)}</td>' for cell in cells),
            "</tr>",
        )
    )


def _error(trial: Trial) -> str:
    """The error that says most about a trial: that of the test, else the last validation's."""
    if trial.test is not None:
        return f"test {percent(trial.test.test_error)}"
    if trial.valid_error is not None:
        return f"validation {percent(trial.valid_error)}"
    return f"training {percent(trial.epochs[-1].train_error)}" if trial.epochs else "–"
