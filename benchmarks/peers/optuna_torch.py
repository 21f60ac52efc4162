"""Peer: Optuna with PyTorch.

Choices: Optuna's queue hands out the given configurations; all cores for one trial, PyTorch's
default.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import contract
import optuna
import torch_fit

if TYPE_CHECKING:
    from contract import Answer, Work


def search(data: str, work: Work) -> list[Answer]:
    """Let Optuna try each configuration."""
    tensors = torch_fit.load(data)
    answers: list[Answer] = []

    def objective(trial: optuna.Trial) -> float:
        configuration = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            "batch_size": trial.suggest_int("batch_size", 16, 128),
            "num_filters": trial.suggest_int("num_filters", 8, 64),
            "filter_size": trial.suggest_categorical("filter_size", [1, 3, 5, 7]),
        }
        start = time.perf_counter()
        *_, error = torch_fit.train(configuration, work.epochs, work.seed, tensors)
        answers.append({"valid_error": error, "seconds": time.perf_counter() - start})
        return error

    study = optuna.create_study()
    for configuration in work.configurations:
        study.enqueue_trial(configuration)
    study.optimize(objective, n_trials=len(work.configurations))
    return answers


if __name__ == "__main__":
    contract.run(search)
