"""What all figures share: colours, axes, words, and trials as traces."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.analysis.outcomes import completed_error, outcome_of, summary
from mnist_lab.config import VARIED
from mnist_lab.pages.sections import ranked
from mnist_lab.words import budget_text, describe, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from mnist_lab.analysis.history import RankedTrial
    from mnist_lab.pages.sections import Shown
    from mnist_lab.records import Trial

# The pages' style has as many variables of each kind; they are the colours of `plots`.
N_COLORS, N_SHADES = 7, 8
BEST, LOST, INK, GREY, BLUE = "--best", "--lost", "--ink", "--quiet", "--series-0"
_MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down")
# A range that spans this factor reads better on a logarithmic scale.
_WIDE = 4.0
MOST_TICKS = 6
# What a label says of a point, in plotly's words.
AT_EPOCH = "epoch %{x:.3~r}: %{y:.3~r} %"


class Figure(NamedTuple):
    """A figure: its `title`, a sentence `about` it, and one or more `choices` of what it shows.

    Of each choice, by name, `traces` and `layout` are plotly's. The `customdata` of a point is the
    number of its trial; in the label of such a point the script puts the words about it.
    """

    title: str
    about: str
    choices: dict[str, dict[str, Any]]


def label_of(one: Shown, trial: Trial) -> str:
    """What pointing at a trial tells."""
    error = trial.test.test_error if trial.test else completed_error(trial)
    kind = "test error" if trial.test else "final error"
    which = f"trial {trial.trial}"
    if trial.repeat and one.info.settings.repeats > 1:
        which += f", repeat {trial.repeat}"
    result = outcome_of(trial) if error is None else f"{kind} {percent(error)}"
    return f"{which}: {result}\n{describe(trial.configuration)}"


def in_percent(error: float | None, one: Shown) -> float | None:
    """An error on a logarithmic axis, on which 0 stands at half an image."""
    if error is None:
        return None
    n_images = one.info.data.n_valid or one.info.data.n_train or 1
    return round(100 * max(error, 0.5 / n_images), 4)


def color(index: int) -> str:
    """The colour of the line `index`, as `plots` has it."""
    return f"--series-{index % N_COLORS}"


def marker(index: int) -> str:
    """Its marker."""
    return _MARKERS[index % len(_MARKERS)]


def axis(title: str, *, log: bool = False) -> dict[str, Any]:
    """An axis in plotly's words; on a logarithmic one more ticks would touch."""
    return {"title": {"text": title}, **({"type": "log", "nticks": 5} if log else {})}


def error_axis(title: str = "validation error") -> dict[str, Any]:
    """A logarithmic axis of percents."""
    return {**axis(title, log=True), "ticksuffix": " %", "tickformat": "~r", "nticks": 4}


def epoch_axis(reached: Iterable[float]) -> dict[str, Any]:
    """An axis of epochs: logarithmic where some are parts of one, with those as ticks."""
    every = sorted(set(reached))
    if not every or every[0] >= 1:
        last = every[-1] if every else 1
        return {**axis("epoch"), "tick0": 1, "dtick": math.ceil(last / 12)}
    ticks = {at for at in every if at < 1} | {2.0**power for power in range(20)}
    shown = sorted(tick for tick in ticks if every[0] <= tick <= every[-1])
    return {
        **axis("epoch", log=True),
        "tickvals": shown,
        "ticktext": [budget_text(tick) for tick in shown],
    }


def spending_axis(last: float) -> dict[str, Any]:
    """An axis of the epochs of all trials together, from 0; of few it has no halves."""
    few = {"dtick": math.ceil(last / 12)} if last <= 24 else {}  # noqa: PLR2004 - beyond, it has none
    return {**axis("epochs trained, all trials together"), "rangemode": "tozero", **few}


def hover(words: str) -> str:
    """The label of a point: its trial, which the script puts in the text's place, and a value."""
    return "<br>".join(filter(None, ("%{text}", words))) + "<extra></extra>"


def is_wide(values: Collection[float]) -> bool:
    """Whether they read better on a logarithmic scale."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return low > 0 and high >= _WIDE * low


def beside(order: int, n: int) -> float:
    """How far the trial of this order, from 0, stands beside the middle of its column of `n`."""
    return round(0.76 * ((order + 0.5) / n - 0.5), 4)


class Group(NamedTuple):
    """Trials that are drawn alike."""

    name: str
    color: str
    trials: list[Trial]


def groups(one: Shown) -> list[Group]:
    """The trials by look, those on top last: without an error, the worst to the best.

    Of a sweep each value has a colour, of anything else each shade is an eighth of the ranks.
    """
    varied = VARIED.get(one.info.settings.experiment)
    if varied is not None:
        return [
            Group(row.name, color(index), list(row.trials))
            for index, row in enumerate(summary(one.trials, varied))
        ]
    ranking = ranked(one)
    n = sum(each.rank is not None for each in ranking)

    def look(each: RankedTrial) -> tuple[str, str]:
        if each.rank is None:
            return "no error", LOST
        if each.rank == 1:
            return "best", BEST
        place = (N_SHADES * (each.rank - 1)) // n
        ends = {0: "the best eighth", N_SHADES - 1: "the worst eighth"}
        return ends.get(place, ""), f"--shade-{place}"

    by_number = {trial.trial: trial for trial in one.trials}
    found = [
        Group(name, shade, [by_number[each.number] for each in members])
        for (name, shade), members in groupby(ranking, look)
    ]
    return found[::-1]


def lines(
    group: Group, points: Callable[[Trial], Iterable[tuple[float, float | None]]], words: str = ""
) -> dict[str, Any]:
    """A trace through the points of every trial of a group, with a gap after each.

    One trace for many trials, as each costs the browser time. `words` are of the label, besides
    those about the trial.
    """
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int] = []
    sizes: list[int] = []
    for trial in group.trials:
        own = list(points(trial))
        x += [*(at for at, _ in own), None]
        y += [*(value for _, value in own), None]
        numbers += [trial.trial] * (len(own) + 1)
        sizes += [5 * (len(own) == 1)] * (len(own) + 1)
    made: dict[str, Any] = {
        "name": group.name,
        "showlegend": bool(group.name),
        "x": x,
        "y": y,
        "customdata": numbers,
        "mode": "lines",
        "line": {
            "color": group.color,
            "width": 3 if group.color == BEST else 1.2,
            "dash": "dot" if group.color == LOST else "solid",
        },
        "hovertemplate": hover(words),
    }
    if any(sizes):  # a line of one point is invisible
        made |= {"mode": "lines+markers", "marker": {"color": group.color, "size": sizes}}
    return made


def dots(
    one: Shown, places: Mapping[int, tuple[float, float]], words: str = ""
) -> list[dict[str, Any]]:
    """A trace for each group of trials, with a dot for each that has a place.

    Args:
        one: whose trials they are.
        places: x and y, by trial.
        words: of the label, besides those about the trial.
    """
    traces = []
    varied = VARIED.get(one.info.settings.experiment)
    for index, group in enumerate(groups(one)):
        known = [trial.trial for trial in group.trials if trial.trial in places]
        if not known:
            continue
        look = {"color": group.color, "size": 12 if group.color == BEST else 7}
        traces.append(
            {
                "name": group.name,
                "showlegend": bool(group.name),
                "x": [places[number][0] for number in known],
                "y": [places[number][1] for number in known],
                "customdata": known,
                "mode": "markers",
                "marker": {**look, "symbol": marker(index) if varied else "circle"},
                "hovertemplate": hover(words),
            }
        )
    return traces


def final_errors(one: Shown) -> dict[int, float]:
    """The error of each trial at the largest budget that it completed, in percent."""
    errors = ((trial.trial, in_percent(completed_error(trial), one)) for trial in one.trials)
    return {number: error for number, error in errors if error is not None}
