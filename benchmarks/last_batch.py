"""What the last, incomplete batch of an epoch does: Keras' `fit` with its mean, and weighted.

    python benchmarks/last_batch.py mnist.npz --out docs/performance

50,000 images are 781 batches of 64 and a last one of 16. `fit` takes the mean loss of each batch,
so the last step has the noise of 16 images at the learning rate of 64, right before the validation.
The other way weights those images by 16/64, so that every image counts the same; it is how
mnist-lab trains. Both train for 3 epochs from the same seeds, with the same initial weights and the
same fresh order of the images in each epoch. Writes last_batch.json and last_batch.md.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import recording

from mnist_lab import data as datasets
from mnist_lab.analysis import intervals
from mnist_lab.config import TrainConfig
from mnist_lab.model import build_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIGURATIONS = {
    "batches of 64, the last of 16": TrainConfig(batch_size=64, epochs=3),
    "batches of 128, the last of 80": TrainConfig(batch_size=128, epochs=3),
}
WAYS = ("mean", "weighted")


class Part(NamedTuple):
    """Images as the network takes them, `(n, 28, 28, 1)` in [0, 1], and their labels `(n,)`."""

    images: NDArray[np.float32]
    labels: NDArray[np.int32]


def part_of(split: datasets.Split) -> Part:
    """A split of the data set, with its bytes as fractions."""
    return Part(split.images[..., np.newaxis].astype(np.float32) / np.float32(255), split.labels)


def valid_error(
    config: TrainConfig, seed: int, train: Part, valid: Part, *, weighted: bool
) -> float:
    """Train by Keras' `fit`; the validation error after the last epoch, a fraction."""
    model = build_model(config, seed=seed)
    model.compile(
        keras.optimizers.SGD(config.learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    images, labels = train
    n_last = len(labels) % config.batch_size
    weights = np.ones(len(labels), np.float32)
    if weighted:
        weights[-n_last:] = n_last / config.batch_size
    for epoch in range(int(config.epochs)):
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        model.fit(
            images[order],
            labels[order],
            sample_weight=weights,
            batch_size=config.batch_size,
            shuffle=False,
            verbose=0,
        )
    _, accuracy = model.evaluate(*valid, batch_size=500, verbose=0)
    return 1.0 - float(accuracy)


def table(configurations: dict[str, dict[str, list[float]]]) -> str:
    """The errors in Markdown, and by how much they differ seed by seed."""
    lines = [
        "| | last batch | n | validation error ± SD | smallest to largest | less, seed by seed |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, both in configurations.items():
        for way, errors in both.items():
            told = "–"
            if way != WAYS[0]:
                paired = zip(both[WAYS[0]], errors, strict=True)
                found = intervals.mean([100 * (before - after) for before, after in paired])
                if found is not None:
                    low, high = found.interval
                    told = f"{found.value:.2f} points ({low:.2f} to {high:.2f})"
            percents = [100 * error for error in errors]
            lines.append(
                f"| {name} | {way} | {len(errors)} | {statistics.fmean(percents):.2f} ± "
                f"{statistics.stdev(percents):.2f} % | {min(percents):.2f} to {max(percents):.2f} %"
                f" | {told} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, print the table, write the files."""
    parser = recording.parser(__doc__)
    parser.add_argument("data", help="MNIST as .npz")
    parser.add_argument("--seeds", type=int, default=14)
    arguments = parser.parse_args()
    training = datasets.load(arguments.data).training_on("train")
    train, valid = part_of(training.train), part_of(training.valid)
    found: dict[str, dict[str, list[float]]] = {}
    record = recording.made_with() | {"configurations": found}
    for name, config in CONFIGURATIONS.items():
        found[name] = {way: [] for way in WAYS}
        for seed in range(arguments.seeds):
            for way in WAYS:
                error = valid_error(config, seed, train, valid, weighted=way == "weighted")
                found[name][way].append(error)
                print(f"{name}, {way}, seed {seed}: {100 * error:.2f} %", flush=True)
        recording.write(record, arguments.out / "last_batch.json")
        (arguments.out / "last_batch.md").write_text(table(found), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
