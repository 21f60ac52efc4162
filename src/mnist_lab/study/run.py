"""A run as a value: its records, figures, data frames and report; and what is planned of it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab import notebook, views
from mnist_lab.analysis.outcomes import best_trial, n_ended, n_planned
from mnist_lab.config import VARIED, Bracket, TrainConfig, forward_multiplications
from mnist_lab.errors import printable
from mnist_lab.forecast import Forecast
from mnist_lab.records import Proposed
from mnist_lab.rundir import RunDir, RunInfo, write_bytes
from mnist_lab.study import results
from mnist_lab.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from matplotlib.figure import Figure

    from mnist_lab.config import StudySettings
    from mnist_lab.engine.proposals import Proposals
    from mnist_lab.records import DatasetInfo, Event, Trial

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

    def figures(self, note: Callable[[str], None] | None = None) -> dict[str, Figure]:
        """The figures by name, drawn from the records as they stand in this object.

        The misclassified images are looked up in the run's data set, where it is on this machine;
        `note` is told which figure cannot be drawn.
        """
        return results.figures(RunDir(self.path), self.info, self.trials, note)

    def draw(self, note: Callable[[str], None] | None = None) -> list[Path]:
        """Write the :meth:`figures` into the run directory, and name the files."""
        return results.draw(RunDir(self.path), self.info, self.trials, note)

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

    drawn = {name: plots.content(one, "svg") for name, one in run.figures(note).items()}
    if run.info.settings.experiment == "test" and results.MISTAKES not in drawn:
        kept = RunDir(run.path).read_figure(results.MISTAKES, "svg")
        drawn |= {} if kept is None else {results.MISTAKES: kept}
    return drawn


def proposals_of(settings: StudySettings, history: Iterable[Event] = ()) -> Proposals:
    """Who proposes the configurations of this study; `history` is what its journal knows."""
    from mnist_lab.engine import proposals  # HpBandSter, only to train

    seed = settings.seed
    if settings.space is None:
        varied = [dict(config) for config in _distinct(settings)]
        bracket = Bracket((settings.n_trials,), (settings.base.epochs,))
        return proposals.Grid(varied, repeats=settings.repeats, bracket=bracket, seed=seed)
    draw, brackets = _draw(settings), _brackets_of(settings)
    if settings.experiment != "bohb":
        return proposals.Sampled(draw, brackets=brackets, seed=seed)
    return _bohb(settings, history)


def _brackets_of(settings: StudySettings) -> list[Bracket]:
    """The brackets of a search; random search has one configuration in each."""
    return settings.brackets or [Bracket((1,), (settings.base.epochs,))] * (settings.iters or 0)


def plan(settings: StudySettings) -> list[TrainConfig]:
    """The configurations that will be proposed, in the order they are handed out.

    BOHB's depend on results; in their places stand random ones.
    """
    if settings.space is None:
        return [config for config in _distinct(settings) for _ in range(settings.repeats)]
    from mnist_lab.engine.proposals import derive_seed  # HpBandSter

    draw, planned = _draw(settings), []
    for number, bracket in enumerate(_brackets_of(settings)):
        for index in range(bracket.n_configs[0]):
            values = draw(derive_seed(settings.seed, number, 0, index))
            update = values | {"epochs": bracket.epochs[0]}
            planned.append(settings.base.model_copy(update=update))
    return planned


def guessed_plan(settings: StudySettings, trials: Sequence[Trial]) -> list[TrainConfig]:
    """As :func:`plan`, but in the places of all that a search draws stand those that it drew.

    It takes no time, and is enough to guess what the rest costs. There must be a trial.
    """
    if settings.space is None:
        return plan(settings)
    drawn = cycle(trial.configuration for trial in trials)
    return [
        next(drawn).model_copy(update={"epochs": bracket.epochs[0]})
        for bracket in _brackets_of(settings)
        for _ in range(bracket.n_configs[0])
    ]


def promotions(settings: StudySettings, planned: Iterable[TrainConfig]) -> list[TrainConfig]:
    """What will be promoted of the :func:`plan`, with the epochs that each adds.

    Which ones they are is not known yet; in their places stand others of the same bracket.
    """
    stand_ins, promoted = iter(planned), []
    for bracket in settings.brackets:
        first = [next(stand_ins) for _ in range(bracket.n_configs[0])]
        for n_configs, before, after in zip(
            bracket.n_configs[1:], bracket.epochs, bracket.epochs[1:], strict=False
        ):
            added = {"epochs": after - before}
            promoted += [config.model_copy(update=added) for config in first[:n_configs]]
    return promoted


def _distinct(settings: StudySettings) -> list[TrainConfig]:
    """The configurations of a grid; long ones first, so that the last to end keeps nobody waiting.

    The order among equals is the order given.
    """
    if settings.values is None:
        return [settings.base]
    varied = VARIED[settings.experiment]
    configs = [settings.base.model_copy(update={varied: value}) for value in settings.values]
    return sorted(configs, key=forward_multiplications, reverse=True)


def _draw(settings: StudySettings) -> Callable[[int], dict[str, Any]]:
    from mnist_lab import space  # ConfigSpace takes a second to import

    chosen = space.from_dict(settings.space or {})
    return lambda seed: space.draw(chosen, seed)


def images_per_epoch(settings: StudySettings, data: DatasetInfo) -> int:
    """How many images an epoch trains on."""
    return data.n_train + (data.n_valid if settings.fit_on != "train" else 0)


def _bohb(settings: StudySettings, history: Iterable[Event]) -> Proposals:
    from mnist_lab import space  # ConfigSpace takes a second to import
    from mnist_lab.engine import density, proposals

    chosen = space.from_dict(settings.space or {})
    names = set(chosen)
    model = density.DensityModel(
        density.Cube(
            space.kinds(chosen),
            partial(space.to_vector, chosen),
            partial(space.from_vector, chosen),
        )
    )
    recorded = {
        event.id: event.configuration.model_dump(include=names)
        for event in history
        if isinstance(event, Proposed)
    }
    return proposals.Bohb(
        _draw(settings),
        brackets=_brackets_of(settings),
        seed=settings.seed,
        model=model,
        recorded=recorded,
    )
