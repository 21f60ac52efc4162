"""The files of the course's own script: `results/results_run_<id>.json`, one for each trial.

Their keys are exactly `lr`, `num_filters`, `batch_size`, `filter_size`, `learning_curve` (the
validation error after each epoch, a fraction) and `test_error` (a fraction; null where the trial
was not tested: only `mnist-lab test` looks at the test images). The id is the trial's number.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.records import Trial


def files(trials: Sequence[Trial]) -> dict[str, bytes]:
    """The files of the trials that made an epoch; what is null there was not measured."""
    return {
        f"results/results_run_{trial.trial}.json": _content(trial)
        for trial in trials
        if trial.epochs
    }


def _content(trial: Trial) -> bytes:
    configuration = trial.configuration
    return json.dumps(
        {
            "lr": configuration.learning_rate,
            "num_filters": configuration.num_filters,
            "batch_size": configuration.batch_size,
            "filter_size": configuration.filter_size,
            "learning_curve": [epoch.valid_error for epoch in trial.epochs],
            "test_error": trial.test.test_error if trial.test else None,
        },
        allow_nan=False,
    ).encode()
