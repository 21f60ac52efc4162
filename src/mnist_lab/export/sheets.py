"""Two tables as CSV (RFC 4180, UTF-8): `trials.csv` and `epochs.csv`.

Their columns are those of :mod:`mnist_lab.tables`; what was not measured is an empty cell.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from mnist_lab import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnist_lab.records import Trial


def files(trials: Sequence[Trial]) -> dict[str, bytes]:
    """Both tables, with their header lines, however few the rows."""
    return {
        "trials.csv": _sheet(tables.TrialRow._fields, tables.trial_rows(trials)),
        "epochs.csv": _sheet(tables.EpochRow._fields, tables.epoch_rows(trials)),
    }


def _sheet(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """The value; a text that a spreadsheet would run as a formula is marked as text."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value
