"""Are budgets and a model worth it? Random search, Hyperband and BOHB with equally many epochs.

    python benchmarks/worth.py mnist.npz --out docs/performance

Each method searches the exercise sheet's space once per seed, about 300 epochs long. Its run
directory is in results/worth/, and the same command continues what was interrupted. Writes
worth.json after each search, and leaves out the searches that are in it; then worth.md, worth.png
and worth.svg. The searches take hours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from mnist_lab import machine, plots, study
from mnist_lab.analysis.history import progress
from mnist_lab.records import now

# 50 x 6 = 300 epochs; seven brackets of 2 to 18 epochs make 294.
METHODS = {
    "random search": ["random-search", "--iters", "50", "--epochs", "6"],
    "Hyperband": ["hyperband", "--iters", "7"],
    "BOHB": ["bohb", "--iters", "7"],
}
REFERENCE = "random search"


def search(method: str, seed: int, data: Path, path: Path) -> dict[str, Any]:
    """Run the search as a user does, or continue it; returns what of it goes into the record."""
    command = [sys.executable, "-m", "mnist_lab", *METHODS[method], "--seed", str(seed)]
    command += ["--precision", "bfloat16", "--data", str(data), "--out", str(path)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
    return summary(method, seed, path)


def summary(method: str, seed: int, path: Path) -> dict[str, Any]:
    """What of a finished search goes into the record."""
    run = study.load_run(path)
    points = progress(run.trials)
    best, improvements = 1.0, []
    for one in points:
        if one.best_so_far is not None and one.best_so_far < best:
            best = one.best_so_far
            improvements.append([one.at, best])
    return {
        "method": method,
        "seed": seed,
        "data": run.info.data.name,
        "epochs": points[-1].at,
        "improvements": improvements,
    }


def final(one: dict[str, Any]) -> float:
    """The validation error that a search ended with."""
    return float(one["improvements"][-1][1])


def curve(one: dict[str, Any]) -> list[tuple[int, float]]:
    """The epochs spent and the lowest error by then, as far as the record keeps them."""
    steps = [*one["improvements"], [one["epochs"], final(one)]]
    return [(at, error) for at, error in steps]


def reached(one: dict[str, Any], error: float) -> int | None:
    """After how many epochs a search had found this error or a lower one."""
    return next((at for at, best in one["improvements"] if best <= error), None)


def table(searches: list[dict[str, Any]]) -> str:
    """Final errors, and the epochs to random search's final error of the same seed, as Markdown."""
    finals = {one["seed"]: final(one) for one in searches if one["method"] == REFERENCE}
    rows = [
        "| method | seed | epochs | validation error | epochs to random search's error |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for one in sorted(searches, key=lambda one: (one["seed"], list(METHODS).index(one["method"]))):
        at = reached(one, finals[one["seed"]]) if one["seed"] in finals else None
        rows.append(
            f"| {one['method']} | {one['seed']} | {one['epochs']} "
            f"| {final(one):.2%} | {'never' if at is None else at} |"
        )
    rows += [
        "",
        "| method | n | median | lowest | highest |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for method in METHODS:
        errors = [final(one) for one in searches if one["method"] == method]
        if errors:
            rows.append(
                f"| {method} | {len(errors)} | {statistics.median(errors):.2%} "
                f"| {min(errors):.2%} | {max(errors):.2%} |"
            )
    return "\n".join(rows) + "\n"


def write(record: dict[str, Any], out: Path) -> None:
    """Write the record, the table and the figure."""
    searches = record["searches"]
    (out / "worth.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (out / "worth.md").write_text(table(searches), encoding="utf-8")
    named = {
        method: [curve(one) for one in searches if one["method"] == method]
        for method in METHODS
        if any(one["method"] == method for one in searches)
    }
    caption = plots.Caption(
        data_name=searches[0]["data"],
        notice="",
        n=f"{len(searches)} searches",
        date=now()[:10],
        version=record["versions"]["mnist-lab"],
    )
    for suffix, content in plots.save(plots.spending(named, caption)).items():
        (out / f"worth.{suffix}").write_bytes(content)


def main() -> None:
    """Run what is missing and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/performance"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "worth.json"
    record: dict[str, Any] = (
        json.loads(path.read_text(encoding="utf-8"))
        if path.exists()
        else {"machine": machine.hardware(), "versions": machine.versions(), "searches": []}
    )
    done = {(one["method"], one["seed"]) for one in record["searches"]}
    for seed in range(arguments.seeds):
        for method in METHODS:
            if (method, seed) not in done:
                run = Path("results/worth") / f"{METHODS[method][0]}-{seed}"
                record["searches"].append(search(method, seed, arguments.data, run))
                write(record, arguments.out)
    print(table(record["searches"]))


if __name__ == "__main__":
    main()
