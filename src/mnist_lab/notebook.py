"""Output in a notebook: a run as HTML, rows as data frames, and progress updated in place.

Everything read from files is escaped: a run may come from anyone.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from mnist_lab.analysis.outcomes import n_ended, n_planned
from mnist_lab.config import TrainConfig
from mnist_lab.errors import not_installed, printable
from mnist_lab.views import best_in_words, trial_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from rich.table import Table

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo
    from mnist_lab.views import Sheet

_HEADS = ("trial", "configuration", "state", "epoch", "error", "s/epoch")


class Cell:
    """A place in a notebook cell's output with replaceable content; does nothing elsewhere.

    It replaces rich's `Live`, which needs ipywidgets in a notebook.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._handle: Any = None

    def start(self) -> None:
        """Do nothing: the place is made when there is something to show."""

    def update(self, table: Table, *, refresh: bool) -> None:
        """Show this table; `refresh` exists for rich, whose tables render themselves as HTML."""
        del refresh
        self._show(table)

    def show_html(self, html: str) -> None:
        """Show this HTML."""
        self._show(_Html(html))

    def stop(self) -> None:
        """Keep what was shown last."""

    def clear(self) -> None:
        """Show nothing from now on."""
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
    """An object that a notebook shows as this HTML."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def frame(sheet: Sheet) -> Any:
    """A sheet as a `pandas.DataFrame`; None becomes NaN in a column of measurements or rates.

    Raises:
        LabError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise not_installed("a data frame", "pandas") from None
    numbers = [
        name
        for name in sheet.columns
        if name.endswith(("_error", "_loss", "_s"))
        or (name in TrainConfig.model_fields and TrainConfig.model_fields[name].annotation is float)
    ]
    # Whatever its rows: a column without a value would be one of objects.
    return pd.DataFrame(sheet.rows, columns=sheet.columns).astype(dict.fromkeys(numbers, "float64"))


def trials_html(name: str, info: RunInfo, trials: Sequence[Trial]) -> str:
    """A run as HTML: its state, its best, and a table with a row for each trial.

    Args:
        name: the run's name for the reader.
        info: its `run.json`.
        trials: its trials.
    """
    what = f"{info.settings.experiment} on {info.data.name}, {info.state}"
    done = f"{n_ended(trials)} of {n_planned(info.settings, trials)} trials done"
    more = [*(f"note: {note}" for note in info.data.notes), *best_in_words(info, trials)]
    lines = [f"<b>{escape(printable(name))}</b>: {escape(what)}, {done}", *map(escape, more)]
    if info.settings.space is not None:  # the best first, as far as they trained equally long
        trials = sorted(
            trials,
            key=lambda one: (-one.n_epochs, one.valid_error is None, one.valid_error or 0.0),
        )
    table = trial_table(info, trials, _HEADS)
    sides = [f"text-align: {'right' if is_number else 'left'}" for is_number in table.is_number]
    head = "".join(
        f'<th style="{side}">{escape(name)}</th>'
        for side, name in zip(sides, table.heads, strict=True)
    )
    rows = ""
    for number, cells in zip(table.trials, table.rows, strict=True):
        weight = "; font-weight: bold" * (number in table.best)
        shown = zip(sides, cells, strict=True)
        texts = (f'<td style="{side}{weight}">{escape(cell.text)}</td>' for side, cell in shown)
        rows += f"<tr>{''.join(texts)}</tr>"
    return (
        f"<div>{'<br>'.join(lines)}</div>"
        '<div style="max-height: 24em; overflow: auto">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def figure_html(name: str, figure: Figure) -> str:
    """A figure as self-contained HTML."""
    from mnist_lab import plots  # matplotlib, only to draw

    source = "data:image/png;base64," + b64encode(plots.content(figure, "png")).decode()
    return f'<img alt="{escape(name)}" src="{source}" style="max-width: 50em; width: 100%">'
