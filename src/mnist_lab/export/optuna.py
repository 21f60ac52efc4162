"""A study for Optuna, which its own functions and optuna-dashboard open by the file's path.

The file is the log of Optuna's `JournalStorage`: text that needs no database, keeps every digit of
a float, and is the same whenever the same run is exported.
"""

from __future__ import annotations

import json
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mnist_lab.analysis.outcomes import outcome_of
from mnist_lab.config import VARIED, Hyperparameter
from mnist_lab.errors import not_installed
from mnist_lab.records import timestamp
from mnist_lab.views import trial_sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo


def files(info: RunInfo, trials: Sequence[Trial]) -> dict[str, bytes]:
    """A storage with one study, which has a trial for each of ours, in their order.

    A trial's value is its last validation error, in a `test` its test error. Steps number the
    places at which this run validates, which are whole epochs unless budgets are smaller;
    `epoch_of_step`, an attribute of the study, has the epochs.

    Raises:
        LabError: Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise not_installed("--to optuna", "optuna")
    import optuna
    from optuna.storages.journal import BaseJournalBackend

    entries: list[dict[str, Any]] = []

    class Log(BaseJournalBackend):
        def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
            return entries[log_number_from:]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            entries.extend(logs)

    storage, verbosity = optuna.storages.JournalStorage(Log()), optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of each study that it makes
    name = f"{info.settings.experiment} {info.started}"
    study = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], name)
    optuna.logging.set_verbosity(verbosity)
    metric = "test error" if info.settings.experiment == "test" else "validation error"
    storage.set_study_system_attr(study, "study:metric_names", [metric])  # as set_metric_names does
    steps = sorted({epoch.epoch for trial in trials for epoch in trial.epochs})
    data = ": ".join((info.data.name, *info.data.notes))
    about = {"epoch_of_step": steps, "data": data, "seed": info.settings.seed}
    for key, value in (about | {"versions": info.versions}).items():
        storage.set_study_user_attr(study, key, value)
    for trial in _frozen(info, trials, {epoch: n for n, epoch in enumerate(steps, start=1)}):
        storage.create_new_trial(study, trial)
    # Optuna names its process, on which the file should not depend.
    lines = (json.dumps(entry | {"worker_id": "mnist-lab"}) for entry in entries)
    return {"optuna.log": "".join(f"{line}\n" for line in lines).encode()}


def _frozen(info: RunInfo, trials: Sequence[Trial], step: dict[float, int]) -> Iterator[Any]:
    """The trials as Optuna has them; all else that a sheet says of one is a user attribute."""
    from optuna.trial import FrozenTrial, TrialState

    space = [(one, _distribution(one)) for one in _space(info)]
    # The best is among those that were trained for the largest budget that any completed.
    budgets = [one.budget for trial in trials for one in trial.rungs if not one.diverged]
    sheet = trial_sheet(trials)
    for trial, row in zip(trials, sheet.rows, strict=True):
        told = dict(zip(sheet.columns, row, strict=True))
        value = told["test_error" if info.settings.experiment == "test" else "valid_error"]
        state = TrialState.FAIL
        if (outcome := outcome_of(trial)) == "unfinished":
            is_running = trial.epochs or trial.state == "running"
            state = TrialState.RUNNING if is_running else TrialState.WAITING
        elif outcome == "complete":
            is_whole = trial.configuration.epochs == max(budgets) and value is not None
            state = TrialState.COMPLETE if is_whole else TrialState.PRUNED
        drawn = {one.name: kind for one, kind in space if _is_drawn(one, told[one.name])}
        params = {name: told.pop(name) for name in drawn}
        told["seconds"] = sum(epoch.duration_s for epoch in trial.epochs)
        yield FrozenTrial(
            number=-1,  # the storage numbers it
            trial_id=-1,
            state=state,
            value=value if outcome == "complete" else None,
            datetime_start=_local(trial.started or trial.ended),
            datetime_complete=_local(trial.ended),
            params=params,
            distributions=drawn,
            user_attrs={name: one for name, one in told.items() if one is not None},
            system_attrs={},
            intermediate_values={
                step[epoch.epoch]: epoch.valid_error
                for epoch in trial.epochs
                if epoch.valid_error is not None
            },
        )


def _space(info: RunInfo) -> list[Hyperparameter]:
    """What varies: a search space's hyperparameters, or a sweep's."""
    if info.settings.space is not None:
        return list(map(Hyperparameter.from_json, info.settings.space["hyperparameters"]))
    varied = VARIED.get(info.settings.experiment)
    values = info.settings.values or ()
    return [Hyperparameter(varied, "choice", None, None, values)] if varied else []


def _is_drawn(one: Hyperparameter, value: float) -> bool:
    """Whether a value is of the space; it is 0 where a condition left the hyperparameter out."""
    if one.lower is None or one.upper is None:
        return value in one.choices
    return bool(value) and one.lower <= value <= one.upper


def _distribution(one: Hyperparameter) -> Any:
    from optuna import distributions

    if one.lower is None:
        return distributions.CategoricalDistribution(one.choices)
    kind: Any = distributions.IntDistribution if one.whole else distributions.FloatDistribution
    return kind(one.lower, one.upper, log=one.scale == "log")


def _local(when: str | None) -> datetime | None:
    """Optuna's times are local and name no zone."""
    return datetime.fromtimestamp(timestamp(when)) if when else None  # noqa: DTZ006
