"""Ours: the `mnist-lab` command where it has one for the work, else the same engine underneath.

    python benchmarks/peers/ours.py DATA WORK.json OUT.json float32|bfloat16

An answer also has `epoch_s`, the seconds of each epoch, its validation included.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import contract

from mnist_lab import data as datasets
from mnist_lab import machine
from mnist_lab.config import VARIED, Bracket, StudySettings, TrainConfig, forward_multiplications
from mnist_lab.rundir import Identity, Journal, RunDir

if TYPE_CHECKING:
    from contract import Answer, Work


def sweep(data: str, work: Work, precision: str, out: Path) -> None:
    """Let the command of this name train."""
    values = [str(one[VARIED[work.name]]) for one in work.configurations]
    command = [sys.executable, "-m", "mnist_lab", work.name, "--values", ",".join(values)]
    command += ["--epochs", str(work.epochs), "--seed", str(work.seed), "--precision", precision]
    command += ["--data", data, "--out", str(out), "--device", "cpu", "--quiet"]
    subprocess.run(command, check=True)  # noqa: S603 - our own command


def fixed(data: str, work: Work, precision: str, out: Path) -> None:
    """Train given configurations: no command takes a list, so as its studies call the engine."""
    from mnist_lab.execute.loop import run_trials
    from mnist_lab.execute.places import Local
    from mnist_lab.execute.worker import Trainer
    from mnist_lab.search.proposals import Grid
    from mnist_lab.study.workers import slots_for
    from mnist_lab.training import open_trainer

    dataset = datasets.load(data)
    configs = [TrainConfig(**one, epochs=work.epochs) for one in work.configurations]
    configs.sort(key=forward_multiplications, reverse=True)
    slots, _ = slots_for(None, 0, 1, nice=False)
    run = RunDir(out)
    run.create()
    settings = StudySettings(experiment="train", base=TrainConfig(epochs=work.epochs))
    journal = Journal(run.journal, Identity(id="", settings=settings, digests=dataset.info.digests))
    arguments = {"source": dataset.info.source, "digests": dataset.info.digests}
    arguments |= {"precision": precision, "device": "cpu"}
    trainer = Trainer("fixed", open_trainer, arguments, n_threads=1, versions=machine.versions())
    with datasets.share(dataset.training, dataset.test) as shared:
        run_trials(
            proposals=Grid(
                [config.model_dump() for config in configs],
                repeats=1,
                bracket=Bracket((len(configs),), (work.epochs,)),
                seed=work.seed,
            ),
            base=TrainConfig(epochs=work.epochs),
            trials=(),
            emit=journal.append,
            store=run,
            open_cluster=lambda: Local(slots).open(
                trainer, most=len(configs), shared=shared, run_dir=run, note=print
            ),
            patience_s=lambda _: 600.0,
            tick=lambda: None,
            note=lambda text: print(text, file=sys.stderr),
        )
    journal.close()


def search(data: str, work: Work, precision: str) -> list[Answer]:
    """Train all, and read the answers from the run's own records."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        (sweep if work.name in VARIED else fixed)(data, work, precision, out)
        trials = {trial.configuration: trial for trial in RunDir(out).read_trials()}
    answers = []
    for configuration in work.configurations:
        trial = trials[TrainConfig(**configuration, epochs=work.epochs)]
        epoch_s = [epoch.duration_s for epoch in trial.epochs]
        answers.append(
            {"valid_error": trial.valid_error, "seconds": sum(epoch_s), "epoch_s": epoch_s}
        )
    return answers


if __name__ == "__main__":
    contract.run(search)
