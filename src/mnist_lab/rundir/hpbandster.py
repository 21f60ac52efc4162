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

    from mnist_lab.records import Rung, Trial


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
    """A line for each budget that the trial completed or failed at."""
    crashed = {"loss": 1.0, "info": {"state": "CRASHED", "reason": trial.reason}}
    for rung in trial.rungs:
        result, problem = crashed, trial.reason
        if rung.valid_error is not None:
            # The loss is what HpBandSter's reader compares; below one epoch the other one ranked.
            info = {"state": "SUCCESS", "diverged": rung.diverged, "valid_loss": rung.valid_loss}
            result, problem = {"loss": rung.valid_error, "info": info}, None
        yield [trial.id, float(rung.budget), _times(rung), result, problem]
    if trial.state == "failed":
        budget = float(trial.configuration.epochs)
        yield [trial.id, budget, _times(trial), crashed, trial.reason]


def _times(one: Rung | Trial) -> dict[str, float]:
    start = timestamp(one.started)
    return {"submitted": start, "started": start, "finished": timestamp(one.ended)}


def _lines(values: Iterable[Any]) -> bytes:
    return "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode()
