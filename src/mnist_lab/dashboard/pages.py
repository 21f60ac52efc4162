"""The dashboard's pages: the list of runs, and the shared templates with one run or several."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mnist_lab import __version__, views
from mnist_lab.analysis.history import lowest_by_epoch
from mnist_lab.analysis.outcomes import n_ended, n_epochs_done, n_epochs_planned, n_planned
from mnist_lab.errors import printable
from mnist_lab.pages import environment, figures, json_text, sections
from mnist_lab.records import timestamp
from mnist_lab.views import Cell, interval_cell
from mnist_lab.words import between, clock, counted, duration, listed, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mnist_lab.dashboard.watching import Runs
    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo
    from mnist_lab.study import Run

_TEMPLATES = environment("mnist_lab.dashboard")
# The small curve: its size in pixels, and how many points are enough for it.
WIDTH, HEIGHT = 96, 24
_MOST_POINTS = 48
# The list is sorted by when a run ended; one that is trained comes before all.
_NOW = 1e11
_LEAST_ERROR = 1e-5  # on the logarithmic scale of a curve
_MOST_TEXT = 300
# What a row has in any case.
_NOTHING: dict[str, Any] = {"problem": "", "share": None, "curve": None}
_NOTHING |= dict.fromkeys(("progress", "left", "best", "test", "interval"), Cell())


def standing(info: RunInfo, trials: list[Trial] | None, left_s: float | None) -> dict[str, Any]:
    """What the list shows of a run; without its trials what run.json says.

    Args:
        info: of the run.
        trials: as they stand; None: they are not read yet.
        left_s: how many seconds the rest will take, if that is known.
    """
    settings, is_running = info.settings, info.state == "running"
    since = (not is_running and info.ended) or info.continued or info.started
    shown = _NOTHING | {
        "state": info.state,
        "when": timestamp(since) + _NOW * is_running,
        "since": since,
        "clock": ("since " if is_running else "") + clock(since),
        "experiment": settings.experiment,
        "data": info.data.name,
        "progress": Cell("…"),
        "left": Cell() if left_s is None else Cell(duration(left_s), left_s),
    }
    if trials is None:
        return shown
    ended, planned = n_ended(trials), n_planned(settings, trials)
    done = n_epochs_done(trials)
    # What failed or was dropped is not missing in the end.
    n_epochs = done if info.state == "complete" else n_epochs_planned(settings, trials)
    share = done / max(n_epochs, done) if done else 0.0
    shown |= {"progress": Cell(f"{ended}/{planned}"), "share": round(share, 3)}
    if (best := views.best(info, trials)) is not None:
        error = Cell(percent(best.error.mean), best.error.mean)
        shown |= {"test" if settings.experiment == "test" else "best": error}
        shown["interval"] = interval_cell(best.interval())
    shown["curve"] = _curve(lowest_by_epoch(trials))
    return shown


def unreadable(problem: str) -> dict[str, Any]:
    """What the list shows of a run that cannot be read."""
    return _NOTHING | {
        "state": "unreadable",
        "when": 0.0,
        "since": "",
        "clock": views.NOTHING,
        "experiment": views.NOTHING,
        "data": views.NOTHING,
        "problem": printable(problem[:_MOST_TEXT]),
    }


def row(key: str, name: str, shown: Mapping[str, Any]) -> str:
    """A run's row in the list, as HTML."""
    template = _TEMPLATES.get_template("row.html")
    return template.render(key=key, name=name, width=WIDTH, height=HEIGHT, **shown)


def listing(runs: Runs, folder: Path) -> str:
    """The page with all runs, the newest first."""
    rows = sorted(runs.rows.values(), key=lambda one: one.when, reverse=True)
    return _TEMPLATES.get_template("list.html").render(
        rows=[one.html for one in rows],
        tally=tally(runs),
        folder=printable(str(folder)),
        events=f"events?since={runs.version}",
        version=__version__,
    )


def tally(runs: Runs) -> str:
    """How many runs there are, by their states: `4 runs: 1 running, 3 complete`."""
    counts = Counter(one.state for one in runs.rows.values())
    each = [f"{n} {state}" for state, n in counts.most_common()]
    return f"{counted(len(runs.rows), 'run')}: {', '.join(each)}" if each else "No runs yet"


def section(runs: Mapping[str, tuple[str, Run]]) -> str:
    """One run, or several compared, as a section; `runs` has the name and the run of each key."""
    shown = [run.shown(name, f"/files/{key}") for key, (name, run) in runs.items()]
    if len(shown) == 1:
        data, run = json_text(figures.of_run(shown[0])), sections.run(shown[0], "run")
        return _TEMPLATES.get_template("run.html").render(data=data, run=run)
    links = [f"/run?{parameter(key)}" for key in runs]
    return _TEMPLATES.get_template("comparison.html").render(
        comparison=sections.comparison(shown, links),
        comparison_data=json_text(figures.of_comparison(shown)),
    )


def page(names: Mapping[str, str], version: int, *, content: str = "", problem: str = "") -> str:
    """A page about runs: their section, as of this version; or why there is none.

    `names` are those of the runs by their keys.
    """
    query = "&".join((f"since={version}", *map(parameter, names)))
    return _TEMPLATES.get_template("page.html").render(
        content=content,
        runs={name: f"/run?{parameter(key)}" for key, name in names.items()},
        title=listed(list(names.values())),
        events=f"/events?{query}",
        problem=problem,
        version=__version__,
    )


def parameter(key: str) -> str:
    """How an address names a run."""
    return f"name={quote(key)}"


def _curve(points: Sequence[tuple[float, float]]) -> dict[str, str] | None:
    """The corners of a small curve on a logarithmic scale, and what it shows in words."""
    if not points:
        return None
    step = math.ceil(len(points) / _MOST_POINTS)
    kept = [*points[:-1:step], points[-1]]
    heights = [math.log(max(error, _LEAST_ERROR)) for _, error in kept]
    low, high = min(heights), max(heights)
    first, last = kept[0][0], kept[-1][0]
    corners = [
        (
            2 + (WIDTH - 4) * ((at - first) / (last - first) if last > first else 0.5),
            2 + (HEIGHT - 4) * ((high - height) / (high - low) if high > low else 0.5),
        )
        for (at, _), height in zip(kept, heights, strict=True)
    ]
    if len(corners) == 1:  # a dot is a line to itself
        corners *= 2
    words = f"lowest error by epoch: {between((points[0][1], points[-1][1]))}"
    return {"corners": " ".join(f"{x:.1f},{y:.1f}" for x, y in corners), "words": words}
