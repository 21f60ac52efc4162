"""What the engine costs with many workers: trials that only sleep, 1 to 64 workers on this machine.

    python benchmarks/scale.py --out docs/performance

A worker's idle time is what passes between the end of a trial and the begin of its next, as the
worker's own clock has it; the end of the run, where nothing is left for it, does not count. Each
trial sends one epoch with a checkpoint of the base configuration's size, and everything is written
to a real run directory. Writes scale.json, scale.png and scale.svg.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import recording

from mnist_lab import machine, plots
from mnist_lab.config import Bracket, StudySettings, TrainConfig
from mnist_lab.execute.loop import run_trials
from mnist_lab.execute.places import Local
from mnist_lab.execute.pool import WorkerSlot
from mnist_lab.execute.worker import Trainer
from mnist_lab.records import Checkpoint, Epoch, Proposed, Result, Step
from mnist_lab.rundir import Identity, Journal, RunDir
from mnist_lab.search.proposals import Proposals

if TYPE_CHECKING:
    from mnist_lab.execute.worker import Train

# Bytes of the base configuration's weights.
CHECKPOINT_BYTES = 104_250 * 4


def open_sleeper(*, seconds: float, shared: int) -> Train:
    """A trainer that sleeps; its checkpoint begins with who slept, and from when to when."""
    del shared
    filling = os.urandom(CHECKPOINT_BYTES)

    def sleep(config: TrainConfig, seed: int, start: Checkpoint | None, stop: float) -> Step:
        del config, seed, start, stop
        begin = time.monotonic()
        time.sleep(seconds)
        times = json.dumps([os.getpid(), begin, time.monotonic()]).encode()
        epoch = Epoch(
            epoch=1,
            train_loss=None,
            train_error=0.5,
            valid_loss=None,
            valid_error=0.5,
            duration_s=seconds,
        )
        return Step(Checkpoint(epoch, times + b"\n" + filling), Result(loss=0.5))

    return sleep


class Clock(RunDir):
    """A run directory that reads the times out of the checkpoints."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.slept: list[tuple[int, float, float]] = []

    def write_checkpoint(self, trial: Proposed, checkpoint: Checkpoint) -> None:
        """Write it, and note its times."""
        super().write_checkpoint(trial, checkpoint)
        pid, begin, end = json.loads(checkpoint.state.partition(b"\n")[0])
        self.slept.append((pid, begin, end))


def measure(n_workers: int, n_trials: int, seconds: float) -> dict[str, Any]:
    """Run the trials; the overhead of each in seconds, and the share of time without work."""
    began_s = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = Clock(Path(folder))
        settings = StudySettings(experiment="random-search", base=TrainConfig(epochs=1))
        journal = Journal(run.journal, Identity(id="", settings=settings, digests={}))
        run_trials(
            proposals=Proposals(
                lambda seed: {"batch_size": 1 + seed % 1000},
                brackets=[Bracket((1,), (1,))] * n_trials,
                seed=0,
            ),
            base=TrainConfig(epochs=1),
            trials=(),
            emit=journal.append,
            store=run,
            open_cluster=lambda: Local([WorkerSlot()] * n_workers).open(
                Trainer(
                    "scale",
                    open_sleeper,
                    {"seconds": seconds},
                    n_threads=1,
                    versions=machine.versions(),
                ),
                most=n_workers,
                shared=0,
                run_dir=run,
                note=print,
            ),
            patience_s=lambda _: 300.0,
            tick=lambda: None,
            note=lambda text: print(text, file=sys.stderr),
        )
        journal.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    by_worker: dict[int, list[tuple[float, float]]] = {}
    for pid, begin, end in run.slept:
        by_worker.setdefault(pid, []).append((begin, end))
    # From the moment on when all have work: their start is another question.
    all_there = max(min(times)[0] for times in by_worker.values())
    idle_s, busy_s = [], 0.0
    for times in by_worker.values():
        steady = sorted(one for one in times if one[0] >= all_there - seconds)
        idle_s += [after[0] - before[1] for before, after in pairwise(steady)]
        busy_s += sum(end - begin for begin, end in steady[:-1])
    return {
        "workers": len(by_worker),
        "trials": len(run.slept),
        "trial_s": seconds,
        "overhead_s": {
            "mean": statistics.fmean(idle_s),
            "median": statistics.median(idle_s),
            "p95": sorted(idle_s)[int(0.95 * len(idle_s))],
        },
        "idle_share": sum(idle_s) / (sum(idle_s) + busy_s),
        # Of this process alone, which coordinates: processor time of a trial, memory at its peak.
        "coordinator_s": (time.process_time() - began_s) / len(run.slept),
        "coordinator_mib": used.ru_maxrss / 1024,
    }


def draw(results: list[dict[str, Any]], out: Path) -> None:
    """Overhead and idle share against the number of workers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for seconds, marker in zip(sorted({one["trial_s"] for one in results}), "osD", strict=False):
        those = [one for one in results if one["trial_s"] == seconds]
        workers = [one["workers"] for one in those]
        label = f"trials of {seconds:g} s"
        left.plot(
            workers,
            [1000 * one["overhead_s"]["mean"] for one in those],
            marker,
            ls="-",
            label=label,
        )
        right.plot(workers, [100 * one["idle_share"] for one in those], marker, ls="-", label=label)
    for axes, name in (
        (left, "overhead of a trial in ms"),
        (right, "idle share of the workers in %"),
    ):
        axes.set_xscale("log", base=2)
        axes.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
        axes.set(xlabel="workers", ylabel=name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    for suffix, content in plots.save(figure).items():
        (out / f"scale.{suffix}").write_bytes(content)


def main() -> None:
    """Measure, print a table, write the files."""
    parser = recording.parser(__doc__)
    parser.add_argument("--workers", default="1,4,16,64")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seconds", default="0,2", help="lengths of the trials")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    results = []
    print("workers  trials  trial s  overhead ms mean (median, p95)  idle share")
    for seconds in map(float, arguments.seconds.split(",")):
        for n_workers in map(int, arguments.workers.split(",")):
            # Sixteen rounds at least, and no longer than two minutes.
            n_trials = min(arguments.trials, round(120 / seconds) * n_workers if seconds else 10**9)
            one = measure(n_workers, n_trials, seconds)
            results.append(one)
            ms = {name: 1000 * value for name, value in one["overhead_s"].items()}
            print(
                f"{n_workers:7}  {n_trials:6}  {seconds:7g}  "
                f"{ms['mean']:8.1f} ({ms['median']:.1f}, {ms['p95']:.1f})  "
                f"{one['idle_share']:18.1%}",
                flush=True,
            )
    recording.write(recording.made_with() | {"results": results}, arguments.out / "scale.json")
    draw(results, arguments.out)


if __name__ == "__main__":
    import scale  # under its own name, by which the workers find it

    scale.main()
