"""What the scripts of this folder share: where they write, and with what a record is made."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mnist_lab import machine
from mnist_lab.records import now


def parser(about: str | None) -> argparse.ArgumentParser:
    """The arguments of a script with this docstring; so far `--out`."""
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out = Path(__file__).parents[1] / "docs" / "performance"
    made.add_argument("--out", type=Path, default=out)
    return made


def made_with() -> dict[str, Any]:
    """The beginning of a record: when, where and with what it is made."""
    return {"date": now()[:10], "machine": machine.hardware(), "versions": machine.versions()}


def write(record: dict[str, Any], path: Path) -> None:
    """Write a record, in a folder that is made if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
