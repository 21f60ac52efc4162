"""How the cost grows: time, processor time and memory of whole learning-rate sweeps.

    python benchmarks/growth.py mnist.npz --runs 3 --out docs/performance
    python benchmarks/growth.py mnist.npz --only start --runs 5

Each series varies one of trials, epochs, workers and training images, and leaves the others at 4
trials of 4 epochs by 2 workers on 50,000 images; `start` is a sweep of 1 epoch. Other numbers of
images are MNIST's, cut off or repeated. Series take turns, so that a machine whose speed drifts is
fair to all. Writes growth.json after each run, and when it is there goes on with what is missing;
then growth.md, growth.png and growth.svg, which show medians.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil
import recording

from mnist_lab import plots
from mnist_lab.records import timestamp
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes


class Sweep(NamedTuple):
    """One learning-rate sweep; `images` counts those that train."""

    trials: int = 4
    epochs: int = 4
    workers: int = 2
    images: int = 50_000


SERIES = {
    "start": [Sweep(epochs=1)],
    "trials": [Sweep(trials=n) for n in (1, 2, 4, 8, 16)],
    "epochs": [Sweep(epochs=n) for n in (1, 2, 4, 8, 16)],
    "workers": [Sweep(workers=n) for n in (1, 2)],
    "images": [Sweep(images=n) for n in (5_000, 50_000, 500_000)],
}
STAGES = ("preparation", "start of the workers", "first epoch", "training", "figures and words")
# Of the table: MB are peaks, of the worker that has the most, and its share of what it shares.
COLUMNS = (
    *Sweep._fields,
    "n",
    "s",
    "range",
    "first epoch's line, s",
    "CPU s",
    "MB of a worker's own",
    "MB a worker",
    "MB in all",
)
MB = 1e6  # bytes
# How often memory is looked at, in seconds: it costs a few milliseconds a process.
LOOK_S = 0.25


def write_data(mnist: Path, n_train: int, folder: Path) -> Path:
    """An .npz of MNIST's images in turn, with `n_train` to train on; MNIST itself if that fits."""
    with np.load(mnist) as arrays:
        content = {name: arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    n_mnist = len(content["x_train"])
    n = n_train * 6 // 5  # a sixth validates
    if n == n_mnist:
        return mnist
    for name in ("x_train", "y_train"):
        content[name] = content[name][np.arange(n) % n_mnist]
    for name in ("x_test", "y_test"):  # with MNIST's own the file would count as a damaged copy
        content[name] = content[name][:-1]
    path = folder / f"mnist-{n_train}.npz"
    np.savez(path, **content)
    return path


def measure(sweep: Sweep, data: Path, out: Path) -> dict[str, Any]:
    """Run the sweep in a process of its own, as a user does, and watch it."""
    rates = ",".join(f"{0.1 - 0.001 * number:.3f}" for number in range(sweep.trials))
    command = [sys.executable, "-m", "mnist_lab", "lr-sweep", "--values", rates, "--fresh"]
    command += ["--epochs", str(sweep.epochs), "--workers", str(sweep.workers)]
    command += ["--data", str(data), "--out", str(out), "--quiet"]
    # It would keep Python from finding what it compiled the last time.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    memory: dict[str, float] = defaultdict(float)
    cpu_s, start = _children_cpu_s(), time.time()
    with subprocess.Popen(  # noqa: S603 - our own command
        command, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        watcher = threading.Thread(target=_watch_memory, args=(process, memory), daemon=True)
        watcher.start()
        process.wait()
    end = time.time()
    watcher.join()
    if process.returncode:
        sys.exit(f"{' '.join(command)}\nended with exit code {process.returncode}")
    run = RunDir(out)
    times: dict[str, list[float]] = defaultdict(list)
    for event in run.read_events():
        times[event.event].append(timestamp(event.time))
    first_epoch = min(times["epoch"])
    ends = (
        timestamp(run.read_info().started),
        min(times["started"]),
        first_epoch,
        max(times["finished"]),
        end,
    )
    return {
        "seconds": end - start,
        "first_line_s": first_epoch - start,
        "cpu_s": _children_cpu_s() - cpu_s,
        "stages_s": {
            stage: after - before
            for stage, (before, after) in zip(STAGES, pairwise((start, *ends)), strict=True)
        },
        "peak_mb": dict(memory),
    }


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch_memory(process: subprocess.Popen[bytes], peak_mb: dict[str, float]) -> None:
    """Note the peaks: of any worker what is its own and its share, and the shares of all together.

    A page that n processes have counts 1/n in each one's share (PSS).
    """
    while process.poll() is None:
        total = 0.0
        try:
            parent = psutil.Process(process.pid)
            for one in (parent, *parent.children()):
                told = one.memory_full_info()
                role = "parent" if one == parent else "worker"
                now = {f"{role} own": told.uss / MB, f"{role} share": told.pss / MB}
                total += told.pss / MB
                for name, value in now.items():
                    peak_mb[name] = max(peak_mb[name], value)
        except psutil.Error:  # it ended meanwhile
            continue
        peak_mb["all"] = max(peak_mb["all"], total)
        time.sleep(LOOK_S)


Results = dict[Sweep, list[dict[str, Any]]]


def read(path: Path) -> Results:
    """The runs of an earlier call; ends the program where they were made with something else."""
    if not path.exists():
        return {}
    made = recording.made_with()
    del made["date"]
    record = recording.read(path, made)
    return {Sweep(**one["sweep"]): one["runs"] for one in record["results"]}


def write(path: Path, results: Results) -> None:
    """All runs, with the machine that they were made on."""
    rows = [{"sweep": sweep._asdict(), "runs": runs} for sweep, runs in sorted(results.items())]
    recording.write(recording.made_with() | {"results": rows}, path)


def middle(runs: list[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> float:
    """The median over the runs."""
    return statistics.median(of(run) for run in runs)


def table(results: Results) -> str:
    """Every sweep in one row, and the stages of the sweep of 1 epoch, in Markdown."""
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        "| ---: " * len(COLUMNS) + "|",
    ]
    for sweep, runs in sorted(results.items()):
        seconds = [run["seconds"] for run in runs]
        peaks = [
            f"{middle(runs, lambda run, of=name: run['peak_mb'][of]):.0f}"  # type: ignore[misc]  # mypy knows no defaults of lambdas
            for name in ("worker own", "worker share", "all")
        ]
        cells = [
            *map(str, sweep[:3]),
            f"{sweep.images:,}",
            str(len(runs)),
            f"{statistics.median(seconds):.1f}",
            f"{min(seconds):.1f} to {max(seconds):.1f}",
            f"{middle(runs, lambda run: run['first_line_s']):.1f}",
            f"{middle(runs, lambda run: run['cpu_s']):.1f}",
            *peaks,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for sweep in SERIES["start"]:
        if sweep in results:
            lines += ["", "| stage of a sweep of 1 epoch | s |", "| --- | ---: |"]
            lines += [f"| {name} | {spent:.2f} |" for name, spent in stages(results[sweep]).items()]
    return "\n".join(lines) + "\n"


def stages(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The median seconds of each stage."""
    return {name: statistics.median(run["stages_s"][name] for run in runs) for name in STAGES}


def draw(results: Results, out: Path) -> None:
    """A panel for each series that was measured, memory, and where the start goes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    for axes, name in zip(panels, ("trials", "epochs", "workers", "images"), strict=False):
        _curve(axes, results, name, {"to the end": "seconds", "first epoch": "first_line_s"})
        axes.set(ylabel="seconds")
    peaks = {"a worker's own (USS)": "worker own", "one worker": "worker share", "in all": "all"}
    _curve(panels[4], results, "images", peaks)
    panels[4].set(ylabel="peak memory in MB (PSS)")
    axes, left = panels[5], 0.0
    for sweep in SERIES["start"]:
        for stage, spent in stages(results[sweep]).items() if sweep in results else ():
            axes.barh(stage, spent, left=left)
            axes.annotate(f" {spent:.1f}", (left + spent, stage), va="center", fontsize=8)
            left += spent
    axes.set(xlabel="seconds of a sweep of 1 epoch", xlim=(0, max(1.15 * left, 1)))
    axes.invert_yaxis()
    for suffix, content in plots.save(figure).items():
        (out / f"growth.{suffix}").write_bytes(content)


def _curve(axes: Axes, results: Results, name: str, quantities: dict[str, str]) -> None:
    """Medians against what the series varies; a bar from the lowest to the highest run."""
    measured = [sweep for sweep in SERIES[name] if sweep in results]
    x = [getattr(sweep, name) for sweep in measured]
    for label, quantity in quantities.items():
        values = [
            [run[quantity] if quantity in run else run["peak_mb"][quantity] for run in results[one]]
            for one in measured
        ]
        y = [statistics.median(runs) for runs in values]
        low = [m - min(runs) for m, runs in zip(y, values, strict=True)]
        high = [max(runs) - m for m, runs in zip(y, values, strict=True)]
        axes.errorbar(x, y, yerr=[low, high], marker="o", capsize=2, label=label)
    axes.set(xlabel="training images" if name == "images" else name, ylim=(0, None))
    axes.set_xlim(0, max(x, default=1) * 1.05)
    axes.set_xticks(x, [f"{value:,}" if value >= max(x) / 20 else "" for value in x])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)


def main() -> None:
    """Measure what is missing, and write the files."""
    parser = recording.parser(__doc__)
    parser.add_argument("data", type=Path, help="MNIST as .npz")
    parser.add_argument("--only", default=",".join(SERIES), help="series, with commas between")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    record = arguments.out / "growth.json"
    results = read(record)
    sweeps = dict.fromkeys(one for name in arguments.only.split(",") for one in SERIES[name])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = {n: write_data(arguments.data, n, folder) for n in {one.images for one in sweeps}}
        for number in range(arguments.runs):
            for sweep in sweeps:
                runs = results.setdefault(sweep, [])
                if len(runs) > number:
                    continue
                runs.append(measure(sweep, paths[sweep.images].resolve(), folder / "run"))
                write(record, results)
                told = ", ".join(f"{key} {value:,}" for key, value in sweep._asdict().items())
                print(f"run {number + 1}: {told}: {runs[-1]['seconds']:.1f} s", flush=True)
    (arguments.out / "growth.md").write_text(table(results), encoding="utf-8")
    draw(results, arguments.out)
    print(table(results))


if __name__ == "__main__":
    main()
