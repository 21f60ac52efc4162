"""How a checkpoint travels: Pyro4's serializer, msgpack, knows no records."""

from __future__ import annotations

from typing import Any

from mnist_lab.records import Checkpoint, Epoch


def to_wire(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint as text and bytes."""
    return {"epoch": checkpoint.epoch.model_dump_json(), "state": checkpoint.state}


def from_wire(sent: dict[str, Any]) -> Checkpoint:
    """The checkpoint of :func:`to_wire`."""
    return Checkpoint(Epoch.model_validate_json(sent["epoch"]), sent["state"])
