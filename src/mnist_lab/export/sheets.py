"""Two tables as CSV (RFC 4180, UTF-8): `trials.csv` and `epochs.csv`.

Their columns are those of :mod:`mnist_lab.views`; what was not measured is an empty cell.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from mnist_lab.views import Sheet, epoch_sheet, trial_sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.records import Trial


def files(trials: Sequence[Trial]) -> dict[str, bytes]:
    """Both tables, with their header lines, however few the rows."""
    return {"trials.csv": _csv(trial_sheet(trials)), "epochs.csv": _csv(epoch_sheet(trials))}


def _csv(sheet: Sheet) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([sheet.columns, *(map(_cell, row) for row in sheet.rows)])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """The value; a text that a spreadsheet would run as a formula is marked as text."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value
