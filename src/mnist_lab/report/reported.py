"""A run as the report shows it, and its numbers that the table and the charts share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.config import OPTIONAL, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo


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
    def n_epochs(self) -> int:
        """The epochs of all trials."""
        return sum(len(trial.epochs) for trial in self.trials)

    @property
    def training_s(self) -> float:
        """The seconds of all epochs, one after another."""
        return sum(epoch.duration_s for trial in self.trials for epoch in trial.epochs)

    @property
    def spent_s(self) -> float | None:
        """The seconds of all sessions; None while one goes on, or did not live to write them."""
        return None if self.info.state in {"running", "interrupted"} else self.info.spent_s
