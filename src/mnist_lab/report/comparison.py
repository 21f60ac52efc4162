"""The part of the page that compares several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from mnist_lab import __version__, plots
from mnist_lab.analysis.history import progress
from mnist_lab.analysis.outcomes import SummaryRow, n_planned, summary, tally_of
from mnist_lab.config import VARIED
from mnist_lab.report.sections import figure, joined, table
from mnist_lab.views import Cell, Table, best, error_cell, interval_cell, number_cell
from mnist_lab.words import counted, describe, in_words, value_text

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
    heads = (
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
    caption = "The interval is Wilson's for n = 1, for the images; else Student's, for the seeds."
    rows = [_row(run, number) for number, run in enumerate(runs, start=1)]
    return table(Table(heads, rows, caption), about="Comparison of the runs")


def _row(run: Reported, number: int) -> list[Cell]:
    info, tally = run.info, tally_of(run.trials)
    planned = n_planned(info.settings, run.trials)
    found = best(info, run.trials)
    return [
        Cell(Markup('<a href="#run-{}">{}</a>').format(number, run.label)),
        error_cell(found.error if found else None),
        interval_cell(found.interval() if found else None),
        number_cell(found.error.n if found else None),
        number_cell(run.n_epochs, "{:,}"),
        number_cell(run.training_s, "{:,.0f}"),
        number_cell(run.spent_s, "{:,.0f}"),
        Cell(info.settings.experiment),
        Cell(info.state),
        Cell(f"{tally.complete} of {planned}", tally.complete),
        Cell(describe(found.configuration)) if found else Cell(),
    ]


def _sweeps(runs: Sequence[Reported]) -> Iterator[Markup]:
    """For each hyperparameter that several sweeps vary, a line for each value, a column a run."""
    for experiment, varied in VARIED.items():
        sweeps = [run for run in runs if run.info.settings.experiment == experiment]
        if len(sweeps) < 2:  # noqa: PLR2004 - nothing to compare
            continue
        found = [{row.value: row for row in summary(run.trials, varied)} for run in sweeps]
        values = sorted({value for rows in found for value in rows if value is not None})
        lines = [
            [Cell(value_text(varied, value), value), *(_mean(rows.get(value)) for rows in found)]
            for value in values
        ]
        heads = [in_words(varied), *(run.label for run in sweeps)]
        caption = "Validation error after the last epoch: mean ± standard deviation."
        yield table(Table(heads, lines, caption), about=f"Sweeps by {in_words(varied)}")


def _mean(row: SummaryRow | None) -> Cell:
    if row is None or row.error is None:
        return Cell()
    shown = error_cell(row.error)
    return shown._replace(text=f"{shown.text} (n = {row.error.n})")


def _spending(runs: Sequence[Reported]) -> Markup:
    """The lowest error so far for the epochs spent: a figure, and a chart with labels."""
    lines = {run.label: [progress(run.trials)] for run in runs if not run.is_test}
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
