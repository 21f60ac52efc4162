"""One session of a study: begin or continue a run directory, train what is missing, write it."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, cast

from mnist_lab import data as datasets
from mnist_lab import machine
from mnist_lab.config import StudySettings, check
from mnist_lab.errors import SettingsError, StudyError, nearest, no_gpu
from mnist_lab.progress import Silent, Watcher
from mnist_lab.records import Trial, fold, now
from mnist_lab.rundir import Journal, RunDir, RunInfo, RunState, check_agreement
from mnist_lab.study.proposing import plan, proposals_of
from mnist_lab.study.results import write_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.config import Device, Precision
    from mnist_lab.engine import Place
    from mnist_lab.records import Event
    from mnist_lab.rundir.info import DataRecord

# What worker processes train with; the engine's own tests name another.
TRAINER = "mnist_lab.training:open_trainer"


class Options(TypedDict, total=False):
    """How and where a study runs; what is left out has the default named here."""

    # The run directory: `results/<experiment>`.
    out: Path
    # A path, or `sample`: looked for as `mnist_lab.data.load` says.
    data: str | None
    # `auto`: a GPU that TensorFlow sees, else the CPU.
    device: Device
    # How many trainings at the same time: None, every core, or every GPU.
    workers: int | None
    # `float32`; `bfloat16` is faster where the processor has it.
    precision: Precision
    # Of the study, from which every trial's seed comes: 0.
    seed: int
    # Set an older run aside and start anew, instead of continuing it: False.
    fresh: bool
    # Check everything and train nothing: False.
    dry_run: bool
    # Who follows the study: nobody.
    watch: Watcher


class Run(NamedTuple):
    """A run as it stands on the disk.

    `found` counts the trials that had ended when the call began; `files` is what the call wrote.
    """

    path: Path
    info: RunInfo
    trials: list[Trial]
    found: int = 0
    files: tuple[Path, ...] = ()


def load_run(path: Path) -> Run:
    """The run in a directory, as its journal tells it.

    Raises:
        RunDirError: there is none, or it is damaged.
    """
    run_dir = RunDir(path)
    info, trials = run_dir.read_info(), run_dir.read_trials()
    return Run(path, info, trials, _n_ended(trials))


def run_study(experiment: str, values: dict[str, Any], options: Options) -> Run:
    """Begin, continue or just read the run that is asked for.

    Args:
        experiment: its name on the command line.
        values: the rest of :class:`~mnist_lab.config.StudySettings` that is the experiment's own.
        options: the options.
    """
    settings, n_gpus = _settings(experiment, values, options)
    places = _places(options.get("workers"), n_gpus)
    data = datasets.load(options.get("data"), quiet="watch" not in options)
    _check_batch_sizes(settings, data)
    run_dir = RunDir(Path(options.get("out") or Path("results") / experiment))
    run_dir.check_is_ours()
    fresh = options.get("fresh", False)
    if options.get("dry_run"):
        continues = run_dir.exists() and not fresh
        if continues:
            check_agreement(run_dir.read_info(), settings, data.info.digests)
        trials = run_dir.read_trials() if continues else []
        return Run(run_dir.path, _new_info(settings, data.info), trials, _n_ended(trials))
    run_dir.create()
    if run_dir.exists() and fresh:
        with run_dir.locked():
            run_dir.set_aside()
        run_dir.create()
    with run_dir.locked():
        session = _Session(run_dir, settings, data.info)
        if session.is_over():
            run = load_run(run_dir.path)
        else:
            run = session.run(places, options.get("watch") or Silent())
        return run._replace(files=tuple(write_results(run)))


class _Session:
    """The work on a run directory that this process holds.

    Raises:
        SettingsError: the run that is there has other settings or data.
    """

    def __init__(
        self, run_dir: RunDir, settings: StudySettings, data: datasets.DatasetInfo
    ) -> None:
        self._run_dir = run_dir
        self._settings = settings
        self._data = data
        self._began = time.monotonic()
        if run_dir.exists():
            self._info = run_dir.read_info()
            check_agreement(self._info, settings, data.digests)
        else:
            self._info = _new_info(settings, data)

    def is_over(self) -> bool:
        """Whether everything that is asked for was done in an earlier session."""
        return self._info.state == "complete" and self._info.settings == self._settings

    def run(self, places: Sequence[Place], watch: Watcher) -> Run:
        """Train what is missing; whatever happens, the files tell what is done."""
        self._write_info("running")
        found = self._run_dir.read_trials()
        state: RunState = "stopped"
        try:
            self._train(places, watch)
            state = "complete"
            self._run_dir.drop_checkpoints()
        finally:
            trials = self._run_dir.read_trials()
            if state == "complete" and not any(trial.state == "complete" for trial in trials):
                state = "failed"
            self._run_dir.write_curves(trials)
            if self._settings.space is not None:
                self._run_dir.write_hpbandster(self._settings.space, trials)
            info = self._write_info(state)
        if state == "failed":
            raise StudyError(
                "at least one trial succeeds",
                received=f"{len(trials)} failed, the last because {trials[-1].reason}",
                next_step="mend the cause, then give the same command with --fresh",
            )
        return Run(self._run_dir.path, info, trials, _n_ended(found))

    def _train(self, places: Sequence[Place], watch: Watcher) -> None:
        from mnist_lab.engine import run_trials  # HpBandSter, only to train

        history = self._run_dir.read_events()
        trials = fold(history)
        proposals = proposals_of(self._settings)
        n_left = proposals.n_trainings - _n_ended(trials)
        journal = Journal(self._run_dir.journal)

        def emit(event: Event) -> None:
            journal.append(event)
            watch.update(event)

        watch.begin(self._title(trials), proposals.n_trainings, trials)
        try:
            run_trials(
                proposals=proposals,
                base=self._settings.base,
                history=history,
                emit=emit,
                store=self._run_dir,
                trainer=TRAINER,
                arguments=self._trainer_arguments(),
                places=places[: max(n_left, 1)],
                tick=watch.tick,
            )
        finally:
            watch.end()
            journal.close()

    def _trainer_arguments(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "source": self._data.source,
            "digests": self._data.digests,
            "precision": settings.precision,
            "device": settings.device,
            "fit_on": settings.fit_on,
            "final": settings.experiment == "test",
            "keep_model": settings.experiment in {"test", "train"},
        }

    def _title(self, trials: list[Trial]) -> str:
        found = f", continuing after {_n_ended(trials)} finished trials" if trials else ""
        notice = f" ({self._data.notice})" if self._data.notice else ""
        return f"{self._settings.experiment} on {self._data.name}{notice}{found}"

    def _write_info(self, state: RunState) -> RunInfo:
        spent_s = self._info.spent_s + time.monotonic() - self._began
        info = self._info.model_copy(
            update={
                "settings": self._settings,
                "state": state,
                "ended": None if state == "running" else now(),
                "spent_s": round(spent_s, 3),
            }
        )
        self._run_dir.write_info(info)
        return info


def _new_info(settings: StudySettings, data: datasets.DatasetInfo) -> RunInfo:
    return RunInfo(
        settings=settings,
        data=cast("DataRecord", data.model_dump()),
        versions=machine.versions(),
        machine=machine.describe(),
        command=_command(),
        state="running",
        started=now(),
    )


def _command() -> str:
    """The command line; a path that is not UTF-8 is shown with its bytes escaped."""
    words = shlex.join(["mnist-lab", *sys.argv[1:]])
    return words.encode("utf-8", "backslashreplace").decode()


def _settings(
    experiment: str, values: dict[str, Any], options: Options
) -> tuple[StudySettings, int]:
    """The checked settings, and how many GPUs are used."""
    for key in options:
        if key not in Options.__annotations__:
            raise SettingsError(
                "a study has only options that mnist-lab knows",
                received=repr(key),
                next_step=nearest(key, Options.__annotations__),
            )
    device = options.get("device", "auto")
    n_gpus = 0 if device == "cpu" else machine.usable_gpus()
    if device == "gpu" and n_gpus == 0:
        raise no_gpu()
    chosen = {key: options[key] for key in ("seed", "precision") if key in options}
    common = {"experiment": experiment, "device": "gpu" if n_gpus else "cpu"}
    return check(StudySettings, values | chosen | common, source=experiment), n_gpus


def _places(workers: int | None, n_gpus: int) -> list[Place]:
    """One worker per GPU; else one per core, each with one thread, as the network is small."""
    from mnist_lab.engine import Place  # HpBandSter, only to train

    if workers is not None and workers < 1:
        raise SettingsError(
            "--workers is auto or at least 1", received=workers, next_step="leave it out"
        )
    if n_gpus:
        return [Place(gpu=number % n_gpus) for number in range(workers or n_gpus)]
    return [Place()] * (workers or len(machine.usable_cores()))


def _check_batch_sizes(settings: StudySettings, data: datasets.Dataset) -> None:
    n_train = data.info.n_train + (data.info.n_valid if settings.fit_on != "train" else 0)
    largest = max(config.batch_size for config in plan(settings))
    if largest > n_train:
        raise SettingsError(
            f"the batch size is at most the number of training images, {n_train:,}",
            received=largest,
            next_step="give a smaller batch size",
        )


def _n_ended(trials: list[Trial]) -> int:
    return sum(trial.ended is not None for trial in trials)
