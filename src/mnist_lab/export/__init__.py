"""A run in the files of other programs: the course's, spreadsheets', TensorBoard's.

Each format is a module whose `files` gives name and content of every file, from records alone; what
a file is called is for the program that reads it to say. :func:`write` puts them on the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mnist_lab.rundir import RunDir, write_below

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo

Format = Literal["course", "csv", "tensorboard"]


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


def _files(to: Format, info: RunInfo, trials: Sequence[Trial]) -> dict[str, bytes]:
    """The content of each file, by its path in the export's folder."""
    if to == "course":
        from mnist_lab.export import course

        return course.files(trials)
    if to == "csv":
        from mnist_lab.export import sheets

        return sheets.files(trials)
    from mnist_lab.export import tensorboard

    return tensorboard.files(info, trials)
