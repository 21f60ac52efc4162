"""A run as a value: its records, figures, data frames and report."""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from mnist_lab import notebook, views
from mnist_lab.analysis.outcomes import best_row, best_trial, n_ended, n_epochs_done, n_planned
from mnist_lab.catalogue import function_name
from mnist_lab.errors import printable
from mnist_lab.forecast import Forecast
from mnist_lab.rundir import RunDir, RunInfo, write_bytes
from mnist_lab.search.planning import guessed_plan, promotions
from mnist_lab.study import results
from mnist_lab.words import counted, epochs_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from matplotlib.figure import Figure

    from mnist_lab.config import StudySettings
    from mnist_lab.pages import Shown
    from mnist_lab.records import DatasetInfo, Trial

# How often whoever watches a run reads its journal.
LOOK_S = 1.0


class Run(NamedTuple):
    """A run as it was on the disk; if a call returns it, `stopped` means by the time limit.

    `n_before` counts the trials that had ended when the call began; `files` are those that the call
    wrote. A notebook shows it as a table and the figures.
    """

    path: Path
    info: RunInfo
    trials: list[Trial]
    n_before: int = 0
    files: tuple[Path, ...] = ()

    @property
    def best(self) -> Trial | None:
        """The trial with the lowest validation error at the largest budget; None before any.

        In a race, the best trial of the leading configuration.
        """
        if self.info.settings.configurations:
            row = best_row(self.info.settings, self.trials)
            return best_trial(row.completed) if row else None
        return best_trial(self.trials)

    def figures(self, note: Callable[[str], None] | None = None) -> dict[str, Figure]:
        """The figures by name, drawn from the records in this object.

        The misclassified images come from the run's data set, if it is on this machine; `note` is
        told which figure is missing.
        """
        return results.figures(RunDir(self.path), self.info, self.trials, note)

    def draw(self, note: Callable[[str], None] | None = None) -> list[Path]:
        """Write the :meth:`figures` into the run directory; return the files."""
        return results.draw(RunDir(self.path), self.info, self.trials, note)

    def shown(self, label: str, link: str, note: Callable[[str], None] | None = None) -> Shown:
        """The run for a page of the report or the dashboard, with the images of its mistakes.

        Args:
            label: tells it from the others on the page.
            link: the address of its folder, to which a file's name is added.
            note: is told why there are no images, where they are not on this machine.

        Raises:
            SettingsError: its search space is none of ours.
        """
        from mnist_lab.pages import Shown

        run_dir = RunDir(self.path)
        if self.info.settings.space is not None:
            from mnist_lab import space as spaces  # ConfigSpace takes a second to import

            # A run directory may come from a stranger.
            spaces.check_space(self.info.settings.space, run_dir.run)
        images = results.images_of_mistakes(run_dir, self.info, self.trials, note)
        links = {printable(one): f"{link}/{quote(os.fsencode(one))}" for one in run_dir.names()}
        return Shown(printable(label), self.info, self.trials, images, links)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` of :func:`~mnist_lab.views.trial_sheet`.

        Raises:
            LabError: pandas is not installed.
        """
        return notebook.frame(views.trial_sheet(self.trials))

    def epochs_to_pandas(self) -> Any:
        """A `pandas.DataFrame` of :func:`~mnist_lab.views.epoch_sheet`.

        Raises:
            LabError: pandas is not installed.
        """
        return notebook.frame(views.epoch_sheet(self.trials))

    def __repr__(self) -> str:
        """One line instead of many records."""
        settings = self.info.settings
        return (
            f"<Run {printable(str(self.path))}: {settings.experiment}, {self.info.state}, "
            f"{n_ended(self.trials)} of {n_planned(settings, self.trials)} trials>"
        )

    def _repr_html_(self) -> str:
        """The view in a notebook: the trials, the best, and the figures."""
        shown = [notebook.trials_html(str(self.path), self.info, self.trials)]
        if any(trial.epochs for trial in self.trials):
            shown += [notebook.figure_html(*figure) for figure in self.figures().items()]
        return "".join(shown)


def load_run(path: str | Path) -> Run:
    """The run in a directory, by its journal now; this does not disturb a process that writes it.

    Args:
        path: a run directory, such as `results/lr-sweep`.

    Raises:
        SettingsError: there is none.
        RunDirError: it is damaged.
    """
    run_dir = RunDir(Path(path))
    journal = run_dir.follow()
    info, _ = run_dir.read_state(journal)
    trials = journal.trials()
    return Run(run_dir.path, info, trials, n_ended(trials))


def seconds_left(run: Run) -> float | None:
    """The seconds that a running run still takes, by its records; None if they do not show it.

    The process that trains it knows more: what will be drawn, and what each worker has begun.
    """
    n_running = sum(trial.state == "running" for trial in run.trials)
    if run.info.state != "running" or not n_running:
        return None
    planned = guessed_plan(run.info.settings, run.trials)
    return Forecast(
        planned,
        run.trials,
        promotions=promotions(run.info.settings, planned),
        n_images=images_per_epoch(run.info.settings, run.info.data),
        n_workers=n_running,
    ).seconds_left()


def halted(run: Run, why: str = "") -> str:
    """The message when a run stops early: what is kept, and how to continue.

    Args:
        run: in its current state.
        why: the reason; empty for the user's own Ctrl-C.
    """
    again = typed(run.info.settings.experiment, without={"--fresh", "--retry-failed"})
    return f"Stopped{why and f' ({why})'}: {standing(run)}. Continue: {again}"


def typed(experiment: str, *, without: Collection[str] = ()) -> str:
    """The command line of this process; a path that is not UTF-8 has its bytes escaped."""
    if "mnist_lab.cli" not in sys.modules:  # the words are those of a notebook's kernel
        return f"call mnist_lab.{function_name(experiment)} again, as before"
    words = shlex.join(["mnist-lab", *(word for word in sys.argv[1:] if word not in without)])
    return words.encode("utf-8", "backslashreplace").decode()


def standing(run: Run) -> str:
    """The progress of a run: `2 of 6 trials finished, 27 epochs saved`."""
    done, planned = n_ended(run.trials), n_planned(run.info.settings, run.trials)
    n_epochs = n_epochs_done(run.trials)
    return f"{done} of {counted(planned, 'trial')} finished, {epochs_text(n_epochs)} saved"


def watch(path: str | Path) -> Run:
    """Follow a run that another process writes until it ends, and return it.

    A notebook shows its table meanwhile. Interrupting stops only the watching, not the run.

    Args:
        path: the run directory.

    Raises:
        SettingsError: there is none.
        RunDirError: it is damaged.
    """
    run, screen = load_run(path), notebook.Cell()
    with suppress(KeyboardInterrupt):
        while run.info.state == "running":
            screen.show_html(notebook.trials_html(str(run.path), run.info, run.trials))
            time.sleep(LOOK_S)
            run = load_run(path)
    screen.clear()
    return run


def report(
    paths: Sequence[Path],
    out: Path | None = None,
    note: Callable[[str], None] | None = None,
) -> Path:
    """Write one self-contained HTML page about one run, or about several and how they compare.

    Args:
        paths: run directories, at least one. Their records are read, and for the images of a test's
            mistakes its data set, where it is at hand. The page links to their files.
        out: the file; None: in the run directory, or beside the first of several.
        note: is told why there are no images of the mistakes.

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
    if out is not None:
        out = out.resolve()  # what somebody names may be a link, and is written where it leads
    else:
        # Not `parent`: that of `.` would be itself.
        folder = paths[0] if len(paths) == 1 else Path(os.path.normpath(paths[0] / os.pardir))
        out = RunDir(folder).report
    links = [quote(os.fsencode(os.path.relpath(path, out.parent))) for path in paths]
    page = reports.page(
        [run.shown(label, link, note) for run, label, link in zip(runs, labels, links, strict=True)]
    )
    RunDir(out.parent).create()
    # A folder's name may be no text.
    write_bytes(out, page.encode("utf-8", "backslashreplace"))
    return out


def images_per_epoch(settings: StudySettings, data: DatasetInfo) -> int:
    """The number of images in an epoch."""
    return data.n_train + (data.n_valid if settings.fit_on != "train" else 0)
