"""The page itself: one HTML text with its style, scripts and data inside; how runs compare."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from mnist_lab import __version__, plots
from mnist_lab.analysis.history import progress
from mnist_lab.analysis.outcomes import n_planned, summary, tally_of
from mnist_lab.config import VARIED
from mnist_lab.report import charts, sections
from mnist_lab.report.sections import asset, figure, joined, table
from mnist_lab.views import Cell, Table, best, error_cell, interval_cell, number_cell
from mnist_lab.words import counted, describe, in_words, value_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.report.charts import Reported

# What could end a script's element, or a line of an old JavaScript's text.
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def page(runs: Sequence[Reported]) -> str:
    """One self-contained page about some runs, at least one; of several, how they compare.

    It needs no network and asks for none. The same records give the same text.
    """
    several = len(runs) > 1
    data = {
        "runs": [charts.of_run(run) for run in runs],
        "comparison": charts.of_comparison(runs) if several else [],
    }
    title = ", ".join(run.label for run in runs[:3]) + (", …" if len(runs) > 3 else "")  # noqa: PLR2004
    # Plotly's script, as its Python package ships it; in a text of JavaScript these are the same,
    # in HTML they are the end of the element.
    library = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    library = library.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    scripts = [library, asset("page.js")]
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()) for one in scripts)
    hashes = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    # The page may run these scripts and show images that it holds; nothing else, from nowhere.
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    links = Markup(" ").join(
        Markup('<a href="#run-{}">{}</a>').format(number, run.label)
        for number, run in enumerate(runs, start=1)
    )
    body = [comparison(runs)] if several else []
    body += [sections.run(run, number) for number, run in enumerate(runs, start=1)]
    return Template(asset("page.html")).substitute(
        title=escape(f"{title} · mnist-lab"),
        policy=escape(policy),
        style=asset("page.css"),
        navigation=Markup("<nav>{}</nav>").format(links) if several else "",
        body=joined(body),
        version=escape(__version__),
        # As JSON that no HTML parser sees an end or a beginning in.
        data=json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_ESCAPES),
        plotly=scripts[0],
        script=scripts[1],
    )


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
    heads = ["run", "best error", "95 % interval", "n", "epochs spent", "s of training"]
    heads += ["s in all", "experiment", "state", "trials", "configuration"]
    rows = []
    for number, run in enumerate(runs, start=1):
        n_complete, found = tally_of(run.trials).complete, best(run.info, run.trials)
        planned = n_planned(run.info.settings, run.trials)
        row = [
            Cell(Markup('<a href="#run-{}">{}</a>').format(number, run.label)),
            error_cell(found.error if found else None),
            interval_cell(found.interval() if found else None),
            number_cell(found.error.n if found else None),
            number_cell(run.n_epochs, "{:,}"),
            number_cell(run.training_s, "{:,.0f}"),
            number_cell(run.spent_s, "{:,.0f}"),
            Cell(run.info.settings.experiment),
            Cell(run.info.state),
            Cell(f"{n_complete} of {planned}", n_complete),
            Cell(describe(found.configuration)) if found else Cell(),
        ]
        rows.append(row)
    caption = "The interval is Wilson's for n = 1, for the images; else Student's, for the seeds."
    return table(Table(heads, rows, caption), about="Comparison of the runs")


def _sweeps(runs: Sequence[Reported]) -> Iterator[Markup]:
    """For each hyperparameter that several sweeps vary, a line for each value, a column a run."""
    for experiment, varied in VARIED.items():
        sweeps = [run for run in runs if run.info.settings.experiment == experiment]
        if len(sweeps) < 2:  # noqa: PLR2004 - nothing to compare
            continue
        found = [{row.value: row.error for row in summary(run.trials, varied)} for run in sweeps]
        lines = []
        for value in sorted({value for errors in found for value in errors if value is not None}):
            means = [(errors.get(value), error_cell(errors.get(value))) for errors in found]
            cells = [
                mean._replace(text=f"{mean.text} (n = {error.n})") if error else mean
                for error, mean in means
            ]
            lines.append([Cell(value_text(varied, value), value), *cells])
        heads = [in_words(varied), *(run.label for run in sweeps)]
        caption = "Validation error after the last epoch: mean ± standard deviation."
        yield table(Table(heads, lines, caption), about=f"Sweeps by {in_words(varied)}")


def _spending(runs: Sequence[Reported]) -> Markup:
    """The lowest error so far for the epochs spent: a figure, and a chart with labels."""
    lines = {
        run.label: [[(at, best) for at, _, best in progress(run.trials)]]
        for run in runs
        if not run.is_test
    }
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
