"""Does a worker's memory stay bounded? Train many configurations in one process and watch it.

    python benchmarks/worker_memory.py --data mnist.npz --trials 50

Prints the resident memory of the process in MB after each trial; `--workers auto` counts
1.2 GiB for a worker (machine.WORKER_GIB).
"""

from __future__ import annotations

import argparse
import os
import resource

import psutil

from mnist_lab import data, space
from mnist_lab.config import TrainConfig
from mnist_lab.execute.worker import tensorflow_settings

os.environ |= tensorflow_settings(1)  # before TensorFlow is imported

from mnist_lab.training.trainer import Trainer


def main() -> None:
    """Train `--trials` draws of the default search space, one epoch each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=None)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    arguments = parser.parse_args()
    trainer = Trainer(data.load(arguments.data).training, precision=arguments.precision)
    process, chosen = psutil.Process(), space.default_space()
    for number in range(arguments.trials):
        config = TrainConfig(**space.draw(chosen, number), epochs=1)
        trainer.begin(config, seed=number)
        trainer.advance(1)
        print(f"trial {number + 1:3}: {process.memory_info().rss / 1e6:6.0f} MB now")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"peak: {peak:.0f} MB")


if __name__ == "__main__":
    main()
