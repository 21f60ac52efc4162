"""A search as HpBandSter's own reader and DeepCAVE open it.

Their lines are `[id, configuration, info]` in configs.json and `[id, budget, times, {loss, info},
exception]` in results.json. A null loss breaks HpBandSter's incumbent, so a failed trial has the
loss 1.0 and the state CRASHED.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mnist_lab.records import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnist_lab.records import Trial


def config_lines(configurations: Iterable[dict[str, Any]], trials: list[Trial]) -> bytes:
    """The content of configs.json; `configurations` holds each trial's active hyperparameters."""
    return _lines(
        [trial.id, configuration, {"trial": trial.trial, "seed": trial.seed}]
        for trial, configuration in zip(trials, configurations, strict=True)
    )


def result_lines(trials: list[Trial]) -> bytes:
    """The content of results.json."""
    return _lines(line for trial in trials for line in _results(trial))


def _results(trial: Trial) -> Iterator[list[Any]]:
    """A line for each budget that the trial was trained for, or failed at."""
    crashed = {"loss": 1.0, "info": {"state": "CRASHED", "reason": trial.reason}}
    for rung in trial.rungs:
        times = _times(rung.started, rung.ended)
        if rung.valid_error is None:
            yield [trial.id, float(rung.budget), times, crashed, trial.reason]
        else:
            info = {"state": "SUCCESS", "diverged": rung.diverged}
            result = {"loss": rung.valid_error, "info": info}
            yield [trial.id, float(rung.budget), times, result, None]
    if trial.state == "failed":
        times = _times(trial.started, trial.ended)
        yield [trial.id, float(trial.configuration.epochs), times, crashed, trial.reason]


def _times(started: str | None, ended: str | None) -> dict[str, float]:
    start = timestamp(started)
    return {"submitted": start, "started": start, "finished": timestamp(ended)}


def _lines(values: Iterable[Any]) -> bytes:
    return "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode()
