"""A run as the report shows it, and the numbers of its charts; the page's script only draws.

Parallel coordinates are ordinary lines over places between 0 and 1: plotly's own kind of them wants
WebGL, which not every browser has, and compiles code, which the page's policy forbids.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.analysis.history import progress
from mnist_lab.analysis.outcomes import completed_error, n_epochs_done, outcome_of
from mnist_lab.config import OPTIONAL, VARIED, TrainConfig, place_between
from mnist_lab.words import budget_text, describe, in_words, percent, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo

# A range that spans this factor reads better on a logarithmic scale.
_WIDE = 4.0
_MOST_TICKS = 6
# Where a trial without a number stands: above the axis, so that it can be chosen, too.
_NOWHERE = 1.12


class Reported(NamedTuple):
    """A run to report on.

    `label` tells it from the others on the page; `figures` maps names such as `learning_curves` to
    SVG that was drawn from the records.
    """

    label: str
    info: RunInfo
    trials: Sequence[Trial]
    figures: Mapping[str, bytes]

    @property
    def is_test(self) -> bool:
        """Whether it scores the test images."""
        return self.info.settings.experiment == "test"

    @property
    def varied(self) -> list[str]:
        """The hyperparameters in which its trials differ, in the order of the configuration."""
        return [
            name
            for name in TrainConfig.model_fields
            if name != "epochs" and len({self.value(trial, name) for trial in self.trials}) > 1
        ]

    @staticmethod
    def value(trial: Trial, name: str) -> float:
        """The value of a hyperparameter."""
        value: float = getattr(trial.configuration, name)
        return value

    @property
    def shared(self) -> dict[str, float]:
        """The hyperparameters in which no trial differs; the optional ones only if not 0."""
        if not self.trials:
            return {}
        varied = (*self.varied, "epochs")
        values = {name: self.value(self.trials[0], name) for name in TrainConfig.model_fields}
        return {
            name: value
            for name, value in values.items()
            if name not in varied and (value or name not in OPTIONAL)
        }

    @property
    def n_epochs(self) -> float:
        """The epochs of all trials."""
        return n_epochs_done(self.trials)

    @property
    def training_s(self) -> float:
        """The seconds of all epochs, one after another."""
        return sum(epoch.duration_s for trial in self.trials for epoch in trial.epochs)

    @property
    def spent_s(self) -> float | None:
        """The seconds of all sessions; None while one goes on, or did not live to write them."""
        return None if self.info.state in {"running", "interrupted"} else self.info.spent_s


class _Axis(NamedTuple):
    name: str
    values: Sequence[float | None]
    words: Callable[[float], str]


def of_run(run: Reported) -> dict[str, Any]:
    """The charts of one run.

    Returns:
        `varied`: the field whose values have a colour each, or None; `measure`: which error the
        curves show; `floor`: the place of an error of 0 on a logarithmic axis; `axes`: each with a
        `name` and `ticks`, pairs of place and text; `trials`: each with its number `trial`, a
        `label`, `group` and `value` (index and text of its colour) or `shade` (0, the best, to 1,
        or null), `places` on the axes, and `epochs`: of each record the error or null,
        validation and training error in words, the epoch, and that in words.
    """
    settings, varied = run.info.settings, VARIED.get(run.info.settings.experiment)
    validates = any(epoch.valid_error is not None for one in run.trials for epoch in one.epochs)
    n_images = run.info.data.n_valid if validates else run.info.data.n_train
    axes = {axis.name: _placed(axis) for axis in (_axes(run) if run.varied else [])}
    shades, _ = _placed(_Axis("", [_error(trial) for trial in run.trials], percent))
    groups: dict[float, int] = {}
    trials = []
    for index, (trial, shade) in enumerate(zip(run.trials, shades, strict=True)):
        error, kind = _error(trial), "test" if trial.test else "final"
        result = outcome_of(trial) if error is None else f"{kind} {percent(error)}"
        which = f"trial {trial.trial}"
        if trial.repeat and settings.repeats > 1:
            which += f", repeat {trial.repeat}"
        label = f"{which}: {result}\n{describe(trial.configuration)}"
        made: dict[str, Any] = {"trial": trial.trial, "label": label, "group": None, "value": None}
        if varied:
            value = run.value(trial, varied)
            made["group"] = groups.setdefault(value, len(groups))
            made["value"] = value_text(varied, value)
        made["shade"] = shade if shade <= 1 else None
        made["places"] = [places[index] for places, _ in axes.values()]
        made["epochs"] = [
            [
                epoch.valid_error if validates else epoch.train_error,
                "–" if epoch.valid_error is None else percent(epoch.valid_error),
                percent(epoch.train_error),
                epoch.epoch,
                budget_text(epoch.epoch),
            ]
            for epoch in trial.epochs
        ]
        trials.append(made)
    return {
        "varied": in_words(varied) if varied else None,
        "measure": "validation error" if validates else "training error",
        "floor": 0.5 / max(1, n_images),
        "axes": [{"name": name, "ticks": ticks} for name, (_, ticks) in axes.items()],
        "trials": trials,
    }


def of_comparison(runs: Sequence[Reported]) -> list[dict[str, Any]]:
    """The lowest error so far against the epochs spent, for each run that validates."""
    lines = []
    for run in runs:
        points = [one for one in progress(run.trials) if one.best_so_far is not None]
        if points:
            lines.append(
                {
                    "label": run.label,
                    "epochs": [one.at for one in points],
                    "errors": [one.best_so_far for one in points],
                    "words": [percent(one.best_so_far or 0.0) for one in points],
                    "floor": 0.5 / max(1, run.info.data.n_valid),
                }
            )
    return lines


def _error(trial: Trial) -> float | None:
    """The final error of a trial: of the test images, if it looked at them."""
    return trial.test.test_error if trial.test else completed_error(trial)


def _axes(run: Reported) -> list[_Axis]:
    """What varies, what it cost, what came of it."""

    def words(name: str) -> Callable[[float], str]:
        return lambda value: value_text(name, value)

    axes = [
        _Axis(in_words(name), [run.value(trial, name) for trial in run.trials], words(name))
        for name in run.varied
    ]
    epochs = [float(trial.n_epochs) for trial in run.trials]
    if len(set(epochs)) > 1:
        axes.append(_Axis("epochs", epochs, "{:g}".format))
    seconds = [sum(e.duration_s for e in trial.epochs) or None for trial in run.trials]
    axes.append(_Axis("seconds", seconds, "{:.3g}".format))
    errors = [_error(trial) for trial in run.trials]
    axes.append(_Axis("test error" if run.is_test else "validation error", errors, percent))
    return axes


def _placed(axis: _Axis) -> tuple[list[float], list[tuple[float, str]]]:
    """The place of each value between 0 and 1, and the ticks: pairs of place and text."""
    known = [value for value in axis.values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    log = low > 0 and high >= _WIDE * low

    def place(value: float) -> float:
        return 0.5 if low == high else place_between(low, high, value, log=log)

    places = [_NOWHERE if value is None else round(place(value), 4) for value in axis.values]
    distinct = sorted(set(known))
    chosen = distinct if len(distinct) <= _MOST_TICKS else _ticks(low, high, log=log)
    ticks = [(round(place(value), 4), axis.words(value)) for value in chosen]
    return places, ticks + ([(_NOWHERE, "none")] if len(known) < len(places) else [])


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    """At most six round numbers from `low` to `high`."""
    first, last = math.floor(math.log10(low or high)), math.ceil(math.log10(high))
    choices: list[list[float]] = []
    if log:
        choices = [
            [digit * 10.0**power for power in range(first, last + 1, step) for digit in digits]
            for digits, step in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 4))
        ]
    else:
        steps = [digit * 10.0**power for power in range(last - 3, last + 1) for digit in (1, 2, 5)]
        choices = [
            [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
            for step in steps
        ]
    for ticks in choices:
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= _MOST_TICKS:
            return inside
    return [low, high]
