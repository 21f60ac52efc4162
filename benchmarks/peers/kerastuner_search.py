"""Peer: KerasTuner, the batch size tuned in `HyperModel.fit` as its guide shows.

Choices: the one hyperparameter is the number of the configuration, and GridSearch rather than
RandomSearch walks through them, which draws some twice and others never; what a trial does is the
same. Its checkpoint of each improved epoch, a default, goes to a temporary folder.
"""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING, Any

import contract
import keras
import keras_tuner
from keras_fit import build

if TYPE_CHECKING:
    from contract import Answer, Work


class Listed(keras_tuner.HyperModel):  # type: ignore[misc]  # KerasTuner is untyped
    """Builds and fits the configuration whose number is chosen."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work
        self.answers: dict[int, Answer] = {}
        self.start = time.perf_counter()

    def build(self, hp: Any) -> Any:
        """The compiled model."""
        number = hp.Choice("number", list(range(len(self.work.configurations))))
        self.start = time.perf_counter()
        keras.utils.set_random_seed(self.work.seed)
        return build(self.work.configurations[number])

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Fit it with its own batch size."""
        number = hp.get("number")
        batch_size = self.work.configurations[number]["batch_size"]
        history = model.fit(*args, batch_size=batch_size, **kwargs)
        self.answers[number] = {
            "valid_error": 1 - history.history["val_accuracy"][-1],
            "seconds": time.perf_counter() - self.start,
        }
        return history


def search(data: str, work: Work) -> list[Answer]:
    """Let KerasTuner try each configuration."""
    x_train, y_train, x_valid, y_valid = contract.load(data)
    listed = Listed(work)
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.GridSearch(
            listed,
            objective="val_accuracy",
            max_trials=len(work.configurations),
            directory=folder,
        )
        tuner.search(
            x_train,
            y_train,
            epochs=work.epochs,
            validation_data=(x_valid, y_valid),
            verbose=0,
        )
    return [listed.answers[number] for number in range(len(work.configurations))]


if __name__ == "__main__":
    contract.run(search)
