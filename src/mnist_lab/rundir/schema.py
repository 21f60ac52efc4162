"""The JSON schemas of a run's files, made from the models that write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from mnist_lab.config import OPTIONAL, TrainConfig
from mnist_lab.rundir.directory import RunDir
from mnist_lab.rundir.documents import Curves, RunInfo, TestResult
from mnist_lab.rundir.journal import CHAIN, Entry


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema (draft 2020-12) of each file by name; the journal's is that of a line.

    HpBandSter and ConfigSpace define the files in `hpbandster/`.
    """
    run = RunDir(Path())
    models: dict[Path, Any] = {
        run.run: RunInfo,
        run.journal: Entry,
        run.curves: Curves,
        run.best: TrainConfig,
        run.test: TestResult,
    }
    made = {}
    for path, model in models.items():
        schema = TypeAdapter(model).json_schema()
        for part in (schema, *schema.get("$defs", {}).values()):
            if "properties" in part:  # who reads may rely on what has a default for the writer
                left_out = (*OPTIONAL, "n_valid", "configurations")  # where it is 0, or null
                part["required"] = [name for name in part["properties"] if name not in left_out]
                if path == run.journal and "event" in part["properties"]:
                    part["properties"] |= CHAIN
                    part["required"] += CHAIN
        made[path.name] = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
    return made
