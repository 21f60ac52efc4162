"""Are budgets and a model worth it? Random search, Hyperband and BOHB, and two peers.

    python benchmarks/worth.py mnist.npz                          # every search: hours
    python benchmarks/worth.py mnist.npz --only BOHB --seed 0     # a piece of it
    python benchmarks/worth.py mnist.npz --test                   # then test each winner
    python benchmarks/worth.py mnist.npz --space configs/wide-space.json --seed 0 1 2

Each method searches the exercise sheet's space, or another one without peers, once per seed, as a
whole process that a user would start, with two workers, in bfloat16 where the processor has it
unless it says otherwise. Seeds take turns, so that a machine whose speed drifts is fair to all:
random search first, as it says how long the methods "as long" may take; then the others, with
another one first for each seed. Peers search for five minutes, two to four times what Hyperband
takes. A search's seconds count from its command's start. An error counts when a training on whole
epochs has ended, validated on all validation images.

Writes worth.json after each search (worth-wide-space.json for that space), and the same command
goes on with what is missing; a search that was interrupted begins anew, as its seconds would be
wrong. Winners may be tested on another machine, which their tests name. Then worth.md, worth.png
and worth.svg.
Runs and the peers' environments (2 x 3 GB) are in results/worth/.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.append(str(Path(__file__).parent / "peers"))

import environments
import recording

from mnist_lab import machine, plots, study
from mnist_lab.analysis.history import progress
from mnist_lab.analysis.outcomes import best_trial, final_error
from mnist_lab.errors import ExitCode
from mnist_lab.plots import page
from mnist_lab.plots.labels import End, label_ends, look, wrapped
from mnist_lab.records import now, timestamp
from mnist_lab.words import percent

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    # Seconds, epochs and the lowest validation error by then, from 0 to 1.
    Improvement = tuple[float, float, float]

# 1 counted only epochs.
FORMAT_VERSION = 2
RUNS = Path("results/worth")
REFERENCE = "random search"
ERRORS = (0.015, 0.012, 0.0105, 0.0095)  # that a reader may want to reach
MOST = 0.05  # the largest error that the figure has room for
N_TESTS = 10  # trainings of each winner, as in results/reference
N_PEER_SEEDS = 3
PEER_SECONDS = 300.0


class Method(NamedTuple):
    """A command of ours, or a peer's script with its requirements.

    With `as_long` it goes on for as long as random search took for the same seed.
    """

    words: tuple[str, ...]
    requirements: str | None = None
    as_long: bool = False


# More brackets than fit into the time, and a longer last rung, which gains more than they do.
LONG = ("--max-epochs", "18", "--iters", "1000")
METHODS = {
    REFERENCE: Method(("random-search", "--iters", "50", "--epochs", "6")),
    "Hyperband": Method(("hyperband",)),
    "BOHB": Method(("bohb",)),
    "Hyperband in float32": Method(("hyperband", "--precision", "float32")),
    "Hyperband, 18 epochs": Method(("hyperband", "--max-epochs", "18")),
    "Hyperband, as long": Method(("hyperband", *LONG), as_long=True),
    "BOHB, as long": Method(("bohb", *LONG), as_long=True),
    "Optuna": Method(("optuna_search.py",), "optuna.txt"),
    "SMAC3": Method(("smac_search.py",), "smac.txt"),
}


class Found(NamedTuple):
    """A training that ended: when (seconds since 1970), and after how many epochs of all."""

    time: float
    at: float
    error: float


def improvements(trainings: Sequence[Found], start: float) -> list[Improvement]:
    """Each training whose error was lower than all before it, in the order in which they ended.

    Args:
        trainings: that have an error which counts.
        start: of the command, seconds since 1970.
    """
    steps: list[Improvement] = []
    for one in sorted(trainings):
        if not steps or one.error < steps[-1][2]:
            steps.append((round(one.time - start, 3), one.at, one.error))
    return steps


def our_search(
    method: str, path: Path, seed: int, data: Path, *, limit_s: float | None, space: str | None
) -> dict[str, Any]:
    """Run one of our commands; returns what of it goes into the record.

    Raises:
        CalledProcessError: it ended otherwise than by its end or its time limit.
    """
    experiment, *words = METHODS[method].words
    command = [sys.executable, "-m", "mnist_lab", experiment, "--precision", "auto", *words]
    command += ["--seed", str(seed), "--workers", "2", "--quiet"]
    command += ["--data", str(data), "--out", str(path)]
    command += ["--time-limit", f"{math.ceil(limit_s)}s"] if limit_s else []
    command += ["--space", space] if space else []
    start = time.time()
    code = subprocess.call(  # noqa: S603 - our own command
        command, env=environments.variables(), stdout=subprocess.DEVNULL
    )
    seconds = time.time() - start
    if code not in (0, ExitCode.TIME_LIMIT):
        raise subprocess.CalledProcessError(code, command)
    run = study.load_run(path)
    points, best = progress(run.trials), best_trial(run.trials)
    counted = [
        (one, final_error(one.trial)) for one in points if one.trial.configuration.epochs >= 1
    ]
    found = [
        Found(timestamp(one.trial.ended), one.at, error)
        for one, error in counted
        if error is not None
    ]
    return {
        "seconds": round(seconds, 3),
        "epochs": points[-1].at if points else 0,
        "improvements": improvements(found, start),
        "winner": best and best.configuration.model_dump(mode="json"),
    }


def peer_search(
    method: str, folder: Path, seed: int, data: Path, *, limit_s: float, python: str
) -> dict[str, Any]:
    """Let a peer search, and end it after `limit_s`; as :func:`our_search`.

    Raises:
        CalledProcessError: it ended earlier; what it printed is in its folder's `log`.
    """
    folder.mkdir(parents=True)
    out = folder / "trainings.jsonl"
    script = Path(__file__).parent / "peers" / METHODS[method].words[0]
    command = [python, str(script), str(data), str(out), str(seed)]
    start = time.time()
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - a script of ours
            command,
            env=environments.variables(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            pass
        else:
            raise subprocess.CalledProcessError(code, command)
        finally:  # of an interruption, too
            os.killpg(process.pid, signal.SIGKILL)
    return peer_summary(read_lines(out), start, limit_s)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What a peer noted, but not a line that it was ended in."""
    content = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith("\n")]


def peer_summary(lines: Sequence[dict[str, Any]], start: float, seconds: float) -> dict[str, Any]:
    """What of a peer's search goes into the record.

    Args:
        lines: as `contract.note` writes them.
        start: of its command, seconds since 1970.
        seconds: that it took.
    """
    lines = sorted(lines, key=lambda one: float(one["time"]))
    found, n_epochs = [], 0
    for one in lines:
        n_epochs += one["epochs"]
        found.append(Found(one["time"], n_epochs, one["error"]))
    # As ours: only what was trained for the most epochs is compared.
    best = min(lines, key=lambda one: (-one["epochs"], one["error"]), default=None)
    return {
        "seconds": round(seconds, 3),
        "epochs": n_epochs,
        "improvements": improvements(found, start),
        "winner": best and best["configuration"] | {"epochs": best["epochs"]},
    }


def folder_of(method: str, seed: int, space: str | None) -> Path:
    """Where the search is, or was."""
    runs = RUNS / Path(space).stem if space else RUNS
    return runs / f"{method.lower().replace(', ', '-').replace(' ', '-')}-{seed}"


def in_turn(seed: int) -> list[str]:
    """The methods in the order of this seed."""
    first, *others = METHODS
    turn = seed % len(others)
    return [first, *others[turn:], *others[:turn]]


def test(one: dict[str, Any], data: Path, space: str | None, n: int) -> dict[str, Any]:
    """The test errors of a search's winner, trained anew `n` times on all training images.

    Returns:
        `test`, the errors, and `tested`: where, when and in which precision, which is bfloat16 on a
        processor that has it.
    """
    searched = folder_of(one["method"], one["seed"], space)
    path = searched.with_name(f"test-{searched.name}")
    config = path.with_suffix(".json")
    config.parent.mkdir(parents=True, exist_ok=True)  # the search may have been elsewhere
    config.write_text(json.dumps(one["winner"]), encoding="utf-8")
    command = [sys.executable, "-m", "mnist_lab", "test", "--config", str(config)]
    command += ["--repeats", str(n), "--precision", "auto", "--workers", "2", "--quiet"]
    command += ["--data", str(data), "--out", str(path)]
    subprocess.run(  # noqa: S603 - our own command
        command, env=environments.variables(), stdout=subprocess.DEVNULL, check=True
    )
    run = study.load_run(path)
    errors = [trial.test.test_error for trial in run.trials if trial.test is not None]
    where = {"processor": machine.processor(), "precision": run.info.settings.precision}
    return {"test": errors, "tested": {"date": now()[:10]} | where}


def final(one: dict[str, Any]) -> float:
    """The validation error that a search ended with; 1 without any."""
    return float(one["improvements"][-1][2]) if one["improvements"] else 1.0


def tested(one: dict[str, Any]) -> float | None:
    """The mean test error of a search's winner; None if it has not been tested."""
    errors = one.get("test")
    return statistics.fmean(errors) if errors else None


def reached(one: dict[str, Any], error: float) -> tuple[float, float]:
    """The seconds and epochs after which a search had an error as low; infinite if never."""
    found = ((s, at) for s, at, best in one["improvements"] if best <= error)
    return next(found, (math.inf, math.inf))


def number(value: float) -> str:
    """A number of seconds or epochs, or that there is none."""
    return f"{value:,.0f}" if math.isfinite(value) else "never"


def spread(values: Sequence[float], write: Any = number) -> str:
    """The median and the range."""
    if not values:
        return ""
    # Of an even number, one of which is never: never, too.
    middle, low, high = (write(f(values)) for f in (statistics.median, min, max))
    return middle if low == high else f"{middle} ({low} to {high})"


def table(searches: Sequence[dict[str, Any]]) -> str:
    """Two tables in Markdown, of what was found and when; medians over the seeds, and ranges."""
    found = ["validation error", "test error", "seconds", "epochs", "winners tested"]
    when = ["seconds to random search's error", "epochs to it", "share of its seconds"]
    when += ["share of its epochs", *(f"seconds to {error:.2%}" for error in ERRORS)]
    rows = [_line("method", "n", *found), _line("---", *["---:"] * (1 + len(found)))]
    others = ["", _line("method", "n", *when), _line("---", *["---:"] * (1 + len(when)))]
    references = {one["seed"]: one for one in searches if one["method"] == REFERENCE}
    for method in METHODS:
        own = [one for one in searches if one["method"] == method]
        if not own:
            continue
        tests = [error for one in own if (error := tested(one)) is not None]
        cells = [
            spread([final(one) for one in own], percent),
            spread(tests, percent),
            spread([one["seconds"] for one in own]),
            spread([one["epochs"] for one in own]),
            str(len(tests)),
        ]
        rows.append(_line(method, str(len(own)), *cells))
        pairs = [(one, references[one["seed"]]) for one in own if one["seed"] in references]
        times = [reached(one, final(reference)) for one, reference in pairs]
        shares = [
            (s / reference["seconds"], at / reference["epochs"])
            for (s, at), (_, reference) in zip(times, pairs, strict=True)
        ]
        cells = [spread([one[place] for one in times]) for place in (0, 1)]
        cells += [spread([one[place] for one in shares], share_text) for place in (0, 1)]
        cells += [spread([reached(one, error)[0] for one in own]) for error in ERRORS]
        others.append(_line(method, str(len(own)), *cells))
    return "\n".join(rows + others) + "\n"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def share_text(value: float) -> str:
    """A share of what random search took in all."""
    return f"{value:.3f}" if math.isfinite(value) else "never"


def curves(own: Sequence[dict[str, Any]], place: int) -> list[list[tuple[float, float | None]]]:
    """The lowest errors over the seconds (place 0) or epochs (1), to the end of the longest search.

    A search that is over keeps what it found.
    """
    end = max(one[("seconds", "epochs")[place]] for one in own)
    found = [[(step[place], step[2]) for step in one["improvements"]] for one in own]
    return [[*steps, (max(end, steps[-1][0]), steps[-1][1])] for steps in found if steps]


def median_progress(
    searches: Sequence[Sequence[tuple[float, float | None]]],
) -> list[tuple[float, float, float, float]]:
    """Combine several searches of one kind, from different seeds, into one curve.

    It begins where more than half of the searches have a result; those without one count as an
    error of 1.0. It ends where the first search ends.

    Args:
        searches: for each, the seconds or epochs spent, rising, and the lowest error by then.

    Returns:
        Rows of what was spent and, over the searches, the median, minimum and maximum of the lowest
        error found by then.
    """
    begun = [points for points in searches if points]
    end = min((points[-1][0] for points in begun), default=0)
    rows = []
    for place in sorted({at for points in begun for at, _ in points if at <= end}):
        bests = [
            next((best for at, best in reversed(points) if at <= place), None)
            for points in searches
        ]
        if sum(best is not None for best in bests) > len(bests) / 2:
            errors = [1.0 if best is None else best for best in bests]
            rows.append((place, statistics.median(errors), min(errors), max(errors)))
    return rows


def draw_medians(
    axes: Axes, methods: Iterable[tuple[str, int, Sequence[tuple[float, float, float, float]]]]
) -> None:
    """Draw the lowest error of each way to search: the median, and a band to the extremes.

    Args:
        axes: with their final limits.
        methods: name, number of searches and :func:`median_progress` of each.
    """
    ends = []
    for index, (name, n, own) in enumerate(methods):
        color, marker = look(index)
        named = f"{name} (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{n})"
        if not own:
            ends.append(End(wrapped(named, "no result"), color, marker, 0, None))
            continue
        spent, middle, low, high = zip(*own, strict=True)
        axes.step(spent, middle, where="post", color=color)
        axes.fill_between(spent, low, high, step="post", color=color, alpha=0.18, linewidth=0)
        extremes = f"{percent(low[-1])} to {percent(high[-1])}" if n > 1 else ""
        label = wrapped(named, percent(middle[-1]), extremes)
        shown = min(middle[-1], axes.get_ylim()[1])
        ends.append(End(label, color, marker, spent[-1], shown))
    label_ends(axes, ends)


@page.styled()
def draw(searches: Sequence[dict[str, Any]], caption: plots.Caption) -> Any:
    """The incumbent's error over seconds and over epochs, a colour and a marker for each method."""
    key = "Lowest validation error so far; line: median of the seeds; band: from best to worst."
    figure = page.new_page("Error found for the time spent", key, caption, height=7.6)
    searched = {
        method: own
        for method in METHODS
        if (own := [one for one in searches if one["method"] == method])
    }
    panels = ("seconds since the command's start", "epochs trained, all trials together")
    for place, xlabel in enumerate(panels):
        axes = page.add_axes(figure, page.LEFT, page.BOTTOM + 3.6 * (1 - place), 4.9, 2.8)
        methods = [
            (method, len(own), median_progress(curves(own, place)))
            for method, own in searched.items()
        ]
        points = [row for *_, own in methods for row in own]
        if not points:
            page.say(axes, "no search has an error yet")
            continue
        # What an untrained network gets wrong is not the question; it is drawn to the top edge.
        page.percent_axis(axes, [error for row in points for error in row[1:] if error < MOST])
        low, high = min(row[0] for row in points), max(row[0] for row in points)
        axes.set(xscale="log", xlabel=xlabel, ylabel="validation error", xlim=(low, 1.05 * high))
        ticks = [n * 10**power for power in range(6) for n in (1, 2, 5)]
        axes.set_xticks([x for x in ticks if low <= x <= high], minor=False)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        draw_medians(axes, methods)
    return figure


def write(record: dict[str, Any], path: Path) -> None:
    """Write the record, and the table and the figure beside it."""
    recording.write(record, path)
    searches = record["searches"]
    path.with_suffix(".md").write_text(table(searches), encoding="utf-8")
    caption = plots.Caption(
        data_name=record["data"],
        notice="",
        n=f"{len(searches)} searches",
        date=searches[-1]["date"][:10],
        version=record["versions"]["mnist-lab"],
    )
    for suffix, content in plots.save(draw(searches, caption)).items():
        path.with_suffix(f".{suffix}").write_bytes(content)


def open_record(
    path: Path, data: Path, space: str | None, *, elsewhere: bool = False
) -> dict[str, Any]:
    """What is there, or a new record; ends the program where it was made otherwise.

    Args:
        path: of the record.
        data: as given.
        space: as given.
        elsewhere: another machine may have made it.
    """
    hardware = machine.hardware()
    hardware.pop("system")  # it may have another kernel tomorrow
    hardware["bfloat16"] = machine.has_bfloat16()  # tells processors of one name apart
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "data": data.name,
        "space": space,
        "machine": hardware,
        "versions": machine.versions(),
        "methods": {name: list(method.words) for name, method in METHODS.items()},
        "requirements": {
            name: environments.read_requirements(method.requirements).split()
            for name, method in METHODS.items()
            if method.requirements
        },
        "searches": [],
    }
    if not path.exists():
        return record
    # No recorded search concerns a method that is new here; random search concerns all of them.
    known = json.loads(path.read_text(encoding="utf-8"))["methods"].keys() | {REFERENCE}
    of_methods = ("methods", "requirements")
    older = {
        key: {name: record[key][name] for name in record[key].keys() & known} for key in of_methods
    }
    free = {"searches", "machine"} if elsewhere else {"searches"}
    expected = {key: record[key] for key in record if key not in free} | older
    return recording.read(path, expected) | {key: record[key] for key in of_methods}


def main() -> None:
    """Run what is missing and write the files."""
    parser = recording.parser(__doc__)
    parser.add_argument("data", type=Path, help="MNIST as .npz")
    parser.add_argument("--seed", nargs="+", type=int, default=range(5), help="peers: below 3")
    parser.add_argument(
        "--only", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD"
    )
    parser.add_argument("--test", action="store_true", help="test the winners that are there")
    parser.add_argument("--trainings", type=int, default=N_TESTS, help="of each winner")
    parser.add_argument("--space", help="ConfigSpace's JSON, of which only our methods take any")
    arguments = parser.parse_args()
    data, space = arguments.data.resolve(), arguments.space
    path = arguments.out / (f"worth-{Path(space).stem}.json" if space else "worth.json")
    record = open_record(path, data, space, elsewhere=arguments.test)
    searches = record["searches"]
    if arguments.test:
        test_winners(record, data, arguments, path)
    for seed in () if arguments.test else arguments.seed:
        for method in in_turn(seed):
            requirements, as_long = METHODS[method].requirements, METHODS[method].as_long
            is_there = any((one["method"], one["seed"]) == (method, seed) for one in searches)
            not_asked = requirements is not None and (space or seed >= N_PEER_SEEDS)
            if is_there or not_asked or method not in arguments.only:
                continue
            limit_s = PEER_SECONDS if requirements else None
            if as_long:
                took = [
                    one["seconds"]
                    for one in searches
                    if (one["method"], one["seed"]) == (REFERENCE, seed)
                ]
                if not took:
                    sys.exit(f"{method} takes as long as {REFERENCE}, which seed {seed} lacks")
                limit_s = took[0]
            folder = folder_of(method, seed, space)
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            date, system = now(), machine.hardware()["system"]
            if requirements and limit_s:
                python = environments.python_with(requirements, (RUNS / ".venv").resolve())
                found = peer_search(method, folder, seed, data, limit_s=limit_s, python=python)
            else:
                found = our_search(method, folder, seed, data, limit_s=limit_s, space=space)
            head = {"method": method, "seed": seed, "date": date, "system": system}
            searches.append(head | found)
            write(record, path)
            told = f"{found['seconds']:.0f} s, {found['epochs']:.0f} epochs"
            print(f"seed {seed}: {method}: {told}, {final(searches[-1]):.2%}", flush=True)
    print(table(searches))


def test_winners(
    record: dict[str, Any], data: Path, arguments: argparse.Namespace, path: Path
) -> None:
    """Test each winner that has not been; the same configuration gives the same errors."""
    known = [one for one in record["searches"] if one.get("test")]
    for one in record["searches"]:
        if one.get("test") or one["method"] not in arguments.only or not one["winner"]:
            continue
        same = next((other for other in known if other["winner"] == one["winner"]), None)
        if same:
            one.update({key: same[key] for key in ("test", "tested") if key in same})
        else:
            one.update(test(one, data, record["space"], arguments.trainings))
        known.append(one)
        write(record, path)
        told = f"{one['method']}, seed {one['seed']}: {statistics.fmean(one['test']):.2%}"
        print(f"test of {told}", flush=True)


if __name__ == "__main__":
    main()
