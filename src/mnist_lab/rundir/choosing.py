"""The folder of a run: the one given, or the one that fits its settings."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.errors import LabError
from mnist_lab.rundir import RESULTS, Busy, RunDir, RunInfo, check_agreement, differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnist_lab.config import StudySettings
    from mnist_lab.rundir.lock import Held


class Chosen(NamedTuple):
    """The folder of a run, and the settings for training there.

    `info` is that of the run to continue there; `why` says why it is not the usual folder.
    """

    run_dir: RunDir
    settings: StudySettings
    info: RunInfo | None = None
    why: str = ""


class Folder(NamedTuple):
    """Chooses the folder of a run with these settings, and holds it."""

    settings: StudySettings
    digests: dict[str, str]  # of its data set
    names: Sequence[str]  # in `results`: the usual one, then one for when that is another run's
    out: Path | None  # the folder that was named; None: the one in `results` where it belongs
    any_precision: bool = False  # a run goes on with its own, whatever the settings say
    fresh: bool = False  # the run that is there is set aside

    def choose(self) -> Chosen:
        """The folder, by what is on the disk now; with `fresh`, that of the run to set aside.

        Raises:
            SettingsError: the given folder holds another run, or other files.
            RunDirError: the given run is damaged.
        """
        if self.out is None:
            return self._belonging()
        run_dir = RunDir(self.out)
        run_dir.check_is_ours()
        if self.fresh or not run_dir.exists():
            return Chosen(run_dir, self.settings)
        info = run_dir.read_info()
        settings = self._adopted(info)
        check_agreement(info, settings, self.digests)
        return Chosen(run_dir, settings, info)

    @contextmanager
    def hold(self, say: Callable[[str], None]) -> Iterator[tuple[Chosen, Held]]:
        """Choose the folder, make it, and hold it; `say` gets lines for the user.

        It raises the errors of :meth:`choose` and :func:`lock.hold`.
        """
        chosen = self.choose()
        if self.fresh and chosen.run_dir.exists():
            chosen.run_dir.create()
            with chosen.run_dir.locked(say):
                say(f"{chosen.run_dir.path} is set aside as {chosen.run_dir.set_aside().name}")
        with ExitStack() as stack:
            while True:
                chosen.run_dir.create()
                try:
                    held = stack.enter_context(chosen.run_dir.locked(say))
                except Busy:
                    if self.out is not None or self.fresh or chosen.info is not None:
                        raise
                    # Who begins a run there is about to write with which settings.
                    while chosen.run_dir.writer() is not None and not chosen.run_dir.exists():
                        time.sleep(0.1)
                    chosen = self.choose()
                    continue
                if self.fresh:
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
        """The run with these settings, the longest of several; else a free folder."""
        found = {path: self._what_is_in(RunDir(path)) for path in self._siblings()}
        agreeing = {path: info for path, info in found.items() if isinstance(info, RunInfo)}
        usual = RESULTS / self.names[0]
        if agreeing:
            path = max(agreeing, key=lambda path: agreeing[path].settings.iters or 0)
            if self.fresh:
                return Chosen(RunDir(path), self.settings)
            why = f"using {path}, the run with these settings" * (path != usual)
            return Chosen(RunDir(path), self._adopted(agreeing[path]), agreeing[path], why)
        if self.fresh and RunDir(usual).exists():
            return Chosen(RunDir(usual), self.settings)
        numbered = (f"{self.names[-1]}-{number}" for number in count(2))
        places = (RESULTS / name for name in chain(self.names, numbered))
        free = next(path for path in places if not found.get(path))
        why = "" if free == usual else f"{usual} {found[usual]}, so this run goes to {free}"
        return Chosen(RunDir(free), self.settings, why=why)

    def _siblings(self) -> list[Path]:
        """The folders in `results` with these names, alone or with a number, in this order."""
        names = "|".join(map(re.escape, self.names))
        pattern = re.compile(rf"({names})(?:-([2-9]|[1-9]\d+))?")
        paths: list[Path] = []
        with suppress(OSError):  # there is none, or it is not ours to read, which is said later
            paths += RESULTS.iterdir()
        found = [(match, path) for path in paths if (match := pattern.fullmatch(path.name))]
        found.sort(key=lambda one: (self.names.index(one[0][1]), int(one[0][2] or 1)))
        return [path for _, path in found]

    def _what_is_in(self, run_dir: RunDir) -> RunInfo | str:
        """The run to continue there; else the reason why none can, empty if it is free."""
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
            return f"holds a run that cannot be read ({problem.problem})"
        if different := differences(info, self._adopted(info), self.digests):
            return f"is another run ({'; '.join(different)})"
        return info

    def _adopted(self, info: RunInfo) -> StudySettings:
        """The settings, completed by what the run there decides."""
        own = {"precision": info.settings.precision} if self.any_precision else {}
        return self.settings.model_copy(update=own)
