"""A search as HpBandSter's own reader and DeepCAVE open it.

Their lines are `[id, configuration, info]` in configs.json and `[id, budget, times, {loss, info},
exception]` in results.json. A null loss breaks HpBandSter's incumbent, so a failed trial has the
loss 1.0 and the state CRASHED.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnist_lab.records import Trial


def config_lines(names: set[str], trials: list[Trial]) -> bytes:
    """The content of configs.json; `names` are the hyperparameters of the space."""
    return _lines(
        [
            trial.id,
            trial.configuration.model_dump(include=names),
            {"trial": trial.trial, "seed": trial.seed},
        ]
        for trial in trials
    )


def result_lines(trials: list[Trial]) -> bytes:
    """The content of results.json."""
    return _lines(_result(trial) for trial in trials if trial.ended is not None)


def _result(trial: Trial) -> list[Any]:
    budget = float(trial.configuration.epochs)
    times = {"submitted": _timestamp(trial.started), "started": _timestamp(trial.started)}
    times["finished"] = _timestamp(trial.ended)
    if trial.state == "failed" or trial.valid_error is None:
        result = {"loss": 1.0, "info": {"state": "CRASHED", "reason": trial.reason}}
        return [trial.id, budget, times, result, trial.reason]
    result = {"loss": trial.valid_error, "info": {"state": "SUCCESS", "diverged": trial.diverged}}
    return [trial.id, budget, times, result, None]


def _timestamp(when: str | None) -> float:
    """Seconds since 1970 of an RFC 3339 time, as HpBandSter writes its times."""
    return datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp() if when else 0.0


def _lines(values: Iterable[Any]) -> bytes:
    return "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode()
