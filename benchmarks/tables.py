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
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent / "peers")]

import plans as replayed
import precision as precisions
import worth
from scipy import stats  # type: ignore[import-untyped]
from summary import epoch_gflop

from mnist_lab.analysis.intervals import student_interval
from mnist_lab.analysis.outcomes import seconds_per_epoch, summary
from mnist_lab.cli.ending import ending
from mnist_lab.config import VARIED, TrainConfig
from mnist_lab.findings import findings
from mnist_lab.study import Run, load_run
from mnist_lab.words import between, budget_text, counted, duration, listed, percent, points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.findings import Finding

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
RECORDS = ROOT / "docs" / "performance"
MARKED = re.compile(r"(<!-- (\w[^>]*?) -->)(.*?)(<!-- / -->)", re.DOTALL)
# A comparison needs more than one of each.
LEAST = 2
GOAL = 0.1
PEERS = {
    "hpbandster": "`model.fit` + HpBandSter, one worker",
    "kerastuner": "KerasTuner",
    "optuna": "Optuna + PyTorch",
    "joblib": "joblib + Keras, one process per core",
    "ours-float32": "mnist-lab, float32",
    "ours-bfloat16": "mnist-lab, bfloat16",
}
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


def row_of(run: str, value: str) -> SummaryRow:
    """The trials of a sweep with one value."""
    info, trials = reference(run).info, reference(run).trials
    (found,) = (
        row
        for row in summary(trials, VARIED[info.settings.experiment])
        if row.value == float(value)
    )
    return found


# --- how it is written


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: int) -> str:
    """A table; the last `right` columns hold numbers."""
    rules = ["---"] * (len(heads) - right) + ["---:"] * right
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rules, *rows))


def made(name: str) -> str:
    """With what a record was made, and when."""
    found = record(name)
    entries = found.get("searches") or found.get("runs") or [found]
    dates = sorted({one["date"][:10] for one in entries})
    host, versions = found["machine"], found["versions"]
    known = {"mnist-lab": "mnist-lab", "tensorflow": "TensorFlow", "keras": "Keras"}
    named = ", ".join(f"{known[key]} {versions[key]}" for key in known)
    return (
        f"Made on {host['cores']} cores of an {host['processor']} with {named}, "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))} ([record](performance/{name}.json))."
    )


def median(values: Iterable[float], write: Any = "{:,.0f}".format) -> str:
    """The median and the range."""
    values = list(values)
    middle, low, high = (write(f(values)) for f in (statistics.median, min, max))
    return (
        middle
        if low == high
        else f"{middle} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"
    )


def spread(values: Sequence[float], digits: int) -> str:
    """The mean and the standard deviation."""
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def errors_text(values: Sequence[float]) -> str:
    """The mean, the 95 % interval of Student, n."""
    mean = percent(statistics.fmean(values))
    return f"{mean} ({between(student_interval(values)).removesuffix(' %')}, n = {len(values)})"


# --- results/reference


def error(run: str, value: str) -> str:
    """The validation error of a sweep's value."""
    return errors_text(row_of(run, value).errors)


def accuracy(run: str, value: str) -> str:
    """One minus that."""
    return errors_text([1 - one for one in row_of(run, value).errors])


def train_error(run: str, value: str) -> str:
    """The training error of a sweep's value, a mean over the last epoch."""
    return percent(row_of(run, value).train_error)


def passed(run: str, value: str) -> str:
    """The first epoch after which the mean error is below 10 %."""
    curve = row_of(run, value).curve("valid_error")
    return str(next(n for n, one in enumerate(curve, start=1) if one and one.mean < GOAL))


def test_error(run: str) -> str:
    """The error on the test images."""
    return errors_text([one.test.test_error for one in reference(run).trials if one.test])


def gain(run: str, value: str, other: str) -> str:
    """How much less error a value has than another one, seed by seed."""
    pairs = zip(row_of(run, value).errors, row_of(run, other).errors, strict=True)
    less = [b - a for a, b in pairs]
    low, high = (f"{100 * end:.2f}" for end in student_interval(less))
    return f"{points(statistics.fmean(less))} points ({low} to {high}, n = {len(less)})"


def p_value(run: str, value: str, other: str, questions: str) -> str:
    """That of Student's paired test, for one of so many questions (Bonferroni)."""
    pair = (row_of(run, one).errors for one in (value, other))
    return f"{float(stats.ttest_rel(*pair).pvalue) * int(questions):.3f}"


def times(run: str, value: str, other: str) -> str:
    """How often as long an epoch takes, by the medians."""
    one, two = (seconds_per_epoch(*row_of(run, which).trials) for which in (value, other))
    assert one is not None and two is not None  # noqa: S101, PT018
    return f"{one / two:.1f}"


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
        "test-hyperband-20": r"  Test error|- Another seed",
    }.items():
        lines = [one.text for one in ending(reference(run), found_in(run))]
        shown.append("\n".join(line for line in lines if re.match(kept, line)))
    return "```text\n" + "\n\n".join(shown) + "\n```"


# --- docs/performance


def found_by() -> dict[str, list[Any]]:
    """The recorded searches of each method that has several."""
    known = record("worth")
    of = {
        method: [one for one in known["searches"] if one["method"] == method]
        for method in known["methods"]
    }
    return {method: own for method, own in of.items() if len(own) >= LEAST}


def fast() -> str:
    """The README's searches: what each found, in which time."""
    rows = [
        [
            f"`{' '.join(record('worth')['methods'][method])}`",
            str(len(own)),
            median(one["epochs"] for one in own),
            median((one["seconds"] for one in own), duration),
            median((worth.final(one) for one in own), percent),
        ]
        for method, own in found_by().items()
        if not (worth.METHODS[method].as_long or worth.METHODS[method].requirements)
    ]
    heads = ("search", "n", "epochs", "time", "validation error of the best")
    told = made("worth").replace("(performance/", "(docs/performance/")
    return f"{table(heads, rows, 4)}\n\n{_against_random()}{told}"


def _against_random() -> str:
    """What Hyperband spends against random search, if both are recorded."""
    known = found_by()
    if not {"Hyperband", worth.REFERENCE} <= known.keys():
        return ""
    shares = [
        statistics.median(one[what] for one in known["Hyperband"])
        / statistics.median(one[what] for one in known[worth.REFERENCE])
        for what in ("epochs", "seconds")
    ]
    epochs, seconds = (f"{100 * share:.0f} %" for share in shares)
    return f"`hyperband` takes {epochs} of random search's epochs and {seconds} of its time. "


def searches() -> str:
    """All recorded searches, and when they had found a good error."""
    rows = [
        [
            method,
            str(len(own)),
            median(one["epochs"] for one in own),
            median(one["seconds"] for one in own),
            median((worth.final(one) for one in own), percent),
            *(
                worth.spread([worth.reached(one, error)[0] for one in own])
                for error in worth.ERRORS
            ),
        ]
        for method, own in found_by().items()
    ]
    heads = ["method", "n", "epochs", "seconds", "validation error of the best"]
    heads += [f"s to {percent(error)}" for error in worth.ERRORS]
    return f"{table(heads, rows, 8)}\n\n{_against_random()}{made('worth')}"


def before(method: str) -> str:
    """The final error of a method in the earlier record, mean ± standard deviation."""
    errors = [
        100 * one["improvements"][-1][1]
        for one in record("worth-before")["searches"]
        if one["method"] == method
    ]
    return f"{spread(errors, 2)} % (n = {len(errors)})"


def _walls(work: str) -> dict[str, list[float]]:
    """The seconds of each peer's processes."""
    runs = record("peers")["runs"]
    return {
        peer: [one["wall_s"] for one in runs if (one["work"], one["peer"]) == (work, peer)]
        for peer in PEERS
    }


def peers() -> str:
    """Seconds of each peer for each work, and how often as fast as the first."""
    works = [work for work in record("peers")["works"] if all(_walls(work).values())]
    rows = [
        [
            title,
            *(f"{median(_walls(work)[peer])}, {_ratio(work, peer):.2f}" for work in works),
        ]
        for peer, title in PEERS.items()
    ]
    heads = [""]
    for work in works:
        n = sorted({len(walls) for walls in _walls(work).values()})
        heads.append(f"{work}, n = {' to '.join(map(str, n))}")
    return f"{table(heads, rows, len(works))}\n\n{made('peers')}"


def _ratio(work: str, peer: str) -> float:
    first = statistics.median(_walls(work)["hpbandster"])
    return first / statistics.median(_walls(work)[peer])


def speed() -> str:
    """How often as fast ours is in the learning-rate sweep."""
    float32, bfloat16 = (_ratio("lr-sweep", f"ours-{one}") for one in ("float32", "bfloat16"))
    n = len(_walls("lr-sweep")["hpbandster"])
    return (
        f"{float32:.1f} times as fast as `model.fit` with HpBandSter in float32, {bfloat16:.1f} "
        f"times in bfloat16 (medians of {n} learning-rate sweeps)"
    )


def headroom() -> str:
    """How long the eight would take at the speed of a matrix product, on both cores."""
    known = record("peers")
    configurations = [TrainConfig(**one) for one in known["works"]["eight"]["configurations"]]
    gflop = known["works"]["eight"]["epochs"] * sum(map(epoch_gflop, configurations))
    peaks = {
        precision: statistics.median(
            one["all_cores"] for one in known["peaks"] if one["precision"] == precision
        )
        for precision in ("float32", "bfloat16")
    }
    cores = known["machine"]["cores"]
    speeds = " and ".join(f"{one:.0f}" for one in peaks.values())
    least = " and ".join(f"{gflop / one / cores:.0f}" for one in peaks.values())
    return f"{gflop:,.0f} GFLOP. At {speeds} GFLOP/s on each of {cores} cores that takes {least} s"


def short() -> str:
    """Processor seconds of a trial of a sixteenth of an epoch, by their kind."""
    parts = ("begin", "new", "train", "validate", "checkpoint")
    rows = [
        [
            f"batches of {batch}, {filters} filters of {size}×{size}",
            str(len(runs)),
            *(f"{statistics.median(one[part] for one in runs):.3f}" for part in parts),
            median((sum(one.values()) for one in runs), "{:.2f}".format),
        ]
        for one in record("short")["rows"]
        for (batch, filters, size), runs in [(one["shape"], one["seconds"])]
    ]
    heads = ("network", "n", *parts, "all (range)")
    return f"{table(heads, rows, 7)}\n\n{made('short')}"


def start() -> str:
    """The stages of a sweep of one epoch."""
    (runs,) = (one["runs"] for one in record("growth")["results"] if one["sweep"]["epochs"] == 1)
    stages = {
        **{stage: [one["stages_s"][stage] for one in runs] for stage in runs[0]["stages_s"]},
        "from the command to the first epoch's line": [one["first_line_s"] for one in runs],
        "to the end": [one["seconds"] for one in runs],
        "processor time": [one["cpu_s"] for one in runs],
    }
    rows = [[stage, str(len(runs)), spread(seconds, 2)] for stage, seconds in stages.items()]
    return f"{table(('stage', 'n', 'seconds'), rows, 2)}\n\n{made('growth')}"


def growth() -> str:
    """Seconds and memory of whole sweeps, by what varies."""
    results = record("growth")["results"]
    base = {"trials": 4, "epochs": 4, "workers": 2, "images": 50_000}
    rows = []
    for name in base:
        others = base.keys() - {name}
        own = sorted(
            (one for one in results if all(one["sweep"][key] == base[key] for key in others)),
            key=lambda one: one["sweep"][name],
        )
        for one in own:
            if one["sweep"] == base and name != "trials":
                continue
            seconds = median((run["seconds"] for run in one["runs"]), "{:.1f}".format)
            memory = median(run["peak_mb"]["all"] for run in one["runs"])
            what = counted(one["sweep"][name], name.removesuffix("s"))
            rows.append([what, str(len(one["runs"])), seconds, memory])
    heads = ("4 trials, 4 epochs, 2 workers, 50,000 images, but", "n", "seconds", "MB at the peak")
    return f"{table(heads, rows, 3)}\n\n{made('growth')}"


def precision() -> str:
    """What bfloat16 does to the error, seed by seed."""
    return "\n".join([*precisions.rows(record("precision")), "", made("precision")])


def scale() -> str:
    """What a trial costs the engine, by the number of workers."""
    rows = []
    for one in record("scale")["results"]:
        mean, middle, high = (
            f"{1000 * one['overhead_s'][key]:.1f}" for key in ("mean", "median", "p95")
        )
        cells = (f"{mean} ({middle}, {high})", f"{1000 * one['coordinator_s']:.0f}")
        idle = f"{100 * one['idle_share']:.1f} %"
        rows.append([str(one["workers"]), f"{one['trials']:,}", *cells, idle])
    heads = ("workers", "n, trials", "overhead, ms: mean (median, 95 %)", "coordinator, ms", "idle")
    return f"{table(heads, rows, 5)}\n\n{made('scale')}"


def limit() -> str:
    """How many steps one core coordinates, by what the largest number of workers cost it."""
    step_s = record("scale")["results"][-1]["coordinator_s"]
    return (
        f"with {1000 * step_s:.0f} ms a step one core coordinates {1 / step_s:.0f} steps a second, "
        f"which is what 1,000 workers make when an epoch takes {1000 * step_s:.0f} s"
    )


def plans() -> str:
    """Plans of Hyperband, replayed."""
    rows = []
    for one in record("plans")["plans"]:
        plan = tuple(one[key] for key in ("first", "last", "eta", "survivors", "part"))
        if plan not in PLANS:
            continue
        of = [one["spaces"][space] for space in ("exercise", "wide")]
        budgets = f"{', '.join(map(budget_text, one['budgets']))}; {one['eta']}"
        counts = (str(one["survivors"]), one["part"], str(one["trials"]), f"{of[0]['epochs']:.1f}")
        cells = [
            f"{one['regret']:+.3f} ± {one['regret_sd']:.3f}, {one['seconds']:.0f}" for one in of
        ]
        rows.append([budgets, *counts, *cells])
    heads = ["budgets; eta", "survivors", "part", "trials", "epochs"]
    heads += ["sheet's space: points, s", "wide space: points, s"]
    return table(heads, rows, 4)


def early(budget: str) -> str:
    """How the loss after a budget ranks the 50 configurations, against the final error."""
    with contextlib.chdir(ROOT):
        curves = replayed.load("exercise", RECORDS / "fractions.jsonl")
    loss = curves.at(float(Fraction(budget)), by_loss=True)
    rank = float(stats.spearmanr(loss, curves.errors[:, -1]).statistic)
    return f"{rank:.2f}"


def share(name: str, *keys: str) -> str:
    """A share in a record of simulations."""
    value = record(name)
    for key in keys:
        value = value[key]
    return f"{100 * value:.0f} %"


def alarms() -> str:
    """The largest share of runs without an effect in which a finding appears that claims 5 %."""
    records = [json.loads(path.read_text("utf-8")) for path in RECORDS.glob("false_alarms*.json")]
    found = [
        one
        for record in records
        for kind in ("instruments", "alarms")
        for one in record.get(kind, ())
    ]
    return f"{100 * max(one.get('share', one.get('alarms')) for one in found):.1f} %"


FACTS: dict[str, Callable[..., str]] = {
    one.__name__: one
    for one in (
        *(error, accuracy, train_error, passed, test_error, gain, p_value, times),
        *(took, finding, answers),
        *(fast, searches, before, peers, speed, headroom, short, start, growth, precision),
        *(scale, limit, plans, early, share, alarms),
    )
}


def main() -> None:
    """Fill the pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(filled(text), encoding="utf-8")


if __name__ == "__main__":
    main()
