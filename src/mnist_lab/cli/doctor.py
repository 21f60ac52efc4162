"""What the doctor checks, and its problems and notes."""

from __future__ import annotations

import errno
import os
import tempfile
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab import data, machine
from mnist_lab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

FREE_DISK_GIB = 1  # less is soon gone, as other programs write too

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Problem(NamedTuple):
    """One line about what hampers training (a note) or prevents it (a problem)."""

    text: str
    prevents_training: bool = False

    @property
    def kind(self) -> str:
        """Its name: `problem` or `note`."""
        return "problem" if self.prevents_training else "note"


_Fatal = partial(Problem, prevents_training=True)


def examine() -> tuple[dict[str, Any], list[Problem]]:
    """Describe this machine, ready for JSON, sizes in GiB; and list the problems."""
    found = machine.describe() | {
        "bfloat16": machine.has_bfloat16(),
        "gpus": machine.usable_gpus(),
        "free_disk_gib": machine.free_disk_gib(Path()),
        "data": data.locate() or "none yet: Keras' MNIST is downloaded when it is needed",
        "versions": machine.versions(),
    }
    problems = (_software(found["versions"]), _folders(), _machine(found["gpus"], found["cores"]))
    return found, list(chain.from_iterable(problems))


def on_what() -> str:
    """The data that a training would use now, in words."""
    source = data.locate()
    if source is None:
        return "MNIST, which is downloaded first (if that fails, on the sample of 5,000 digits)"
    return "the sample of 5,000 digits" if source == data.SAMPLE else source


def _software(versions: dict[str, str]) -> Iterator[Problem]:
    missing = [name for name, version in versions.items() if version == machine.NOT_INSTALLED]
    if missing:
        yield _Fatal(
            f"not installed: {', '.join(missing)}; install the versions that requirements.lock "
            "names"
        )
    if data.locate() is None:
        yield Problem(
            f"MNIST is not here yet: it will be downloaded to {data.cache_file()}; without a "
            f"network, put it there, or name it with --data or {data.DATA_VARIABLE}"
        )
        return
    try:
        yield from map(Problem, data.load(quiet=True).info.warnings)
    except DataError as error:
        yield _Fatal(str(error))


def _folders() -> Iterator[Problem]:
    runs = _nearest(Path("results"))
    reason = _write_error(runs)
    if reason is None or reason.errno in _FULL:
        name = "the current folder" if runs == Path() else "results in the current folder"
        yield from _disk(name, runs, reason, "make room there, or give --out on another disk")
    else:
        yield _Fatal(
            f"runs cannot be written to results in the current folder ({reason.strerror}); "
            "change to a writable folder, or give --out"
        )
    next_step = "set TMPDIR to a folder on a disk with room"
    try:
        temporary = Path(tempfile.gettempdir())
    except OSError as error:
        yield _Fatal(f"{error.strerror}; {next_step}")
    else:
        if temporary.stat().st_dev != runs.stat().st_dev:
            name = f"{temporary} (temporary files)"
            yield from _disk(name, temporary, None, next_step)
    cache = data.cache_file().parent
    if (reason := _write_error(_nearest(cache))) is not None:
        yield Problem(
            f"Keras' cache, {cache}, cannot be written ({reason.strerror}), so no download is kept "
            "there; set KERAS_HOME to a writable folder, or name an MNIST file with --data or "
            f"{data.DATA_VARIABLE}"
        )


def _disk(name: str, folder: Path, reason: OSError | None, next_step: str) -> Iterator[Problem]:
    free_gib = machine.free_disk_gib(folder)
    if reason is not None:
        yield _Fatal(f"the disk of {name} is full ({reason.strerror}); {next_step}")
    elif free_gib < FREE_DISK_GIB:
        should = f"less than {FREE_DISK_GIB} GiB; {next_step}"
        yield Problem(f"only {free_gib} GiB is free on the disk of {name}, {should}")


def _machine(n_gpus: int, n_cores: int) -> Iterator[Problem]:
    n_workers, _ = machine.suggested_workers()
    yield from (_Fatal(str(obstacle)) for obstacle in machine.obstacles(n_workers))
    free_gib = machine.available_memory_gib()
    if free_gib < machine.WORKER_GIB:
        yield _Fatal(
            f"{free_gib:.1f} GiB of memory is free, and a worker takes {machine.WORKER_GIB} GiB; "
            "end other programs, or raise the limit of this process's group"
        )
    n_listed = machine.listed_gpus()
    if n_listed and not n_gpus:
        yield Problem(
            f"TensorFlow sees none of the GPUs that NVIDIA's driver lists ({n_listed}): training "
            "uses the CPU; install tensorflow[and-cuda], and unset CUDA_VISIBLE_DEVICES if it "
            "hides them"
        )
    if n_busy := min(round(machine.busy_cores()), n_cores):
        yield Problem(
            f"other work keeps {n_busy} of {n_cores} cores busy; --workers auto starts fewer "
            "workers, and --nice lets the other work go first"
        )


def _nearest(folder: Path) -> Path:
    """The folder itself, or the existing folder in which it would be made."""
    return next(one for one in (folder, *folder.parents) if os.path.lexists(one))


def _write_error(folder: Path) -> OSError | None:
    """Why no file can be put into `folder`."""
    try:  # asked for permissions, the system would let root write even to a read-only disk
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".mnist-lab-") as file:
            file.write(bytes(4096))  # an empty file fits on a full disk
            file.flush()
    except OSError as error:
        return error
    return None
