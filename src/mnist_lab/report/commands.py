"""The commands that make a run again, from its settings alone.

What a run directory says was typed is not shown: it may come from a notebook, or from a stranger.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_lab.config import StudySettings
    from mnist_lab.records import DatasetInfo

# Files of the reader's own, which the commands write first.
_CONFIG, _SPACE = "config.json", "space.json"


def commands(
    settings: StudySettings, data: DatasetInfo, out: str, *, has_default_space: bool
) -> list[str]:
    """Lines for a POSIX shell: the files that the command needs, if any, then the command.

    Args:
        settings: of the run.
        data: the data set; one that is neither MNIST nor the sample is named by its path.
        out: the run directory to make.
        has_default_space: the search space is the one that needs no file.
    """
    lines: list[str] = []
    options: dict[str, Any] = {}
    base = settings.base
    if settings.experiment == "test":
        lines += _file(_CONFIG, base.model_dump(mode="json"))
        options |= {"config": _CONFIG, "fit-on": settings.fit_on}
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
    if settings.space is not None and not has_default_space:
        lines += _file(_SPACE, settings.space)
        options["space"] = _SPACE
    if settings.values is not None or settings.experiment == "test":
        options["repeats"] = settings.repeats
    options |= {
        "seed": settings.seed,
        "precision": settings.precision,
        "device": settings.device,
        "threads-per-worker": settings.threads_per_worker,
    }
    if not data.is_mnist:
        options["data"] = data.source
    options["out"] = out
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = shlex.join(["mnist-lab", settings.experiment, *map(_printable, words)])
    return [*lines, command]


def _printable(word: str) -> str:
    """A word without what a terminal would obey, or show in another order than it is typed."""
    return "".join(sign if sign.isprintable() else "?" for sign in word)


def _file(name: str, value: dict[str, Any]) -> list[str]:
    """A file of one line; JSON that is ASCII holds no line break that could end it early."""
    return [f"cat > {name} << 'END'", json.dumps(value), "END"]
