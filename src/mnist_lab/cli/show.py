"""Results as words: tables for people, one JSON object for scripts."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.outcomes import (
    best_row,
    endings,
    n_epochs_left,
    n_planned,
    outcome_of,
    seconds_per_epoch,
    summary,
    tally_of,
)
from mnist_lab.cli.following import next_command
from mnist_lab.commands import command
from mnist_lab.config import VARIED, describe_brackets
from mnist_lab.errors import SettingsError, TimeLimit, nearest, printable_lines
from mnist_lab.progress import duration, last_error
from mnist_lab.rundir import RunDir, RunInfo
from mnist_lab.words import between, counted, describe, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.findings import Finding
    from mnist_lab.progress import Watcher
    from mnist_lab.records import Trial
    from mnist_lab.study import Run

# A search is shown by its best; all of it is in curves.json.
MOST_ROWS = 10


class _Console(Console):
    """rich's, for which a reader that is gone is an error like others, not the end of a thread."""

    def on_broken_pipe(self) -> None:
        """Tell the caller; rich would end the process, from a thread that thread alone."""
        raise BrokenPipeError

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """What rich renders; names of files and runs may hold what a terminal would obey."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable_lines(segment.text)
            yield segment._replace(text=text)


def watcher(*, no_color: bool, quiet: bool) -> Watcher:
    """Who shows the progress, on standard error."""
    from mnist_lab.progress import Lines, LiveTable, Silent

    if quiet:
        return Silent()
    console = _Console(stderr=True, no_color=no_color or None)
    return LiveTable(console) if console.is_terminal else Lines(console)


def outcome(run: Run, *, as_json: bool, no_color: bool) -> None:
    """Show the end of a study: a table, what was found, the files, the next command.

    Raises:
        TimeLimit: it ended because its time did.
    """
    try:
        if as_json:
            written = [str(path) for path in run.files]
            found = {"findings": [one.text for one in _found(run)]}
            _print_json(_summary(run.path, run.info, run.trials) | found | {"files": written})
        else:
            _print_outcome(run, no_color=no_color)
    except BrokenPipeError:
        sys.stdout = None  # who read it is gone, but the exit code is still to be told
    if run.info.state == "stopped":
        from mnist_lab.study.run import halted  # it is loaded already

        raise TimeLimit(halted(run, "the time limit is reached"))


def _print_outcome(run: Run, *, no_color: bool) -> None:
    say = _console(no_color=no_color).print
    if run.n_before:
        planned = n_planned(run.info.settings, run.trials)
        say(f"{run.n_before} of {planned} trials were done before", markup=False)
    _say_tables(say, run.info, run.trials)
    for note in run.info.data.notes:
        say(f"note: {note}", markup=False)
    for topic, text in _found(run):
        say(f"{topic}: {text}", markup=False)
    say(f"{duration(run.info.spent_s)} in all; wrote", markup=False)
    for path in run.files:
        say(f"  {path}", markup=False)
    if run.info.state == "complete":
        say(f"next: {next_command([run])}", markup=False)


def plan(run: Run, *, as_json: bool, no_color: bool) -> None:
    """Show what a study would train."""
    from mnist_lab.study.proposing import plan as configurations

    settings = run.info.settings
    planned, brackets = configurations(settings), settings.brackets
    n_left, n_more = 0, 0
    # A search that ran out of trials is over, however many were planned.
    if run.info.state != "complete":
        n_begun = sum(trial.ended is None for trial in run.trials)
        n_left = max(settings.n_trainings - len(endings(run.trials)), n_begun)
        n_more = n_epochs_left(settings, run.trials)
    if as_json:
        _print_json(
            {
                "out": str(run.path),
                "settings": settings.model_dump(mode="json"),
                "data": run.info.data.model_dump(),
                "configurations": [config.model_dump(mode="json") for config in planned],
                "brackets": [one._asdict() for one in brackets],
                "done": run.n_before,
                "left": {"trainings": n_left, "epochs": n_more},
            }
        )
        return
    say = _console(no_color=no_color).print
    if brackets:
        table = Table("bracket", "configurations", "epochs of each, in all", "epochs")
        for number, one in enumerate(brackets, start=1):
            going_on = " → ".join(map(str, one.n_configs))
            budgets = " → ".join(map(str, one.epochs))
            table.add_row(str(number), going_on, budgets, str(one.n_epochs))
    else:
        table = Table("configuration", "trainings")
        for config in dict.fromkeys(planned):
            table.add_row(describe(config), str(planned.count(config)))
    say(table)
    on, n_all, n_epochs = f"on {run.info.data.name}", settings.n_trainings, settings.n_epochs
    if not n_left:
        n_failed = tally_of(run.trials).failed
        done = [
            counted(len(endings(run.trials)), "training"),
            counted(sum(len(trial.epochs) for trial in run.trials), "epoch"),
            *([f"{n_failed} failed"] if n_failed else []),
        ]
        text = f"nothing: all is done in {run.path} ({', '.join(done)})"
    elif any(trial.epochs for trial in run.trials):
        text = (
            f"{counted(n_left, 'more time')}, {counted(n_more, 'more epoch')}, {on}; "
            f"{n_all - n_left} of {n_all} trainings and {n_epochs - n_more} of "
            f"{counted(n_epochs, 'epoch')} are done in {run.path}"
        )
    else:
        asked = f"{counted(n_left, 'time')}, {counted(n_more, 'epoch')} in all"
        asked = describe_brackets(brackets) if brackets else asked
        text = f"{asked}, {on}, into {run.path}"
    say(f"would train {text}", markup=False)
    for note in run.info.data.notes:
        say(f"note: {note}", markup=False)


def status(path: Path, *, as_json: bool, no_color: bool) -> None:
    """Show how a run stands."""
    run_dir = RunDir(path)
    info, writer = run_dir.read_state()
    trials = run_dir.read_trials()
    left_s = _seconds_left(path, info, trials)
    info_now = _summary(path, info, trials) | {"left_s": left_s, "writer": writer}
    if as_json:
        _print_json(info_now)
        return
    say = _console(no_color=no_color).print
    _say_tables(say, info, trials)
    counts, epochs = info_now["trials"], info_now["epochs"]
    say(
        f"{path}: {info.state}; {counts['complete']} of {counts['planned']} trials complete, "
        f"{counts['running']} running, {counts['failed']} failed, {counts['left']} left; "
        f"{epochs['done']} of {counted(epochs['planned'], 'epoch')} done"
        + (f", about {duration(left_s)} left" if left_s else ""),
        markup=False,
    )
    for note in info.data.notes:
        say(f"note: {note}", markup=False)
    best = best_row(info.settings, trials)
    result = confusion([trial.test for trial in trials if trial.test is not None])
    if result.error is not None and result.interval is not None:
        n, mean, sd, *_ = result.error
        of = f"95 % interval {between(result.interval)}, n = {n}"
        say(f"test error: {percent(mean, sd)} ({of})", markup=False)
    elif best is not None and best.error is not None:  # the other findings take a second
        say(
            f"best: {describe(best.configuration)}, validation error "
            f"{percent(best.error.mean, best.error.sd)} (n = {best.error.n})",
            markup=False,
        )
    if run_dir.findings.exists():
        say(f"findings: {run_dir.findings}", markup=False)
    if writer is not None:
        say(f"{writer} is writing it", markup=False)
    elif info.state != "complete":
        space = run_dir.space if run_dir.space.is_file() else None
        line = command(info.settings, str(path), data=info.data.source, space=space)
        say(f"continue: {line}", markup=False, soft_wrap=True)


def files(written: Sequence[Path], *, as_json: bool, no_color: bool) -> None:
    """Show which files were written."""
    if as_json:
        _print_json({"files": [str(path) for path in written]})
        return
    for path in written:
        _console(no_color=no_color).print(f"wrote {path}", markup=False)


def schema(name: str | None) -> None:
    """Print the JSON schema of one of a run's files, or of all by their names."""
    from mnist_lab.rundir.schema import schemas  # most commands do without

    found = schemas()
    if name is not None and name not in found:
        raise SettingsError(
            "a schema is of a JSON file that mnist-lab writes",
            received=repr(name),
            next_step=nearest(name, found),
        )
    chosen = found if name is None else found[name]
    sys.stdout.write(json.dumps(chosen, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.flush()  # what cannot be written is an error while it can still be told


def report(run_dirs: Sequence[Path], written: Path, *, as_json: bool, no_color: bool) -> None:
    """Show which page was written about these runs, and what to do next."""
    files([written], as_json=as_json, no_color=no_color)
    if as_json:
        return
    from mnist_lab.study import load_run  # it is loaded already

    say = _console(no_color=no_color).print
    say("open it in any browser; it needs no network", markup=False)
    say(f"next: {next_command(list(map(load_run, run_dirs)), reported=True)}", markup=False)


def space(path: Path | None, out: Path | None, *, as_json: bool, no_color: bool) -> None:
    """Show how a search space samples, and draw it if there is a folder for it."""
    from mnist_lab.cli import spaces
    from mnist_lab.study.results import draw_space

    answer = spaces.examine(path)
    written: list[Path] = []
    if out is not None:
        written = draw_space(answer.hyperparameters, answer.name, out, answer.examples)
    if as_json:
        _print_json(spaces.as_json(answer) | {"files": [str(path) for path in written]})
        return
    say = _console(no_color=no_color).print
    say(spaces.table(answer.hyperparameters))
    for rule in answer.rules:
        say(rule, markup=False)
    for topic, text in answer.findings:
        say(f"{topic}: {text}", markup=False)
    files(written, as_json=False, no_color=no_color)


def doctor(*, as_json: bool, no_color: bool) -> None:
    """Show what this machine offers and what is missing."""
    from mnist_lab.cli.doctor import examine, on_what  # numpy and psutil, only here

    found, problems = examine()
    if as_json:
        named: dict[str, list[str]] = {"problems": [], "notes": []}
        for one in problems:
            named[f"{one.kind}s"].append(one.text)
        _print_json(found | named)
        return
    say = _console(no_color=no_color).print
    table = Table(show_header=False)
    versions = found.pop("versions")
    found["gpus"] = found["gpus"] or "none: training on the CPU"
    for name, value in found.items():
        table.add_row(name.replace("_", " "), escape(_yes_no(value)))
    table.add_row("versions", escape(", ".join(f"{n} {v}" for n, v in versions.items())))
    say(table)
    for one in problems:
        say(f"{one.kind}: {one.text}", markup=False, soft_wrap=True)
    prevented = any(one.prevents_training for one in problems)
    verdict = "cannot train yet" if prevented else f"ready to train on {on_what()}"
    say(verdict, markup=False, soft_wrap=True)


def _yes_no(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    return str(value)


def _summary(path: Path, info: RunInfo, trials: list[Trial]) -> dict[str, Any]:
    """The run as one JSON object."""
    best = best_row(info.settings, trials)
    states = [trial.state for trial in trials]
    n_complete, n_failed = states.count("complete"), states.count("failed")
    n_running = states.count("running") if info.state == "running" else 0
    planned = n_planned(info.settings, trials)
    n_epochs = sum(len(trial.epochs) for trial in trials)
    return {
        "out": str(path),
        "experiment": info.settings.experiment,
        "state": info.state,
        "data": info.data.name,
        "trials": {
            "planned": planned,
            "complete": n_complete,
            "running": n_running,
            "failed": n_failed,
            "left": planned - n_complete - n_failed - n_running,
        },
        "epochs": {"planned": max(info.settings.n_epochs, n_epochs), "done": n_epochs},
        "unfinished": [
            {
                "trial": trial.trial,
                "state": _state(info, trial),
                "configuration": trial.configuration.model_dump(mode="json"),
                "epochs": len(trial.epochs),
                "train_error": trial.epochs[-1].train_error if trial.epochs else None,
                "valid_error": trial.valid_error,
                "epoch_s": seconds_per_epoch(trial),
                "left_s": _trial_left_s(info, trial),
            }
            for trial in _unfinished(info, trials)
        ],
        "configurations": [
            {
                "configuration": row.configuration.model_dump(mode="json"),
                "n": len(row.errors),
                "valid_error": row.error.mean if row.error else None,
                "valid_error_sd": row.error.sd if row.error else None,
                "epoch_s": row.seconds_per_epoch,
            }
            for row in summary(trials, VARIED.get(info.settings.experiment))
        ],
        "best": None
        if best is None or best.error is None
        else {
            "valid_error": best.error.mean,
            "valid_error_sd": best.error.sd,
            "n": best.error.n,
            "configuration": best.configuration.model_dump(mode="json"),
        },
        "test": _test(trials),
    }


def _test(trials: list[Trial]) -> dict[str, Any] | None:
    scores = [trial.test for trial in trials if trial.test is not None]
    result = confusion(scores)
    if result.error is None or result.interval is None:
        return None
    return {
        "test_error": result.error.mean,
        "test_error_sd": result.error.sd,
        "n": result.error.n,
        "interval_95": list(result.interval),
        "repeats": list(result.errors),
    }


def _say_tables(say: Callable[..., None], info: RunInfo, trials: list[Trial]) -> None:
    """The table of the results, and one of what is begun and not finished, if anything is."""
    say(_table(info, trials))
    unfinished = _unfinished(info, trials)
    if not unfinished:
        return
    table = Table("trial", "configuration", "state", title_justify="left", title="not finished")
    for name in ("epoch", "error", "s/epoch", "time left"):
        table.add_column(name, justify="right")
    for trial in unfinished:
        speed, left_s = seconds_per_epoch(trial), _trial_left_s(info, trial)
        table.add_row(
            str(trial.trial),
            describe(trial.configuration),
            _state(info, trial),
            f"{len(trial.epochs)}/{trial.configuration.epochs}",
            last_error(trial.epochs),
            "–" if speed is None else f"{speed:.2f}",
            "–" if left_s is None else duration(left_s),
        )
    say(table)


def _unfinished(info: RunInfo, trials: list[Trial]) -> list[Trial]:
    """The trials that are trained now, and those that were for a part of their epochs."""
    return [
        trial
        for trial in trials
        if trial.ended is None and (trial.epochs or _state(info, trial) == "running")
    ]


def _state(info: RunInfo, trial: Trial) -> str:
    """`running` or `waiting`, for a worker; `stopped` in a run that nobody trains."""
    return trial.state if info.state == "running" else "stopped"


def _trial_left_s(info: RunInfo, trial: Trial) -> float | None:
    """About how long a running trial still takes, by its own epochs; None before the first."""
    speed = seconds_per_epoch(trial)
    if speed is None or _state(info, trial) != "running":
        return None
    return round(speed * (trial.configuration.epochs - len(trial.epochs)), 3)


def _seconds_left(path: Path, info: RunInfo, trials: list[Trial]) -> float | None:
    if info.state != "running":
        return None
    from mnist_lab.study.run import Run, seconds_left  # NumPy, only where somebody trains

    left_s = seconds_left(Run(path, info, trials))
    return None if left_s is None else round(left_s, 3)


def _table(info: RunInfo, trials: list[Trial]) -> Table:
    if info.settings.experiment == "test":
        return _test_table(info, trials)
    rows = summary(trials, VARIED.get(info.settings.experiment))
    shown = rows
    if info.settings.space is not None:
        shown = sorted(rows, key=_place)[:MOST_ROWS]
    table = Table(caption_justify="left")
    table.add_column("configuration")
    for name in ("n", "validation error", "s/epoch"):
        table.add_column(name, justify="right")
    table.add_column("notes")
    for row in shown:
        speed = row.seconds_per_epoch
        table.add_row(
            describe(row.configuration),
            str(len(row.errors)),
            "–" if row.error is None else percent(row.error.mean, row.error.sd),
            "–" if speed is None else f"{speed:.2f}",
            _notes(row, is_running=info.state == "running"),
        )
    if len(shown) < len(rows):
        table.caption = f"the best {len(shown)} of {len(rows)}; all are in curves.json"
    return table


def _place(row: SummaryRow) -> tuple[int, float]:
    """Sorts the best to the front: only what was trained equally long can be compared."""
    return -row.configuration.epochs, row.error.mean if row.error else 1.0


def _test_table(info: RunInfo, trials: list[Trial]) -> Table:
    table = Table("repeat", "seed", "test error", "95 % interval", "s/epoch")
    for trial in trials:
        speed = seconds_per_epoch(trial)
        result = confusion([trial.test] if trial.test else [])
        low, high = result.interval or (None, None)
        table.add_row(
            str(trial.repeat),
            str(trial.seed),
            _fate(info, trial) if result.error is None else percent(result.error.mean),
            "–" if low is None or high is None else f"{percent(low)} to {percent(high)}",
            "–" if speed is None else f"{speed:.2f}",
        )
    return table


def _fate(info: RunInfo, trial: Trial) -> str:
    outcome = outcome_of(trial)
    return _state(info, trial) if outcome == "unfinished" else outcome


def _notes(row: SummaryRow, *, is_running: bool) -> str:
    counts = row.tally._asdict()
    if is_running:
        counts["running"] = sum(trial.state == "running" for trial in row.trials)
        counts["waiting"] = counts.pop("unfinished") - counts["running"]
    words = [f"{n} {outcome}" for outcome, n in counts.items() if n and outcome != "complete"]
    return ", ".join(words)


def _found(run: Run) -> list[Finding]:
    from mnist_lab.findings import findings

    return findings(run.info.settings, run.trials, run.info.data.n_valid, run.info.data)


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()  # what cannot be written is an error while it can still be told


def _console(*, no_color: bool) -> Console:
    # Wide when nobody looks: a log file has no edge to wrap at.
    width = None if sys.stdout.isatty() else 160
    return _Console(no_color=no_color or None, width=width, highlight=False)
