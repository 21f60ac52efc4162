"""The figures of a run, and of several compared, as plain data that the pages' script draws.

Each is in plotly's own words, traces and layout, with three differences. A colour that begins with
two dashes is a variable of the pages' style, so that the dark has its own. Texts are plain text: no
HTML in them is read. And errors are in percent.

Parallel coordinates are ordinary lines over places between 0 and 1: plotly's own kind of them wants
WebGL, which not every browser has, and compiles code, which a content policy forbids.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.analysis.history import bracket_panels, progress
from mnist_lab.analysis.importance import dimensions_of, importance
from mnist_lab.analysis.outcomes import (
    completed_error,
    final_error,
    outcome_of,
    seconds_per_epoch,
    summary,
)
from mnist_lab.config import VARIED, place_between
from mnist_lab.pages.sections import ranked
from mnist_lab.racing import race_of
from mnist_lab.records import timestamp
from mnist_lab.words import (
    budget_text,
    capital,
    counted,
    describe,
    in_words,
    percent,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mnist_lab.analysis.history import RankedTrial
    from mnist_lab.analysis.importance import Importance
    from mnist_lab.pages.sections import Shown
    from mnist_lab.records import Trial

# The pages' style has as many variables of each kind; they are the colours of `plots`.
N_COLORS, N_SHADES = 7, 8
BEST, LOST, INK, GREY = "--best", "--lost", "--ink", "--quiet"
_MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down")
# What became of a rung, as `plots.search` draws it; the order is that of the legend.
_LOOKS: dict[str, dict[str, Any]] = {
    "beaten": {"color": "--beaten", "size": 4},
    "undecided": {"color": GREY, "size": 5, "symbol": "circle-open"},
    "promoted": {"color": "--series-0", "size": 5},
    "winner": {"color": "--winner", "size": 8, "symbol": "diamond"},
    "best": {"color": BEST, "size": 14, "symbol": "star"},
    "failed": {"color": INK, "size": 7, "symbol": "x-thin-open"},
    "diverged": {"color": INK, "size": 7, "symbol": "triangle-up"},
}
_NAMES = {"winner": "best of its bracket", "best": "best of all"}
# A range that spans this factor reads better on a logarithmic scale.
_WIDE = 4.0
_MOST_TICKS = 6
# Where a trial without a number stands: above the axis, so that it can be chosen, too.
_NOWHERE = 1.12


class Figure(NamedTuple):
    """A figure: its `title`, a sentence `about` it, and one or more `choices` of what it shows.

    Of each choice, by name, `traces` and `layout` are plotly's. The `customdata` of a point is the
    number of its trial. `kind` tells the script which figures a box chooses trials in.
    """

    title: str
    about: str
    choices: dict[str, dict[str, Any]]
    kind: str = ""


def of_run(one: Shown) -> dict[str, Any]:
    """The figures of one run, as JSON has them.

    Returns:
        `figures`: by name, each as :class:`Figure`; `labels`: what is said of a trial, by number.
    """
    made = dict(_figures(one))
    return {
        "labels": {trial.trial: _label(one, trial) for trial in one.trials},
        "figures": {name: figure._asdict() for name, figure in made.items()},
    }


def of_comparison(runs: Sequence[Shown]) -> dict[str, Any]:
    """The lowest error so far of each run that validates, as :func:`of_run`."""
    traces = []
    for index, one in enumerate(runs):
        points = [each for each in progress(one.trials) if each.best_so_far is not None]
        if points:
            traces.append(
                {
                    "name": one.label,
                    "x": [each.at for each in points],
                    "y": [_percent(each.best_so_far, one) for each in points],
                    "mode": "lines+markers",
                    "line": {"shape": "hv", "color": _color(index), "width": 2},
                    "marker": {"size": 5, "symbol": _marker(index)},
                    "hovertemplate": "after %{x} epochs: %{y:.3~r} %",
                }
            )
    figures = {}
    if traces:
        layout = {"xaxis": _axis("epochs trained, all trials together"), "yaxis": _errors()}
        layout["xaxis"]["rangemode"] = "tozero"
        figures["spending"] = Figure(
            "Error found for the epochs spent",
            "The lowest validation error so far of each run, at any budget.",
            {"": {"traces": traces, "layout": layout}},
        )._asdict()
    return {"labels": {}, "figures": figures}


def _figures(one: Shown) -> Iterator[tuple[str, Figure]]:
    """The figures that these trials make, in the order of the page."""
    settings = one.info.settings
    if settings.configurations and (figure := _race(one)):
        yield "race", figure
    is_search = settings.space is not None
    if is_search and any(final_error(trial) is not None for trial in one.trials):
        yield "incumbent", _incumbent(one)
    if any(trial.epochs for trial in one.trials):
        yield "curves", _curves_of_search(one) if is_search else _curves_of_values(one)
    if settings.brackets and any(trial.rungs for trial in one.trials):
        yield "brackets", _brackets(one)
    if is_search and (rows := importance(list(dimensions_of(settings.space or {})), one.trials)):
        yield "importance", _importance(rows)
    if one.varied and any(trial.epochs for trial in one.trials):
        yield "parallel", _parallel(one)
    if is_search and one.varied and any(completed_error(trial) is not None for trial in one.trials):
        yield "hyperparameters", _hyperparameters(one)
        if {"learning_rate", "batch_size"} <= set(one.varied):
            yield "pair", _pair(one)
    if len([trial for trial in one.trials if completed_error(trial) is not None]) > 1:
        yield "cost", _cost(one)


# --- words, colours and axes


def _label(one: Shown, trial: Trial) -> str:
    """What pointing at a trial tells."""
    error = trial.test.test_error if trial.test else completed_error(trial)
    kind = "test error" if trial.test else "final error"
    which = f"trial {trial.trial}"
    if trial.repeat and one.info.settings.repeats > 1:
        which += f", repeat {trial.repeat}"
    result = outcome_of(trial) if error is None else f"{kind} {percent(error)}"
    return f"{which}: {result}\n{describe(trial.configuration)}"


def _percent(error: float | None, one: Shown) -> float | None:
    """An error on a logarithmic axis, on which 0 stands at half an image."""
    if error is None:
        return None
    n_images = one.info.data.n_valid or one.info.data.n_train or 1
    return round(100 * max(error, 0.5 / n_images), 4)


def _color(index: int) -> str:
    return f"--series-{index % N_COLORS}"


def _marker(index: int) -> str:
    return _MARKERS[index % len(_MARKERS)]


def _axis(title: str, *, log: bool = False) -> dict[str, Any]:
    return {"title": {"text": title}, "type": "log" if log else "linear"}


def _errors(title: str = "validation error") -> dict[str, Any]:
    return {**_axis(title, log=True), "ticksuffix": " %", "tickformat": "~r"}


def _epochs(reached: Iterable[float]) -> dict[str, Any]:
    """An axis of epochs: logarithmic where some are parts of one, with those as ticks."""
    every = sorted(set(reached))
    if not every or every[0] >= 1:
        last = every[-1] if every else 1
        return {**_axis("epoch"), "tick0": 1, "dtick": math.ceil(last / 12)}
    ticks = {at for at in every if at < 1} | {2.0**power for power in range(20)}
    shown = sorted(tick for tick in ticks if every[0] <= tick <= every[-1])
    return {
        **_axis("epoch", log=True),
        "tickvals": shown,
        "ticktext": [budget_text(tick) for tick in shown],
    }


def _hover(words: str) -> str:
    """The label of a point: its trial, which the script puts in the text's place, and a value."""
    return "%{text}<br>" + words + "<extra></extra>"


class _Group(NamedTuple):
    """Trials that are drawn alike."""

    name: str
    color: str
    trials: list[Trial]
    dash: str = "solid"
    width: float = 1.2


def _groups(one: Shown) -> list[_Group]:
    """The trials by look, those on top last: without an error, the worst to the best.

    Of a sweep each value has a colour, of anything else each shade is an eighth of the ranks.
    """
    by_number = {trial.trial: trial for trial in one.trials}
    varied = VARIED.get(one.info.settings.experiment)
    if varied is not None:
        return [
            _Group(row.name, _color(index), list(row.trials))
            for index, row in enumerate(summary(one.trials, varied))
        ]
    ranking: list[RankedTrial] = ranked(one)
    n = sum(each.rank is not None for each in ranking)

    def shade(each: RankedTrial) -> int:
        if each.rank is None:
            return N_SHADES
        return -1 if each.rank == 1 else (N_SHADES * (each.rank - 1)) // n

    groups = []
    for place, members in groupby(ranking, shade):
        trials = [by_number[each.number] for each in members]
        if place == N_SHADES:
            groups.append(_Group("no error", LOST, trials, dash="dot"))
        elif place < 0:
            groups.append(_Group("best", BEST, trials, width=3))
        else:
            groups.append(_Group(_share(place), f"--shade-{place}", trials))
    return groups[::-1]


def _share(place: int) -> str:
    """The name of a shade, in the legend."""
    return {0: "best eighth", N_SHADES - 1: "worst eighth"}.get(place, "")


def _lines(
    group: _Group, points: Callable[[Trial], Iterable[tuple[float, float | None]]]
) -> dict[str, Any]:
    """A trace through the points of every trial of a group, with a gap after each."""
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    lone = []
    for trial in group.trials:
        own = list(points(trial))
        # A line of one point is invisible.
        lone += [len(own) == 1] * (len(own) + 1)
        x += [*(at for at, _ in own), None]
        y += [*(value for _, value in own), None]
        numbers += [trial.trial] * (len(own) + 1)
    made = {
        "name": group.name,
        "showlegend": bool(group.name),
        "x": x,
        "y": y,
        "customdata": numbers,
        "mode": "lines",
        "line": {"color": group.color, "width": group.width, "dash": group.dash},
    }
    if any(lone):
        made["mode"] = "lines+markers"
        made["marker"] = {"color": group.color, "size": [5 * is_lone for is_lone in lone]}
    return made


def _dots(
    group: _Group, point: Callable[[Trial], tuple[float | None, float | None]], symbol: str
) -> dict[str, Any] | None:
    """A dot for each trial of a group that has both numbers."""
    found = [(trial.trial, *point(trial)) for trial in group.trials]
    known = [each for each in found if None not in each]
    if not known:
        return None
    numbers, x, y = zip(*known, strict=True)
    is_best = group.color == BEST
    return {
        "name": group.name,
        "showlegend": bool(group.name),
        "x": list(x),
        "y": list(y),
        "customdata": list(numbers),
        "mode": "markers",
        "marker": {"color": group.color, "size": 12 if is_best else 7, "symbol": symbol},
    }


# --- learning curves


def _curves_of_search(one: Shown) -> Figure:
    """The validation error of every trial after each epoch, the better the darker."""

    def points(trial: Trial) -> list[tuple[float, float | None]]:
        return [
            (epoch.epoch, _percent(epoch.valid_error, one))
            for epoch in trial.epochs
            if epoch.valid_error is not None
        ]

    traces = [_lines(group, points) for group in _groups(one)]
    for trace in traces:
        trace["hovertemplate"] = _hover("epoch %{x:.3~r}: %{y:.3~r} %")
    reached = [epoch.epoch for trial in one.trials for epoch in trial.epochs]
    layout = {"xaxis": _epochs(reached), "yaxis": _errors()}
    return Figure(
        "Learning curves",
        "A line for each trial; the better its final error, the stronger its colour. Click a line "
        "to choose its trial.",
        {"": {"traces": traces, "layout": layout}},
        "trials",
    )


def _curves_of_values(one: Shown) -> Figure:
    """The mean error of each value after each epoch, and its trials as thin lines."""
    settings = one.info.settings
    varied = VARIED.get(settings.experiment)
    rows = summary(one.trials, varied)
    validates = any(epoch.valid_error is not None for t in one.trials for epoch in t.epochs)
    traces: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        color, name = _color(index), row.name if len(rows) > 1 else "validation"
        if len(row.trials) > 1:
            thin = _lines(
                _Group("", color, list(row.trials), width=0.8),
                lambda trial: [
                    (
                        epoch.epoch,
                        _percent(epoch.valid_error, one)
                        if validates
                        else _percent(epoch.train_error, one),
                    )
                    for epoch in trial.epochs
                ],
            )
            thin["opacity"] = 0.45
            thin["hovertemplate"] = _hover("epoch %{x:.3~r}: %{y:.3~r} %")
            traces.append(thin)
        for field, dash, width in (("train_error", "dash", 1), ("valid_error", "solid", 2)):
            curve = row.curve(field)  # type: ignore[arg-type]
            if not any(curve):
                continue
            trace = {
                "name": name if field == "valid_error" or not validates else "training",
                "showlegend": field == "valid_error" or not validates or len(rows) == 1,
                "x": row.positions,
                "y": [_percent(point.mean, one) if point else None for point in curve],
                "mode": "lines+markers" if field == "valid_error" else "lines",
                "line": {"color": color, "width": width, "dash": dash},
                "marker": {"color": color, "size": 5, "symbol": _marker(index)},
                "hovertemplate": f"{field.partition('_')[0]}: %{{y:.3~r}} %",
            }
            traces.append(trace)
    reached = [epoch.epoch for trial in one.trials for epoch in trial.epochs]
    layout: dict[str, Any] = {"xaxis": _epochs(reached), "yaxis": _errors("error")}
    if varied and len(rows) > 1:
        layout["legend"] = {"title": {"text": in_words(varied)}}
    about = "Thick: the error of the validation images after each epoch. Dashed: the training "
    about += "error during it."
    if not validates:
        about = "The training error of each epoch; no image validates."
    if any(len(row.trials) > 1 for row in rows):
        about += " Means over the repeats, which are the thin lines."
    return Figure("Learning curves", about, {"": {"traces": traces, "layout": layout}}, "trials")


# --- searches


def _incumbent(one: Shown) -> Figure:
    """The lowest error so far, over the epochs of all trials together and over time."""
    points = progress(one.trials)
    begin = timestamp(one.info.started)
    seconds = [timestamp(point.trial.ended) - begin for point in points]
    per, unit = _unit(max(seconds, default=0.0))
    at = {
        "epochs": [float(point.at) for point in points],
        "time": [round(max(0.0, each) / per, 4) for each in seconds],
    }
    titles = {
        "epochs": "epochs trained, all trials together",
        "time": f"{unit} since the start (wall clock, pauses included)",
    }
    final = [final_error(point.trial) for point in points]
    choices = {}
    for name, places in at.items():
        dots = [
            (place, _percent(error, one), point.trial.trial)
            for place, error, point in zip(places, final, points, strict=True)
            if error is not None
        ]
        line = [
            (place, _percent(point.best_so_far, one))
            for place, point in zip(places, points, strict=True)
            if point.best_so_far is not None
        ]
        x, y, numbers = zip(*dots, strict=True)
        line_x, line_y = zip(*line, strict=True)
        traces = [
            {
                "name": "a trial's error at a budget",
                "x": list(x),
                "y": list(y),
                "customdata": list(numbers),
                "mode": "markers",
                "marker": {"color": "--series-4", "size": 5},
                "hovertemplate": _hover("%{y:.3~r} %"),
            },
            {
                "name": "lowest so far",
                "x": list(line_x),
                "y": list(line_y),
                "mode": "lines",
                "line": {"shape": "hv", "color": "--series-0", "width": 2},
                "hovertemplate": "lowest so far: %{y:.3~r} %<extra></extra>",
            },
        ]
        layout = {"xaxis": _axis(titles[name]), "yaxis": _errors()}
        layout["xaxis"]["rangemode"] = "tozero"
        choices[name] = {"traces": traces, "layout": layout}
    return Figure(
        "Lowest error so far",
        "A dot for each training that ended, at any budget; the line is the lowest so far.",
        choices,
        "trials",
    )


def _unit(seconds: float) -> tuple[float, str]:
    """The unit in which such a time is read, in seconds, and its name."""
    if seconds < 180:  # noqa: PLR2004 - three minutes
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 10_800 else (3600.0, "hours")  # noqa: PLR2004 - 3 hours


def _brackets(one: Shown) -> Figure:
    """Every trial at each rung of its bracket, by its rank there, and lines for the promoted."""
    panels = bracket_panels(one.trials, one.info.settings.brackets)
    looks: dict[str, tuple[list[float], list[float], list[int]]] = {}
    lines_x: list[float | None] = []
    lines_y: list[float | None] = []
    ticks: list[tuple[float, str]] = []
    notes = []
    members = _members(one)
    left = 0
    for panel in panels:
        budgets = panel.bracket.epochs
        ticks += [(left + place, budget_text(budget)) for place, budget in enumerate(budgets)]
        steps = [
            (budgets.index(step.budget), step, climb, members[panel.bracket][climb])
            for climb, (_, own) in enumerate(panel.climbs)
            for step in own
            if step.error is not None
        ]
        at: dict[tuple[int, int], float] = {}
        for place in range(len(budgets)):
            column = sorted(
                (step.error or 0.0, climb) for rung, step, climb, _ in steps if rung == place
            )
            for order, (_, climb) in enumerate(column):
                at[climb, place] = left + place + 0.76 * ((order + 0.5) / len(column) - 0.5)
        before: dict[int, tuple[float, float]] = {}
        for place, step, climb, number in sorted(steps, key=lambda each: each[0]):
            x, y = round(at[climb, place], 4), _percent(step.error, one) or 0.0
            xs, ys, numbers = looks.setdefault(step.look, ([], [], []))
            xs.append(x)
            ys.append(y)
            numbers.append(number)
            if climb in before:
                lines_x += [before[climb][0], x, None]
                lines_y += [before[climb][1], y, None]
            before[climb] = (x, y)
        numbers_text = " → ".join(map(str, panel.bracket.n_configs))
        n = f"{panel.n_planned} × " * (panel.n_planned > 1)
        ended = "" if panel.n_over == panel.n_planned else f"\n{panel.n_over} ended"
        notes.append(
            {
                "x": left + (len(budgets) - 1) / 2,
                "y": 1.0,
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "text": f"{n}{numbers_text}{ended}",
            }
        )
        left += len(budgets)
    traces: list[dict[str, Any]] = [
        {
            "name": "promotion",
            "x": lines_x,
            "y": lines_y,
            "mode": "lines",
            "line": {"color": "--series-4", "width": 0.8},
            "hoverinfo": "skip",
        }
    ]
    for look, marker in _LOOKS.items():
        if look in looks:
            xs, ys, numbers = looks[look]
            traces.append(
                {
                    "name": _NAMES.get(look, look),
                    "x": xs,
                    "y": ys,
                    "customdata": numbers,
                    "mode": "markers",
                    "marker": marker,
                    "hovertemplate": _hover("%{y:.3~r} % at this rung"),
                }
            )
    layout = {
        "xaxis": {
            **_axis("epochs of the rung"),
            "tickvals": [place for place, _ in ticks],
            "ticktext": [text for _, text in ticks],
            "range": [-0.6, left - 0.4],
            "showgrid": False,
        },
        "yaxis": _errors(),
        "annotations": notes,
    }
    about = "Each rung's trials from the lowest error to the highest; a line leads to where a "
    about += "promoted trial stands at the next rung. Above: how many configurations train."
    return Figure("Brackets", about, {"": {"traces": traces, "layout": layout}}, "trials")


def _members(one: Shown) -> dict[Any, list[int]]:
    """The numbers of the trials in the order of the climbs of each bracket panel."""
    planned = one.info.settings.brackets
    found: dict[Any, list[int]] = {}
    for bracket in dict.fromkeys(planned):
        numbers = [number for number, each in enumerate(planned) if each == bracket]
        found[bracket] = [
            trial.trial for number in numbers for trial in one.trials if trial.id[0] == number
        ]
    return found


def _importance(rows: Sequence[Importance]) -> Figure:
    """How much each hyperparameter matters, given the others, with its 95 % interval."""
    shown = list(rows)[::-1]
    traces = []
    for matters, name, color in ((True, "matters", "--series-0"), (False, "not seen to", GREY)):
        own = [row for row in shown if row.matters is matters]
        if own:
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": name,
                    "x": [round(100 * row.share, 1) for row in own],
                    "y": [in_words(row.name) for row in own],
                    "marker": {"color": color},
                    "error_x": {
                        "type": "data",
                        "symmetric": False,
                        "array": [round(100 * (row.interval.high - row.share), 1) for row in own],
                        "arrayminus": [
                            round(100 * (row.share - row.interval.low), 1) for row in own
                        ],
                        "color": INK,
                    },
                    "text": [_better(row) for row in own],
                    "textposition": "none",
                    "hovertemplate": "%{y}: %{x} %<br>%{text}<extra></extra>",
                }
            )
    layout = {
        "xaxis": {
            **_axis("share of the variance of the ranks"),
            "ticksuffix": " %",
            "rangemode": "tozero",
        },
        "yaxis": {"categoryorder": "array", "categoryarray": [in_words(r.name) for r in shown]},
        "hovermode": "closest",
    }
    about = "Each one's own share, given the others, with its 95 % interval."
    return Figure(
        "Which hyperparameters matter", about, {"": {"traces": traces, "layout": layout}}, "short"
    )


def _better(row: Importance) -> str:
    """Where the errors are low."""
    if not row.matters:
        return "no effect beyond chance"
    if isinstance(row.better, str) and row.better in {"higher", "lower", "in between"}:
        return f"low errors: {row.better}"
    return f"low errors: {value_text(row.name, row.better)}"


def _hyperparameters(one: Shown) -> Figure:
    """The error of each trial against each hyperparameter."""
    choices = {}
    for name in one.varied:
        values = [one.value(trial, name) for trial in one.trials]
        traces = [
            dots
            for group in _groups(one)
            if (
                dots := _dots(
                    group,
                    lambda trial, name=name: (  # type: ignore[misc]
                        one.value(trial, name),
                        _percent(completed_error(trial), one),
                    ),
                    "circle",
                )
            )
        ]
        for trace in traces:
            trace["hovertemplate"] = _hover("%{y:.3~r} %")
        layout = {"xaxis": _axis(in_words(name), log=_is_wide(values)), "yaxis": _errors()}
        choices[in_words(name)] = {"traces": traces, "layout": layout}
    about = "A dot for each trial, at the largest budget that it completed."
    return Figure("Error by hyperparameter", about, choices, "trials")


def _pair(one: Shown) -> Figure:
    """Learning rate against batch size, the better the darker."""
    traces = [
        dots
        for group in _groups(one)
        if (
            dots := _dots(
                group,
                lambda trial: (
                    trial.configuration.batch_size,
                    trial.configuration.learning_rate,
                ),
                "circle",
            )
        )
    ]
    for trace in traces:
        trace["hovertemplate"] = "%{text}<extra></extra>"
    layout = {
        "xaxis": _axis("batch size", log=True),
        "yaxis": _axis("learning rate", log=True),
    }
    about = "A dot for each trial; the better its error, the stronger its colour."
    choices = {"": {"traces": traces, "layout": layout}}
    return Figure("Learning rate against batch size", about, choices, "trials")


def _cost(one: Shown) -> Figure:
    """The error of each trial against the time it took, and which no other beats in both."""
    costs: dict[str, Callable[[Trial], float | None]] = {
        "a whole training": lambda trial: sum(epoch.duration_s for epoch in trial.epochs),
        "an epoch": seconds_per_epoch,
    }
    choices = {}
    for name, cost in costs.items():
        known = [
            (seconds, error, trial)
            for trial in one.trials
            if (seconds := cost(trial)) is not None
            and (error := completed_error(trial)) is not None
        ]
        if not known:
            continue
        front: list[tuple[float, float]] = []
        for seconds, error, _ in sorted(known, key=lambda each: each[:2]):
            if not front or error < front[-1][1]:
                front.append((seconds, error))
        traces: list[dict[str, Any]] = [
            {
                "name": "no trial is both faster and better",
                "x": [round(seconds, 3) for seconds, _ in front],
                "y": [_percent(error, one) for _, error in front],
                "mode": "lines",
                "line": {"shape": "hv", "color": GREY, "width": 1.5, "dash": "dot"},
                "hoverinfo": "skip",
            }
        ]
        for index, group in enumerate(_groups(one)):
            marker = _marker(index) if VARIED.get(one.info.settings.experiment) else "circle"
            dots = _dots(
                group,
                lambda trial, cost=cost: (  # type: ignore[misc]
                    cost(trial),
                    _percent(completed_error(trial), one),
                ),
                marker,
            )
            if dots:
                dots["hovertemplate"] = _hover("%{x:.3~r} s, %{y:.3~r} %")
                traces.append(dots)
        log = _is_wide([seconds for seconds, *_ in known])
        layout = {"xaxis": _axis(f"seconds of {name}", log=log), "yaxis": _errors()}
        choices[name] = {"traces": traces, "layout": layout}
    about = "A dot for each trial that completed a budget. The dotted line is the Pareto front."
    return Figure("Error against training time", about, choices, "trials")


# --- parallel coordinates


class _Axis(NamedTuple):
    name: str
    values: Sequence[float | None]
    words: Callable[[float], str]


def _parallel(one: Shown) -> Figure:
    """A line for each trial through what varies, what it cost and what came of it."""
    axes = [(axis.name, *_placed(axis)) for axis in _axes(one)]
    index_of = {trial.trial: index for index, trial in enumerate(one.trials)}

    def points(trial: Trial) -> list[tuple[float, float | None]]:
        index = index_of[trial.trial]
        return [(at, places[index]) for at, (_, places, _) in enumerate(axes)]

    traces = [_lines(group, points) for group in _groups(one)]
    for trace in traces:
        trace["hovertemplate"] = "%{text}<extra></extra>"
    ticks = [
        {
            "x": at,
            "y": place,
            "text": text,
            "showarrow": False,
            "xanchor": "left",
            "xshift": 5,
            "bgcolor": "--page",
            "opacity": 0.85,
        }
        for at, (_, _, marks) in enumerate(axes)
        for place, text in marks
    ]
    layout = {
        "annotations": ticks,
        "xaxis": {
            "range": [-0.25, len(axes) - 0.45],
            "tickvals": list(range(len(axes))),
            "ticktext": [name.replace(" ", "\n") for name, *_ in axes],
            "tickangle": 0,
            "side": "top",
            "fixedrange": True,
            "gridcolor": GREY,
        },
        "yaxis": {"range": [-0.06, 1.18], "visible": False, "fixedrange": True},
    }
    about = (
        "A line for each trial. Drag a box over a part of an axis, or of several, to choose trials "
        "in every figure and in the table; hold Shift to add a box."
    )
    choices = {"": {"traces": traces, "layout": layout}}
    return Figure("Trials side by side", about, choices, "parallel")


def _axes(one: Shown) -> list[_Axis]:
    """What varies, what it cost, what came of it."""

    def words(name: str) -> Callable[[float], str]:
        return lambda value: value_text(name, value)

    axes = [
        _Axis(in_words(name), [one.value(trial, name) for trial in one.trials], words(name))
        for name in one.varied
    ]
    epochs = [float(trial.n_epochs) for trial in one.trials]
    if len(set(epochs)) > 1:
        axes.append(_Axis("epochs", epochs, budget_text))
    seconds = [sum(e.duration_s for e in trial.epochs) or None for trial in one.trials]
    axes.append(_Axis("seconds", seconds, "{:.3g}".format))
    errors = [completed_error(trial) for trial in one.trials]
    axes.append(_Axis("validation error", errors, percent))
    return axes


def _is_wide(values: Iterable[float | None]) -> bool:
    """Whether they read better on a logarithmic scale."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return low > 0 and high >= _WIDE * low


def _placed(axis: _Axis) -> tuple[list[float], list[tuple[float, str]]]:
    """The place of each value between 0 and 1, and the ticks: pairs of place and text."""
    known = [value for value in axis.values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    log = _is_wide(known)

    def place(value: float) -> float:
        return 0.5 if low == high else place_between(low, high, value, log=log)

    places = [_NOWHERE if value is None else round(place(value), 4) for value in axis.values]
    distinct = sorted(set(known))
    chosen = distinct if len(distinct) <= _MOST_TICKS else _ticks(low, high, log=log)
    ticks = [(round(place(value), 4), axis.words(value)) for value in chosen]
    return places, ticks + ([(_NOWHERE, "none")] if len(known) < len(places) else [])


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    """At most six round numbers from `low` to `high`."""
    first, last = math.floor(math.log10(low or high)), math.ceil(math.log10(high))
    choices: list[list[float]] = []
    if log:
        choices = [
            [digit * 10.0**power for power in range(first, last + 1, step) for digit in digits]
            for digits, step in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 4))
        ]
    else:
        steps = [digit * 10.0**power for power in range(last - 3, last + 1) for digit in (1, 2, 5)]
        choices = [
            [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
            for step in steps
        ]
    for ticks in choices:
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= _MOST_TICKS:
            return inside
    return [low, high]


# --- races


def _race(one: Shown) -> Figure | None:
    """Mean differences to the leader on equal seeds, in points; who was dropped is grey."""
    settings = one.info.settings
    race, configurations = race_of(settings, one.trials), settings.configurations or ()
    leader = race.leader
    if leader is None:
        return None
    traces: list[dict[str, Any]] = []
    for each in race.contenders:
        color = GREY if each.dropped else _color(each.place)
        name = f"{each.place + 1}: {describe(configurations[each.place])}"
        if each is leader:
            gaps = [(n, 0.0, 0.0) for n in range(1, race.n_rounds + 1)]
            name += " (leads)"
        else:
            found = [(n, race.gap(each, leader, n)) for n in range(1, len(each.errors) + 1)]
            gaps = [(n, gap.mean, gap.half) for n, gap in found if gap is not None]
        if each.dropped:
            name += f" (dropped after repeat {each.dropped})"
        if not gaps:
            continue
        last, middle, half = gaps[-1]
        trace = {
            "name": name,
            "x": [n for n, *_ in gaps],
            "y": [round(100 * mean, 4) for _, mean, _ in gaps],
            "mode": "lines+markers",
            "line": {"color": color, "width": 3 if each is leader else 1.6},
            "marker": {"size": 5, "symbol": _marker(each.place)},
            "hovertemplate": "%{y:+.2f} points",
        }
        if half and math.isfinite(half):
            # Down to the lower end, which a race is decided by.
            ends = [0.0] * (len(gaps) - 1) + [round(100 * half, 4)]
            trace["error_y"] = {
                "type": "data",
                "symmetric": False,
                "array": [0.0] * len(gaps),
                "arrayminus": ends,
                "color": color,
            }
        del last, middle
        traces.append(trace)
    layout = {
        "xaxis": {**_axis("repeats"), "dtick": math.ceil(max(race.n_rounds, 1) / 12), "tick0": 1},
        "yaxis": _axis("error above that of the leader, in points"),
        "legend": {"orientation": "v", "y": -0.2, "yanchor": "top"},
    }
    n = counted(race.n_rounds, "repeat")
    about = (
        f"Mean difference to the leader on equal seeds after {n}; above 0 is worse. The bar ends "
        "where the interval does: one that is above 0 was dropped, as worse beyond doubt."
    )
    return Figure(capital("the race"), about, {"": {"traces": traces, "layout": layout}})
