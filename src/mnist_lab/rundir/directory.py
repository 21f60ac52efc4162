"""One run directory: the names of its files, reading and writing them, and who may."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mnist_lab.errors import RunDirError, SettingsError, WriteError, similar
from mnist_lab.records import FORMAT_VERSION, Event, Trial
from mnist_lab.rundir import checkpoints, files, hpbandster, lock
from mnist_lab.rundir.documents import Curves, RunInfo
from mnist_lab.rundir.journal import Follower, read_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mnist_lab.config import TrainConfig
    from mnist_lab.records import Checkpoint, Proposed
    from mnist_lab.rundir.documents import TestResult
    from mnist_lab.rundir.lock import Held

# A search space of any size fits in.
MOST_INFO_BYTES = 2**24


_RUN = "run.json"
# Where runs go that have no folder named; relative to where the command is given.
RESULTS = Path("results")


class RunDir:
    """One run directory; creating the object does not touch the disk.

    Every method that writes or removes a checkpoint raises a RunDirError if the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / _RUN
        self.journal = path / "journal.jsonl"
        self.curves = path / "curves.json"
        self.best = path / "best.json"
        self.findings = path / "findings.md"
        self.test = path / "test.json"
        self.report = path / "report.html"
        self.model = path / "model.keras"
        self.hpbandster = path / "hpbandster"
        self.space = self.hpbandster / "configspace.json"
        self.checkpoints = path / "checkpoints"
        self.export = path / "export"
        self.jobs = path / "jobs"  # what the jobs of a batch system print
        self.token = path / ".token.json"
        self._lock = path / ".lock"

    def exists(self) -> bool:
        """Whether a run was started here."""
        return os.path.lexists(self.run)

    def create(self) -> None:
        """Make the folder, and prove that it can be written; a SettingsError if it is a file."""
        try:
            # A link may point to what was renamed, or is yet to be made.
            path = Path(os.path.realpath(self.path))
            new = [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(parents=True, exist_ok=True)
            for folder in new:
                files.sync_folder(folder.parent)
            probe = self.path / f"{files.PROBE}{os.urandom(4).hex()}"
            probe.touch()
            probe.unlink(missing_ok=True)  # a run that begins cleans up
        except OSError as problem:
            fault = f"cannot write the folder {self.path} ({problem.strerror})"
            if problem.errno in files.DISK_FAILS:
                raise WriteError(fault, next_step="make room, or give another --out") from None
            if isinstance(problem, FileExistsError | NotADirectoryError):
                fault = f"{self.path} is, or lies below, a file"
            raise SettingsError(fault, next_step="give another --out") from None

    def check_is_ours(self) -> None:
        """Raise a SettingsError if the folder holds anything but a run."""
        if not self.path.is_dir() or self.exists():
            return
        # A lock or a temporary file is what remains of a run that was killed before it began.
        ours = (self._lock.name, f".{self.run.name}.", files.PROBE)
        if any(not path.name.startswith(ours) for path in self.path.iterdir()):
            way = "give another --out: a new or empty folder, or that of a run"
            raise SettingsError(f"{self.path} holds other files", next_step=way)

    @contextmanager
    def locked(self, say: Callable[[str], None] = lambda _: None) -> Iterator[Held]:
        """Hold the run as :func:`lock.hold` does, and remove what killed processes left in it."""
        with lock.hold(self._lock, say) as held:
            self.drop_token()
            self._remove_leftovers()
            yield held

    def _remove_leftovers(self) -> None:
        # Whoever draws or exports does not hold the run, so theirs stay as long as they live.
        drawn = (".png.", ".svg.", f".{self.report.name}.")
        for folder in (self.path, self.checkpoints, self.hpbandster, self.export):
            exported = folder == self.export
            if folder != self.path and folder.is_symlink():
                continue
            for path in folder.rglob(".*") if exported else folder.glob(".*"):
                may_live = exported or any(one in path.name for one in drawn)
                if files.is_leftover(path, may_live=may_live):
                    with suppress(OSError):  # it can wait
                        path.unlink()

    def writer(self) -> str | None:
        """The process that writes this run now, in words; None if there seems to be none."""
        return lock.writer(self._lock)

    def set_aside(self) -> Path:
        """Rename the folder to a free name with the time, and return that; deletes nothing."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = self.path.resolve()
        aside = path.with_name(f"{path.name}-before-{stamp}")
        if aside.exists():
            aside = aside.with_name(f"{aside.name}-{os.urandom(2).hex()}")
        try:
            path.rename(aside)
            # Whoever holds the run while it is renamed does not find it there any more.
            lock.forget(aside / self._lock.name)
        except OSError as problem:
            fault = f"cannot rename the earlier run {path} ({problem.strerror})"
            raise files.refused(fault, "fix its permissions, or give another --out") from None
        return aside

    def read_info(self) -> RunInfo:
        """`run.json`; a SettingsError if there is none, a RunDirError if it is damaged."""
        try:
            text = files.read_bytes(self.run, most=MOST_INFO_BYTES)
        except OSError as problem:
            fault = f"cannot read {self.run} ({problem.strerror})"
            if isinstance(problem, FileNotFoundError | NotADirectoryError):
                fault = f"{str(self.path)!r} is not a run"
                if not self.path.exists():
                    fault = f"no folder {str(self.path)!r}"
            way = "give the folder of a run, such as results/lr-sweep"
            beside = self.path.parent.glob(f"*/{self.run.name}")
            way = similar(self.path.name, [one.parent.name for one in beside]) or way
            raise SettingsError(fault, next_step=way) from None
        try:
            version = json.loads(text)["format_version"]
            if version not in range(1, FORMAT_VERSION + 1):
                fault = f"{self.run} has format version {version!r}, and this mnist-lab reads 1 to"
                next_step = "use the mnist-lab that wrote it, or train anew with --fresh"
                raise files.refused(f"{fault} {FORMAT_VERSION}", next_step)
            return RunInfo.model_validate_json(text)
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            fault = f"{self.run} is damaged ({files.first_line(problem)})"
            raise files.refused(fault) from None

    def follow(self, most: int = files.MOST_BYTES) -> Follower:
        """Who follows the journal, of at most `most` bytes; it is read when it is looked at."""
        return Follower(self.journal, most)

    def read_state(self, journal: Follower | None = None) -> tuple[RunInfo, str | None]:
        """`run.json` as it stands, and who writes the run, in words; None if nobody does.

        One that was killed could not say so, and one whose journal lost events since does not know:
        both are `interrupted`. A `journal` is looked at; it then knows all that the state tells of.
        """
        journal = journal or self.follow()
        info = self.read_info()
        writer = self.writer() if info.state == "running" else None
        if info.state == "running" and writer is None:
            info = self.read_info()  # it may have ended since it was read
        journal.look(info.identity)
        is_lost = info.state == "complete" and info.n_events not in {None, journal.n_events}
        if is_lost or (info.state == "running" and writer is None):
            info = info.model_copy(update={"state": "interrupted"})
        return info, writer

    def write_info(self, info: RunInfo) -> None:
        """Replace `run.json`."""
        current = info.model_copy(update={"format_version": FORMAT_VERSION})
        files.write_json(self.run, current.model_dump(mode="json"))

    def read_events(self) -> list[Event]:
        """The journal's events, in order; raises as :func:`read_journal`."""
        return read_journal(self.journal, self.read_info().identity if self.exists() else None)

    def read_trials(self) -> list[Trial]:
        """The trials in the order of their proposal; a RunDirError where the journal is damaged."""
        journal = self.follow()
        journal.look(self.read_info().identity if self.exists() else None)
        return journal.trials()

    def write_curves(self, trials: list[Trial]) -> None:
        """Replace `curves.json`: every trial, with one entry per epoch."""
        files.write_json(self.curves, Curves(trials=tuple(trials)).model_dump(mode="json"))

    def write_best(self, configuration: TrainConfig) -> None:
        """Replace `best.json`: the configuration of the incumbent, nothing else."""
        files.write_json(self.best, configuration.model_dump(mode="json"))

    def write_findings(self, text: str) -> None:
        """Replace `findings.md`: the conclusions, in words."""
        files.write_bytes(self.findings, text.encode())

    def write_model(self, trial: Proposed, content: bytes) -> None:
        """Write `model.keras`: one model per run, always the first trial's."""
        if trial.trial == 1:
            files.write_bytes(self.model, content)

    def write_test(self, result: TestResult) -> None:
        """Replace `test.json`."""
        files.write_json(self.test, result.model_dump(mode="json"))

    def write_token(self, text: str) -> None:
        """Write the token for joining the run, readable by its owner only."""
        files.write_bytes(self.token, text.encode(), mode=0o600)

    def read_token(self) -> str:
        """The token for joining the run; a RunDirError if no process trains it now."""
        try:
            return files.read_bytes(self.token).decode()
        except (OSError, UnicodeDecodeError) as problem:
            fault = f"cannot read {self.token} ({getattr(problem, 'strerror', None) or problem})"
            if isinstance(problem, FileNotFoundError):
                fault = f"nobody is training {self.path} now"
            way = "start or continue that run first, as the same user"
            raise files.refused(fault, way) from None

    def drop_token(self) -> None:
        """Remove the token for joining the run, which is no longer valid."""
        with suppress(OSError):  # it can wait: nobody listens any more
            self.token.unlink(missing_ok=True)

    def write_figure(self, name: str, suffix: str, content: bytes) -> Path:
        """Replace the figure `name`, such as `learning_curves`, as `png` or `svg`; its path."""
        path = self.path / f"{name}.{suffix}"
        files.write_bytes(path, content)
        return path

    def read_figure(self, name: str, suffix: str) -> bytes | None:
        """The bytes of the figure `name`; None if there is no readable one."""
        with suppress(OSError, RunDirError):
            return files.read_bytes(self.path / f"{name}.{suffix}")
        return None

    def names(self) -> list[str]:
        """The names of its files, without hidden ones, links, folders and a report."""
        with suppress(OSError), os.scandir(self.path) as entries:
            files = [one.name for one in entries if one.is_file(follow_symlinks=False)]
            return sorted(one for one in files if one[0] != "." and one != self.report.name)
        return []

    def open(self, name: str) -> IO[bytes] | None:
        """One of the :meth:`names`, to be read; None where it is none of them."""
        with suppress(OSError, RunDirError):
            if name in self.names():
                return open(self.path / name, "rb", opener=files.regular)
        return None

    def stamp(self) -> tuple[int, ...]:
        """What changes when the records do; it begins with when they last did, in ns since 1970."""
        found: list[int] = []
        for path in (self.run, self.journal):
            with suppress(OSError):
                one = path.lstat()
                found += [one.st_mtime_ns, one.st_size, one.st_ino]
        return (max(found[::3], default=0), *found)

    def write_hpbandster(
        self, space: dict[str, Any], configurations: Iterable[dict[str, Any]], trials: list[Trial]
    ) -> None:
        """Replace `hpbandster/`; `space` is ConfigSpace's JSON, with each trial's active values."""
        files.make_folder(self.hpbandster)
        lines = hpbandster.config_lines(configurations, trials)
        files.write_bytes(self.hpbandster / "configs.json", lines)
        files.write_bytes(self.hpbandster / "results.json", hpbandster.result_lines(trials))
        files.write_json(self.space, space)

    def write_checkpoint(self, trial: Proposed, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint of a trial."""
        files.make_folder(self.checkpoints)
        files.write_bytes(self._checkpoint(trial), checkpoints.to_bytes(trial, checkpoint))

    def read_checkpoint(self, trial: Proposed) -> Checkpoint | None:
        """The checkpoint of a trial; None if there is no usable one.

        An unreadable file in its place is removed, so that another can be written.
        """
        path = self._checkpoint(trial)
        try:
            return checkpoints.from_bytes(files.read_bytes(path, most=None), trial)
        except (OSError, RunDirError):
            with suppress(RunDirError):
                self.drop_checkpoint(trial)
            return None

    def drop_checkpoint(self, trial: Proposed) -> None:
        """Remove the checkpoint of a trial; its folder stays, because others may write there."""
        path = self._checkpoint(trial)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as problem:
            raise files.unwritable(path, problem) from None

    def drop_checkpoints(self) -> None:
        """Remove leftover checkpoints, as of a process killed just after a result."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _checkpoint(self, trial: Proposed) -> Path:
        files.refuse_link(self.checkpoints)
        return self.checkpoints / f"trial-{trial.trial:05}.checkpoint"


def runs_below(folder: Path, refused: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """The runs in a folder, or in folders within it, by name; no link is followed.

    `refused` is told of each folder that cannot be read, which is skipped.
    """
    for name, folders, others in os.walk(folder, onerror=refused):
        folders.sort()
        if _RUN in others or _RUN in folders:
            folders.clear()
            yield Path(name)
