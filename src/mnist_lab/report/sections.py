"""The parts of the page about one run: each function returns HTML whose texts are escaped."""

from __future__ import annotations

import base64
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mnist_lab.analysis.outcomes import n_planned, tally_of
from mnist_lab.catalogue import EXPERIMENTS
from mnist_lab.config import VARIED, describe_brackets
from mnist_lab.errors import printable
from mnist_lab.findings import findings
from mnist_lab.views import Cell, Table, trial_table
from mnist_lab.words import capital, command, counted, describe, in_words, value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mnist_lab.report.reported import Reported

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
    nouns = {"class": "classes"}.get(one.info.data.noun, f"{one.info.data.noun}s")
    return Markup('<section class="run" id="run-{}" data-run="{}">\n{}\n</section>').format(
        number,
        number,
        joined(
            [
                _head(one),
                _findings(one),
                Markup('<div class="figures">{}</div>').format(
                    joined(figure(*each, nouns) for each in one.figures.items())
                ),
                _charts(one),
                _trials(one),
                _reproduction(one),
            ]
        ),
    )


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
    rows = [Markup("<tr{}>{}</tr>").format(*each) for each in _rows(shown)]
    return Markup(
        '{}<div class="scroll" tabindex="0" role="region" aria-label="{}"><table>'
        "<thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table></div>"
    ).format(
        titled,
        about,
        Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in shown.heads),
        joined(rows),
    )


def _rows(shown: Table) -> Iterator[tuple[str, Markup]]:
    """The attributes and the cells of each row; a trial's row bears its number for the script."""
    for row, trial in zip_longest(shown.rows, shown.trials):
        is_best = Markup(' class="best"') if trial in shown.best else ""
        attributes = Markup(' data-trial="{}"{}').format(trial, is_best) if trial else ""
        yield attributes, Markup("").join(map(_cell, row))


def _cell(shown: Cell) -> Markup:
    """A cell that is sorted by its number; without one, by its text, or last if there is none."""
    text, value = shown
    if value is not None:
        return Markup('<td class="number" data-value="{}">{}</td>').format(repr(value), text)
    # A sentence is as wide as it may be, not as it is long.
    is_long = not isinstance(text, Markup) and len(text) > _LONG
    return Markup("<td{}>{}</td>").format(Markup(' class="words"') if is_long else "", text)


def _head(one: Reported) -> Markup:
    info, tally = one.info, tally_of(one.trials)
    planned = n_planned(info.settings, one.trials)
    outcomes = ", ".join(tally.but_complete())
    done = f"{tally.complete} of {counted(planned, 'trial')} complete" + (
        f" ({outcomes})" if outcomes else ""
    )
    label = "" if one.label == info.settings.experiment else f"{one.label}: "
    return Markup(
        "<h2>{}</h2>\n<p class='question'>{}</p>\n<p>{}</p>\n"
        "<p><span class='state'>{}</span> {}; {}, {:,.0f} s of training in all; started {}.</p>{}"
    ).format(
        f"{label}{info.settings.experiment} on {info.data.name}",
        EXPERIMENTS[info.settings.experiment].question,
        capital(_asked(one)),
        info.state,
        done,
        counted(one.n_epochs, "epoch"),
        one.training_s,
        info.started[:16].replace("T", " ") + " UTC",
        joined(Markup("\n<p class='notice'>{}</p>").format(note) for note in info.data.notes),
    )


def _asked(one: Reported) -> str:
    """What was asked for, in one sentence."""
    settings = one.info.settings
    each = f"{counted(settings.base.epochs, 'epoch')} each"
    repeats = f", {settings.repeats} repeats" if settings.repeats > 1 else ""
    varied = VARIED.get(settings.experiment)
    if varied is not None:
        values = ", ".join(value_text(varied, value) for value in settings.values or ())
        return f"{in_words(varied)} {values}{repeats}, {each}; seed {settings.seed}."
    if settings.brackets:
        return f"{describe_brackets(settings.brackets)}; seed {settings.seed}."
    if settings.iters is not None:
        drawn = counted(settings.iters, "configuration")
        return f"{drawn} drawn at random, {each}; seed {settings.seed}."
    trained = f", trained on {settings.fit_on}" if one.is_test else ""
    return f"{describe(settings.base)}{trained}{repeats}; seed {settings.seed}."


def _findings(one: Reported) -> Markup:
    data = one.info.data
    found = findings(one.info.settings, list(one.trials), data.n_valid, data)
    if not found:
        return Markup("<h3>Findings</h3>\n<p>None yet: no trial is complete.</p>")
    items = (Markup("<li><b>{}</b>: {}</li>").format(*each) for each in found)
    return Markup("<h3>Findings</h3>\n<ul>\n{}\n</ul>").format(joined(items))


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
    heads = [
        "trial",
        *(["repeat"] if one.info.settings.repeats > 1 else []),
        *(["test error", "95 % interval"] if one.is_test else ["validation error"]),
        *map(in_words, one.varied),
        "epochs",
        "training error",
        "s/epoch",
        "seconds",
        "seed",
        "outcome",
    ]
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


def _reproduction(one: Reported) -> Markup:
    info = one.info
    out = f"results/{one.label.replace('/', '-')}"
    line = command(info.settings, out, data=None if info.data.is_mnist else info.data.source)
    data = {
        "name": info.data.name,
        "source": printable(info.data.source),
        "images": f"{info.data.n_train:,} training, {info.data.n_valid:,} validation, "
        f"{info.data.n_test:,} test",
        "digests (MD5)": info.data.digests,
    }
    same = "this command gives the same curves, however many workers there are"
    if info.settings.experiment == "bohb":
        same = (
            "a configuration has the same curve again; which ones BOHB proposes depends on the "
            "results that it knows by then, and so on how many workers there are and how fast"
        )
    return Markup(
        "<h3>Reproduce</h3>\n<p>On the same versions and the same kind of machine {}.</p>\n"
        "<pre><code>{}</code></pre>\n"
        "<details open><summary>Data set</summary>{}</details>\n"
        "<details open><summary>Versions</summary>{}</details>\n"
        "<details open><summary>Machine</summary>{}</details>"
    ).format(same, line, definitions(data), definitions(info.versions), definitions(info.machine))
