"""Does bfloat16 cost accuracy? The same seeds in float32 and in bfloat16, and their differences.

    python benchmarks/precision.py mnist.npz --out docs/performance

Trains the base configuration and the best one of a random search for 6 epochs each, from 20 seeds
that both precisions share. The test images are not looked at. The runs are in results/precision/,
and the same command continues what was interrupted. Writes precision.json and precision.md after
each configuration.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import recording

from mnist_lab import study
from mnist_lab.analysis import intervals
from mnist_lab.config import Precision, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATIONS = {
    "base": TrainConfig(epochs=6),
    "best of 50": TrainConfig(
        learning_rate=0.0695, batch_size=16, num_filters=58, filter_size=3, epochs=6
    ),
}
REFERENCE = "float32"


def constant_space(config: TrainConfig) -> dict[str, Any]:
    """A search space with nothing in it but this configuration, as ConfigSpace's JSON."""
    values = config.model_dump(exclude={"epochs"})
    hyperparameters = [
        {"type": "constant", "name": name, "value": value, "meta": None}
        for name, value in values.items()
    ]
    return {
        "name": None,
        "hyperparameters": hyperparameters,
        "conditions": [],
        "forbiddens": [],
        "format_version": 0.4,
    }


def measured(config: TrainConfig, precision: Precision, data: str, seeds: int) -> dict[str, Any]:
    """The validation errors after the last epoch, by seed, and the median seconds of an epoch."""
    out = Path("results/precision") / f"{config.num_filters}-filters-{precision}"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as space:
        json.dump(constant_space(config), space)
        space.flush()
        run = study.random_search(
            iters=seeds,
            epochs=config.epochs,
            space=space.name,
            precision=precision,
            data=data,
            out=out,
        )
    trials = sorted(run.trials, key=lambda trial: trial.trial)
    return {
        "seeds": [trial.seed for trial in trials],
        "valid_errors": [trial.epochs[-1].valid_error for trial in trials],
        "epoch_s": statistics.median(
            epoch.duration_s for trial in trials for epoch in trial.epochs
        ),
    }


def rows(record: dict[str, Any]) -> Iterator[str]:
    """The table in Markdown: means, the paired difference in points, and what an epoch takes."""
    yield "| configuration | precision | n | validation error ± SD | s/epoch | difference (95 %) |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for name, both in record["configurations"].items():
        for precision, one in both.items():
            errors = one["valid_errors"]
            told = "–"
            if precision != REFERENCE:
                paired = dict(zip(one["seeds"], errors, strict=True))
                others = zip(both[REFERENCE]["seeds"], both[REFERENCE]["valid_errors"], strict=True)
                found = intervals.mean([100 * (paired[seed] - other) for seed, other in others])
                if found is not None:
                    low, high = found.interval
                    told = f"{found.value:+.3f} points ({low:+.3f} to {high:+.3f})"
            yield (
                f"| {name} | {precision} | {len(errors)} | {100 * statistics.fmean(errors):.3f} "
                f"± {100 * statistics.stdev(errors):.3f} % | {one['epoch_s']:.2f} | {told} |"
            )


def main() -> None:
    """Train what is missing and write the files."""
    parser = recording.parser(__doc__)
    parser.add_argument("data", help="MNIST as .npz")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    configurations: dict[str, Any] = {}
    record = recording.made_with() | {"configurations": configurations}
    for name, config in CONFIGURATIONS.items():
        configurations[name] = {
            precision: measured(config, precision, arguments.data, arguments.seeds)
            for precision in get_args(Precision)
        }
        recording.write(record, arguments.out / "precision.json")
        table = "\n".join(rows(record)) + "\n"
        (arguments.out / "precision.md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
