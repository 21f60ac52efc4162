"""A run's results as the table of a hand-in: Markdown, as GitHub shows it, and LaTeX."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnist_lab.analysis.outcomes import best_trial
from mnist_lab.config import VARIED
from mnist_lab.views import result_table
from mnist_lab.words import capital, counted, describe, epochs_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo

# What pdflatex would obey, or set as another sign; it knows no others than those of Latin 1.
_TEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "#$%&_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "×": r"\ensuremath{\times}",
        "±": r"\ensuremath{\pm}",
    }
)


def markdown(info: RunInfo, trials: Sequence[Trial]) -> str:
    """The table in GitHub's Markdown, and its caption below it."""
    shown = result_table(info, trials)
    rows = [[_md(cell.text) for cell in row] for row in shown.rows]
    rules = ["---:" if one else "---" for one in shown.is_number]
    lines = [f"| {' | '.join(row)} |\n" for row in (shown.heads, rules, *rows)]
    return f"{''.join(lines)}\n{_md(_caption(info, trials))}\n"


def latex(info: RunInfo, trials: Sequence[Trial]) -> str:
    r"""The table for LaTeX's `\input`, in a document that uses the package `booktabs`."""
    shown = result_table(info, trials)
    head, *rows = (
        " & ".join(map(_tex, row)) + r" \\"
        for row in (shown.heads, *([cell.text for cell in row] for row in shown.rows))
    )
    columns = "".join("r" if one else "l" for one in shown.is_number)
    lines = [
        r"\begin{table}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",  # nine columns fit
        rf"\caption{{{_tex(_caption(info, trials))}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        *(r"\toprule", head, r"\midrule", *rows, r"\bottomrule"),
        *(r"\end{tabular}", r"\end{table}"),
    ]
    return "".join(f"{line}\n" for line in lines)


def _caption(info: RunInfo, trials: Sequence[Trial]) -> str:
    """What the errors are of, over what they vary, and with what they were measured."""
    settings, data, winner = info.settings, info.data, best_trial(trials)
    images = f"{data.n_valid:,} validation images"
    if settings.experiment == "test":
        images = f"{data.n_test:,} test images"
    shared = describe(settings.base, without=VARIED.get(settings.experiment)).removesuffix(", ")
    if settings.configurations:
        budgets = sorted({one.epochs for one in settings.configurations})
        shared = f"{' or '.join(map(epochs_text, budgets))} each"
    errors = (
        f"{capital(shared)}. Error: mean ± standard deviation over n trainings from different "
        "seeds. Interval: Student's for the mean, of a single training Wilson's."
    )
    if settings.space is not None and winner is not None:
        n, budget = counted(len(trials), "configuration"), winner.configuration.epochs
        errors = f"The best of {n} after {epochs_text(budget)}, n = 1 training each."
    versions = [f"{one} {info.versions.get(one)}" for one in ("mnist-lab", "tensorflow", "keras")]
    made = [settings.experiment, info.state, f"seed {settings.seed}", settings.precision, *versions]
    notes = (f"{capital(note).removesuffix('.')}." for note in data.notes)
    about = f"Errors on the {images} of {data.name}. {errors} {', '.join(made)}"
    return " ".join([f"{about}, {info.started[:10]}.", *notes])


def _md(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~$&#!])", r"\\\1", text)


def _tex(text: str) -> str:
    plain = text.replace("–", "-").encode("latin-1", "backslashreplace").decode("latin-1")
    return plain.translate(_TEX)
