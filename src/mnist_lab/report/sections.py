"""The parts of the page about one run: each function returns HTML whose texts are escaped."""

from __future__ import annotations

import base64
from importlib.resources import files
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mnist_lab.analysis.outcomes import n_planned, tally_of
from mnist_lab.catalogue import EXPERIMENTS
from mnist_lab.config import VARIED, describe_brackets
from mnist_lab.errors import printable
from mnist_lab.findings import findings
from mnist_lab.views import Cell, Table, trial_table
from mnist_lab.words import capital, command, counted, describe, epochs_text, in_words, value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mnist_lab.report.charts import Reported

_LONG = 24  # characters of a cell; more are wrapped
# What a reader who cannot see the figure is told; the findings have the numbers.
_ALTERNATIVES = {
    "learning_curves": "Errors by epoch",
    "filter_cost": "Validation error against seconds per epoch for each filter size",
    "incumbent": "The errors of the trials and the lowest so far",
    "brackets": "Which trials went on at each rung of the brackets",
    "search_space": "What the search space samples, hyperparameter by hyperparameter",
    "hyperparameters": "The error of each trial against each hyperparameter",
    "parallel_coordinates": "A line for each trial through its hyperparameters and its error",
    "mistakes": "The misclassified test images, the most confident mistakes first",
    "race": "The difference to the leader, round after round, with its interval",
    "confusion": "Which {nouns} were taken for which",
    "spending": "The lowest error so far against the epochs spent, for each run",
}


def joined(parts: Iterable[Markup]) -> Markup:
    """The parts one after another."""
    return Markup("\n").join(parts)


def figure(name: str, svg: bytes, nouns: str = "") -> Markup:
    """A figure as an image: whatever an SVG holds, no script in an image runs.

    `nouns` is what a class is called, in the plural.
    """
    return Markup(
        '<div class="wide"><img class="figure" alt="{}" src="data:image/svg+xml;base64,{}"></div>'
    ).format(_ALTERNATIVES.get(name, name).format(nouns=nouns), base64.b64encode(svg).decode())


def run(one: Reported, number: int) -> Markup:
    """Everything about a run, as a section; the script finds it by its `number`."""
    info, tally = one.info, tally_of(one.trials)
    settings, outcomes = info.settings, ", ".join(tally.but_complete())
    label = "" if one.label == settings.experiment else f"{one.label}: "
    planned = counted(n_planned(settings, one.trials), "trial")
    found = findings(settings, list(one.trials), info.data.n_valid, info.data)
    items = joined(Markup("<li><b>{}</b> {}</li>").format(one.claim, one.numbers) for one in found)
    nouns = {"class": "classes"}.get(info.data.noun, f"{info.data.noun}s")
    same = "this command gives the same curves, however many workers there are"
    if settings.experiment == "bohb":
        same = (
            "a configuration has the same curve again; which ones BOHB proposes depends on the "
            "results that it knows by then, and so on how many workers there are and how fast"
        )
    out = f"results/{one.label.replace('/', '-')}"
    data = {
        "name": info.data.name,
        "source": printable(info.data.source),
        "images": f"{info.data.n_train:,} training, {info.data.n_valid:,} validation, "
        f"{info.data.n_test:,} test",
        "digests (MD5)": info.data.digests,
    }
    template = Markup(asset("run.html"))  # noqa: S704 - our own file
    return template.format(
        number=number,
        run=one,
        info=info,
        title=f"{label}{settings.experiment} on {info.data.name}",
        question=EXPERIMENTS[settings.experiment].question,
        asked=capital(_asked(one)),
        done=f"{tally.complete} of {planned} complete" + f" ({outcomes})" * bool(outcomes),
        epochs=epochs_text(one.n_epochs),
        started=info.started[:16].replace("T", " ") + " UTC",
        notes=joined(Markup("\n<p class='notice'>{}</p>").format(note) for note in info.data.notes),
        findings=Markup("<ul>\n{}\n</ul>").format(items)
        if found
        else Markup("<p>None yet: no trial is complete.</p>"),
        figures=joined(figure(*each, nouns) for each in one.figures.items()),
        charts=_charts(one),
        trials=_trials(one),
        same=same,
        line=command(settings, out, data=None if info.data.is_mnist else info.data.source),
        data=definitions(data),
        versions=definitions(info.versions),
        machine=definitions(info.machine),
    )


def asset(name: str) -> str:
    """A file of the page's own."""
    return (files("mnist_lab.report") / "assets" / name).read_text(encoding="utf-8")


def definitions(values: Mapping[str, Any]) -> Markup:
    """Names and values as a list of definitions; objects inside as their own names and values."""
    rows = Markup("").join(
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(
            name.replace("_", " "), definitions(value) if isinstance(value, dict) else value
        )
        for name, value in values.items()
    )
    return Markup("<dl>{}</dl>").format(rows)


def table(shown: Table, *, about: str) -> Markup:
    """A table that scrolls inside its own frame where the page is narrow."""
    # Not a caption element, which would be as wide as the table and scroll away with it.
    titled = Markup('<p class="hint">{}</p>\n').format(shown.caption) if shown.caption else ""
    rows = []
    for row, trial in zip_longest(shown.rows, shown.trials):
        is_best = Markup(' class="best"') if trial in shown.best else ""
        # A trial's row bears its number for the script.
        attributes = Markup(' data-trial="{}"{}').format(trial, is_best) if trial else ""
        cells = Markup("").join(map(_cell, row))
        rows.append(Markup("<tr{}>{}</tr>").format(attributes, cells))
    return Markup(
        '{}<div class="scroll" tabindex="0" role="region" aria-label="{}"><table>'
        "<thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table></div>"
    ).format(
        titled,
        about,
        Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in shown.heads),
        joined(rows),
    )


def _cell(shown: Cell) -> Markup:
    """A cell that is sorted by its number; without one, by its text, or last if there is none."""
    text, value = shown
    if value is not None:
        return Markup('<td class="number" data-value="{}">{}</td>').format(repr(value), text)
    # A sentence is as wide as it may be, not as it is long.
    is_long = not isinstance(text, Markup) and len(text) > _LONG
    return Markup("<td{}>{}</td>").format(Markup(' class="words"') if is_long else "", text)


def _asked(one: Reported) -> str:
    """What was asked for, in one sentence."""
    settings = one.info.settings
    each = f"{epochs_text(settings.base.epochs)} each"
    repeats = f", {settings.repeats} repeats" if settings.repeats > 1 else ""
    varied = VARIED.get(settings.experiment)
    if varied is not None:
        values = ", ".join(value_text(varied, value) for value in settings.values or ())
        return f"{in_words(varied)} {values}{repeats}, {each}; seed {settings.seed}."
    if settings.configurations:
        n = len(settings.configurations)
        return f"{n} configurations, up to {settings.repeats} repeats; seed {settings.seed}."
    if settings.brackets:
        return f"{describe_brackets(settings.brackets)}; seed {settings.seed}."
    if settings.iters is not None:
        drawn = counted(settings.iters, "configuration")
        return f"{drawn} drawn at random, {each}; seed {settings.seed}."
    trained = f", trained on {settings.fit_on}" if one.is_test else ""
    return f"{describe(settings.base)}{trained}{repeats}; seed {settings.seed}."


def _charts(one: Reported) -> Markup:
    """Where the script draws; nothing of it is seen without."""
    if not any(trial.epochs for trial in one.trials):
        return Markup("")
    varied = VARIED.get(one.info.settings.experiment)
    colors = Markup(
        '<p class="hint">The stronger the blue, the lower the final error; orange has none.</p>\n'
    )
    parallel = Markup(
        '<h3>Trials side by side</h3>\n<p class="hint">Drag a box over a part of an axis, or of '
        "several, to choose trials: in the curves and the table the same ones stand out. "
        "Hold Shift to add a box; a click on a line chooses its trial.</p>\n"
        '<div class="wide"><div class="chart parallel"></div></div>\n'
    )
    return Markup(
        '<div class="interactive" hidden>\n{}'
        '<p class="choice"><output></output> <button type="button" class="clear" hidden>'
        "Show all</button></p>\n"
        '<h3>Learning curves</h3>\n{}<div class="chart curves"></div>\n</div>'
    ).format(parallel if one.varied else "", "" if varied else colors)


def _trials(one: Reported) -> Markup:
    if not one.trials:
        return Markup("")
    heads = ["trial", *["repeat"] * (one.info.settings.repeats > 1)]
    heads += ["test error", "95 % interval"] if one.is_test else ["validation error"]
    heads += map(in_words, one.varied)
    heads += ["epochs", "training error", "s/epoch", "seconds", "seed", "outcome"]
    shown = trial_table(one.info, one.trials, heads)
    if one.is_test or one.info.settings.values:  # what is best there is no single trial
        shown = shown._replace(best=())
    shared = ", ".join(f"{in_words(n)} {value_text(n, v)}" for n, v in one.shared.items())
    for number, row in zip(shown.trials, shown.rows, strict=True):
        if number in shown.best:
            row[-1] = Cell(f"best, {row[-1].text}")
    shown = shown._replace(
        heads=[*heads[:-1], "state"], caption=f"All with {shared}." if shared else ""
    )
    return Markup("<h3>Trials</h3>\n{}").format(table(shown, about="Table of trials"))
