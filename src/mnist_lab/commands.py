"""The command that makes or continues a run, from its settings alone.

What a run directory says was typed is not shown: it may come from a notebook, or from a stranger.
"""

from __future__ import annotations

import json
import shlex
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from mnist_lab.config import StudySettings
from mnist_lab.errors import printable

if TYPE_CHECKING:
    from pathlib import Path

# Of the search space that needs no file: reading that itself takes ConfigSpace, and a second.
_EXERCISE = "6daf381a01ddcd33"
# What the command line takes to be the same as the settings, where nothing is said.
_DEFAULTS = ("repeats", "seed", "precision", "threads_per_worker")


def command(
    settings: StudySettings, out: str, *, data: str | None = None, space: Path | None = None
) -> str:
    """A line for a POSIX shell; what needs a file, such as a configuration, it reads from a pipe.

    Args:
        settings: of the run.
        out: the run directory.
        data: a path, or `sample`; None: what is found without `--data`.
        space: a file of the search space, if there is one.
    """
    options: dict[str, Any] = {}
    piped: dict[str, Any] | None = None
    base = settings.base
    if settings.experiment == "test":
        piped = base.model_dump(mode="json")
        options |= {"config": "/dev/stdin", "fit-on": settings.fit_on}
    elif settings.experiment == "train":
        options |= base.model_dump()
    elif settings.min_epochs is not None:
        options |= {"min-epochs": settings.min_epochs, "max-epochs": base.epochs}
    else:
        options["epochs"] = base.epochs
    if settings.experiment == "filter-sweep":
        options["learning-rate"] = base.learning_rate
    if settings.values is not None:
        options["values"] = ",".join(map(repr, settings.values))
    if settings.iters is not None:
        options["iters"] = settings.iters
    if settings.space is not None and _digest(settings.space) != _EXERCISE:
        options["space"] = space or "/dev/stdin"
        piped = None if space else settings.space
    fields = StudySettings.model_fields
    values = {name: getattr(settings, name) for name in _DEFAULTS}
    options |= {name: value for name, value in values.items() if value != fields[name].default}
    options["device"] = settings.device  # `auto` would take a GPU
    if data is not None:
        options["data"] = data
    options["out"] = out
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    line = shlex.join(["mnist-lab", settings.experiment, *map(printable, words)])
    return line if piped is None else f"printf %s {shlex.quote(json.dumps(piped))} | {line}"


def quoted(path: Path) -> str:
    """A path as one word that is typed into a shell."""
    return shlex.quote(printable(str(path)))


def _digest(space: dict[str, Any]) -> str:
    parts = [space.get(key) for key in ("hyperparameters", "conditions", "forbiddens")]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
