"""The part of the page that compares several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from mnist_lab import __version__, plots
from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.history import spending
from mnist_lab.analysis.outcomes import SummaryRow, best_row, n_planned, summary, tally_of
from mnist_lab.config import VARIED
from mnist_lab.report.sections import cell, figure, joined, table
from mnist_lab.words import between, counted, describe, in_words, percent, value_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.report.reported import Reported


def comparison(runs: Sequence[Reported]) -> Markup:
    """What the runs found and what they cost, side by side."""
    return Markup('<section id="comparison">\n<h2>Comparison</h2>\n{}\n</section>').format(
        joined([*_warnings(runs), _table(runs), *_sweeps(runs), _spending(runs)])
    )


def _warnings(runs: Sequence[Reported]) -> Iterator[Markup]:
    """Why the errors of these runs cannot be compared as they stand."""
    if len({tuple(sorted(run.info.data.digests.items())) for run in runs}) > 1:
        yield Markup("<p class='notice'>{}</p>").format(
            "These runs are of different data sets: their errors cannot be compared."
        )
    if len({run.is_test for run in runs}) > 1:
        yield Markup("<p>{}</p>").format(
            "The error of a test is of the test images, after all decisions; those of the other "
            "runs are of the validation images, and the lowest of many is a lucky one."
        )


def _table(runs: Sequence[Reported]) -> Markup:
    head = (
        "run",
        "best error",
        "95 % interval",
        "n",
        "epochs spent",
        "s of training",
        "s in all",
        "experiment",
        "state",
        "trials",
        "configuration",
    )
    rows = (_row(run, number) for number, run in enumerate(runs, start=1))
    caption = "The interval is Wilson's for n = 1, for the images; else Student's, for the seeds."
    return table(head, rows, caption, about="Comparison of the runs")


def _row(run: Reported, number: int) -> Markup:
    info, tally, n_valid = run.info, tally_of(run.trials), run.info.data.n_valid
    planned = n_planned(info.settings, run.trials)
    best = best_row(info.settings, run.trials)
    error = best.error if best else None
    interval = best.interval(n_valid) if best and n_valid else None
    configuration = best.configuration if best else None
    if run.is_test:
        result = confusion([trial.test for trial in run.trials if trial.test is not None])
        error, interval = result.error, result.interval
        configuration = info.settings.base if error else None
    cells = [
        cell(Markup('<a href="#run-{}">{}</a>').format(number, run.label)),
        cell(percent(error.mean, error.sd), error.mean) if error else cell(None),
        cell(between(interval), interval.low) if interval else cell(None),
        cell(error.n, error.n) if error else cell(None),
        cell(f"{run.n_epochs:,}", run.n_epochs),
        cell(f"{run.training_s:,.0f}", run.training_s),
        cell(None if run.spent_s is None else f"{run.spent_s:,.0f}", run.spent_s),
        cell(info.settings.experiment),
        cell(info.state),
        cell(f"{tally.complete} of {planned}", tally.complete),
        cell(describe(configuration) if configuration else None, is_long=True),
    ]
    return Markup("<tr>{}</tr>").format(Markup("").join(cells))


def _sweeps(runs: Sequence[Reported]) -> Iterator[Markup]:
    """For each hyperparameter that several sweeps vary, a line for each value, a column a run."""
    for experiment, varied in VARIED.items():
        sweeps = [run for run in runs if run.info.settings.experiment == experiment]
        if len(sweeps) < 2:  # noqa: PLR2004 - nothing to compare
            continue
        found = [{row.value: row for row in summary(run.trials, varied)} for run in sweeps]
        values = sorted({value for rows in found for value in rows if value is not None})
        lines = (
            Markup("<tr>{}</tr>").format(
                Markup("").join(
                    [
                        cell(value_text(varied, value), value),
                        *(_mean(rows.get(value)) for rows in found),
                    ]
                )
            )
            for value in values
        )
        head = [in_words(varied), *(run.label for run in sweeps)]
        caption = "Validation error after the last epoch: mean ± standard deviation."
        yield table(head, lines, caption, about=f"Sweeps by {in_words(varied)}")


def _mean(row: SummaryRow | None) -> Markup:
    if row is None or row.error is None:
        return cell(None)
    text = f"{percent(row.error.mean, row.error.sd)} (n = {row.error.n})"
    return cell(text, row.error.mean)


def _spending(runs: Sequence[Reported]) -> Markup:
    """The lowest error so far for the epochs spent: a figure, and a chart with labels."""
    lines = {run.label: [spending(run.trials)] for run in runs if not run.is_test}
    if not lines:
        return Markup("")
    data = runs[0].info.data
    caption = plots.Caption(
        data_name=data.name,
        notice=data.notice,
        n=counted(len(lines), "run"),
        date=max(run.info.started for run in runs)[:10],
        version=__version__,
    )
    return Markup(
        '<div class="interactive" hidden><h3>Error found for the epochs spent</h3>\n'
        '<div class="chart spending"></div></div>\n<div class="still">{}</div>'
    ).format(figure("spending", plots.content(plots.spending(lines, caption), "svg")))
