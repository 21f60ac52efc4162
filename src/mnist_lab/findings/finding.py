"""What a finding is."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """A conclusion: a `topic` of a word or three, and a `text` that stands for itself."""

    topic: str
    text: str
