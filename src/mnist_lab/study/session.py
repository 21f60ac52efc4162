"""One session of a study: begin or continue a run directory, train what is missing, write it."""

from __future__ import annotations

import shlex
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from rich.console import Console

from mnist_lab import data as datasets
from mnist_lab import machine
from mnist_lab.config import StudySettings, check, describe_brackets
from mnist_lab.curves import n_ended
from mnist_lab.errors import SettingsError, StudyError, TimeLimit, nearest, no_gpu
from mnist_lab.forecast import Deadline, Forecast, deadline_of
from mnist_lab.progress import LiveTable, Silent, Watcher
from mnist_lab.records import EpochDone, fold, now
from mnist_lab.rundir import Journal, RunDir, RunInfo, RunState, check_agreement
from mnist_lab.study.interrupts import interruptible
from mnist_lab.study.proposing import plan, promotions, proposals_of, proposed_values
from mnist_lab.study.results import write_results
from mnist_lab.study.run import Run, load_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.config import Device, Precision
    from mnist_lab.engine import Place
    from mnist_lab.records import DatasetInfo, Event, Trial
    from mnist_lab.rundir.lock import Held

# What worker processes train with; the engine's own tests name another.
TRAINER = "mnist_lab.training:open_trainer"
# What the figures are drawn with at the end: matplotlib takes half a second to import.
DRAWING = "mnist_lab.plots"
# What `--nice` adds, as the command `nice` does.
NICENESS = 10


class Options(TypedDict, total=False):
    """How and where a study runs; what is left out has the default named here.

    Attributes:
        out: the run directory: `results/<experiment>`.
        data: a path, or `sample`: looked for as :func:`mnist_lab.data.load` says.
        device: `cpu`, `gpu` or `auto`, the default: a GPU that TensorFlow sees, else the CPU.
        workers: how many trainings at the same time on this machine. None: every GPU, or every
            core that is free; with 0 it only coordinates those that join.
        host: the address that workers of other machines reach this one at. None: loopback, for
            this one alone.
        threads_per_worker: threads of each training: 1. Other numbers round differently, so it is
            part of the settings.
        nice: let other people's work go first: False.
        time_limit: stop after a duration such as `2h`: never.
        until: stop at a time of day such as `18:00`: never.
        precision: `float32`, `bfloat16` or `auto`: that of the run that is continued, else
            bfloat16 on a processor that has it, else float32. `float32` by default.
        seed: of the study, from which every trial's seed comes: 0.
        fresh: set an older run aside and start anew, instead of continuing it: False.
        dry_run: check everything and train nothing: False.
        watch: who follows the study: a live table in a notebook, nobody elsewhere.
    """

    out: str | Path
    data: str | None
    device: Device
    workers: int | None
    host: str | None
    threads_per_worker: int
    nice: bool
    time_limit: str | None
    until: str | None
    precision: Precision | Literal["auto"]
    seed: int
    fresh: bool
    dry_run: bool
    watch: Watcher


def run_study(experiment: str, values: dict[str, Any], options: Options) -> Run:
    """Begin, continue or just read the run that is asked for.

    Args:
        experiment: its name on the command line.
        values: the rest of :class:`~mnist_lab.config.StudySettings` that is the experiment's own.
        options: the options.

    Raises:
        Interrupted: Ctrl-C, or a notebook's stop button; what is finished is kept.
    """
    with interruptible():
        return _run_study(experiment, values, options)


def _run_study(experiment: str, values: dict[str, Any], options: Options) -> Run:
    deadline = deadline_of(options.get("time_limit"), options.get("until"), now=time.time())
    run_dir = RunDir(Path(options.get("out") or Path("results") / experiment))
    run_dir.check_is_ours()
    fresh = options.get("fresh", False)
    continued = run_dir.read_info() if run_dir.exists() and not fresh else None
    settings, n_gpus = _settings(experiment, values, options, continued)
    watch = options.get("watch") or _watcher_here()
    dry_run = options.get("dry_run", False)
    with ThreadPoolExecutor(1) as beside:
        # To look for free cores takes as long as to load the data.
        looked = None if dry_run else beside.submit(_places, options, n_gpus)
        data = datasets.load(options.get("data"), quiet="watch" not in options)
    info = data.info
    _check_batch_sizes(settings, info)
    if looked is None:
        if continued is not None:
            check_agreement(continued, settings, info.digests)
        trials = [] if continued is None else run_dir.read_trials()
        return Run(run_dir.path, _new_info(settings, info), trials, n_ended(trials))
    run_dir.create()
    if run_dir.exists() and fresh:
        with run_dir.locked(watch.note):
            run_dir.set_aside()
        run_dir.create()
    with run_dir.locked(watch.note) as held:
        session = _Session(run_dir, settings, info, held)
        if session.is_over():
            run = load_run(run_dir.path)
        else:
            places, remark = looked.result()
            if remark:
                watch.note(remark)
            host = options.get("host") or machine.LOOPBACK
            with datasets.share(data.training_on(settings.fit_on), data.test) as shared:
                del data  # the workers have it
                run = session.run(places, watch, shared=shared, host=host, deadline=deadline)
        held.check()
        return run._replace(files=tuple(write_results(run, watch.note)))


def _watcher_here() -> Watcher:
    """A live table in a notebook; a script that calls a study has its own output."""
    console = Console()
    return LiveTable(console) if console.is_jupyter else Silent()


class _Session:
    """The work on a run directory that this process holds.

    Raises:
        SettingsError: the run that is there has other settings or data.
    """

    def __init__(
        self, run_dir: RunDir, settings: StudySettings, data: DatasetInfo, held: Held
    ) -> None:
        self._run_dir = run_dir
        self._held = held
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

    def run(
        self,
        places: Sequence[Place],
        watch: Watcher,
        *,
        shared: int,
        host: str,
        deadline: Deadline | None,
    ) -> Run:
        """Train what is missing; whatever happens, the files tell what is done."""
        self._write_info("running")
        found = self._run_dir.read_trials()
        state: RunState = "stopped"
        try:
            self._train(places, watch, shared, host, deadline)
            state = "complete"
            self._run_dir.drop_checkpoints()
        except TimeLimit:
            pass  # whoever asked for it reads the state
        finally:
            self._held.check()  # what another process writes by now is left alone
            trials = self._run_dir.read_trials()
            if state == "complete" and not any(trial.state == "complete" for trial in trials):
                state = "failed"
            self._run_dir.write_curves(trials)
            if (space := self._settings.space) is not None:
                self._run_dir.write_hpbandster(space, proposed_values(space, trials), trials)
            info = self._write_info(state)
        if state == "failed":
            raise StudyError(
                "at least one trial succeeds",
                received=f"{len(trials)} failed, the last because {trials[-1].reason}",
                next_step="mend the cause, then give the same command with --fresh",
            )
        return Run(self._run_dir.path, info, trials, n_ended(found))

    def _train(
        self,
        places: Sequence[Place],
        watch: Watcher,
        shared: int,
        host: str,
        deadline: Deadline | None,
    ) -> None:
        from mnist_lab.engine import run_trials  # HpBandSter, only to train

        history = self._run_dir.read_events()
        trials = fold(history)
        most = max(self._settings.n_trials - n_ended(trials), 1)
        used = places if self._settings.brackets else places[:most]
        planned = plan(self._settings)
        forecast = Forecast(
            planned,
            trials,
            promotions=promotions(self._settings, planned),
            n_images=_n_images(self._settings, self._data),
            n_workers=max(len(used), 1),
            deadline=deadline,
        )
        journal = Journal(self._run_dir.journal)
        # Once the first result is there, what draws at the end is loaded while workers train.
        loading = threading.Thread(target=import_module, args=(DRAWING,), daemon=True)

        def emit(event: Event) -> None:
            self._held.check()
            journal.append(event)
            forecast.update(event)
            watch.update(event)
            if isinstance(event, EpochDone) and loading.ident is None:
                loading.start()

        def tick() -> None:
            self._held.check()
            if deadline is not None and time.time() >= deadline.at:
                raise TimeLimit(f"the time limit was {deadline.words}")
            watch.tick()

        def announce(place: str, token: str) -> None:
            path = self._run_dir.write_token(token)
            if host != machine.LOOPBACK or not used:
                watch.note(
                    f"workers join with mnist-lab worker {self._run_dir.path}, or --join {place} "
                    f"and a copy of {path} as --token"
                )

        if journal.repaired:
            watch.note(journal.repaired)
        if self._settings.brackets:
            watch.note(describe_brackets(self._settings.brackets))
        watch.begin(self._title(trials), forecast, trials)
        try:
            run_trials(
                proposals=proposals_of(self._settings, history),
                base=self._settings.base,
                history=history,
                emit=emit,
                store=self._run_dir,
                trainer=TRAINER,
                arguments=self._trainer_arguments() | {"shared": shared},
                files=(shared,),
                places=used,
                n_threads=self._settings.threads_per_worker,
                host=host,
                announce=announce,
                patience_s=forecast.patience_s,
                tick=tick,
                note=watch.note,
            )
        finally:
            watch.end()
            journal.close()
            self._run_dir.drop_token()

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
        found = f", continuing after {n_ended(trials)} finished trials" if trials else ""
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


def _new_info(settings: StudySettings, data: DatasetInfo) -> RunInfo:
    return RunInfo(
        settings=settings,
        data=data,
        versions=machine.versions(),
        machine=machine.describe(),
        command=_command(settings.experiment),
        state="running",
        started=now(),
    )


def _command(experiment: str) -> str:
    """The command line; a path that is not UTF-8 is shown with its bytes escaped."""
    if "mnist_lab.cli" not in sys.modules:  # the words are those of a notebook's kernel
        return f"call mnist_lab.{experiment.replace('-', '_')} again, as before"
    words = shlex.join(["mnist-lab", *sys.argv[1:]])
    return words.encode("utf-8", "backslashreplace").decode()


def _settings(
    experiment: str, values: dict[str, Any], options: Options, continued: RunInfo | None
) -> tuple[StudySettings, int]:
    """The checked settings, and how many GPUs are used; `continued` is the run that goes on."""
    for key in options:
        if key not in Options.__annotations__:
            raise SettingsError(
                "a study has only options that mnist-lab knows",
                received=repr(key),
                next_step=nearest(key, Options.__annotations__),
            )
    workers = options.get("workers")
    if workers is not None and workers < 0:
        raise SettingsError(
            "--workers is auto or at least 0", received=workers, next_step="leave it out"
        )
    host = options.get("host")
    if host is not None and not machine.is_own_address(host):
        raise SettingsError(
            "--host is an address of this machine",
            received=host,
            next_step="give one that the other machines reach, or leave it out",
        )
    device = options.get("device", "auto")
    n_gpus = 0 if device == "cpu" else machine.usable_gpus()
    if device == "gpu" and n_gpus == 0:
        raise no_gpu()
    keys = {"seed", "precision", "threads_per_worker"}
    chosen = {key: value for key, value in options.items() if key in keys}
    if chosen.get("precision") == "auto":
        has_it = not n_gpus and machine.has_bfloat16()
        suitable: Precision = "bfloat16" if has_it else "float32"
        chosen["precision"] = suitable if continued is None else continued.settings.precision
    common = {"experiment": experiment, "device": "gpu" if n_gpus else "cpu"}
    return check(StudySettings, values | chosen | common, source=experiment), n_gpus


def _places(options: Options, n_gpus: int) -> tuple[list[Place], str]:
    n_threads = options.get("threads_per_worker", 1)
    nice = options.get("nice", False)
    return places_for(options.get("workers"), n_gpus, n_threads, nice=nice)


def places_for(
    workers: int | None, n_gpus: int, n_threads: int, *, nice: bool
) -> tuple[list[Place], str]:
    """One worker per GPU; else one per free core, each with one thread, as the network is small.

    Args:
        workers: how many are asked for; None: as many as there are GPUs or free cores.
        n_gpus: that are used, 0 for the CPU.
        n_threads: of each worker.
        nice: let other work go first.

    Returns:
        The places, and a line that says why `auto` made them fewer than this machine's cores,
        empty where it did not.
    """
    from mnist_lab.engine import Place  # HpBandSter, only to train

    place = Place(niceness=NICENESS if nice else 0)
    if n_gpus:
        n_workers = n_gpus if workers is None else workers
        return [place._replace(gpu=number % n_gpus) for number in range(n_workers)], ""
    if workers is not None:
        return [place] * workers, ""
    workers, why_fewer = machine.suggested_workers(n_threads)
    return [place] * workers, why_fewer and f"--workers auto starts {workers}: {why_fewer}"


def _check_batch_sizes(settings: StudySettings, data: DatasetInfo) -> None:
    n_train = _n_images(settings, data)
    largest = max(config.batch_size for config in plan(settings))
    if largest > n_train:
        raise SettingsError(
            f"the batch size is at most the number of training images, {n_train:,}",
            received=largest,
            next_step="give a smaller batch size",
        )


def _n_images(settings: StudySettings, data: DatasetInfo) -> int:
    """How many images an epoch trains on."""
    return data.n_train + (data.n_valid if settings.fit_on != "train" else 0)
