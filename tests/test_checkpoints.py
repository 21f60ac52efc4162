"""Checkpoint files: whole or not there, and of their own trial only."""

from __future__ import annotations

import errno
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from made_events import an_epoch, proposed

from mnist_lab.records import Checkpoint
from mnist_lab.rundir import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from mnist_lab.rundir import RunDir

STATE = bytes(range(256)) + b"\n" + b"{}\n"
CHECKPOINT = Checkpoint(an_epoch(2, None), STATE)


def the_file(run: RunDir) -> Path:
    """The one checkpoint's file."""
    (path,) = run.checkpoints.iterdir()
    return path


def test_each_trial_has_its_own(run: RunDir) -> None:
    """What was written is read, any bytes included; dropping one leaves others and the folder."""
    first, second = proposed(), proposed().model_copy(update={"trial": 2})
    run.write_checkpoint(first, CHECKPOINT._replace(state=b"earlier"))
    run.write_checkpoint(first, CHECKPOINT)
    assert (run.read_checkpoint(first), run.read_checkpoint(second)) == (CHECKPOINT, None)
    run.write_checkpoint(second, CHECKPOINT)
    run.drop_checkpoint(first)
    assert (run.read_checkpoint(first), run.read_checkpoint(second)) == (None, CHECKPOINT)
    for _ in range(2):
        run.drop_checkpoint(second)
        assert list(run.checkpoints.iterdir()) == []
    for _ in range(2):
        run.drop_checkpoints()
        assert not run.checkpoints.exists()


def test_trials_that_end_while_others_write(run: RunDir) -> None:
    """One thread drops the last checkpoint while another writes its own: neither is in the way."""

    def train(number: int) -> None:
        trial = proposed(number)
        for _ in range(300):
            run.write_checkpoint(trial, CHECKPOINT)
            run.drop_checkpoint(trial)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(train, (1, 2)))  # raises what a thread raised


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda _: b"",
    lambda _: STATE,
    lambda content: content[:-1],
    lambda content: content[:-1] + b"x",
    lambda content: content.replace(b'"epoch":2', b'"epoch":3'),
    lambda content: b"\xff" + content,
]


def test_damaged_checkpoint_is_none(run: RunDir) -> None:
    """A file that is not as it was written is not used: its trial starts anew."""
    for damage in DAMAGES:
        run.write_checkpoint(proposed(), CHECKPOINT)
        the_file(run).write_bytes(damage(the_file(run).read_bytes()))
        assert run.read_checkpoint(proposed()) is None


def test_checkpoint_of_another_training_is_none(run: RunDir) -> None:
    """Neither is a whole one of another configuration, seed or format version."""
    run.write_checkpoint(proposed(), CHECKPOINT)
    configuration = proposed().configuration.model_copy(update={"num_filters": 3})
    for other in ({"configuration": configuration}, {"seed": 123}):
        assert run.read_checkpoint(proposed().model_copy(update=other)) is None
    _, _, rest = the_file(run).read_bytes().partition(b"\n")
    rest = rest.replace(b'"format_version":2', b'"format_version":3', 1)
    the_file(run).write_bytes(b"%08x\n%s" % (zlib.crc32(rest), rest))
    assert run.read_checkpoint(proposed()) is None


def test_what_cannot_be_read_makes_way(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in its place, or a disk that fails to read it, does not keep the trial back."""
    run.write_checkpoint(proposed(), CHECKPOINT)
    path = the_file(run)
    path.unlink()
    (path / "full").mkdir(parents=True)
    assert run.read_checkpoint(proposed()) is None
    run.write_checkpoint(proposed(), CHECKPOINT)
    assert run.read_checkpoint(proposed()) == CHECKPOINT

    def fail(_: Path, **__: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_bytes", fail)
        assert run.read_checkpoint(proposed()) is None
    run.write_checkpoint(proposed(), CHECKPOINT)
    assert run.read_checkpoint(proposed()) == CHECKPOINT
