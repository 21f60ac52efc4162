"""The end of a command: the answer, what it means, what to read and what to run next.

It fits one screen: the least important lines are left out first.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab import views
from mnist_lab.analysis.outcomes import (
    endings,
    final_error,
    n_ended,
    n_planned,
    summary,
    tally_of,
)
from mnist_lab.cli.following import next_command
from mnist_lab.config import OPTIONAL, VARIED
from mnist_lab.rundir import RunDir
from mnist_lab.views import Cell, Table, error_cell, number_cell
from mnist_lab.words import (
    between,
    budget_text,
    describe,
    duration,
    epochs_text,
    in_words,
    percent,
    rounded,
    short,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.findings import Finding
    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo
    from mnist_lab.study import Run

MOST_LINES, WIDTH = 24, 80
_N_CLAIMS = 3
_FEWEST_ROWS, _MOST_ROWS = 3, 6  # of a search
_LONGEST_TABLE = 14  # of a sweep, in lines
# What the answer and its table say already, and what is said as a warning.
_COMPARED = "best against others"
_SAID = {"best", "test error", _COMPARED, "90 % accuracy", "cost"}
_WARNINGS = {"learned nothing", "failed", "diverges"}
_GOAL = 0.1


class Line(NamedTuple):
    """A line with a rich `style`; a `whole` one is never wrapped, so that it can be copied."""

    text: str
    style: str = ""
    whole: bool = False


class Answer(NamedTuple):
    """The answer: in words, with a table and the lines below it.

    The first `least` lines of the table are always shown.
    """

    lines: list[Line]
    table: Sequence[str] = ()
    least: int = 0
    below: Sequence[Line] = ()


def ending(run: Run, found: Sequence[Finding], width: int = WIDTH) -> list[Line]:
    """The lines about a run that has just ended: at most 24, of 80 columns.

    Args:
        run: as it ended.
        found: its findings; the claims of up to three are shown.
        width: of the terminal, in columns; only the table and lines to copy may be wider.
    """

    def wrapped(lines: Iterable[Line]) -> list[Line]:
        return [part for line in lines for part in _wrapped(line, min(width, WIDTH))]

    answer = _answer(run)
    top = wrapped([*_head(run), Line(""), *answer.lines])
    compared = [Line(f"  {one.claim}") for one in found if one.topic == _COMPARED]
    below = wrapped([*answer.below, *compared])
    bottom = wrapped([Line(""), *_links(run), *_warnings(run, found)])
    n_free = MOST_LINES - sum(map(_height, [*top, *below, *bottom]))
    meant: list[Line] = []
    for claim in [one.claim for one in found if one.topic not in _SAID | _WARNINGS][:_N_CLAIMS]:
        more = wrapped([*[Line("")] * (not meant), Line(f"- {claim}")])
        if len(meant) + len(more) + answer.least > n_free:
            break
        meant += more
    shown = answer.table[: max(n_free - len(meant), answer.least)]
    return [*top, *map(Line, shown), *below, *meant, *bottom]


def _height(line: Line) -> int:
    return max(1, math.ceil(len(line.text) / WIDTH))


def _wrapped(line: Line, width: int) -> list[Line]:
    """The line in as many as it takes; each begins as far in as its text does."""
    if line.whole or not line.text:
        return [line]
    indent = " " * (len(line.text) - len(line.text.lstrip(" -!")))
    lines = textwrap.wrap(line.text, width, subsequent_indent=indent)
    return [Line(one, line.style) for one in lines]


def _head(run: Run) -> Iterator[Line]:
    """What was run on what, and how long it took."""
    settings, trials = run.info.settings, run.trials
    planned, done = n_planned(settings, trials), n_ended(trials)
    many = f"{planned:,}" if done >= planned else f"{done:,} of {planned:,}"
    what = f"{many} trial{'s' * (planned != 1)}"
    if settings.brackets:
        n_epochs = budget_text(round(sum(trial.n_epochs for trial in trials), 1))
        what += f", {n_epochs} epochs in all"
    else:
        what += f" of {epochs_text(settings.base.epochs)}"
    took = f"{duration(run.info.spent_s)} (wall clock)"
    state = [] if run.info.state == "complete" else [run.info.state]
    parts = [settings.experiment, run.info.data.name, *state, what, took]
    yield Line(" · ".join(parts), "dim")
    if run.n_before:
        yield Line(f"{run.n_before} of {planned} trials were already done", "dim")


def _answer(run: Run) -> Answer:
    info, trials = run.info, run.trials
    best = views.best(info, trials)
    if best is None:
        validates = info.data.n_valid or info.settings.experiment == "test"
        none = "No result yet." if validates else "No validation images, so no error."
        return Answer([Line(f"  {none}", "bold")])
    if info.settings.experiment == "test":
        return _of_test(info, trials, best)
    if info.settings.space is not None:
        return _of_search(run)
    return _of_sweep(info, summary(trials, VARIED.get(info.settings.experiment)), best)


def _of_test(info: RunInfo, trials: Sequence[Trial], best: views.Best) -> Answer:
    """The test error, and how it varies over the repeats."""
    lines = [Line(f"  Test error {_likely(best)}", "bold")]
    lines.append(Line(f"  {describe(best.configuration)}, {_fitted(info)}"))
    errors = sorted(trial.test.test_error for trial in trials if trial.test)
    if len(errors) > 1:
        each = ", ".join(percent(error).removesuffix(" %") for error in errors)
        lines.append(Line(f"  {len(errors)} repeats: {each} %"))
    return Answer(lines)


def _likely(best: views.Best) -> str:
    interval = best.interval()
    bounds = f"  (95 % interval {between(interval)})" if interval else ""
    return f"{percent(best.error.mean)}{bounds}"


def _fitted(info: RunInfo) -> str:
    data = info.data
    if info.settings.fit_on == "train":
        return f"trained on {data.n_train:,} images"
    return f"trained on all {data.n_train + data.n_valid:,} images, including validation images"


def _of_search(run: Run) -> Answer:
    """The best configuration, and those that may be as good."""
    winner = run.best
    assert winner is not None  # noqa: S101 - whoever calls has looked
    budget = winner.configuration.epochs
    ranked = sorted(
        (error, one.trial, one.configuration)
        for one in endings(run.trials)
        if one.configuration.epochs == budget and (error := final_error(one)) is not None
    )
    (lowest, *_), *others = ranked
    after = f"(trial {winner.trial}, after {epochs_text(budget)})"
    lines = [Line(f"  Best validation error {percent(lowest)}  {after}", "bold")]
    lines.append(Line(f"  {describe(winner.configuration, without='epochs')}"))
    if not others:
        return Answer(lines)
    shown = [configuration for _, _, configuration in ranked[:_MOST_ROWS]]
    names = [
        name for name in _HEADS if name not in OPTIONAL or any(getattr(one, name) for one in shown)
    ]
    rows = [
        [
            number_cell(place),
            error_cell(error),
            *(_value_cell(name, getattr(one, name)) for name in names),
        ]
        for place, (error, _, one) in enumerate(ranked[:_MOST_ROWS], start=1)
    ]
    table = Table(("rank", "error", *(_HEADS[name] for name in names)), rows)
    text = ["", *views.aligned(table)]
    return Answer(lines, text, min(len(text), 2 + _FEWEST_ROWS))


_HEADS = {
    "learning_rate": "learning rate",
    "batch_size": "batch",
    "num_filters": "filters",
    "filter_size": "size",
    "momentum": "momentum",
    "dropout": "dropout",
    "weight_decay": "decay",
}


def _value_cell(name: str, value: float) -> Cell:
    return Cell(f"{value}×{value}" if name == "filter_size" else rounded(value))


def _of_sweep(info: RunInfo, rows: Sequence[SummaryRow], best: views.Best) -> Answer:
    """The best value; then each with its error, and what the exercise sheet asks of it."""
    settings = info.settings
    varied = VARIED.get(settings.experiment)
    if varied is None and len(rows) == 1:
        (row,) = rows
        lines = [Line(f"  Validation error {_likely(best)}", "bold")]
        lines.append(Line(f"  {describe(best.configuration)}"))
        took = f", {row.seconds_per_epoch:.2g} s per epoch" if row.seconds_per_epoch else ""
        return Answer([*lines, Line(f"  Training error {percent(row.train_error)}{took}")])
    error = percent(best.error.mean)
    if varied is None:  # several configurations
        lines = [Line(f"  Best validation error {error}", "bold")]
        lines.append(Line(f"  {describe(best.configuration)}"))
        first, last, below = "configuration", "runs", []
    else:
        value = value_text(varied, getattr(best.configuration, varied))
        answer = f"Best {in_words(varied)}: {value}, with a validation error of {error}"
        lines = [Line(f"  {answer}", "bold")]
        first, last = in_words(varied), "time"
        shared = describe(settings.base, without=varied).removesuffix(", ")
        seeds = f", from {settings.repeats} seeds each" if settings.repeats > 1 else ""
        below = [Line(f"  All with {shared}{seeds}.")]
    fastest = min((row.seconds_per_epoch or math.inf for row in rows), default=math.inf)
    # The best first: of a race it is not the lowest of all.
    known = sorted(rows, key=lambda row: row.mean if row.errors else 1.0)
    ranked = sorted(known, key=lambda row: row.configuration != best.configuration)
    cells = []
    for row in ranked:
        interval = row.interval(info.data.n_valid) if row.errors else None
        seconds = row.seconds_per_epoch
        asked = number_cell(seconds / fastest if seconds and fastest else None, "{:.1f}×")
        if varied is None:
            asked = number_cell(len(row.errors))
        elif varied == "learning_rate":
            last, passed = "below 10 %", _passed(row)
            asked = Cell(f"epoch {passed}" if passed else "never")
        is_best = row.configuration == best.configuration
        notes = ["best"] * is_best + row.tally.but_complete()
        cells.append(
            [
                Cell(row.name, row.value) if varied else Cell(short(row.configuration)),
                error_cell(row.mean if row.errors else None),
                Cell(between(interval) if interval else views.NOTHING),
                asked,
                number_cell(seconds, "{:.2f}"),
                Cell(", ".join(notes)),
            ]
        )
    heads = (first, "error", "95 % interval", last, "s/epoch", "")
    text = ["", *views.aligned(Table(heads, cells))]
    return Answer(lines, text, min(len(text), _LONGEST_TABLE), below)


def _passed(row: SummaryRow) -> int | None:
    """The first epoch after which the mean error is below what the exercise sheet asks for."""
    points = enumerate(row.curve("valid_error"), start=1)
    return next((n for n, point in points if point and point.mean < _GOAL), None)


def _links(run: Run) -> Iterator[Line]:
    """Where to read on, and the command that follows."""
    run_dir, files = RunDir(run.path), run.files
    if run_dir.findings in files or run_dir.findings.exists():
        yield Line(f"Details  {run_dir.findings}", whole=True)
    if run_dir.model in files:
        yield Line(f"Model    {run_dir.model}", whole=True)
    figures = [path for path in files if path.suffix[1:] == "png"]
    if figures:
        more = f"  and {len(figures) - 1} more" if figures[1:] else ""
        yield Line(f"Figure   {figures[0]}{more}", whole=True)
    if run.info.state == "complete":
        yield Line(f"Next     {next_command([run])}", "bold", whole=True)


def _warnings(run: Run, found: Sequence[Finding]) -> Iterator[Line]:
    """What the reader of the results must know."""
    for one in found:
        if one.topic in _WARNINGS:
            yield Line(f"! {one.claim}", "yellow")
    for note in run.info.data.notes:
        yield Line(f"! {note}", "yellow")
    if not found:
        for text in tally_of(run.trials).but_complete():
            yield Line(f"! {text}", "yellow")
