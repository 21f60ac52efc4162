"""One session of a study: begin or continue a run directory, train what is missing, write it."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from rich.console import Console

from mnist_lab import data as datasets
from mnist_lab import machine
from mnist_lab.analysis.outcomes import n_ended, n_epochs_done
from mnist_lab.errors import (
    Interrupted,
    LabError,
    SettingsError,
    StudyError,
    Terminated,
    TimeLimit,
    check_stop,
)
from mnist_lab.forecast import Deadline, Forecast, deadline_of, in_prospect
from mnist_lab.progress import LiveTable, Silent, Watcher
from mnist_lab.records import EpochDone, Failed, Finished, fold, now, timestamp
from mnist_lab.rundir import Journal, RunDir, RunInfo, RunState, check_agreement
from mnist_lab.rundir.choosing import Folder
from mnist_lab.search.planning import plan, promotions, proposals_of
from mnist_lab.study import results
from mnist_lab.study.run import Run, halted, images_per_epoch, load_run, typed
from mnist_lab.study.workers import place_for
from mnist_lab.training import open_trainer
from mnist_lab.words import counted, epochs_text, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnist_lab.config import Device, Precision, StudySettings
    from mnist_lab.execute.cluster import Cluster
    from mnist_lab.execute.places import Place
    from mnist_lab.execute.worker import Trainer
    from mnist_lab.records import DatasetInfo, Event, Trial
    from mnist_lab.rundir.choosing import Chosen
    from mnist_lab.rundir.lock import Held

# What the figures are drawn with at the end: matplotlib takes half a second to import.
DRAWING = "mnist_lab.plots"


class Options(TypedDict, total=False):
    """How and where a study runs; each default is named here.

    Attributes:
        out: the run directory. Default: `results/<experiment>` or, if another run is there, with
            a number, such as `results/lr-sweep-2`.
        data: a path, or `sample`. Default: found as :func:`mnist_lab.data.load` describes.
        device: `cpu`, `gpu` or `auto`: a GPU that TensorFlow sees, else the CPU. Default: `auto`.
        cluster: where to train: `local`, this machine; `ssh:HOST,HOST`; `slurm`, `pbs`, `lsf`,
            `sge` or `htcondor`; the address of a Dask scheduler; or a dictionary with one of
            these as `place` and further options of dask-jobqueue or asyncssh. Default: `local`.
        workers: trainings at the same time on this machine; 0 only coordinates workers that join.
            Default: one per GPU, or per free core.
        host: the address at which other machines reach this one. Default: loopback, for this
            machine only.
        threads_per_worker: threads of each training. Other numbers round differently, so this is
            part of the settings. Default: 1.
        nice: let other people's work go first. Default: False.
        time_limit: stop after a duration such as `2h`. Default: never.
        until: stop at a time of day such as `18:00`. Default: never.
        precision: `float32`, `bfloat16` or `auto`: that of the run to continue, else bfloat16 on a
            processor that has it, else float32. Default: `float32`.
        seed: of the study; every trial's seed comes from it. Default: 0.
        fresh: set an older run aside and start anew, instead of continuing it. Default: False.
        retry_failed: train the failed trials of the run again. Default: False.
        dry_run: check everything and train nothing. Default: False.
        watch: the follower of the study. Default: a live table in a notebook, none elsewhere.
    """

    out: str | Path
    data: str | None
    device: Device
    cluster: str | Mapping[str, Any] | None
    workers: int | None
    host: str | None
    threads_per_worker: int
    nice: bool
    time_limit: str | None
    until: str | None
    precision: Precision | Literal["auto"]
    seed: int
    fresh: bool
    retry_failed: bool
    dry_run: bool
    watch: Watcher


def run_study(settings: StudySettings, n_gpus: int, options: Options, *, origin: str = "") -> Run:
    """Begin, continue or just read a run.

    Args:
        settings: of the study.
        n_gpus: the number of GPUs to train on; 0 means the CPU.
        options: the options, checked.
        origin: becomes part of the folder's name if another run has the usual one.

    Returns:
        The run as it ended. The state `stopped` means that the time limit ended it. After a dry
        run the records are those of earlier sessions.

    Raises:
        SettingsError: the existing run has other settings.
        DataError: the data set cannot be loaded, or the existing run has another one.
        RunDirError: the directory cannot be read or written, or another process writes it.
        StudyError: every trial failed, or workers cannot start.
    """
    deadline = deadline_of(options.get("time_limit"), options.get("until"))
    watch = options.get("watch") or _watcher_here()
    dry_run = options.get("dry_run", False)
    with ThreadPoolExecutor(1) as beside:
        # To look for free cores takes as long as to load the data.
        looked = None if dry_run else beside.submit(place_for, options, settings, n_gpus)
        data = datasets.load(options.get("data"), quiet=isinstance(watch, Silent))
    if looked is not None and isinstance(unusable := looked.exception(), SettingsError):
        raise unusable  # before anything is written
    info = data.info
    _check_batch_sizes(settings, info)
    name, out = settings.experiment, options.get("out")
    folder = Folder(
        settings,
        info.digests,
        out=None if out is None else Path(out),
        names=[name, f"{name}-{origin}"] if origin else [name],
        any_precision=options.get("precision") == "auto",
        fresh=options.get("fresh", False),
    )
    if looked is None:
        chosen = folder.choose()
        if options.get("cluster") is not None:
            place, _ = place_for(options, settings, n_gpus)
            if script := place.plan(chosen.run_dir):
                watch.note(script)
        return _what_would_be(chosen, info, watch)
    with folder.hold(watch.note) as (chosen, held), _telling_what_is_kept(chosen.run_dir):
        run_dir, settings = chosen.run_dir, chosen.settings
        retry = options.get("retry_failed", False)
        session = _Session(
            run_dir, settings, info, held, watch=watch, deadline=deadline, retry_failed=retry
        )
        if session.is_over():
            run = load_run(run_dir.path)
            files = results.write_records(run_dir, settings, run.trials)
            run = run._replace(files=tuple(files))
        else:
            place, remarks = looked.result()
            for one in (*info.warnings, *remarks):
                watch.note(one)
            with datasets.share(data.training_on(settings.fit_on), data.test) as shared:
                del data  # the workers have it
                run = session.run(place, shared)
        held.check()
        return run._replace(
            files=(*run.files, *results.write_results(run_dir, run.info, run.trials, watch.note))
        )


@contextmanager
def _telling_what_is_kept(run_dir: RunDir) -> Iterator[None]:
    """Tell the person who stops the process what is kept and how to continue."""
    try:
        yield
    except (KeyboardInterrupt, Terminated) as stop:
        try:
            run = load_run(run_dir.path)
        except LabError:
            raise stop from None  # it had not begun
        if isinstance(stop, Terminated):
            raise Terminated(halted(run, stop.problem)) from None
        raise Interrupted(halted(run)) from None


def _what_would_be(chosen: Chosen, data: DatasetInfo, watch: Watcher) -> Run:
    """The run before a study that will not be trained."""
    if chosen.why:
        watch.note(chosen.why)
    trials = [] if chosen.info is None else chosen.run_dir.read_trials()
    info = _new_info(chosen.settings, data)
    if chosen.info is not None and chosen.info.settings == chosen.settings:
        info = info.model_copy(update={"state": chosen.info.state})
    return Run(chosen.run_dir.path, info, trials, n_ended(trials))


def _watcher_here() -> Watcher:
    """A live table in a notebook; a script that calls a study has its own output."""
    console = Console()
    return LiveTable(console) if console.is_jupyter else Silent()


class _Session:
    """The work on a run directory that this process holds.

    Raises:
        SettingsError: the existing run has other settings or data.
    """

    def __init__(
        self,
        run_dir: RunDir,
        settings: StudySettings,
        data: DatasetInfo,
        held: Held,
        *,
        watch: Watcher,
        deadline: Deadline | None,
        retry_failed: bool,
    ) -> None:
        self._run_dir = run_dir
        self._held = held
        self._settings = settings
        self._data = data
        self._watch = watch
        self._deadline = deadline
        self._retry_failed = retry_failed
        self._began = time.monotonic()
        if run_dir.exists():
            info = run_dir.read_info()
            check_agreement(info, settings, data.digests)
            spent_s = info.spent_s + _seconds_of_killed(info, run_dir)
            begun = {"settings": settings, "continued": now(), "spent_s": spent_s}
            self._info = info.model_copy(update=begun)
        else:
            self._info = _new_info(settings, data)

    def is_over(self) -> bool:
        """Whether earlier sessions have done everything.

        The journal decides: a complete run whose journal lost events later continues.
        """
        journal, info = self._run_dir.follow(), self._info
        if self._run_dir.exists():
            info, _ = self._run_dir.read_state(journal)
        if info.state != "complete" or info.settings != self._settings:
            return False
        trials = journal.trials()
        if self._retry_failed and any(trial.state == "failed" for trial in trials):
            return False
        # Runs of format version 1 do not say how many events they had.
        return info.n_events is not None or n_ended(trials) >= self._settings.n_trials

    def run(self, place: Place, shared: int) -> Run:
        """Train what is missing; whatever happens, the files record what is done."""
        self._write_info("running")
        found = self._run_dir.read_trials()
        state: RunState = "stopped"
        try:
            with closing(Journal(self._run_dir.journal, self._info.identity)) as journal:
                self._train(journal, place, shared)
            state = "complete"
            self._run_dir.drop_checkpoints()
        except TimeLimit:
            pass  # whoever asked for it reads the state
        finally:
            self._held.check()  # what another process writes by now is left alone
            trials = self._run_dir.read_trials()
            if state == "complete" and not any(trial.state == "complete" for trial in trials):
                state = "failed"
            files = results.write_records(self._run_dir, self._settings, trials)
            info = self._write_info(state)
        if state == "failed":
            many = f"all {len(trials)} trials failed, the last because"
            raise StudyError(
                f"{many if len(trials) > 1 else 'the only trial failed:'} {trials[-1].reason}",
                next_step="fix the cause, then run the same command with --retry-failed",
            )
        files = [self._run_dir.run, self._run_dir.journal, *files]
        # It is the first trial's, which may have ended in an earlier session.
        if self._run_dir.model.exists() and not any(trial.ended for trial in found[:1]):
            files.append(self._run_dir.model)
        return Run(self._run_dir.path, info, trials, n_ended(found), tuple(files))

    def _train(self, journal: Journal, place: Place, shared: int) -> None:
        from mnist_lab.execute.loop import run_trials  # Dask and HpBandSter, only to train

        watch, deadline = self._watch, self._deadline
        if journal.repaired:
            watch.note(journal.repaired)
        if self._retry_failed:
            journal.retry_failed()
        trials = fold(journal.events)
        left = max(self._settings.n_trials - n_ended(trials), 1)
        most = place.n_workers if self._settings.brackets else min(place.n_workers, left)
        planned = plan(self._settings, trials)
        forecast = Forecast(
            planned,
            trials,
            promotions=promotions(self._settings, planned),
            n_images=images_per_epoch(self._settings, self._data),
            n_workers=max(most, 1),
            deadline=deadline,
            brackets=self._settings.brackets,
        )
        # Once the first result is there, what draws at the end is loaded while workers train.
        loading = threading.Thread(target=import_module, args=(DRAWING,), daemon=True)

        def emit(event: Event) -> None:
            self._held.check()
            journal.append(event)
            forecast.update(event)
            # A race may drop a configuration when a training ends.
            if self._settings.configurations and isinstance(event, Finished | Failed):
                forecast.replan(plan(self._settings, list(forecast.trials)))
            watch.update(event)
            if isinstance(event, EpochDone) and loading.ident is None:
                loading.start()

        def tick() -> None:
            check_stop()
            self._held.check()
            if deadline is not None and deadline.seconds_left() <= 0:
                raise TimeLimit(f"the time limit was {deadline.words()}")
            watch.tick()

        def open_cluster() -> Cluster:
            cluster = place.open(
                self._trainer(), most=most, shared=shared, run_dir=self._run_dir, note=watch.note
            )
            if place.is_open:
                address = cluster.token.scheduler.partition("//")[2]
                watch.note(
                    f"workers join with mnist-lab worker {quoted(self._run_dir.path)}, or --join "
                    f"{address} and a copy of {self._run_dir.token} as --token"
                )
            return cluster

        title = f"{self._title(trials)}\n{in_prospect(self._settings, forecast)}"
        watch.begin(title, forecast)
        try:
            run_trials(
                proposals=proposals_of(self._settings, trials),
                base=self._settings.base,
                trials=trials,
                emit=emit,
                store=self._run_dir,
                open_cluster=open_cluster,
                patience_s=forecast.patience_s,
                tick=tick,
                note=watch.note,
            )
        finally:
            watch.end()
            self._run_dir.drop_token()

    def _trainer(self) -> Trainer:
        from mnist_lab.execute.worker import Trainer

        settings = self._settings
        arguments = {
            "source": self._data.source,
            "digests": self._data.digests,
            "precision": settings.precision,
            "device": settings.device,
            "fit_on": settings.fit_on,
            "final": settings.experiment == "test",
            "keep_model": settings.experiment in {"test", "train"},
        }
        return Trainer(
            f"mnist-lab-{self._info.id}",
            open_trainer,
            arguments,
            n_threads=settings.threads_per_worker,
            versions=machine.versions(),
        )

    def _title(self, trials: list[Trial]) -> str:
        done, n_epochs = n_ended(trials), n_epochs_done(trials)
        found = (
            f", continuing after {counted(done, 'finished trial')} and {epochs_text(n_epochs)}"
            if done or n_epochs
            else ""
        )
        notice = f", {self._data.notice}" if self._data.notice else ""
        return f"{self._settings.experiment} on {self._data.name}{notice}{found}"

    def _write_info(self, state: RunState) -> RunInfo:
        # One that is killed is counted from its beginning by the next session, not from here.
        session_s = 0.0 if state == "running" else time.monotonic() - self._began
        info = self._info.model_copy(
            update={
                "state": state,
                "ended": None if state == "running" else now(),
                "n_events": len(self._run_dir.read_events()) if state == "complete" else None,
                "spent_s": round(self._info.spent_s + session_s, 3),
            }
        )
        self._run_dir.write_info(info)
        return info


def _seconds_of_killed(info: RunInfo, run_dir: RunDir) -> float:
    """The duration of the previous session up to its last event, if it could not write that."""
    events = run_dir.read_events() if info.state == "running" else []
    began = timestamp(info.continued or info.started)
    return max(timestamp(events[-1].time) - began, 0.0) if events else 0.0


def _new_info(settings: StudySettings, data: DatasetInfo) -> RunInfo:
    return RunInfo(
        id=secrets.token_hex(8),
        settings=settings,
        data=data,
        versions=machine.versions(),
        machine=machine.describe(),
        command=typed(settings.experiment),
        state="running",
        started=now(),
    )


def _check_batch_sizes(settings: StudySettings, data: DatasetInfo) -> None:
    """Refuse a batch larger than the number of training images."""
    n_train = images_per_epoch(settings, data)
    largest = max(config.batch_size for config in plan(settings))
    if largest > n_train:
        raise SettingsError(
            f"batch size {largest:,} is larger than the {n_train:,} training images",
            next_step="use smaller batches",
        )
