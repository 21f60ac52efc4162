"""Peer that searches: SMAC3's multi-fidelity facade (Hyperband with random forests), and PyTorch.

    python benchmarks/peers/smac_search.py DATA OUT.jsonl SEED

Choices: budgets of 1 to 6 epochs, of which SMAC makes 2 and 6; two processes of one thread, which
are Dask's, as its example of parallelism shows; all else SMAC's default. A configuration that goes
on to 6 epochs is trained anew, as in its example of multi-fidelity: SMAC hands over no checkpoint.

SMAC rather than Ray Tune's ASHA: both are alive and install with Python 3.11, but ASHA stops trials
as Optuna's pruner does, and SMAC is the other kind: it promotes, and has a model, as BOHB.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import contract
import torch
import torch_fit
from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from smac import MultiFidelityFacade, Scenario


def _plain(config: Any) -> dict[str, Any]:
    """The configuration in numbers of Python, as JSON knows no others."""
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in config.items()
    }


def search(data: str, out: str, seed: int) -> None:
    """Search for ever."""

    def train(config: Any, seed: int = 0, budget: float = contract.MOST_EPOCHS) -> float:
        torch.set_num_threads(1)
        configuration, epochs = _plain(config), round(budget)
        *_, error = torch_fit.train(configuration, epochs, seed, torch_fit.load(data))
        contract.note(out, epochs, error, configuration)
        return error

    space = ConfigurationSpace(seed=seed)
    space.add(
        Float("learning_rate", (1e-4, 1e-1), log=True),
        Integer("batch_size", (16, 128), log=True),
        Integer("num_filters", (8, 64), log=True),
        Categorical("filter_size", [3, 5]),
    )
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space,
            output_directory=Path(folder),
            deterministic=True,
            n_trials=1_000_000,
            min_budget=1,
            max_budget=contract.MOST_EPOCHS,
            n_workers=contract.N_PROCESSES,
            seed=seed,
        )
        MultiFidelityFacade(scenario, train).optimize()


if __name__ == "__main__":
    contract.run_search(search)
