"""The runs below a folder, followed by reading alone: a row for each, and a run that is asked for.

No lock is held, nothing is written, and one thread looks.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from mnist_lab.analysis.outcomes import n_ended
from mnist_lab.dashboard import pages
from mnist_lab.errors import LabError, RunDirError, printable
from mnist_lab.rundir import RunDir, runs_below
from mnist_lab.study.run import Run, seconds_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnist_lab.rundir import Follower

# More than 200,000 epochs; a longer journal would fill the memory.
MOST_JOURNAL_BYTES = 2**26
# How long one look may read journals, in seconds of the processor; the next one reads the rest.
BATCH_S = 0.25
# The journals of so many runs that nobody trains are kept for their pages.
MOST_KEPT = 4


class Row(NamedTuple):
    """A run in the list; `html` is that of the look `version`, and of every one since."""

    name: str
    state: str
    when: float
    html: str
    version: int


class Runs(NamedTuple):
    """The runs by their keys, as a look found them.

    `removed` is the look that last missed one; `is_more` where it left journals to the next one;
    `took_s` are the seconds of the processor that it took.
    """

    rows: dict[str, Row]
    version: int = 0
    removed: int = 0
    is_more: bool = True
    took_s: float = 0.0


class _Known(NamedTuple):
    """A run that was read, and what its files were like just before."""

    stamp: tuple[int, ...]
    is_running: bool


class Watch:
    """Looks for the runs below a folder, which need not exist yet, and for what changed in them.

    A run's key stands for it in addresses: the folder's name within, quoted, so that it is ASCII.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[str, RunDir] = {}
        self._rows: dict[str, Row] = {}
        self._known: dict[str, _Known] = {}
        # Stamps and keys of those that are to be read, the newest last.
        self._stale: list[tuple[tuple[int, ...], str]] = []
        self._journals: OrderedDict[str, Follower] = OrderedDict()  # the last one asked for is last
        self._version = self._removed = 0

    def look(self) -> Runs:
        """The runs by now; a journal is read where it changed, and only what is new in it."""
        began = time.thread_time()
        self._version += 1
        if not self._stale:
            self._find()
            self._stale = sorted(self._changed())
        while self._stale:
            stamp, key = self._stale.pop()
            row = self._show(key, self._read)
            self._known[key] = _Known(stamp, row.state == "running")
            if time.thread_time() - began >= BATCH_S:
                break
        for _, key in self._stale:
            if key not in self._rows:
                self._show(key, self._glance)
        took_s = time.thread_time() - began
        return Runs(dict(self._rows), self._version, self._removed, bool(self._stale), took_s)

    def run(self, key: str) -> Run:
        """The run with this key, as it stands now; a LabError where it cannot be read."""
        if key not in self._runs:
            raise RunDirError(f"{key} cannot be read now")
        run_dir, known = self._runs[key], self._known
        journal = self._journals.setdefault(key, run_dir.follow(MOST_JOURNAL_BYTES))
        self._journals.move_to_end(key)
        idle = [key for key in self._journals if key not in known or not known[key].is_running]
        for other in idle[:-MOST_KEPT]:
            del self._journals[other]
        info, _ = run_dir.read_state(journal)
        trials = journal.trials()
        return Run(run_dir.path, info, trials, n_ended(trials))

    def open(self, key: str, name: str) -> IO[bytes] | None:
        """A file of a run, to be read; None where its folder lists none of this name."""
        return self._runs[key].open(name) if key in self._runs else None

    def _key(self, path: Path) -> str:
        return quote(os.fsencode(self._name(path)))

    def _name(self, path: Path) -> str:
        below = path.relative_to(self._folder)
        return str(below) if below.parts else path.absolute().name

    def _find(self) -> None:
        """The runs that are there; of those that are gone nothing is kept."""
        refused: list[OSError] = []
        found = {self._key(path): path for path in runs_below(self._folder, refused.append)}
        self._runs = {key: self._runs.get(key) or RunDir(path) for key, path in found.items()}
        there = set(found)
        for problem in refused:
            if not isinstance(problem, FileNotFoundError):  # it was there a moment ago
                path = Path(problem.filename)
                there.add(key := self._key(path))
                self._put(key, path, pages.unreadable(f"cannot be read ({problem.strerror})"))
        for key in self._rows.keys() - there:
            self._removed = self._version
            del self._rows[key]
            self._known.pop(key, None)
            self._journals.pop(key, None)

    def _changed(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """The stamps and keys of the runs whose files changed since they were read."""
        for key, run_dir in self._runs.items():
            stamp, known = run_dir.stamp(), self._known.get(key)
            # One that was killed changes no file.
            died = known and known.is_running and run_dir.writer() is None
            if known is None or known.stamp != stamp or died:
                yield stamp, key

    def _read(self, key: str) -> dict[str, Any]:
        run = self.run(key)
        return pages.standing(run.info, run.trials, seconds_left(run))

    def _glance(self, key: str) -> dict[str, Any]:
        """What run.json says, until the journal is read."""
        return pages.standing(self._runs[key].read_info(), None, None)

    def _show(self, key: str, read: Callable[[str], dict[str, Any]]) -> Row:
        try:
            standing = read(key)
        except LabError as problem:
            standing = pages.unreadable(problem.problem)
        except Exception as problem:  # noqa: BLE001 - no run, which may be anybody's, spoils the list
            standing = pages.unreadable(f"cannot be shown ({type(problem).__name__}: {problem})")
        return self._put(key, self._runs[key].path, standing)

    def _put(self, key: str, path: Path, standing: dict[str, Any]) -> Row:
        name = printable(self._name(path))
        html = pages.row(key, name, standing)
        row = self._rows.get(key)
        if row is None or row.html != html:
            row = Row(name, standing["state"], standing["when"], html, self._version)
            self._rows[key] = row
        return row
