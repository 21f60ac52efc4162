"""How fast is the learning-rate sweep, against the script that people write?

    python benchmarks/lr_sweep.py mnist.npz --runs 3

Times whole processes, from the command to its end, in turn (A B C, C B A, ...) so that a machine
whose speed drifts is fair to all, and prints the median of each and the ratios to the plain script.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mnist_lab import machine

PLAIN = "plain model.fit"


def commands(data: str, epochs: int, out: str) -> dict[str, list[str]]:
    """What is timed, by name."""
    ours = [sys.executable, "-m", "mnist_lab", "lr-sweep", "--quiet", "--fresh"]
    ours += ["--data", data, "--epochs", str(epochs), "--out", out]
    script = str(Path(__file__).with_name("plain_keras.py"))
    return {
        PLAIN: [sys.executable, script, data, "--epochs", str(epochs)],
        "mnist-lab float32": ours,
        "mnist-lab bfloat16": [*ours, "--precision", "bfloat16"],
    }


def seconds(command: list[str]) -> float:
    """How long the process takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - start


def main() -> None:
    """Time each command `--runs` times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="MNIST as .npz")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        timed = commands(str(Path(arguments.data).resolve()), arguments.epochs, f"{folder}/run")
        times: dict[str, list[float]] = {name: [] for name in timed}
        for number in range(arguments.runs):
            names = list(timed) if number % 2 == 0 else list(timed)[::-1]
            for name in names:
                times[name].append(seconds(timed[name]))
                print(f"run {number + 1}: {name}: {times[name][-1]:.1f} s", flush=True)
    plain = statistics.median(times[PLAIN])
    print(f"\n4 learning rates x {arguments.epochs} epochs, n = {arguments.runs}, whole processes")
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(
            f"{name:20} median {middle:6.1f} s ({min(taken):.1f} to {max(taken):.1f})"
            f"   {plain / middle:.2f} times as fast"
        )
    print(machine.describe(), machine.versions())


if __name__ == "__main__":
    main()
