"""The numbers of README.md and docs/, from the records in results/reference and docs/performance.

    python benchmarks/tables.py    # or tests/test_docs.py, which writes docs/commands.md too

writes each one anew between its markers, `<!-- NAME ARGUMENT… -->` and `<!-- / -->`, which GitHub
does not show; NAME is a function of this module. A test compares the pages with the records.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import statistics
import sys
import warnings
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parent))

import plans as replayed
import precision as precisions
import worth
from scipy import stats  # type: ignore[import-untyped]
from works import PARTS

from mnist_lab.analysis.intervals import error_interval
from mnist_lab.analysis.outcomes import grouped, summary
from mnist_lab.cli.ending import ending
from mnist_lab.config import VARIED
from mnist_lab.findings import findings
from mnist_lab.study import Run, load_run
from mnist_lab.words import between, budget_text, counted, duration, listed, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mnist_lab.findings import Finding

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
RECORDS = ROOT / "docs" / "performance"
MARKED = re.compile(r"(<!-- (\w[^>]*?) -->)(.*?)(<!-- / -->)", re.DOTALL)
PEERS = {
    "hpbandster": "`model.fit` + HpBandSter, one worker",
    "kerastuner": "KerasTuner",
    "optuna": "Optuna + PyTorch",
    "joblib": "joblib + Keras, one process per core",
    "ours-float32": "mnist-lab, float32",
    "ours-bfloat16": "mnist-lab, bfloat16",
}
SCRIPT = "hpbandster"  # what people write, with which the others are compared
# First and last budget, eta, survivors, and what is trained.
PLANS = {
    *((1 / 8, 8, 8, survivors, "one bracket") for survivors in (1, 2)),
    *((9 / 32, 18, 8, 2, "one bracket"), (3 / 32, 6, 8, 2, "one bracket")),
    *((1 / 8, 8, 8, 2, "one round"), (1 / 4, 9, 6, 2, "one bracket")),
}


def filled(page: str) -> str:
    """The page with what the records say now between its markers."""

    def fill(found: re.Match[str]) -> str:
        begin, asked, before, end = found.groups()
        name, *arguments = shlex.split(asked)
        text = FACTS[name](*arguments)
        return f"{begin}\n{text}\n{end}" if before.startswith("\n") else f"{begin}{text}{end}"

    return MARKED.sub(fill, page)


# --- what is read


@cache
def record(name: str) -> Any:
    """A record of a benchmark."""
    return json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))


@cache
def reference(name: str) -> Run:
    """A run of results/reference."""
    return load_run(ROOT / "results" / "reference" / name)


# --- how it is written


def table(rows: Iterable[dict[str, str]], source: str = "") -> str:
    """A table, and with what its record was made; all columns but the first hold numbers."""
    rows = list(rows)
    rules = ["---", *["---:"] * (len(rows[0]) - 1)]
    lines = [rows[0].keys(), rules, *(row.values() for row in rows)]
    shown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{shown}\n\n{made(source)}" if source else shown


def made(name: str) -> str:
    """With what a record was made, and when."""
    found = record(name)
    entries = found.get("searches") or found.get("runs") or [found]
    dates = sorted({one["date"][:10] for one in entries})
    host, versions = found["machine"], found["versions"]
    known = {"mnist-lab": "mnist-lab", "tensorflow": "TensorFlow", "keras": "Keras"}
    named = ", ".join(f"{known[key]} {versions[key]}" for key in known)
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    link = f"[record](performance/{name}.json)"
    lacks = " (no bfloat16 instructions)" * (host.get("bfloat16") is False)
    where = f"{host['cores']} cores of an {host['processor']}{lacks}"
    return f"Made on {where} with {named}, {when} ({link})."


def median(values: Iterable[float], write: Callable[[float], str] = "{:,.0f}".format) -> str:
    """The median and the range."""
    values = list(values)
    middle, low, high = (write(f(values)) for f in (statistics.median, min, max))
    between = f" ({low.removesuffix(' %')} to {high.removesuffix(' %')})"
    return middle + between * (low != high)


def spread(values: Sequence[float]) -> str:
    """The mean and the standard deviation."""
    return f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"


def errors_text(values: Sequence[float]) -> str:
    """The mean, Student's 95 % interval, n."""
    interval = error_interval(values, 10_000)
    bounds = f"{between(interval).removesuffix(' %')}, " if interval else ""
    return f"{percent(statistics.fmean(values))} ({bounds}n = {len(values)})"


# --- results/reference


def error(run: str, value: str) -> str:
    """The validation error of a sweep's value."""
    settings, trials = reference(run).info.settings, reference(run).trials
    rows = {row.value: row.errors for row in summary(trials, VARIED[settings.experiment])}
    return errors_text(rows[float(value)])


def test_error(run: str) -> str:
    """The error on the test images."""
    return errors_text([one.test.test_error for one in reference(run).trials if one.test])


def took(*runs: str) -> str:
    """How long runs took, by the clock."""
    return listed([duration(reference(run).info.spent_s) for run in runs])


def found_in(run: str) -> list[Finding]:
    """The findings of a run."""
    info, trials = reference(run).info, reference(run).trials
    return findings(info.settings, trials, info.data.n_valid, info.data)


def finding(run: str, topic: str) -> str:
    """What a run's findings say about a topic."""
    (found,) = (one.text for one in found_in(run) if one.topic == topic)
    return found


def answers() -> str:
    """What commands print at their end, shortened."""
    shown = []
    for run, kept in {
        "lr-sweep": r"  Best|  learning rate|  +0\.\d|  0.1 is",
        "filter-sweep": r"  Best|  5×5 and",
        "test-hyperband": r"  Test error|- Another seed",
    }.items():
        lines = [one.text for one in ending(reference(run), found_in(run))]
        shown.append("\n".join(line for line in lines if re.match(kept, line)))
    return "```text\n" + "\n\n".join(shown) + "\n```"


# --- docs/performance


def all_searches(name: str) -> dict[str, list[Any]]:
    """The recorded searches of each method that has any."""
    of: dict[str, list[Any]] = {method: [] for method in record(name)["methods"]}
    for one in record(name)["searches"]:
        of[one["method"]].append(one)
    return {method: own for method, own in of.items() if own}


def found_by(name: str) -> dict[str, list[Any]]:
    """The recorded searches of each method that has several: alone, one compares with nothing."""
    return {method: own for method, own in all_searches(name).items() if own[1:]}


def script_search(script: str) -> dict[str, Any]:
    """The script's random search, of whose parts each was a process, as one after the other.

    What a process takes besides its trainings, some seconds, counts at its start.
    """
    seconds, lines = 0.0, []
    runs = {one["work"]: one for one in record(script)["runs"] if one["peer"] == SCRIPT}
    for name, part in PARTS.items():
        trained = runs[name]["configurations"]
        ends = seconds + runs[name]["wall_s"] - sum(one["seconds"] for one in trained)
        for one, configuration in zip(trained, part.configurations, strict=True):
            ends += one["seconds"]
            # `fit` computes it in float32: 0.010500013 is 105 of 10,000 images.
            line = {"time": ends, "error": round(one["valid_error"], 4)}
            lines.append(line | {"epochs": part.epochs, "configuration": configuration})
        seconds += runs[name]["wall_s"]
    return worth.peer_summary(lines, 0, seconds)


def fast(name: str) -> str:
    """The README's searches: what our commands found, in which time."""
    rows = (
        {
            "search": f"`{' '.join(record(name)['methods'][method])}`"
            + ", as long as random search" * worth.METHODS[method].as_long,
            "n": str(len(own)),
            "epochs": median(one["epochs"] for one in own),
            "time": median((one["seconds"] for one in own), duration),
            "validation error of the best": median(map(worth.final, own), percent),
        }
        for method, own in found_by(name).items()
        if not worth.METHODS[method].requirements
    )
    shown = table(rows, name).replace("(performance/", "(docs/performance/")
    return f"{shown} {against_random_search(found_by(name))}".rstrip()


def time_of(name: str, method: str) -> str:
    """How long the searches of a method took, by the clock."""
    own = [one["seconds"] for one in record(name)["searches"] if one["method"] == method]
    return f"{median(own, duration)}, n = {len(own)}"


def script_time(script: str) -> str:
    """How long the script's random search took, by the clock."""
    return f"{duration(script_search(script)['seconds'])}, n = 1"


def against_random_search(known: dict[str, list[Any]]) -> str:
    """What Hyperband spends against random search, if both are recorded."""
    if not {"Hyperband", worth.REFERENCE} <= known.keys():
        return ""
    epochs, seconds = (
        statistics.median(one[what] for one in known["Hyperband"])
        / statistics.median(one[what] for one in known[worth.REFERENCE])
        for what in ("epochs", "seconds")
    )
    shares = f"{100 * epochs:.0f} % of random search's epochs and {100 * seconds:.0f} % of its time"
    return f"`hyperband` takes {shares}."


def as_good(*names: str) -> str:
    """The errors of several records' searches and of their winners, against random search's.

    A seed counts once: it draws the same configurations on every machine.
    """
    known = [one for name in names for one in record(name)["searches"]]
    rows = []
    kinds: dict[str, Callable[..., Any]] = {
        "validation, the best": worth.final,
        "test, the winner": worth.tested,
    }
    for kind, of in kinds.items():
        errors = {}
        for method in (worth.REFERENCE, "Hyperband", "BOHB", "Hyperband, as long"):
            own = [one for one in known if one["method"] == method and of(one) is not None]
            seeds = grouped(own, lambda one: one["seed"]).values()
            errors[method] = [100 * statistics.fmean(map(of, same)) for same in seeds]
        reference = errors[worth.REFERENCE]
        for method, own in errors.items():
            if min(len(own), len(reference)) < 2:  # noqa: PLR2004 - a spread needs two
                continue
            # Seeds whose errors are all alike are no reason for a warning of lost precision.
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
                welch = stats.ttest_ind(own, reference, equal_var=False).confidence_interval()
            less = statistics.fmean(own) - statistics.fmean(reference)
            bounds = f"{less:+.2f} ({welch.low:+.2f} to {welch.high:+.2f})"
            rows.append(
                {
                    "search": method,
                    "error": kind,
                    "n": str(len(own)),
                    "mean ± SD, %": spread(own),
                    "difference": "–" if method == worth.REFERENCE else bounds,
                }
            )
    return table(rows)


def spent_and_found(method: str, own: Sequence[Any]) -> dict[str, str]:
    """What a method's searches took, and their best errors."""
    return {
        "method": method,
        "n": str(len(own)),
        "epochs": median(one["epochs"] for one in own),
        "seconds": median(one["seconds"] for one in own),
        "validation error of the best": median(map(worth.final, own), percent),
    }


def when_found(own: Sequence[Any], *errors: float) -> dict[str, str]:
    """When the searches had found a good error, or one of these."""
    return {
        f"s to {percent(error)}": worth.spread([worth.reached(one, error)[0] for one in own])
        for error in sorted({*worth.ERRORS, *errors}, reverse=True)
    }


def searches(name: str) -> str:
    """All recorded searches; and when they had found a good error."""
    known = found_by(name)
    rows = (spent_and_found(method, own) | when_found(own) for method, own in known.items())
    return f"{table(rows, name)} {against_random_search(known)}".rstrip()


def beside_script(name: str, script: str) -> str:
    """A script's whole random search, and ours; it takes hours, so one of each is enough."""
    reference = script_search(script)
    lowest = worth.final(reference)
    known = {f"random search, {PEERS[SCRIPT]}": [reference]} | all_searches(name)
    rows = []
    for method, own in known.items():
        share = statistics.median(one["seconds"] for one in own) / reference["seconds"]
        n_as_low = sum(worth.final(one) <= lowest for one in own)
        compared = {"script's time": f"{100 * share:.0f} %", "as low": f"{n_as_low} of {len(own)}"}
        rows.append(spent_and_found(method, own) | compared | when_found(own, lowest))
    return table(rows, name)


def walls(work: str, name: str = "peers") -> dict[str, list[float]]:
    """The seconds of each peer's processes."""
    runs = [one for one in record(name)["runs"] if one["work"] == work]
    return {peer: [one["wall_s"] for one in runs if one["peer"] == peer] for peer in PEERS}


def ratio(seconds: dict[str, list[float]], peer: str) -> float:
    """How often as fast as the first peer."""
    return statistics.median(seconds[SCRIPT]) / statistics.median(seconds[peer])


def peers(name: str = "peers") -> str:
    """Seconds of each peer for each work, and how often as fast as the first.

    A work is shown once all peers of the record have done it.
    """
    by_work = {work: walls(work, name) for work in record(name)["works"]}
    known = [peer for peer in PEERS if any(seconds[peer] for seconds in by_work.values())]
    shown = {
        work: seconds for work, seconds in by_work.items() if all(seconds[peer] for peer in known)
    }
    rows = (
        {"": PEERS[peer], "n": median(len(seconds[peer]) for seconds in shown.values())}
        | {
            work: f"{median(seconds[peer])}, {ratio(seconds, peer):.2f}"
            for work, seconds in shown.items()
        }
        for peer in known
    )
    return table(rows, name)


def speed() -> str:
    """How often as fast ours is in the learning-rate sweep."""
    seconds = walls("lr-sweep")
    float32, bfloat16 = (ratio(seconds, f"ours-{one}") for one in ("float32", "bfloat16"))
    return (
        f"{float32:.1f} times as fast as `model.fit` with HpBandSter in float32, {bfloat16:.1f} "
        f"times in bfloat16 (medians of {len(seconds[SCRIPT])} sweeps)"
    )


def short() -> str:
    """Processor seconds of a trial of a sixteenth of an epoch, by their kind."""
    rows = []
    for one in record("short")["rows"]:
        (batch, filters, size), runs = one["shape"], one["seconds"]
        network = f"batches of {batch}, {filters} filters of {size}×{size}"
        parts = {part: f"{statistics.median(run[part] for run in runs):.3f}" for part in runs[0]}
        whole = median((sum(run.values()) for run in runs), "{:.2f}".format)
        rows.append({"network": network, "n": str(len(runs)), **parts, "all (range)": whole})
    return table(rows, "short")


def start() -> str:
    """The stages of a sweep of one epoch."""
    (runs,) = (one["runs"] for one in record("growth")["results"] if one["sweep"]["epochs"] == 1)
    stages = {stage: [one["stages_s"][stage] for one in runs] for stage in runs[0]["stages_s"]}
    stages["from the command to the first epoch's line"] = [one["first_line_s"] for one in runs]
    stages |= {"to the end": [one["seconds"] for one in runs]}
    stages |= {"processor time": [one["cpu_s"] for one in runs]}
    rows = (
        {"stage": stage, "n": str(len(runs)), "seconds": spread(seconds)}
        for stage, seconds in stages.items()
    )
    return table(rows, "growth")


def growth() -> str:
    """Seconds and memory of whole sweeps, by what varies."""
    base = {"trials": 4, "epochs": 4, "workers": 2, "images": 50_000}

    def rows() -> Iterator[dict[str, str]]:
        for one in record("growth")["results"]:
            differs = [name for name in base if one["sweep"][name] != base[name]]
            of = (counted(one["sweep"][name], name[:-1]) for name in differs)
            yield {
                "": ", ".join(of) or ", ".join(counted(n, name[:-1]) for name, n in base.items()),
                "n": str(len(one["runs"])),
                "seconds": median((run["seconds"] for run in one["runs"]), "{:.1f}".format),
                "MB at the peak": median(run["peak_mb"]["all"] for run in one["runs"]),
            }

    return table(rows(), "growth")


def precision() -> str:
    """What bfloat16 does to the error, seed by seed."""
    return "\n".join([*precisions.rows(record("precision")), "", made("precision")])


def scale() -> str:
    """What a trial costs the engine, by the number of workers."""
    rows = (
        {
            "workers": str(one["workers"]),
            "n, trials": f"{one['trials']:,}",
            "overhead, ms: mean (median, 95 %)": "{:.1f} ({:.1f}, {:.1f})".format(
                *(1000 * one["overhead_s"][key] for key in ("mean", "median", "p95"))
            ),
            "coordinator, ms": f"{1000 * one['coordinator_s']:.0f}",
            "idle": f"{100 * one['idle_share']:.1f} %",
        }
        for one in record("scale")["results"]
    )
    return table(rows, "scale")


def plans() -> str:
    """Plans of Hyperband, replayed."""
    rows = (
        {
            "budgets; eta": f"{', '.join(map(budget_text, one['budgets']))}; {one['eta']}",
            **{key: str(one[key]) for key in ("survivors", "part", "trials")},
            "epochs": f"{one['spaces']['wide']['epochs']:.1f}",
        }
        | {
            f"{space}: points, s": "{regret:+.3f} ± {regret_sd:.3f}, {seconds:.0f}".format(**of)
            for space, of in one["spaces"].items()
        }
        for one in record("plans")["plans"]
        if tuple(one[key] for key in ("first", "last", "eta", "survivors", "part")) in PLANS
    )
    return table(rows)


def early(budget: str) -> str:
    """How the loss after a budget ranks the 50 configurations, against the final error."""
    with contextlib.chdir(ROOT):
        curves = replayed.load("exercise", RECORDS / "fractions.jsonl")
    loss = curves.at(float(Fraction(budget)), by_loss=True)
    return f"{float(stats.spearmanr(loss, curves.errors[:, -1]).statistic):.2f}"


def share(name: str, *keys: str) -> str:
    """A share in a record of simulations."""
    value = record(name)
    for key in keys:
        value = value[key]
    return f"{100 * value:.0f} %"


def alarms() -> str:
    """The largest share of runs without an effect in which a finding appears that claims 5 %."""
    known = record("false_alarms")
    shares = [one["alarms"] for kind in ("sweeps and tests", "searches") for one in known[kind]]
    return f"{100 * max(shares):.1f} %"


FACTS: dict[str, Callable[..., str]] = {
    one.__name__: one
    for one in (
        *(error, test_error, took, finding, answers, fast, time_of, script_time, as_good),
        *(searches, beside_script),
        *(peers, speed, short, start, growth, precision, scale, plans, early, share, alarms),
    )
}


def main() -> None:
    """Fill the pages."""
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
