"""Checkpoint files: whole or not there, and of their own trial only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from made_events import proposed

from mnist_lab.errors import RunDirError
from mnist_lab.records import Checkpoint, Epoch
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from pathlib import Path

STATE = bytes(range(256)) + b"\n" + b"{}\n"
CHECKPOINT = Checkpoint(
    Epoch(
        epoch=2,
        train_loss=0.5,
        train_error=0.1,
        valid_loss=None,
        valid_error=None,
        duration_s=1.5,
    ),
    STATE,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run directory that exists."""
    run = RunDir(tmp_path / "run")
    run.create()
    return run


def the_file(run: RunDir) -> Path:
    """The one checkpoint's file."""
    (path,) = run.checkpoints.iterdir()
    return path


def test_round_trip(run: RunDir) -> None:
    """What was written is read, any bytes included; the later one replaces the earlier."""
    run.write_checkpoint(proposed(), CHECKPOINT._replace(state=b"earlier"))
    run.write_checkpoint(proposed(), CHECKPOINT)
    assert run.read_checkpoint(proposed()) == CHECKPOINT


def test_each_trial_has_its_own(run: RunDir) -> None:
    """Another trial has none, and dropping one leaves the others, and the folder."""
    first, second = proposed(), proposed().model_copy(update={"trial": 2})
    run.write_checkpoint(first, CHECKPOINT)
    assert run.read_checkpoint(second) is None
    run.write_checkpoint(second, CHECKPOINT)
    run.drop_checkpoint(first)
    assert run.read_checkpoint(first) is None
    assert run.read_checkpoint(second) == CHECKPOINT
    run.drop_checkpoint(second)
    run.drop_checkpoint(second)
    assert list(run.checkpoints.iterdir()) == []
    run.drop_checkpoints()
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


@pytest.mark.parametrize("damage", ["empty", "no head", "cut", "changed", "binary head"])
def test_damaged_checkpoint_is_none(run: RunDir, damage: str) -> None:
    """A file that is not whole is not used: its trial starts anew."""
    run.write_checkpoint(proposed(), CHECKPOINT)
    path = the_file(run)
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "no head": STATE,
            "cut": content[:-1],
            "changed": content[:-1] + b"x",
            "binary head": b"\xff" + content,
        }[damage]
    )
    assert run.read_checkpoint(proposed()) is None


@pytest.mark.parametrize("change", ["configuration", "seed"])
def test_checkpoint_of_another_training_is_refused(run: RunDir, change: str) -> None:
    """A whole checkpoint under the wrong name is somebody's mistake, which is named."""
    run.write_checkpoint(proposed(), CHECKPOINT)
    configuration = proposed().configuration.model_copy(update={"num_filters": 3})
    values = {"configuration": configuration} if change == "configuration" else {"seed": 123}
    with pytest.raises(RunDirError, match=r"another configuration or seed in .*delete it"):
        run.read_checkpoint(proposed().model_copy(update=values))


def test_unknown_format_version_is_refused(run: RunDir) -> None:
    """A checkpoint of a later mnist-lab is named with its version."""
    run.write_checkpoint(proposed(), CHECKPOINT)
    path = the_file(run)
    path.write_bytes(path.read_bytes().replace(b'"format_version":1', b'"format_version":2', 1))
    with pytest.raises(RunDirError, match="format version 2"):
        run.read_checkpoint(proposed())
