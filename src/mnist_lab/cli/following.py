"""Which command follows: the words after `next:`."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lab.analysis.outcomes import endings, final_error
from mnist_lab.catalogue import EXPERIMENTS
from mnist_lab.errors import LabError, printable
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.rundir import RunInfo
    from mnist_lab.study import Run


def next_command(runs: Sequence[Run], *, reported: bool = False) -> str:
    """The command that follows from these runs: one that just ended, or those in a report.

    The order: learning rates, filter sizes, searches, the test of the best, report and tables.
    """
    paths = [str(run.path) for run in runs]
    for run in runs:
        if run.info.state != "complete":
            return _command("status", str(run.path))
    if (winner := _winner(runs)) is not None and not any(_tests(run.info, winner) for run in runs):
        if test := _test_beside(winner):
            return _command("report", *paths, str(test))
        best = str(RunDir(winner.path).best)
        return _command("test", "--config", best, "--repeats", "10", *_data(winner))
    tests = [run for run in runs if run.info.settings.experiment == "test"]
    if last := tests or [run for run in runs if run.info.settings.space is not None]:
        tables = ("export", str(last[0].path), "--to", "csv")
        return _command(*tables) if reported else _command("report", *paths)
    last_one = max((run.info.settings.experiment for run in runs), key=list(EXPERIMENTS).index)
    return _command(*EXPERIMENTS[last_one].next.split(), *_data(runs[0]))


def _command(*words: str) -> str:
    return shlex.join(["mnist-lab", *map(printable, words)])


def _data(run: Run) -> list[str]:
    """The option that names a run's data, if they are here and not found without it."""
    from mnist_lab import data  # NumPy, which `status` does without

    source = run.info.data.source
    is_here = source == data.SAMPLE or os.path.exists(source)  # noqa: PTH110 - forbidden: not here
    return ["--data", source] if is_here and source != data.locate() else []


def _winner(runs: Sequence[Run]) -> Run | None:
    """The search with the lowest validation error at the largest budget that all of them have.

    Without a common budget each counts with its own largest. Only runs on the first one's data are
    compared.
    """
    searches = [run for run in runs if run.best is not None and RunDir(run.path).best.exists()]
    # A race has asked which of them is the best.
    searches = [run for run in searches if run.info.settings.configurations] or searches
    searches = [run for run in searches if run.info.data.digests == searches[0].info.data.digests]
    if not searches:
        return None
    found: list[dict[float, float]] = []  # of each the lowest error at each budget
    for run in searches:
        ended = ((one.configuration.epochs, final_error(one)) for one in endings(run.trials))
        counted = [(error, budget) for budget, error in ended if error is not None]
        found.append({budget: error for error, budget in sorted(counted, reverse=True)})
    common = set(found[0]).intersection(*found)
    errors = [errors[max(common or errors)] for errors in found]
    return searches[errors.index(min(errors))]


def _tests(info: RunInfo, winner: Run) -> bool:
    """Whether a run is the test of the best that a search found, for any number of epochs."""
    if info.settings.experiment != "test" or winner.best is None:
        return False
    tested, found = (
        config.model_dump(exclude={"epochs"})
        for config in (info.settings.base, winner.best.configuration)
    )
    return tested == found and info.data.digests == winner.info.data.digests


def _test_beside(winner: Run) -> Path | None:
    """A complete test of a search's best, in a folder beside it."""
    # Not `parent`: that of `.` would be itself.
    folder = Path(os.path.normpath(winner.path / os.pardir))
    beside: list[Path] = []
    with suppress(OSError):  # it may forbid to be listed
        beside = sorted(folder.iterdir())
    for path in beside:
        with suppress(LabError):  # no run, or a damaged one
            info = RunDir(path).read_info()
            if info.state == "complete" and _tests(info, winner):
                return path
    return None
