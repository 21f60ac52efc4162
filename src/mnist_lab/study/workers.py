"""The workers of a run: how many fit on this machine, and those that join from others."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from mnist_lab import data as datasets
from mnist_lab import machine
from mnist_lab.config import as_text
from mnist_lab.errors import SettingsError, nearest, no_gpu
from mnist_lab.progress import Silent
from mnist_lab.rundir import RunDir
from mnist_lab.training import open_trainer
from mnist_lab.words import counted

if TYPE_CHECKING:
    from pathlib import Path

    from mnist_lab.config import StudySettings
    from mnist_lab.execute.cluster import Token
    from mnist_lab.execute.places import Place
    from mnist_lab.execute.pool import WorkerSlot
    from mnist_lab.progress import Watcher
    from mnist_lab.study.session import Options

# More than any machine has cores.
MOST_WORKERS = 10_000
_ADDRESSES = ("tcp", "tls")
_HOST = r"([\w.-]+|\[[\da-fA-F:.]+\])"
_LOGIN = rf"([^@,\s]+@)?{_HOST}(:\d+)?"
# Each kind of place: what follows its name and a colon, and an example.
_PLACES = (
    {"ssh": (rf"{_LOGIN}(,{_LOGIN})*", "ssh:pool01,me@pool02:2222")}
    | {kind: (rf"//{_HOST}:\d+", f"{kind}://HOST:8786") for kind in _ADDRESSES}
    | {kind: ("", kind) for kind in ("local", "slurm", "pbs", "lsf", "sge", "htcondor")}
)
# What `--nice` adds, as the command `nice` does.
NICENESS = 10


def join(
    run: Path | None,
    *,
    at: str | None = None,
    token: Path | None = None,
    data: str | None = None,
    workers: int | None = None,
    nice: bool = False,
    name: str | None = None,
    watch: Watcher,
) -> None:
    """Work for a run until it ends.

    Args:
        run: the run directory, if this machine sees it.
        at: otherwise `HOST:PORT` of the run, with `token`.
        token: a copy of the run's `.token.json`.
        data: as for the studies; by default the run's path, else the one found on this machine.
        workers: how many; None: one for each free core, or each GPU.
        nice: let other people's work go first.
        name: the beginning of the workers' names; None: this machine's name.
        watch: gets the notes; there is no study to draw.

    Raises:
        SettingsError: the arguments do not name a run.
        RunDirError: no process writes the run.
        StudyError: the run does not answer, or a worker cannot start.
        DataError: this machine has another data set than the run.
    """
    from mnist_lab.execute import joining, worker  # Dask, only to train
    from mnist_lab.execute.cluster import Token

    text = _token_text(run, token)
    try:
        joined = Token.model_validate_json(text)
        given = {name: joined.arguments[name] for name in ("source", "digests", "fit_on", "device")}
    except (ValueError, KeyError):
        raise SettingsError(
            f"{token or run} is not a copy of a run's .token.json",
            next_step="copy it again",
        ) from None
    if at is not None:
        joined = joined.model_copy(update={"scheduler": f"tls://{at}"})
    place = joined.scheduler.partition("//")[2]
    host, port = _address(place)
    with ExitStack() as opened:
        client = opened.enter_context(closing(joining.connect(joined)))
        source, quiet = data or _source(given["source"]), isinstance(watch, Silent)
        dataset = datasets.load(source, expect=given["digests"], quiet=quiet)
        slots, remark = _slots(joined, workers, nice=nice)
        shared = opened.enter_context(
            datasets.share(dataset.training_on(given["fit_on"]), dataset.test)
        )
        trainer = worker.Trainer(
            joined.run,
            open_trainer,
            joined.arguments | {"source": dataset.info.source, "shared": shared},
            n_threads=joined.n_threads,
            versions=joined.versions,
        )
        trainer.check_versions()
        del dataset  # the workers have it
        precision = joined.arguments.get("precision", "float32")
        for one in (remark, _slow_precision(precision, given["device"])):
            if one:
                watch.note(one)
        watch.note(f"joining {place} with {counted(len(slots), 'worker')}")
        joining.work(
            client,
            joined,
            trainer,
            slots,
            name=name,
            host=machine.address_towards(host, port) or machine.LOOPBACK,
            files=[shared],
            note=watch.note,
        )


def _token_text(run: Path | None, token: Path | None) -> str:
    if (run is None) == (token is None):
        raise SettingsError(
            "worker needs a run directory, or --join and --token",
            next_step="such as results/hyperband",
        )
    if run is not None:
        run_dir = RunDir(run)
        if run_dir.read_info().state == "complete":
            raise SettingsError("this run is complete; there is nothing to join")
        return run_dir.read_token()
    assert token is not None  # noqa: S101 - checked above
    try:
        return as_text(token.read_bytes())
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(
            f"cannot read {token} ({getattr(problem, 'strerror', None) or problem})",
            next_step="copy .token.json from the run directory",
        ) from None


def _address(at: str) -> tuple[str, int]:
    host, _, port = at.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise SettingsError(
            f"--join: {at!r} is not HOST:PORT",
            next_step="the run prints them when it starts, such as 192.168.0.7:41234",
        )
    return host.strip("[]"), int(port)


def _source(source: str) -> str | None:
    """The run's path to its data set, if this machine sees it; else this machine's own."""
    here = source == datasets.SAMPLE or os.path.exists(source)  # noqa: PTH110 - Path's raises if forbidden
    return source if here else None


def _slots(token: Token, workers: int | None, *, nice: bool) -> tuple[list[WorkerSlot], str]:
    check_workers(workers, 1, " here")
    on_gpu = token.arguments["device"] == "gpu"
    n_gpus = machine.usable_gpus() if on_gpu else 0
    if on_gpu and n_gpus == 0:
        raise no_gpu()
    return slots_for(workers, n_gpus, token.n_threads, nice=nice)


def check_workers(workers: int | None, least: int, here: str = "") -> None:
    """Refuse an impossible number of workers.

    Raises:
        SettingsError: the number is impossible.
    """
    if workers is not None and not least <= workers <= MOST_WORKERS:
        size, legal = "large", f"the limit is {MOST_WORKERS:,}"
        if workers < least:
            size, legal = "small", f"use auto, or {least} or more{here}"
        raise SettingsError(f"--workers: {workers} is too {size}", next_step=legal)


def place_for(options: Options, settings: StudySettings, n_gpus: int) -> tuple[Place, list[str]]:
    """The place that executes a study, and what its user should know of it, in lines.

    Args:
        options: of the study.
        settings: of the study.
        n_gpus: the number of GPUs in use, 0 for the CPU.

    Raises:
        StudyError: this machine cannot run so many workers.
    """
    from mnist_lab.execute import places  # Dask, only to train

    nice, workers, host = options.get("nice"), options.get("workers"), options.get("host")
    kind, where, details = parse_cluster(options.get("cluster"))
    if kind == "local":
        n_threads = settings.threads_per_worker
        slots, remark = slots_for(workers, n_gpus, n_threads, nice=bool(nice))
        remarks = [remark, _slow_precision(settings.precision, settings.device)]
        return places.Local(slots, host), [one for one in remarks if one]
    if kind == "ssh":
        check_workers(workers, 1, " with --cluster ssh")
        words = ["--nice"] * bool(nice) + ([] if workers is None else ["--workers", str(workers)])
        return places.Ssh(where.split(","), host=host, words=words, options=details), []
    if kind in _ADDRESSES:
        remarks = ["--workers is ignored: the scheduler has its own workers"] if workers else []
        return places.Existing(f"{kind}:{where}"), remarks
    if not workers:
        raise SettingsError(
            f"--cluster {kind} needs the number of workers",
            next_step="add it, such as --workers 20",
        )
    remark = f"{counted(workers, 'worker')} as jobs of {kind}: training begins when one runs"
    return places.Batch(kind, workers, host=host, options=details), [remark]


def _slow_precision(precision: str, device: str) -> str:
    """A line if this processor has to imitate the precision, else an empty one."""
    if (precision, device) == ("bfloat16", "cpu") and machine.has_bfloat16() is False:
        return (
            "this processor has no bfloat16 instructions: float32, which --precision auto takes "
            "here, is several times as fast"
        )
    return ""


def parse_cluster(cluster: str | Mapping[str, Any] | None) -> tuple[str, str, dict[str, Any]]:
    """A place's kind, its address, and its further options from the table `[cluster]`.

    Args:
        cluster: as in :class:`~mnist_lab.study.session.Options`.

    Raises:
        SettingsError: it names no place.
    """
    given = (
        cluster
        if isinstance(cluster, Mapping)
        else {"place": "local" if cluster is None else cluster}
    )
    details = {key.replace("-", "_"): value for key, value in given.items()}
    place = str(details.pop("place", ""))
    kind, _, where = place.partition(":")
    if kind not in _PLACES or not re.fullmatch(_PLACES[kind][0], where):
        raise SettingsError(
            f"--cluster: {place!r} is not a place",
            next_step=f"write it as {_PLACES[kind][1]}"
            if kind in _PLACES
            else nearest(kind.lower(), _PLACES),
        )
    if details and kind in {"local", *_ADDRESSES}:
        raise SettingsError(
            f"[cluster]: {', '.join(details)} does not apply to {kind}",
            next_step="leave it out, or name the place that it is for",
        )
    return kind, where, details


def slots_for(
    workers: int | None, n_gpus: int, n_threads: int, *, nice: bool
) -> tuple[list[WorkerSlot], str]:
    """One worker per GPU; else one per free core, each with one thread: the network is small.

    Args:
        workers: the number asked for; None: one per GPU or free core.
        n_gpus: the number of GPUs in use, 0 for the CPU.
        n_threads: of each worker.
        nice: let other work go first.

    Returns:
        The slot of each worker, and a line that says why `auto` chose fewer than this machine's
        cores, empty if it did not.

    Raises:
        StudyError: this machine cannot run so many workers.
    """
    from mnist_lab.execute.pool import WorkerSlot  # Dask, only to train

    slot, why_fewer = WorkerSlot(niceness=NICENESS if nice else 0), ""
    if workers is None and n_gpus:
        workers = n_gpus
    elif workers is None:
        workers, why_fewer = machine.suggested_workers(n_threads)
        why_fewer = why_fewer and f"--workers auto starts {workers}: {why_fewer}"
    for obstacle in machine.obstacles(workers):
        raise obstacle
    if n_gpus:
        return [slot._replace(gpu=number % n_gpus) for number in range(workers)], ""
    return [slot] * workers, why_fewer
