"""The parts of the page about one run: each function returns HTML whose texts are escaped."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.outcomes import (
    best_trial,
    completed_error,
    n_planned,
    outcome_of,
    seconds_per_epoch,
    tally_of,
)
from mnist_lab.commands import command
from mnist_lab.config import VARIED, describe_brackets
from mnist_lab.errors import printable
from mnist_lab.findings import findings
from mnist_lab.words import between, capital, counted, describe, in_words, percent, value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnist_lab.records import Trial
    from mnist_lab.report.reported import Reported

_NOTHING = "–"
_QUESTIONS = {
    "lr-sweep": "Which learning rate?",
    "filter-sweep": "Which filter size, and what does it cost?",
    "random-search": "Which configuration of the search space?",
    "hyperband": "Which configuration of the search space, if only the best train for long?",
    "bohb": "Which configuration of the search space, if a model proposes and only the best train "
    "for long?",
    "test": "How good is this configuration on images that no decision has seen?",
    "train": "How well does this configuration train?",
}
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


def table(head: Sequence[str], rows: Iterable[Markup], caption: str, *, about: str) -> Markup:
    """A table that scrolls inside its own frame where the page is narrow."""
    # Not a caption element, which would be as wide as the table and scroll away with it.
    titled = Markup('<p class="hint">{}</p>\n').format(caption) if caption else ""
    return Markup(
        '{}<div class="scroll" tabindex="0" role="region" aria-label="{}"><table>'
        "<thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table></div>"
    ).format(
        titled,
        about,
        Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in head),
        joined(rows),
    )


def cell(text: object, value: float | None = None, *, is_long: bool = False) -> Markup:
    """A cell that is sorted by `value`; without one, by its text, or last if there is none."""
    if value is None:
        return Markup("<td{}>{}</td>").format(
            Markup(' class="words"') if is_long else "", _NOTHING if text is None else text
        )
    return Markup('<td class="number" data-value="{}">{}</td>').format(repr(value), text)


def _head(one: Reported) -> Markup:
    info, tally = one.info, tally_of(one.trials)
    planned = n_planned(info.settings, one.trials)
    outcomes = ", ".join(
        f"{n} {outcome}" for outcome, n in tally._asdict().items() if n and outcome != "complete"
    )
    done = f"{tally.complete} of {counted(planned, 'trial')} complete" + (
        f" ({outcomes})" if outcomes else ""
    )
    label = "" if one.label == info.settings.experiment else f"{one.label}: "
    return Markup(
        "<h2>{}</h2>\n<p class='question'>{}</p>\n<p>{}</p>\n"
        "<p><span class='state'>{}</span> {}; {}, {:,.0f} s of training in all; started {}.</p>{}"
    ).format(
        f"{label}{info.settings.experiment} on {info.data.name}",
        _QUESTIONS[info.settings.experiment],
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
    repeated = one.info.settings.repeats > 1
    varied = one.varied
    head = [
        "trial",
        *(["repeat"] if repeated else []),
        *(["test error", "95 % interval"] if one.is_test else ["validation error"]),
        *map(in_words, varied),
        "epochs",
        "training error",
        "s/epoch",
        "seconds",
        "seed",
        "state",
    ]
    winner = None if one.is_test or one.info.settings.values else best_trial(one.trials)
    best = winner.trial if winner else None
    shared = ", ".join(f"{in_words(n)} {value_text(n, v)}" for n, v in one.shared.items())
    rows = (
        _row(one, trial, varied, repeated=repeated, is_best=trial.trial == best)
        for trial in one.trials
    )
    return Markup("<h3>Trials</h3>\n{}").format(
        table(head, rows, f"All with {shared}." if shared else "", about="Table of trials")
    )


def _row(
    one: Reported, trial: Trial, varied: Sequence[str], *, repeated: bool, is_best: bool
) -> Markup:
    speed = seconds_per_epoch(trial)
    seconds = sum(epoch.duration_s for epoch in trial.epochs)
    n_epochs, budget = len(trial.epochs), trial.configuration.epochs
    train = trial.epochs[-1].train_error if trial.epochs else None
    state = ": ".join(filter(None, (outcome_of(trial), trial.reason)))
    error = completed_error(trial)
    cells = [
        cell(trial.trial, trial.trial),
        *([cell(trial.repeat, trial.repeat)] if repeated else []),
        *(_test_cells(trial) if one.is_test else [_error_cell(error)]),
        *(
            cell(value_text(name, round(value, 6)), value)
            for name in varied
            for value in [one.value(trial, name)]
        ),
        cell(n_epochs if n_epochs == budget else f"{n_epochs} of {budget}", n_epochs),
        _error_cell(train),
        cell(None if speed is None else f"{speed:.2f}", speed),
        cell(f"{seconds:,.1f}", seconds),
        cell(trial.seed, trial.seed),
        cell(f"best, {state}" if is_best else state, is_long=trial.reason is not None),
    ]
    return Markup('<tr data-trial="{}"{}>{}</tr>').format(
        trial.trial, Markup(' class="best"') if is_best else "", Markup("").join(cells)
    )


def _error_cell(error: float | None) -> Markup:
    return cell(None if error is None else percent(error), error)


def _test_cells(trial: Trial) -> list[Markup]:
    result = confusion([trial.test] if trial.test else [])
    if result.error is None or result.interval is None:
        return [cell(None), cell(None)]
    mean = result.error.mean
    return [_error_cell(mean), cell(between(result.interval), result.interval.low)]


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
    ).format(
        same,
        line,
        definitions(data),
        definitions(info.versions),
        definitions(info.machine),
    )
