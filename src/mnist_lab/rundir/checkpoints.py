"""The file of a checkpoint: its checksum, a line of JSON with its owner, the state."""

from __future__ import annotations

import zlib

from mnist_lab.config import Frozen, TrainConfig
from mnist_lab.records import FORMAT_VERSION, Checkpoint, Epoch, Proposed


class _Head(Frozen):
    """The training whose state the bytes after it are."""

    format_version: int = FORMAT_VERSION
    configuration: TrainConfig
    seed: int
    epoch: Epoch


def to_bytes(trial: Proposed, checkpoint: Checkpoint) -> bytes:
    """The content of the file; its first line has the CRC-32 of all that follows it."""
    head = _Head(configuration=trial.configuration, seed=trial.seed, epoch=checkpoint.epoch)
    rest = head.model_dump_json().encode() + b"\n" + checkpoint.state
    return b"%08x\n%s" % (zlib.crc32(rest), rest)


def from_bytes(content: bytes, trial: Proposed) -> Checkpoint | None:
    """The checkpoint in the file; None if it is damaged, or of another training or version."""
    checksum, _, rest = content.partition(b"\n")
    if checksum != b"%08x" % zlib.crc32(rest):
        return None
    line, _, state = rest.partition(b"\n")
    try:
        head = _Head.model_validate_json(line)
    except ValueError:
        return None
    # A trial that is promoted goes on, for more epochs than it was started with.
    configuration = head.configuration.model_copy(update={"epochs": trial.configuration.epochs})
    its = head.format_version, configuration, head.seed
    is_its = its == (FORMAT_VERSION, trial.configuration, trial.seed)
    return Checkpoint(head.epoch, state) if is_its else None
