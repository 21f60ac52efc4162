"""The folder of a run: the one that was named, or the one where its settings belong."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.errors import LabError, SettingsError
from mnist_lab.rundir import Busy, RunDir, RunInfo, check_agreement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnist_lab.config import StudySettings
    from mnist_lab.rundir.lock import Held

# Where runs go that have no folder named; relative to where the command is given.
RESULTS = Path("results")


class Chosen(NamedTuple):
    """The folder of a run, and the settings that it is trained with there.

    `info` is that of the run that goes on there, None for a new one; `why` says why it is not the
    usual folder, empty where it is.
    """

    run_dir: RunDir
    settings: StudySettings
    info: RunInfo | None = None
    why: str = ""


class Folder:
    """Chooses the folder of a run, and holds it.

    Args:
        settings: of the run.
        digests: of its data set.
        out: the folder that was named; None: the one in `results` where the settings belong.
        names: of folders in `results`: the usual one, then one for when that is another run's.
        any_precision: a run goes on with its own precision, whatever the settings say.
        fresh: the run that is there is set aside.
    """

    def __init__(
        self,
        settings: StudySettings,
        digests: dict[str, str],
        *,
        out: Path | None,
        names: Sequence[str],
        any_precision: bool = False,
        fresh: bool = False,
    ) -> None:
        self._settings = settings
        self._digests = digests
        self._out = out
        self._names = names
        self._any_precision = any_precision
        self._fresh = fresh

    def choose(self) -> Chosen:
        """The folder as the disk stands now.

        With `fresh` it is that of the run to set aside: the one with these settings, else the usual
        one.

        Raises:
            SettingsError: the folder that was named holds another run, or other files.
            RunDirError: the run that was named is damaged.
        """
        if self._out is None:
            return self._belonging()
        run_dir = RunDir(self._out)
        run_dir.check_is_ours()
        if self._fresh or not run_dir.exists():
            return Chosen(run_dir, self._settings)
        info = run_dir.read_info()
        settings = self._adopted(info)
        check_agreement(info, settings, self._digests)
        return Chosen(run_dir, settings, info)

    @contextmanager
    def hold(self, say: Callable[[str], None]) -> Iterator[tuple[Chosen, Held]]:
        """Choose the folder, make it, and hold it for this process.

        Args:
            say: told in one line what a person should know.

        Raises:
            SettingsError: the folder that was named holds another run, or other files.
            RunDirError: another process writes the run, or it is damaged or cannot be written.
        """
        chosen = self.choose()
        if self._fresh and chosen.run_dir.exists():
            chosen.run_dir.create()
            with chosen.run_dir.locked(say):
                say(f"{chosen.run_dir.path} is set aside as {chosen.run_dir.set_aside().name}")
        with ExitStack() as stack:
            while True:
                chosen.run_dir.create()
                try:
                    held = stack.enter_context(chosen.run_dir.locked(say))
                except Busy:
                    if self._out is not None or self._fresh or chosen.info is not None:
                        raise
                    _wait_for_settings(chosen.run_dir)
                    chosen = self.choose()
                    continue
                if self._fresh:
                    break
                # Another process may have begun, or ended, a run here since this one looked.
                before, chosen = chosen, self.choose()
                if chosen.run_dir.path == before.run_dir.path:
                    break
                stack.pop_all().close()
            if chosen.why:
                say(chosen.why)
            yield chosen, held

    def _belonging(self) -> Chosen:
        """The run with these settings, of several the longest; else a folder that is free."""
        taken: dict[Path, str] = {}
        agreeing: list[tuple[RunDir, RunInfo]] = []
        usual = RESULTS / self._names[0]
        for path in self._siblings():
            there = self._what_is_in(RunDir(path))
            if isinstance(there, RunInfo):
                agreeing.append((RunDir(path), there))
            elif there:
                taken[path] = there
        if agreeing:
            run_dir, info = max(agreeing, key=lambda one: one[1].settings.iters or 0)
            if self._fresh:
                return Chosen(run_dir, self._settings)
            why = f"using {run_dir.path}, the run with these settings" * (run_dir.path != usual)
            return Chosen(run_dir, self._adopted(info), info, why)
        if self._fresh and RunDir(usual).exists():
            return Chosen(RunDir(usual), self._settings)
        numbered = (f"{self._names[-1]}-{number}" for number in count(2))
        places = (RESULTS / name for name in chain(self._names, numbered))
        free = next(path for path in places if path not in taken)
        why = "" if free == usual else f"{usual} {taken[usual]}, so this run goes to {free}"
        return Chosen(RunDir(free), self._settings, why=why)

    def _siblings(self) -> list[Path]:
        """What stands in `results` under these names, alone or with a number, in this order."""
        names = "|".join(map(re.escape, self._names))
        pattern = re.compile(rf"({names})(?:-([2-9]|[1-9]\d+))?")
        paths: list[Path] = []
        with suppress(OSError):  # there is none, or it is not ours to read, which is said later
            paths += RESULTS.iterdir()
        found = [(match, path) for path in paths if (match := pattern.fullmatch(path.name))]
        found.sort(key=lambda one: (self._names.index(one[0][1]), int(one[0][2] or 1)))
        return [path for _, path in found]

    def _what_is_in(self, run_dir: RunDir) -> RunInfo | str:
        """The run that goes on there; else why nothing can, in words, empty if it is free."""
        if not run_dir.path.is_dir():
            return "is no folder"
        try:
            if not run_dir.exists():
                run_dir.check_is_ours()
                return ""
            info = run_dir.read_info()
        except LabError as problem:
            if not run_dir.exists():
                return "holds other files"
            return f"holds a run that cannot be read ({problem.received})"
        try:
            check_agreement(info, self._adopted(info), self._digests)
        except SettingsError as difference:
            return f"is another run ({difference.received})"
        return info

    def _adopted(self, info: RunInfo) -> StudySettings:
        """The settings with what the run that is there decides."""
        if not self._any_precision:
            return self._settings
        return self._settings.model_copy(update={"precision": info.settings.precision})


def _wait_for_settings(run_dir: RunDir) -> None:
    """Wait until the process that begins a run in this folder has written with which settings."""
    while run_dir.writer() is not None and not run_dir.exists():
        time.sleep(0.1)
