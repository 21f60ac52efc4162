"""The report of finished, running and failed runs: what it is made from, and where it is put."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lab.errors import printable
from mnist_lab.rundir import RunDir, write_bytes
from mnist_lab.study.results import MISTAKES, figures
from mnist_lab.study.run import Run, load_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def report(
    paths: Sequence[Path],
    out: Path | None = None,
    note: Callable[[str], None] | None = None,
) -> Path:
    """Write one self-contained HTML page about one run, or about several and how they compare.

    Args:
        paths: run directories, at least one. Their records are read and figures are drawn anew,
            but for those of the test images where these are not at hand.
        out: the file; None: in the run directory, or beside the first of several.
        note: is told which figure cannot be drawn.

    Returns:
        The file that was written.

    Raises:
        SettingsError: a path is no run directory, or the file's folder is a file.
        RunDirError: records are damaged, or the file cannot be written.
    """
    from mnist_lab import report as reports

    runs = [load_run(path) for path in paths]
    names = [Path(os.path.abspath(path)).name for path in paths]  # noqa: PTH100 - `.` has a name
    labels = names if len(set(names)) == len(names) else [str(path) for path in paths]
    page = reports.page(
        [
            reports.Reported(
                printable(label),
                run.info,
                run.trials,
                _figures(run, note),
            )
            for label, run in zip(labels, runs, strict=True)
        ]
    )
    if out is not None:
        out = out.resolve()  # what somebody names may be a link, and is written where it leads
    else:
        # Not `parent`: that of `.` would be itself.
        folder = paths[0] if len(paths) == 1 else Path(os.path.normpath(paths[0] / os.pardir))
        out = RunDir(folder).report
    RunDir(out.parent).create()
    # A folder's name may be no text.
    write_bytes(out, page.encode("utf-8", "backslashreplace"))
    return out


def _figures(run: Run, note: Callable[[str], None] | None) -> dict[str, bytes]:
    """The figures of a run as SVG; the one that the records alone do not make may be the run's."""
    from mnist_lab import plots  # matplotlib, only to draw

    drawn = {name: plots.content(one, "svg") for name, one in figures(run, note).items()}
    if run.info.settings.experiment == "test" and MISTAKES not in drawn:
        kept = RunDir(run.path).read_figure(MISTAKES, "svg")
        drawn |= {} if kept is None else {MISTAKES: kept}
    return drawn
