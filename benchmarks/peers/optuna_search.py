"""Peer that searches: Optuna's TPE with its Hyperband pruner, and PyTorch.

    python benchmarks/peers/optuna_search.py DATA OUT.jsonl SEED

Choices: trials of 1 to 6 epochs, 3 the reduction factor, all else Optuna's default; two processes
of one thread share the study through its journal storage, as its guide to distributed optimisation
shows.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import contract
import optuna
import torch
import torch_fit
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


def work(data: str, out: str, seed: int, number: int) -> None:
    """Run trials for ever, as process `number`."""
    torch.set_num_threads(1)
    tensors = torch_fit.load(data)

    def objective(trial: optuna.Trial) -> float:
        configuration = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            "batch_size": trial.suggest_int("batch_size", 16, 128, log=True),
            "num_filters": trial.suggest_int("num_filters", 8, 64, log=True),
            "filter_size": trial.suggest_categorical("filter_size", [3, 5]),
        }
        epoch, error, is_pruned = 0, 1.0, False
        errors = torch_fit.train(configuration, contract.MOST_EPOCHS, seed, tensors)
        for epoch, error in enumerate(errors, start=1):
            trial.report(error, epoch)
            if is_pruned := trial.should_prune():
                break
        contract.note(out, epoch, error, configuration)
        if is_pruned:
            raise optuna.TrialPruned
        return error

    optuna.create_study(
        study_name="search",
        storage=JournalStorage(JournalFileBackend(str(Path(out).with_suffix(".journal")))),
        sampler=optuna.samplers.TPESampler(seed=contract.N_PROCESSES * seed + number),
        pruner=optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=contract.MOST_EPOCHS, reduction_factor=3
        ),
        load_if_exists=True,
    ).optimize(objective)


def search(data: str, out: str, seed: int) -> None:
    """Start the processes, which end with this one."""
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=work, args=(data, out, seed, number), daemon=True)
        for number in range(contract.N_PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    contract.run_search(search)
