"""What a trial of a sixteenth of an epoch costs in processor time, one thread, and what for.

    python benchmarks/short.py mnist.npz

Each process is set up as a worker is, trains something else first, then each network for the first
time, as nearly every trial of a search does. The parts of such a trial:

- begin: the initial weights;
- new: what is only done for a network that the process has not seen yet;
- train: the steps, once all is set up;
- validate: the validation on a part of the images, with one step;
- checkpoint.

Prints a table of medians over the processes, with the range of the sums, and writes short.json.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

import recording

from mnist_lab.config import TrainConfig
from mnist_lab.execute.worker import tensorflow_settings

# Batch size, number of filters, filter size: small, middle and large in the exercise's space.
CONFIGURATIONS = ((16, 8, 3), (64, 22, 5), (24, 54, 5))
BUDGET = 1 / 16  # epochs
LEAST = 1e-6  # of an epoch, which is one step
PARTS = ("begin", "new", "train", "validate", "checkpoint")


def measure(data: str) -> None:
    """Print each network's parts in seconds, a line of JSON each."""
    os.environ.update(tensorflow_settings(1))  # before TensorFlow is imported

    from mnist_lab import data as datasets
    from mnist_lab.training.trainer import Trainer

    trainer = Trainer(datasets.load(data).training, precision="bfloat16")

    def trained(shape: tuple[int, int, int], stop: float) -> list[float]:
        """Seconds of beginning, of training and validating, and of a checkpoint."""
        batch_size, num_filters, filter_size = shape
        config = TrainConfig(
            learning_rate=0.05,
            batch_size=batch_size,
            num_filters=num_filters,
            filter_size=filter_size,
        )
        times = [time.process_time()]
        trainer.begin(config, seed=1)
        times.append(time.process_time())
        trainer.advance(stop)
        times.append(time.process_time())
        trainer.checkpoint()
        times.append(time.process_time())
        return [end - start for start, end in itertools.pairwise(times)]

    trained((32, 4, 3), BUDGET)
    gc.collect()
    gc.freeze()  # as a worker does when it has loaded
    for shape in CONFIGURATIONS:
        begin, first, checkpoint = trained(shape, BUDGET)
        _, again, _ = trained(shape, BUDGET)
        _, least, _ = trained(shape, LEAST)
        parts = (begin, first - again, again - least, least, checkpoint)
        print(json.dumps(dict(zip(PARTS, parts, strict=True))))


def main() -> None:
    """Measure, print and write; or be one of the measured processes."""
    parser = recording.parser(__doc__)
    parser.add_argument("data", help="MNIST as .npz")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.data)
        return
    runs = []
    for _ in range(asked.runs):
        lines = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, __file__, asked.data, "--measure"],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout.splitlines()
        runs.append([json.loads(line) for line in lines])
    record = recording.made_with() | {
        "format_version": 1,
        "budget": BUDGET,
        "rows": [
            {"shape": shape, "seconds": measured}
            for shape, measured in zip(CONFIGURATIONS, zip(*runs, strict=True), strict=True)
        ],
    }
    recording.write(record, asked.out / "short.json")
    heads = ["network", *PARTS, "sum (range)"]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for shape, *measured in zip(CONFIGURATIONS, *runs, strict=True):
        sums = [sum(parts.values()) for parts in measured]
        medians = [statistics.median(parts[name] for parts in measured) for name in PARTS]
        cells = [
            "batch {}, {} filters {}×{}".format(*shape, shape[-1]),
            *(f"{seconds:.3f}" for seconds in medians),
            f"{statistics.median(sums):.2f} ({min(sums):.2f} to {max(sums):.2f})",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
