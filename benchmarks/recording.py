"""What the scripts of this folder share: where they write, and with what a record is made."""

from __future__ import annotations

import argparse
import json
import sys
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
    """Write a record at once, in a folder that is made if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    new.replace(path)


def read(path: Path, made: dict[str, Any]) -> dict[str, Any]:
    """A record to go on with; ends the program where what `made` holds differs in it."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for key, value in made.items():
        if found.get(key) != value:
            sys.exit(f"{path} has another {key}: give another --out, or remove it")
    return found
