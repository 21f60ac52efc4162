"""The end of a command: the answer, what it means, what to read and what to run next.

It fits one screen: the least important lines are left out first.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab import views
from mnist_lab.analysis.outcomes import (
    GOAL,
    n_ended,
    n_planned,
    spread_of,
    summary,
    tally_of,
)
from mnist_lab.cli.following import next_command
from mnist_lab.config import VARIED
from mnist_lab.racing import race_of
from mnist_lab.rundir import RunDir
from mnist_lab.views import Cell, Table, differing, error_cell, interval_cell, number_cell
from mnist_lab.words import (
    between,
    budget_text,
    describe,
    duration,
    epochs_text,
    in_words,
    percent,
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
_N_CLAIMS = 4
_FEWEST_ROWS, _MOST_ROWS = 3, 6  # of a search
_LONGEST_TABLE = 14  # of a sweep, in lines
# What the answer and its table say already, and what is said as a warning.
_COMPARED = "best against others"
_STANDING = {"winner", "leader"}  # of a race
_SAID = {"best", "test error", _COMPARED, "90 % accuracy", "cost", "dropped"} | _STANDING
_WARNINGS = {"learned nothing", "failed", "diverges"}


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
        found: its findings; the claims of up to four are shown.
        width: of the terminal, in columns; only the table and lines to copy may be wider.
    """

    def wrapped(lines: Iterable[Line]) -> list[Line]:
        return [part for line in lines for part in _wrapped(line, min(width, WIDTH))]

    answer = _answer(run, found)
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
    if settings.brackets or settings.configurations:
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


def _answer(run: Run, found: Sequence[Finding]) -> Answer:
    info, trials = run.info, run.trials
    if standing := [Line(f"  {one.claim}", "bold") for one in found if one.topic in _STANDING]:
        return _of_race(info, trials, standing)
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


def _of_race(info: RunInfo, trials: Sequence[Trial], standing: list[Line]) -> Answer:
    """The winner or leader, as in the findings; then each configuration, those left first.

    Only differences on equal seeds compare them: the longer one stays, the more seeds its mean
    is of.
    """
    race, configurations = race_of(info.settings, trials), info.settings.configurations or ()
    fields, n_epochs = differing(configurations), {one.epochs for one in configurations}
    dropped = [one for one in race.contenders if one.dropped is not None]
    dropped.sort(key=lambda one: (-(one.dropped or 0), one.place))
    cells = []
    for one in [*race.left, *dropped]:
        gap = race.gap(one, race.leader) if race.leader else None
        behind = None if gap is None or one is race.leader else 100 * gap.mean
        configuration = configurations[one.place]
        name = short(configuration, fields)
        name += f" · {epochs_text(configuration.epochs)}" * (len(n_epochs) > 1)
        note = "dropped" * (one.dropped is not None)
        if one.dropped is not None and one.by is None:
            note += ", failed or diverged"
        cells.append(
            [
                number_cell(one.place + 1),
                Cell(name),
                error_cell(spread_of(one.known)),
                number_cell(behind, "{:+.2f}"),
                number_cell(len(one.known)),
                Cell(note),
            ]
        )
    heads = ("", "configuration", "error", "behind", "n", "")
    text = ["", *views.aligned(Table(heads, cells))]
    return Answer(standing, text, min(len(text), 2 + len(race.left)))


def _of_test(info: RunInfo, trials: Sequence[Trial], best: views.Best) -> Answer:
    """The test error, and how it varies over the repeats."""
    lines = [Line(f"  Test error {_likely(best)}", "bold")]
    lines.append(Line(f"  {describe(best.configuration)}, trained on {views.fitted_on(info)}"))
    errors = sorted(trial.test.test_error for trial in trials if trial.test)
    if len(errors) > 1:
        each = ", ".join(percent(error).removesuffix(" %") for error in errors)
        lines.append(Line(f"  {len(errors)} repeats: {each} %"))
    return Answer(lines)


def _likely(best: views.Best) -> str:
    interval = best.interval()
    bounds = f"  (95 % interval {between(interval)})" if interval else ""
    return f"{percent(best.error.mean)}{bounds}"


def _of_search(run: Run) -> Answer:
    """The best configuration, and those with the next lowest errors."""
    winner = run.best
    assert winner is not None  # noqa: S101 - whoever calls has looked
    budget, table = winner.configuration.epochs, views.ranked_table(run.trials, _MOST_ROWS)
    after = f"(trial {winner.trial}, after {epochs_text(budget)})"
    lines = [Line(f"  Best validation error {table.rows[0][1].text}  {after}", "bold")]
    lines.append(Line(f"  {describe(winner.configuration, without='epochs')}"))
    if len(table.rows) == 1:
        return Answer(lines)
    text = ["", *views.aligned(table)]
    return Answer(lines, text, min(len(text), 2 + _FEWEST_ROWS))


def _of_sweep(info: RunInfo, rows: Sequence[SummaryRow], best: views.Best) -> Answer:
    """The best value; then each with its error, and what the exercise sheet asks of it."""
    settings = info.settings
    name = VARIED.get(settings.experiment)
    if name is None:
        (row,) = rows
        lines = [Line(f"  Validation error {_likely(best)}", "bold")]
        lines.append(Line(f"  {describe(best.configuration)}"))
        took = f", {row.seconds_per_epoch:.2g} s per epoch" if row.seconds_per_epoch else ""
        return Answer([*lines, Line(f"  Training error {percent(row.train_error)}{took}")])
    value = value_text(name, getattr(best.configuration, name))
    error = percent(best.error.mean)
    answer = f"Best {in_words(name)}: {value}, with a validation error of {error}"
    shared = describe(settings.base, without=name).removesuffix(", ")
    seeds = (
        f", from {settings.repeats} seeds each" if settings.repeats > 1 else ", one training each"
    )
    below = [Line(f"  All with {shared}{seeds}.")]
    fastest = min((row.seconds_per_epoch or math.inf for row in rows), default=math.inf)
    is_of_rates = name == "learning_rate"
    cells = []
    for row in sorted(rows, key=lambda row: row.mean if row.errors else 1.0):
        seconds = row.seconds_per_epoch
        asked = number_cell(seconds / fastest if seconds and fastest else None, "{:.1f}×")
        if is_of_rates:
            asked = Cell(f"epoch {budget_text(row.passed[0])}" if row.passed else "never")
        is_best = row.configuration == best.configuration
        notes = ["best"] * is_best + row.tally.but_complete()
        cells.append(
            [
                Cell(row.name, row.value),
                error_cell(row.mean if row.errors else None),
                interval_cell(row.interval(info.data.n_valid)),
                asked,
                number_cell(seconds, "{:.2f}"),
                Cell(", ".join(notes)),
            ]
        )
    last = f"below {100 * GOAL:.0f} %" if is_of_rates else "time"
    heads = [in_words(name), "error", "95 % interval", last, "s/epoch", ""]
    if all(row[2] == Cell() for row in cells):  # two trainings of each have none
        heads, cells = heads[:2] + heads[3:], [row[:2] + row[3:] for row in cells]
    text = ["", *views.aligned(Table(heads, cells))]
    return Answer([Line(f"  {answer}", "bold")], text, min(len(text), _LONGEST_TABLE), below)


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
