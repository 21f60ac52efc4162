"""A run as a value: its records, its figures, its data frames, and how a notebook shows it."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab import notebook, tables
from mnist_lab.analysis.outcomes import best_trial, n_ended, n_planned
from mnist_lab.errors import printable
from mnist_lab.forecast import Forecast
from mnist_lab.rundir import RunDir, RunInfo
from mnist_lab.study import results
from mnist_lab.study.options import images_per_epoch
from mnist_lab.study.proposing import guessed_plan, promotions
from mnist_lab.words import counted

if TYPE_CHECKING:
    from collections.abc import Collection

    from matplotlib.figure import Figure

    from mnist_lab.records import Trial

# How often whoever watches a run reads its journal.
LOOK_S = 1.0


class Run(NamedTuple):
    """A run as it stood on the disk; of one that a call returns, `stopped` means by the time limit.

    `n_before` counts the trials that had ended when the call began; `files` is what the call wrote.
    A notebook shows it as a table and the figures.
    """

    path: Path
    info: RunInfo
    trials: list[Trial]
    n_before: int = 0
    files: tuple[Path, ...] = ()

    @property
    def best(self) -> Trial | None:
        """The trial with the lowest validation error at the largest budget; None before any."""
        return best_trial(self.trials)

    def figures(self) -> dict[str, Figure]:
        """The figures by name, drawn from the records as they stand in this object."""
        return results.figures(self)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` of one row for each trial, as :class:`~mnist_lab.tables.TrialRow`.

        Raises:
            LabError: pandas is not installed.
        """
        return notebook.frame(tables.TrialRow, tables.trial_rows(self.trials))

    def epochs_to_pandas(self) -> Any:
        """A `pandas.DataFrame` of one row for each epoch, as :class:`~mnist_lab.tables.EpochRow`.

        Raises:
            LabError: pandas is not installed.
        """
        return notebook.frame(tables.EpochRow, tables.epoch_rows(self.trials))

    def __repr__(self) -> str:
        """One line, where the records are many."""
        settings = self.info.settings
        return (
            f"<Run {printable(str(self.path))}: {settings.experiment}, {self.info.state}, "
            f"{n_ended(self.trials)} of {n_planned(settings, self.trials)} trials>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the trials, the best of them, and the figures."""
        shown = [notebook.trials_html(str(self.path), self.info, self.trials)]
        if any(trial.epochs for trial in self.trials):
            shown += [notebook.figure_html(*figure) for figure in self.figures().items()]
        return "".join(shown)


def load_run(path: str | Path) -> Run:
    """The run in a directory, as its journal tells it now; whoever writes it is not disturbed.

    Args:
        path: a run directory, such as `results/lr-sweep`.

    Raises:
        SettingsError: there is none.
        RunDirError: it is damaged.
    """
    run_dir = RunDir(Path(path))
    info, _ = run_dir.read_state()
    trials = run_dir.read_trials()
    return Run(run_dir.path, info, trials, n_ended(trials))


def seconds_left(run: Run) -> float | None:
    """How long a run that is going on still takes, as far as its records show; None if they do not.

    Whoever trains it knows more: what will be drawn, and what each worker has begun.
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
    """What a person is told when a run stops early: what is kept, and how to continue.

    Args:
        run: as it stands now.
        why: what stopped it; empty for the person's own Ctrl-C.
    """
    again = typed(run.info.settings.experiment, without={"--fresh", "--retry-failed"})
    return f"Stopped{why and f' ({why})'}: {standing(run)}. Continue: {again}"


def typed(experiment: str, *, without: Collection[str] = ()) -> str:
    """The command line of this process; a path that is not UTF-8 has its bytes escaped."""
    if "mnist_lab.cli" not in sys.modules:  # the words are those of a notebook's kernel
        return f"call mnist_lab.{experiment.replace('-', '_')} again, as before"
    words = shlex.join(["mnist-lab", *(word for word in sys.argv[1:] if word not in without)])
    return words.encode("utf-8", "backslashreplace").decode()


def standing(run: Run) -> str:
    """How far a run has come: `2 of 6 trials finished, 27 epochs kept`."""
    done, planned = n_ended(run.trials), n_planned(run.info.settings, run.trials)
    n_epochs = sum(len(trial.epochs) for trial in run.trials)
    return f"{done} of {counted(planned, 'trial')} finished, {counted(n_epochs, 'epoch')} kept"


def watch(path: str | Path) -> Run:
    """Follow a run that another process writes until it ends, and return it.

    A notebook shows its table meanwhile. To interrupt ends the watching alone, not the run.

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
