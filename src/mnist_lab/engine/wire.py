"""How a checkpoint travels: Pyro4's serializer, serpent, knows neither records nor bytes."""

from __future__ import annotations

import base64

from mnist_lab.records import Checkpoint, Epoch


def to_wire(checkpoint: Checkpoint) -> dict[str, str]:
    """The checkpoint as plain texts."""
    return {
        "epoch": checkpoint.epoch.model_dump_json(),
        "state": base64.b64encode(checkpoint.state).decode(),
    }


def from_wire(sent: dict[str, str]) -> Checkpoint:
    """The checkpoint of :func:`to_wire`."""
    return Checkpoint(
        Epoch.model_validate_json(sent["epoch"]), base64.b64decode(sent["state"], validate=True)
    )
