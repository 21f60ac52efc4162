"""What a training step costs in processor time, one thread, and how much of it oneDNN takes.

    python benchmarks/step.py mnist.npz
    python benchmarks/step.py mnist.npz --against TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE=true
    python benchmarks/step.py mnist.npz --against PYTHONPATH=../before/src --precision float32

Each configuration trains in each precision in processes of their own, set up as a worker is; with
`--against` in turn with processes that have these variables too: another setting of TensorFlow's,
or another state of the program, of which the ratio is given pair by pair. A last process has oneDNN
tell the time of each kernel. Prints a table and writes step.json, row by row.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import Any, get_args

import recording

from mnist_lab.config import Precision, TrainConfig
from mnist_lab.execute.worker import tensorflow_settings

# Batch size, number of filters, filter size: the base, and those of benchmarks/peers.
CONFIGURATIONS = (
    (128, 16, 3),
    (16, 8, 3),
    (24, 12, 5),
    (48, 24, 3),
    (95, 22, 5),
    (64, 48, 5),
    (128, 64, 3),
    (16, 58, 3),
    (32, 32, 5),
)
N_STEPS = 60
N_ROUNDS = 7  # of so many steps in each process, of which the median counts


def as_words(shape: tuple[int, ...]) -> str:
    """A configuration as it is typed."""
    return ",".join(map(str, shape))


def train(data: str, shape: tuple[int, ...], precision: Precision) -> None:
    """Print the median microseconds of a step; with oneDNN's own lines, if they are asked for."""
    os.environ.update(tensorflow_settings(1) | os.environ)  # before TensorFlow is imported

    import numpy as np
    import tensorflow as tf

    from mnist_lab import data as datasets
    from mnist_lab import model
    from mnist_lab.training.compiled import Images, Kind, Sums, compile_training, variables
    from mnist_lab.training.trainer import hyperparameters

    batch_size, num_filters, filter_size = shape
    config = TrainConfig(
        learning_rate=0.05, batch_size=batch_size, num_filters=num_filters, filter_size=filter_size
    )
    split = datasets.load(data).training.train
    weights = variables()
    for weight, drawn in zip(weights, model.initial_weights(config, seed=0), strict=True):
        weight.assign(drawn)
    dtype = tf.dtypes.as_dtype(precision)
    run = compile_training(weights, variables(), dtype, Kind(*(False,) * len(Kind._fields)))
    order = np.random.default_rng(0).permutation(len(split))[: N_STEPS * batch_size]
    arguments = (
        Images(tf.constant(split.images), tf.constant(split.labels, tf.int32)),
        tf.constant(order, tf.int32),
        tf.constant(len(order)),
        hyperparameters(config, np.zeros(2, np.int64)),
        Sums(*map(tf.constant, (0, 0.0, 0))),
    )
    rounds = []
    for _ in range(1 + N_ROUNDS):  # the first compiles
        start = time.process_time()
        run(*arguments)[0].numpy()
        rounds.append(time.process_time() - start)
    print("step", statistics.median(rounds[1:]) / N_STEPS * 1e6)


def measured(data: str, shape: tuple[int, ...], precision: str, **variables: str) -> list[str]:
    """What such a process prints, in lines."""
    inherited = {name: at for name, at in os.environ.items() if not name.startswith("OPENBLAS_")}
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, __file__, data, "--shapes", as_words(shape), "--train", precision],
        env=inherited | variables,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout.splitlines()


def step_us(lines: list[str]) -> float:
    """Microseconds of a step."""
    (text,) = (line.removeprefix("step ") for line in lines if line.startswith("step "))
    return float(text)


def onednn_us(lines: list[str]) -> float:
    """Microseconds of a step in oneDNN's kernels, from the lines of its verbose mode (in ms)."""
    kernels = [line for line in lines if line.startswith("onednn_verbose") and ",exec," in line]
    return sum(float(line.rsplit(",", 1)[1]) for line in kernels) * 1e3 / N_STEPS / (1 + N_ROUNDS)


def row(one: dict[str, Any]) -> str:
    """A line of the table."""
    ours, other = one["us"], one["against_us"]
    middle = statistics.median(ours)
    cells = [
        "batch {}, {} filters {}×{}".format(*one["shape"], one["shape"][-1]),
        one["precision"],
        f"{middle:,.0f} ({min(ours):,.0f} to {max(ours):,.0f})",
        f"{one['onednn_us'] / middle:.0%}",
    ]
    if other:
        ratios = [a / b for a, b in zip(ours, other, strict=True)]
        cells += [f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"]
    return " | ".join(["", *cells, ""]).strip()


def main() -> None:
    """Measure, print and write; or be one of the measured processes."""
    parser = recording.parser(__doc__)
    parser.add_argument("data", help="MNIST as .npz")
    parser.add_argument("--against", nargs="+", default=[], metavar="NAME=VALUE")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--shapes",
        nargs="+",
        default=[as_words(shape) for shape in CONFIGURATIONS],
        metavar="BATCH,FILTERS,SIZE",
    )
    both = get_args(Precision)
    parser.add_argument("--precision", nargs="+", choices=both, default=both)
    parser.add_argument("--train", choices=both, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    shapes = [tuple(map(int, words.split(","))) for words in asked.shapes]
    if asked.train:
        train(asked.data, shapes[0], asked.train)
        return
    against = dict(one.split("=", 1) for one in asked.against)
    record = recording.made_with() | {
        "format_version": 1,
        "against": asked.against,
        "steps": N_STEPS,
        "rounds": N_ROUNDS,
        "rows": [],
    }
    heads = ["network", "precision", "µs a step (range)", "in oneDNN"]
    heads += [f"against {' '.join(asked.against)} (range)"] * bool(against)
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for shape in shapes:
        for precision in asked.precision:
            place = (asked.data, shape, precision)
            ours: list[float] = []
            other: list[float] = []
            for number in range(asked.runs):
                turn = [(ours, {}), *[(other, against)] * bool(against)]
                for times, variables in turn[:: 1 if number % 2 else -1]:
                    times.append(step_us(measured(*place, **variables)))
            verbose = onednn_us(measured(*place, ONEDNN_VERBOSE="1"))
            one = {"shape": shape, "precision": precision, "us": ours, "against_us": other}
            record["rows"].append(one | {"onednn_us": verbose})
            print(row(record["rows"][-1]), flush=True)
            recording.write(record, asked.out / "step.json")


if __name__ == "__main__":
    main()
