"""Every file under a run: the names, atomic writes, the append-only journal, the lock.

No other room composes a file name of a run. Files are replaced atomically (a temporary file in the
same folder, then :func:`os.replace`), so whoever reads sees the old one or the new one. The journal
is only ever appended to, and each line is on the disk before the call returns.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from mnist_lab.config import Frozen, StudySettings, TrainConfig
from mnist_lab.errors import RunDirError, SettingsError
from mnist_lab.records import EVENT, FORMAT_VERSION, Event, Trial, fold, now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A run that is killed stays `running` on the disk; whoever finds no writer knows better.
RunState = Literal["running", "complete", "stopped", "interrupted", "failed"]


class RunInfo(Frozen):
    """`run.json`: what was asked, with what, on what, and how it stands.

    `data` is the data set with its digests (`mnist_lab.data.DatasetInfo`), `versions` maps package
    to version, `machine` describes the computer that started the run; `started` and `ended` are
    RFC 3339, and `spent_s` adds up the seconds of all sessions.
    """

    format_version: Annotated[int, Field(ge=1)] = FORMAT_VERSION
    settings: StudySettings
    data: dict[str, Any]
    versions: dict[str, str]
    machine: dict[str, Any]
    command: str
    state: RunState
    started: str
    ended: str | None = None
    spent_s: float = 0.0


class RunDir:
    """One run directory; making the object touches nothing on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run.json"
        self.journal = path / "journal.jsonl"
        self.curves = path / "curves.json"
        self.best = path / "best.json"
        self.test = path / "test.json"
        self.model = path / "model.keras"
        self.hpbandster = path / "hpbandster"
        self._lock = path / ".lock"

    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.run.exists()

    def create(self) -> None:
        """Make the folder, and prove that it can be written.

        Raises:
            SettingsError: the path, or a part of it, is a file.
            RunDirError: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".writable-{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink()
        except (FileExistsError, NotADirectoryError):
            raise SettingsError(
                "the output path is a folder",
                received=f"{self.path}, which is or lies below a file",
                next_step="give another --out",
            ) from None
        except OSError as problem:
            raise RunDirError(
                "the output folder can be written",
                received=f"{self.path} ({problem.strerror})",
                next_step="give another --out",
            ) from None

    def check_is_ours(self) -> None:
        """Refuse a folder that holds something else than a run.

        Raises:
            SettingsError: it does.
        """
        if not self.path.is_dir() or self.exists():
            return
        # A lock is what remains of a run that was stopped before it began.
        if any(not path.name.startswith(self._lock.name) for path in self.path.iterdir()):
            raise SettingsError(
                "the output folder is new, empty or a run",
                received=f"{self.path}, which holds other files",
                next_step="give another --out",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; the lock ends with the process, however that ends.

        Raises:
            RunDirError: another process writes this run; its host and process id are named.
        """
        from filelock import FileLock, Timeout  # what only reads does without

        lock = FileLock(self._lock)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise RunDirError(
                "one process writes a run at a time",
                received=f"{self.path}, which {self._lock_holder()} is writing",
                next_step="wait for it, stop it, or give another --out",
            ) from None
        try:
            holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
            write_json(self._holder_file(), holder)
            yield
        finally:
            self._holder_file().unlink(missing_ok=True)
            lock.release()

    def writer(self) -> str | None:
        """Who writes this run now, in words; None if nobody does."""
        from filelock import FileLock, Timeout  # what only reads does without

        if not self._lock.exists():
            return None
        lock = FileLock(self._lock)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return self._lock_holder()
        except OSError:  # a folder that only its owner can write
            return None
        lock.release()
        return None

    def _holder_file(self) -> Path:
        # Beside the lock, not in it: where locks are mandatory nobody else could read it.
        return self._lock.with_suffix(".json")

    def _lock_holder(self) -> str:
        time.sleep(0.1)  # the holder writes its name just after taking the lock
        try:
            holder = json.loads(self._holder_file().read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "another process"
        return f"process {holder['pid']} on {holder['host']}"

    def set_aside(self) -> Path:
        """Rename the folder to a free name that tells when; nothing is deleted.

        Returns:
            The new path.
        """
        stamp = time.strftime("%Y%m%d-%H%M%S")
        aside = self.path.with_name(f"{self.path.name}-before-{stamp}")
        if aside.exists():
            aside = aside.with_name(f"{aside.name}-{secrets.token_hex(2)}")
        self.path.rename(aside)
        return aside

    def read_info(self) -> RunInfo:
        """`run.json`.

        Raises:
            SettingsError: there is none.
            RunDirError: it is damaged, or its format version is unknown.
        """
        try:
            text = self.run.read_text(encoding="utf-8")
        except OSError:
            raise SettingsError(
                "a run directory holds a run.json",
                received=str(self.path),
                next_step="give the folder that a command wrote, such as results/lr-sweep",
            ) from None
        try:
            values = json.loads(text)
            version = values["format_version"]
            if version != FORMAT_VERSION:
                raise RunDirError(
                    f"this mnist-lab reads format version {FORMAT_VERSION}",
                    received=f"{self.run} of version {version!r}",
                    next_step="use the mnist-lab that wrote it, or give --fresh",
                )
            return RunInfo.model_validate_json(text)
        except (ValueError, KeyError, TypeError) as problem:
            raise RunDirError(
                "run.json is what mnist-lab wrote",
                received=f"{self.run} ({_first_line(problem)})",
                next_step="restore the file, or give --fresh to set the run aside",
            ) from None

    def write_info(self, info: RunInfo) -> None:
        """Replace `run.json`."""
        write_json(self.run, info.model_dump(mode="json"))

    def read_events(self) -> list[Event]:
        """The journal's events, in order; a torn last line is left out.

        Raises:
            RunDirError: a line other than the last is not an event.
        """
        try:
            lines = self.journal.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        events: list[Event] = []
        for number, line in enumerate(lines, start=1):
            if number == len(lines) and not line.endswith(b"\n"):
                break
            try:
                events.append(EVENT.validate_json(line))
            except ValidationError as problem:
                raise RunDirError(
                    "each line of the journal is an event that mnist-lab wrote",
                    received=f"line {number} of {self.journal} ({_first_line(problem)})",
                    next_step="restore the file, or give --fresh to set the run aside",
                ) from None
        return events

    def read_trials(self) -> list[Trial]:
        """The trials as the journal tells them, in the order of their proposal.

        Raises:
            RunDirError: the journal is damaged.
        """
        try:
            return fold(self.read_events())
        except KeyError as problem:
            raise RunDirError(
                "the journal proposes a trial before it reports on it",
                received=f"trial {problem} in {self.journal}",
                next_step="restore the file, or give --fresh to set the run aside",
            ) from None

    def write_curves(self, trials: list[Trial]) -> None:
        """Replace `curves.json`: every trial, with one entry per epoch."""
        write_json(
            self.curves,
            {
                "format_version": FORMAT_VERSION,
                "trials": [trial.model_dump(mode="json") for trial in trials],
            },
        )

    def write_best(self, configuration: TrainConfig) -> None:
        """Replace `best.json`: the configuration of the incumbent, nothing else."""
        write_json(self.best, configuration.model_dump(mode="json"))

    def write_model(self, content: bytes) -> None:
        """Replace `model.keras`."""
        write_bytes(self.model, content)

    def write_test(self, result: dict[str, Any]) -> None:
        """Replace `test.json`."""
        write_json(self.test, {"format_version": FORMAT_VERSION} | result)

    def write_figure(self, name: str, suffix: str, content: bytes) -> Path:
        """Replace the figure `name`.

        Args:
            name: of the figure, such as `learning_curves`.
            suffix: `png` or `svg`.
            content: the file's bytes.

        Returns:
            The file's path.
        """
        path = self.path / f"{name}.{suffix}"
        write_bytes(path, content)
        return path

    def write_hpbandster(self, space: dict[str, Any], trials: list[Trial]) -> None:
        """Replace `hpbandster/`: configs.json, results.json, configspace.json.

        HpBandSter's own reader and DeepCAVE open that folder. Their lines are
        `[id, configuration, info]` and `[id, budget, times, {loss, info}, exception]`; a null loss
        breaks HpBandSter's incumbent, so a failed trial has the loss 1.0 and the state CRASHED.
        """
        names = [hyperparameter["name"] for hyperparameter in space["hyperparameters"]]
        configs, results = [], []
        for trial in trials:
            values = trial.configuration.model_dump(include=set(names))
            configs.append([trial.id, values, {"trial": trial.trial, "seed": trial.seed}])
            if trial.ended is not None:
                results.append(_hpbandster_result(trial))
        self.hpbandster.mkdir(exist_ok=True)
        write_bytes(self.hpbandster / "configs.json", _json_lines(configs))
        write_bytes(self.hpbandster / "results.json", _json_lines(results))
        write_json(self.hpbandster / "configspace.json", space)


class Journal:
    """The append-only journal of one run, open for writing.

    Raises:
        RunDirError: when opened on, or told to append to, a disk that does not take it.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._path = run_dir.journal
        try:
            self._file = self._path.open("ab")
            self._cut_torn_line()
        except OSError as problem:
            raise self._unwritable(problem) from None

    def append(self, event: Event) -> None:
        """Write one event, and return when it is on the disk."""
        try:
            self._file.write(event.model_dump_json().encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as problem:
            raise self._unwritable(problem) from None

    def close(self) -> None:
        """Close the file; every event is on the disk already."""
        self._file.close()

    def _cut_torn_line(self) -> None:
        content = self._path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(self._path, content.rfind(b"\n") + 1)

    def _unwritable(self, problem: OSError) -> RunDirError:
        return RunDirError(
            "the journal can be written",
            received=f"{self._path} ({problem.strerror})",
            next_step="make room or permit it, then give the same command to continue",
        )


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` atomically; after a failure the old file is whole and no temporary remains.

    Raises:
        RunDirError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as problem:
        raise RunDirError(
            "files of a run can be written",
            received=f"{path} ({problem.strerror})",
            next_step="make room or permit it, then give the same command to continue",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` atomically by `value` as indented JSON.

    Raises:
        ValueError: `value` holds NaN or an infinity.
        RunDirError: the file cannot be written.
    """
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(path, text.encode() + b"\n")


def check_agreement(info: RunInfo, settings: StudySettings, digests: dict[str, str]) -> None:
    """Refuse to continue a run with other settings or other data.

    Args:
        info: the run as it stands.
        settings: what is asked now; `iters` may be larger than before.
        digests: of the data set that is at hand now.

    Raises:
        SettingsError: they disagree; the difference is shown.
    """
    before, after = info.settings.model_dump(), settings.model_dump()
    different = [
        f"{key} {before[key]} there, {after[key]} now"
        for key in before
        if before[key] != after[key] and not (key == "iters" and after[key] > before[key])
    ]
    if info.data["digests"] != digests:
        different.append("another data set")
    if different:
        raise SettingsError(
            "a run continues with the settings it was started with",
            received="; ".join(different),
            next_step="give --out for a new folder, or --fresh to set the old run aside",
        )


def _hpbandster_result(trial: Trial) -> list[Any]:
    budget = float(trial.configuration.epochs)
    times = {"submitted": _timestamp(trial.started), "started": _timestamp(trial.started)}
    times["finished"] = _timestamp(trial.ended)
    if trial.state == "failed" or trial.valid_error is None:
        result = {"loss": 1.0, "info": {"state": "CRASHED", "reason": trial.reason}}
        return [trial.id, budget, times, result, trial.reason]
    result = {"loss": trial.valid_error, "info": {"state": "SUCCESS", "diverged": trial.diverged}}
    return [trial.id, budget, times, result, None]


def _timestamp(when: str | None) -> float:
    """Seconds since 1970 of an RFC 3339 time, as HpBandSter writes its times."""
    return datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp() if when else 0.0


def _json_lines(values: list[Any]) -> bytes:
    return "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode()


def _first_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200]
