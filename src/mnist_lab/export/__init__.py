"""A run in the files of other programs: the course's, spreadsheets', TensorBoard's, Optuna's.

The files of the course's own script are `results/results_run_<trial>.json`. Their keys are exactly
`lr`, `num_filters`, `batch_size`, `filter_size`, `learning_curve` (the validation error after each
epoch, a fraction) and `test_error` (a fraction; null where the trial was not tested: only
`mnist-lab test` looks at the test images).

Spreadsheets read `trials.csv` and `epochs.csv` (RFC 4180, UTF-8) with the columns of
:mod:`mnist_lab.views`; what was not measured is an empty cell. Texts take `table.md` and
`table.tex`: the run's results with their spread and n, and a caption.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Literal

from mnist_lab.export import tables
from mnist_lab.rundir import RunDir, write_below
from mnist_lab.views import Sheet, epoch_sheet, trial_sheet
from mnist_lab.words import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo

Format = Literal["course", "csv", "tensorboard", "optuna", "markdown", "latex"]


def write(run_dir: Path, *to: Format, out: Path | None = None) -> list[Path]:
    """Write a run for other programs.

    Args:
        run_dir: the run directory; its state does not matter, and nothing in it is changed.
        to: the other programs.
        out: a folder, with one of its own for each of several programs; None is `export/<to>` in
            the run directory.

    Returns:
        The files. Those that an earlier export wrote are replaced.

    Raises:
        SettingsError: there is no run.
        RunDirError: it is damaged, or the files cannot be written.
        LabError: the package that a format needs is not installed; then nothing is written.
    """
    run = RunDir(run_dir)
    info, trials = run.read_info(), run.read_trials()
    content = {one: _files(one, info, trials) for one in to}
    root, above = (run.path, f"{run.export.name}/") if out is None else (out, "")
    return [
        write_below(
            root, f"{'' if out and len(content) == 1 else above + one + '/'}{name}", written
        )
        for one, files in content.items()
        for name, written in files.items()
    ]


_OPENING = {
    "course": "with the course's own scripts: {}/results",
    "csv": "with a spreadsheet, or pandas.read_csv: {}/trials.csv",
    "tensorboard": "tensorboard --logdir {}",
    "optuna": "optuna-dashboard {}/optuna.log (pip install optuna-dashboard)",
    "markdown": "in an editor, or paste it into a page of GitHub: {}/table.md",
    "latex": r"in a document with \usepackage{{booktabs}}: \input{{{}/table.tex}}",
}


def how_to_open(run_dir: Path, *to: Format, out: Path | None = None) -> list[str]:
    """How to open what :func:`write` wrote with the same arguments, a line for each program."""
    root, several = out or RunDir(run_dir).export, out is None or len(set(to)) > 1
    folders = {one: root / one if several else root for one in to}
    return [_OPENING[one].format(quoted(folder)) for one, folder in folders.items()]


def _files(to: Format, info: RunInfo, trials: Sequence[Trial]) -> dict[str, bytes]:
    """The content of each file, by its path in the export's folder."""
    if to == "course":
        return {
            f"results/results_run_{trial.trial}.json": _course(trial)
            for trial in trials
            if trial.epochs
        }
    if to == "csv":
        return {"trials.csv": _csv(trial_sheet(trials)), "epochs.csv": _csv(epoch_sheet(trials))}
    if to == "markdown":
        return {"table.md": tables.markdown(info, trials).encode()}
    if to == "latex":
        return {"table.tex": tables.latex(info, trials).encode()}
    if to == "optuna":
        from mnist_lab.export import optuna

        return optuna.files(info, trials)
    from mnist_lab.export import tensorboard

    return tensorboard.files(info, trials)


def _course(trial: Trial) -> bytes:
    values = {
        "lr": trial.configuration.learning_rate,
        "num_filters": trial.configuration.num_filters,
        "batch_size": trial.configuration.batch_size,
        "filter_size": trial.configuration.filter_size,
        "learning_curve": [epoch.valid_error for epoch in trial.epochs],
        "test_error": trial.test.test_error if trial.test else None,
    }
    return json.dumps(values, allow_nan=False).encode()


def _csv(sheet: Sheet) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([sheet.columns, *(map(_cell, row) for row in sheet.rows)])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """The value; a text that a spreadsheet would run as a formula is marked as text."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value
