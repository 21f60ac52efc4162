"""The file of a checkpoint: one line of JSON that says what it is, then the trainer's bytes."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mnist_lab.config import Frozen, TrainConfig
from mnist_lab.errors import RunDirError
from mnist_lab.records import FORMAT_VERSION, Checkpoint, Epoch

if TYPE_CHECKING:
    from pathlib import Path

    from mnist_lab.records import Proposed


class _Head(Frozen):
    """The first line; `crc32` is of the bytes behind it."""

    format_version: int = FORMAT_VERSION
    configuration: TrainConfig
    seed: int
    epoch: Epoch
    crc32: int


def to_bytes(trial: Proposed, checkpoint: Checkpoint) -> bytes:
    """The content of the file."""
    head = _Head(
        configuration=trial.configuration,
        seed=trial.seed,
        epoch=checkpoint.epoch,
        crc32=zlib.crc32(checkpoint.state),
    )
    return head.model_dump_json().encode() + b"\n" + checkpoint.state


def from_bytes(content: bytes, trial: Proposed, path: Path) -> Checkpoint | None:
    """The checkpoint in the file; None if it is damaged: its trial then starts anew.

    Raises:
        RunDirError: it is whole, but of another configuration, seed or format version.
    """
    line, _, state = content.partition(b"\n")
    try:
        version = json.loads(line)["format_version"]
        head = _Head.model_validate_json(line) if version == FORMAT_VERSION else None
    except (ValueError, KeyError, TypeError, ValidationError):
        return None
    if head is None:
        raise _refused(f"format version {version!r} in {path}")
    if head.crc32 != zlib.crc32(state):
        return None
    # A trial that is promoted goes on, for more epochs than it was started with.
    configuration = head.configuration.model_copy(update={"epochs": trial.configuration.epochs})
    if (configuration, head.seed) != (trial.configuration, trial.seed):
        raise _refused(f"another configuration or seed in {path}")
    return Checkpoint(head.epoch, state)


def _refused(received: str) -> RunDirError:
    return RunDirError(
        "a checkpoint is of its trial and of this version of mnist-lab",
        received=received,
        next_step="delete it to train that trial anew, or give --fresh to set the run aside",
    )
