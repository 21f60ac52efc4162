"""What is asked of a study -> its settings and the places of its workers, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

from mnist_lab import machine
from mnist_lab.config import StudySettings, check
from mnist_lab.errors import SettingsError, nearest, no_gpu
from mnist_lab.study.proposing import plan

if TYPE_CHECKING:
    from pathlib import Path

    from mnist_lab.config import Device, Precision
    from mnist_lab.engine import Place
    from mnist_lab.progress import Watcher
    from mnist_lab.records import DatasetInfo

# More than any machine has cores.
MOST_WORKERS = 10_000
TOO_MANY = f"--workers is at most {MOST_WORKERS:,}"
# What `--nice` adds, as the command `nice` does.
NICENESS = 10


class Options(TypedDict, total=False):
    """How and where a study runs; what is left out has the default named here.

    Attributes:
        out: the run directory: `results/<experiment>`, or where that is another run's, with
            a number, such as `results/lr-sweep-2`.
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
        retry_failed: train the failed trials of the run that goes on again: False.
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
    retry_failed: bool
    dry_run: bool
    watch: Watcher


def settings_of(
    experiment: str, values: dict[str, Any], options: Options
) -> tuple[StudySettings, int]:
    """The settings of a study, and how many GPUs it uses.

    Args:
        experiment: its name on the command line.
        values: the rest of the settings that is the experiment's own.
        options: the options.

    Raises:
        SettingsError: an option or a value is unknown or out of its range.
        DeviceError: a GPU is asked for, and there is none.
    """
    for key in options:
        if key not in Options.__annotations__:
            raise SettingsError(
                "a study has only options that mnist-lab knows",
                received=repr(key),
                next_step=nearest(key, Options.__annotations__),
            )
    workers = options.get("workers")
    if workers is not None and not 0 <= workers <= MOST_WORKERS:
        raise SettingsError(
            "--workers is auto or at least 0" if workers < 0 else TOO_MANY,
            received=workers,
            next_step="leave it out",
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
        chosen["precision"] = "bfloat16" if has_it else "float32"
    common = {"experiment": experiment, "device": "gpu" if n_gpus else "cpu"}
    return check(StudySettings, values | chosen | common, source=experiment), n_gpus


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

    Raises:
        StudyError: so many workers cannot train on this machine.
    """
    from mnist_lab.engine import Place  # HpBandSter, only to train

    place, why_fewer = Place(niceness=NICENESS if nice else 0), ""
    if workers is None and n_gpus:
        workers = n_gpus
    elif workers is None:
        workers, why_fewer = machine.suggested_workers(n_threads)
        why_fewer = why_fewer and f"--workers auto starts {workers}: {why_fewer}"
    for obstacle in machine.obstacles(workers):
        raise obstacle
    if n_gpus:
        return [place._replace(gpu=number % n_gpus) for number in range(workers)], ""
    return [place] * workers, why_fewer


def check_batch_sizes(settings: StudySettings, data: DatasetInfo) -> None:
    """Refuse a batch that is larger than the training images.

    Raises:
        SettingsError: one is.
    """
    n_train = images_per_epoch(settings, data)
    largest = max(config.batch_size for config in plan(settings))
    if largest > n_train:
        raise SettingsError(
            f"the batch size is at most the number of training images, {n_train:,}",
            received=largest,
            next_step="give a smaller batch size",
        )


def images_per_epoch(settings: StudySettings, data: DatasetInfo) -> int:
    """How many images an epoch trains on."""
    return data.n_train + (data.n_valid if settings.fit_on != "train" else 0)
