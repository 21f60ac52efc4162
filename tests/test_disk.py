"""Disks that are full, read-only or over a quota, torn journals: nothing written is damaged.

Most tests need a small file system of their own: root, or sudo without a password, mounts it.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import resource
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lab
import pytest
from lab import measured, wait_until_gone, workers_of
from made_events import (
    an_epoch,
    failed,
    open_journal,
    proposed,
    whole_trial,
    write_events,
)

from mnist_lab.errors import RunDirError
from mnist_lab.records import Checkpoint, EpochDone
from mnist_lab.rundir import RunDir, write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STATUS = "status results/lr-sweep"
COMMON = ("--data", "sample", "--workers", "2")
SEARCH = ("random-search", "--iters", "2", "--epochs", "6", *COMMON)
SWEEP = ("lr-sweep", "--values", "0.1,0.01,0.001", "--epochs", "8", *COMMON)
# Longer curves than everything else that this run writes before its end.
LONG = ("lr-sweep", "--values", "0.1,0.01", "--epochs", "100", *COMMON)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes import the formula, and let them be quick."""
    monkeypatch.setenv("PYTHONPATH", str(lab.TESTS))
    monkeypatch.setenv("FORMULA_SECONDS", "0.005")


# --- file systems, and what goes wrong with them


class Disk:
    """A small file system mounted at `path`; `prefix` are words before a command of root's."""

    def __init__(self, path: Path, prefix: list[str]) -> None:
        self.path = path
        self._prefix = prefix

    def admin(self, *command: str) -> None:
        """Give a command as root."""
        subprocess.run([*self._prefix, *command], check=True, capture_output=True)

    @contextmanager
    def full(self, leave: int = 0) -> Iterator[None]:
        """No room, except for `leave` bytes."""
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as file:
            with pytest.raises(OSError, match="No space left on device"):
                list(map(file.write, itertools.repeat(b"x" * 4096)))
            file.truncate(filler.stat().st_size - leave)
        yield
        filler.unlink()

    @contextmanager
    def without_inodes(self) -> Iterator[None]:
        """Room for bytes, but for no other file."""
        names = (self.path / f"filler-{number}" for number in itertools.count())
        for pause_s in (0.05, 0.0):  # a temporary file of the run may have been there, and is gone
            with pytest.raises(OSError, match="No space left on device"):
                list(map(Path.touch, names))
            time.sleep(pause_s)
        yield
        for filler in self.path.glob("filler-*"):
            filler.unlink()


@contextmanager
def mounted(path: Path, *words: str) -> Iterator[Disk]:
    """Mount a file system, or skip the test."""
    path.mkdir()
    for prefix in ([], ["sudo", "-n"]):
        try:
            command = [*prefix, "mount", *words, str(path)]
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            break
    else:
        pytest.skip("needs a small disk: root, or sudo without a password, must be able to mount")
    disk = Disk(path, prefix)
    disk.admin("chmod", "777", str(path))
    try:
        yield disk
    finally:
        disk.admin("umount", "--lazy", str(path))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """One MiB, and 64 files."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "none") as disk:
        yield disk


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system that turns read-only while files are open in it, as after an error."""
    image = tmp_path / "image"
    try:
        with image.open("wb") as file:
            file.truncate(4 << 20)
        subprocess.run(["/sbin/mkfs.ext4", "-q", image], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("needs /sbin/mkfs.ext4")
    with mounted(tmp_path / "failing", "-o", "loop", str(image)) as disk:
        yield disk


# --- whole commands


def start(out: Path, words: tuple[str, ...], **environment: Any) -> subprocess.Popen[str]:
    """Start a command that trains."""
    return lab.start(*words, "--out", str(out), **environment)


def start_and_wait(out: Path, words: tuple[str, ...]) -> subprocess.Popen[str]:
    """Start a command with slow epochs, and return when a few are done."""
    journal = RunDir(out).journal
    n_before = lab.n_epochs(journal)
    process = start(out, words, FORMULA_SECONDS="0.15")
    lab.wait_for_epochs(journal, n_before + 3, process)
    return process


def finish(out: Path, words: tuple[str, ...], **environment: Any) -> None:
    """Give the command and let it end well."""
    assert "error:" not in lab.run(*words, "--out", str(out), **environment).stderr


@cache
def undisturbed(words: tuple[str, ...]) -> list[Any]:
    """The trials of the command on a disk without troubles."""
    finish(Path("undisturbed"), words)
    return measured("undisturbed")


def check_ends_with_one_line(process: subprocess.Popen[str], match: str) -> None:
    """Rule, value and next step in the last line, nobody left behind, no traceback."""
    workers = workers_of(process)
    words = process.communicate(timeout=60)[1]
    assert process.returncode == 1, words
    lines = words.splitlines()
    assert [line for line in lines if line.startswith("error:")] == lines[-2:-1]
    assert re.fullmatch(f"error: .*{match}.*", lines[-2]), lines[-2]
    assert lines[-1].startswith("hint: ")
    assert "Traceback" not in words
    wait_until_gone(workers)


def check_is_whole(out: Path, *kept: str) -> None:
    """Every line of the journal is an event, and every JSON file is one.

    No hidden file is left but the lock, and what begins as one of `kept`.
    """
    assert RunDir(out).journal.read_bytes().endswith(b"\n")
    RunDir(out).read_events()
    for path in out.glob("*.json"):
        json.loads(path.read_bytes())
    ours = (".lock", *kept)
    assert [path for path in out.rglob(".*") if not path.name.startswith(ours)] == []


def check_continues(out: Path, words: tuple[str, ...]) -> None:
    """The same command ends with the curves of an undisturbed run; no epoch is trained twice."""
    finish(out, words)
    assert measured(str(out)) == undisturbed(words)
    events = RunDir(out).read_events()
    trained = [(one.trial, one.epoch.epoch) for one in events if isinstance(one, EpochDone)]
    assert len(trained) == len(set(trained))


@pytest.mark.proof
def test_run_on_a_disk_with_troubles(disk: Disk) -> None:
    """Full, without inodes, over a limit: each ends the run in one line and costs nothing."""
    out = disk.path / "run"
    for trouble in (disk.full, disk.without_inodes):
        process = start_and_wait(out, SWEEP)
        with trouble():
            check_ends_with_one_line(process, "No space left on device")
            check_is_whole(out)
    if sys.platform == "linux":  # only there a limit is set from outside
        process = start_and_wait(out, SWEEP)
        largest = RunDir(out).journal.stat().st_size + 100  # the next line is torn
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        check_ends_with_one_line(process, "File too large")
        check_is_whole(out)
    check_continues(out, SWEEP)


@pytest.mark.proof
def test_disk_turns_read_only(failing_disk: Disk) -> None:
    """A file system that stops to take anything, as after an error, ends the run with one line."""
    out = failing_disk.path / "run"
    process = start_and_wait(out, SWEEP)
    failing_disk.admin("mount", "-o", "remount,abort", str(failing_disk.path))
    check_ends_with_one_line(process, "Read-only file system")
    # Nothing can be removed: the void token, and a checkpoint that was being written.
    check_is_whole(out, ".token.json", ".trial-")
    check_ends_with_one_line(start(out, SWEEP), "Read-only file system")
    failing_disk.admin("umount", str(failing_disk.path))
    image = failing_disk.path.with_name("image")
    failing_disk.admin("mount", "-o", "loop", str(image), str(failing_disk.path))
    (out / ".lock.lease").unlink()  # it lost its content, and a name is watched for 16 s
    check_continues(out, SWEEP)
    check_is_whole(out)


@pytest.mark.proof
def test_disk_is_full_before_the_start(disk: Disk) -> None:
    """A run that cannot begin says so, and leaves nothing that stands in another's way."""
    out = disk.path / "run"
    for trouble in (disk.full, disk.without_inodes):
        with trouble():
            check_ends_with_one_line(start(out, SWEEP), "No space left on device")
            assert not RunDir(out).exists()
            RunDir(out).check_is_ours()


@pytest.mark.proof
@pytest.mark.parametrize(
    ("words", "room", "file", "state"),
    [(LONG, 88, "curves.json", "running"), (SEARCH, 96, r"\.png", "complete")],
)
def test_disk_is_full_at_the_end(
    disk: Disk, words: tuple[str, ...], room: int, file: str, state: str
) -> None:
    """Where only curves or figures had no room, the same command writes them and trains nothing."""
    out = disk.path / "run"
    with disk.full(leave=room << 10):
        check_ends_with_one_line(start(out, words), f"{file} .No space left on device")
        check_is_whole(out)
        assert RunDir(out).read_info().state == state
    trials = RunDir(out).read_trials()
    assert {trial.state for trial in trials} == {"complete"}
    finish(out, words, FORMULA_UNUSABLE="1")
    assert RunDir(out).read_trials() == trials
    n_trained = [len(epochs) for *_, epochs in measured(str(out))]
    assert n_trained == [trial.configuration.epochs for trial in trials]
    assert list(out.glob("*.svg")) != []


# As if the folder had become full after Python chose it.
FULL_TEMP = """
import runpy, sys, tempfile
tempfile.tempdir = sys.argv.pop(1)
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.mark.proof
def test_folder_for_temporary_files_is_full(disk: Disk) -> None:
    """Workers that cannot be started for want of temporary files are one line; nothing is begun."""
    command = [sys.executable, "-c", FULL_TEMP, str(disk.path), lab.LAB[1]]
    with disk.without_inodes():
        process = lab.start(*SWEEP, "--out", "run", command=command)
        check_ends_with_one_line(process, "No space left on device")
    assert not Path("run/run.json").exists()


# --- what is printed


def shell(words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of words given to a shell."""
    command = ["/bin/sh", "-c", f"exec '{sys.executable}' '{lab.LAB[1]}' {words}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@needs_full
@pytest.mark.parametrize("words", [STATUS, f"{STATUS} --json", "--help"])
@pytest.mark.usefixtures("run")
def test_output_that_cannot_be_written(words: str) -> None:
    """What was asked for and cannot be shown is an error of one line."""
    code, _, problem = shell(f"{words} > /dev/full")
    assert (code, problem.count("\n")) == (1, 2)
    match = r"error: cannot write to standard output .No space left on device.\nhint: .+\n"
    assert re.fullmatch(match, problem)


@pytest.mark.parametrize("lost", [pytest.param("2> /dev/full", marks=needs_full), "2>&-"])
def test_errors_that_cannot_be_written(lost: str) -> None:
    """Where nobody can be told, the exit code still tells; where neither stream takes it, too."""
    for words in ("status none", "--bogus"):
        assert shell(f"{words} {lost}")[0] == 2
    if "full" in lost:
        assert shell("--help > /dev/full 2>&1") == (1, "", "")


@pytest.mark.usefixtures("run")
def test_output_is_closed() -> None:
    """Who closes standard output wants nothing shown, which is no error."""
    for words in (STATUS, "--help"):
        assert shell(f"{words} >&-") == (0, "", "")
    assert shell(f"{STATUS} >&- 2>&- <&-") == (0, "", "")


@pytest.mark.proof
@pytest.mark.parametrize("lost", [pytest.param("2> /dev/full", marks=needs_full), "<&- >&- 2>&-"])
def test_progress_that_cannot_be_written(lost: str) -> None:
    """Hours of training do not end because a log is full, and no file gets a stream's number."""
    assert shell(f"{' '.join(SWEEP)} --out run {lost}")[0] == 0
    check_is_whole(Path("run"))
    assert measured("run") == undisturbed(SWEEP)


@pytest.mark.proof
def test_reader_of_the_progress_goes_away() -> None:
    """After `2>&1 | head -1` a study goes on to its end, with nobody watching."""
    process = start(Path("run"), SWEEP, FORMULA_SECONDS="0.05")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stderr.readline().startswith("lr-sweep on ")
    process.stderr.close()
    assert process.wait(60) == 0
    process.stdout.close()
    check_is_whole(Path("run"))
    assert measured("run") == undisturbed(SWEEP)


@pytest.mark.proof
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_reader_of_the_result_goes_away(more: tuple[str, ...]) -> None:
    """The exit code tells that the time limit ended the study, and nothing complains."""
    words = (*LONG, "--out", "run", "--quiet", "--time-limit", "2s", *more)
    with lab.start(*words, FORMULA_SECONDS="0.5") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        printed = process.stderr.read()
    assert (process.returncode, printed.count("\n")) == (75, 1), printed


@pytest.mark.usefixtures("run")
def test_reader_of_the_status_goes_away() -> None:
    """`status | head -1` is no error."""
    read, write = os.pipe()
    os.close(read)
    command = [*lab.LAB, *STATUS.split()]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


# --- names, and torn journals


def test_names_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename and a new file survive a power cut: their folder is put on the disk after them."""
    run, synced, fsync = RunDir(tmp_path), [], os.fsync

    def look(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            synced.append(set(os.listdir(number)))
        fsync(number)

    monkeypatch.setattr(os, "fsync", look)
    write_bytes(run.curves, b"{}")
    open_journal(run).close()
    for number in (1, 2):
        run.write_checkpoint(proposed(number), Checkpoint(an_epoch(), b""))
    names = ["curves.json", "journal.jsonl", "checkpoints"]
    first, second = "trial-00001.checkpoint", "trial-00002.checkpoint"
    assert synced == [*(set(names[:n]) for n in (1, 2, 3)), {first}, {first, second}]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_folder_that_cannot_be_synced(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A file system that cannot do this for folders is no error; a disk that fails is."""
    fsync = os.fsync

    def refuse(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(file)

    monkeypatch.setattr(os, "fsync", refuse)
    writes: list[Callable[[], None]] = [
        lambda: write_bytes(run.curves, b"{}"),
        lambda: open_journal(run).close(),
    ]
    for write in writes:
        if number == errno.EIO:
            with pytest.raises(RunDirError, match=r"cannot write .*\.jsonl? .Input/output error.;"):
                write()
        else:
            write()
    assert run.curves.read_bytes() == b"{}"


def test_journal_torn_anywhere(tmp_path: Path) -> None:
    """Cut at any byte, what is read is the whole lines before; opening cuts the rest, in words."""
    run, made = RunDir(tmp_path), whole_trial()[:3]
    write_events(run, *made)
    whole = run.journal.read_bytes()
    for cut in range(len(whole) + 1):
        run.journal.write_bytes(whole[:cut])
        n_whole = max(whole[:cut].count(b"\n") - 1, 0)  # the first line names the run
        n_torn = cut - (whole[:cut].rfind(b"\n") + 1)
        assert run.read_events() == made[:n_whole]
        assert run.journal.stat().st_size == cut  # reading changes nothing
        journal = open_journal(run)
        if n_torn == 0:
            assert journal.repaired is None
        else:
            size = "1 byte" if n_torn == 1 else f"{n_torn} bytes"
            assert f"was damaged ({size}, as a power cut leaves it)" in (journal.repaired or "")
        journal.append(failed())
        journal.close()
        assert run.read_events() == [*made[:n_whole], failed()]
