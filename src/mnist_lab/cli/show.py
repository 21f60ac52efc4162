"""Results as words: tables for people, one JSON object for scripts."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mnist_lab import views
from mnist_lab.analysis import outcomes
from mnist_lab.cli.ending import WIDTH, ending
from mnist_lab.cli.following import next_command
from mnist_lab.config import VARIED, describe_brackets
from mnist_lab.errors import LabError, SettingsError, TimeLimit, nearest, printable_lines
from mnist_lab.rundir import RESULTS, RunDir, RunInfo, runs_below
from mnist_lab.words import (
    budget_text,
    clock,
    command,
    counted,
    epochs_text,
    in_words,
    percent,
    quoted,
    roughly,
    rounded,
    short,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

    from mnist_lab.analysis.outcomes import Spread
    from mnist_lab.export import Format
    from mnist_lab.progress import Watcher
    from mnist_lab.records import Trial
    from mnist_lab.study import Run


class _Console(Console):
    """rich's console, which raises an error like others when the reader is gone."""

    def on_broken_pipe(self) -> None:
        """Tell the caller; rich would end the process or, in a thread, that thread only."""
        raise BrokenPipeError

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """What rich renders, made harmless: names of files and runs may hold control codes."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable_lines(segment.text)
            yield segment._replace(text=text)


def watcher(*, no_color: bool, quiet: bool) -> Watcher:
    """The watcher that shows progress on standard error."""
    from mnist_lab.progress import Lines, LiveTable, Silent

    if quiet:
        return Silent()
    console = _Console(stderr=True, no_color=no_color or None)
    return LiveTable(console) if console.is_terminal else Lines(console)


def outcome(run: Run, *, as_json: bool, no_color: bool) -> None:
    """Show the end of a study; raise a TimeLimit if that ended it."""
    try:
        _outcome(run, as_json=as_json, no_color=no_color)
    except BrokenPipeError:
        sys.stdout = None  # who read it is gone, but the exit code is still to be told
    if run.info.state == "stopped":
        from mnist_lab.study.run import halted  # it is loaded already

        raise TimeLimit(halted(run, "the time limit is reached"))


def _outcome(run: Run, *, as_json: bool, no_color: bool) -> None:
    from mnist_lab.findings import findings

    data = run.info.data
    found = findings(run.info.settings, run.trials, data.n_valid, data)
    if as_json:
        more = {"findings": [one.text for one in found], "files": _texts(run.files)}
        _print_json(_summary(run.path, run.info, run.trials) | more)
        return
    say = _sayer(no_color=no_color)
    width = Console().width if sys.stdout.isatty() else WIDTH
    for line in ending(run, found, width):
        say(line.text, style=line.style, soft_wrap=line.whole)


def plan(run: Run, *, as_json: bool, no_color: bool) -> None:
    """Show what a study would train."""
    from mnist_lab.search.planning import plan as configurations

    settings, trials = run.info.settings, run.trials
    planned, brackets = configurations(settings), settings.brackets
    n_ended, n_left, n_more = len(outcomes.endings(trials)), 0, 0.0
    n_all, n_epochs = settings.n_trainings, outcomes.n_epochs_planned(settings, trials)
    if settings.configurations:
        n_all = outcomes.n_planned(settings, trials)
    # A search that ran out of trials is over, however many were planned.
    if run.info.state != "complete":
        n_left = max(n_all - n_ended, sum(trial.ended is None for trial in trials))
        n_more = outcomes.n_epochs_left(settings, trials)
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
    say = _sayer(no_color=no_color)
    if brackets:
        table = _plain(("bracket", "configurations", "epochs at each rung"), ("epochs in all",))
        for number, one in enumerate(brackets, start=1):
            going_on, budgets = (" → ".join(map(budget_text, them)) for them in one)
            table.add_row(str(number), going_on, budgets, budget_text(one.n_epochs))
    else:
        table = _plain(("configuration",), ("trainings",))
        for config in dict.fromkeys(planned):
            table.add_row(short(config), str(planned.count(config)))
    say(table)
    on = f"on {run.info.data.name}"
    if not n_left:
        n_failed = outcomes.tally_of(trials).failed
        n_done = outcomes.n_epochs_done(trials)
        done = f"{counted(n_ended, 'training')}, {epochs_text(n_done)}"
        failed = f", {n_failed} failed" if n_failed else ""
        text = f"nothing: all is done in {run.path} ({done}{failed})"
    elif any(trial.epochs for trial in trials):
        text = (
            f"{counted(n_left, 'more training')}, {epochs_text(n_more, 'more ')}, {on}; "
            f"{n_all - n_left} of {n_all} trainings and {budget_text(n_epochs - n_more)} of "
            f"{epochs_text(n_epochs)} are done in {run.path}"
        )
    else:
        asked = f"{counted(n_left, 'training')}, {epochs_text(n_more)} in all"
        text = f"{describe_brackets(brackets) if brackets else asked}, {on}, into {run.path}"
    most = " at most" if settings.configurations and n_left else ""
    say(f"would run{most} {text}{_rough(run) if n_left else ''}")
    for note in run.info.data.notes:
        say(f"note: {note}")


def status(path: Path | None, *, as_json: bool, no_color: bool) -> None:
    """Show the state of a run, or of all runs below a folder: `results` if there is no path."""
    if path is None or (not RunDir(path).exists() and any(runs_below(path))):
        _overview(path or RESULTS, as_json=as_json, no_color=no_color)
        return
    _status(RunDir(path), as_json=as_json, no_color=no_color)


def _status(run_dir: RunDir, *, as_json: bool, no_color: bool) -> None:
    path = run_dir.path
    journal = run_dir.follow()
    info, writer = run_dir.read_state(journal)
    trials = journal.trials()
    left_s = None
    if info.state == "running":
        from mnist_lab.study.run import Run, seconds_left  # NumPy, only where somebody trains

        left_s = seconds_left(Run(path, info, trials))
        left_s = None if left_s is None else round(left_s, 3)
    info_now = _summary(path, info, trials) | {"left_s": left_s, "writer": writer}
    if as_json:
        _print_json(info_now)
        return
    say = _sayer(no_color=no_color)
    _say_tables(say, info, trials)
    counts, epochs = info_now["trials"], info_now["epochs"]
    say(
        f"{path}: {info.state}; {counts['complete']} of {counts['planned']} trials complete, "
        f"{counts['running']} running, {counts['failed']} failed, {counts['left']} left; "
        f"{budget_text(epochs['done'])} of {epochs_text(epochs['planned'])} done"
        + (f", about {roughly(left_s)} left" if left_s else "")
    )
    for note in info.data.notes:
        say(f"note: {note}")
    for line in views.best_in_words(info, trials):
        say(line)
    for line in _to_read(run_dir):
        say(line, soft_wrap=True)
    if writer is not None:
        say(f"{writer} is writing it")
    elif info.state != "complete" or counts["failed"]:
        space = run_dir.space if run_dir.space.is_file() else None
        line = command(info.settings, str(path), data=info.data.source, space=space)
        if info.state != "complete" and (counts["left"] or not counts["failed"]):
            say(f"continue: {line}", soft_wrap=True)
        if counts["failed"]:
            say(f"train the failed ones again: {line} --retry-failed", soft_wrap=True)


def _to_read(run_dir: RunDir) -> Iterator[str]:
    if run_dir.findings.exists():
        yield f"findings: {run_dir.findings}"
    report, journal = run_dir.report, run_dir.journal
    if report.exists() and report.stat().st_mtime < journal.stat().st_mtime:
        yield f"the report is older than the run; anew: mnist-lab report {quoted(run_dir.path)}"


def _overview(folder: Path, *, as_json: bool, no_color: bool) -> None:
    """Show all runs below a folder, newest first; for one that cannot be read, say why."""
    shown: list[tuple[str, dict[str, Any], tuple[str, ...]]] = []
    unreadable: dict[Path, str] = {}
    for path in runs_below(folder):
        try:
            journal = RunDir(path).follow()
            info, _ = RunDir(path).read_state(journal)
            trials = journal.trials()
        except LabError as problem:
            unreadable[path] = problem.problem
            continue
        since, best = info.ended or info.continued or info.started, views.best(info, trials)
        row: tuple[str, ...] = (
            str(path.relative_to(folder)),
            info.settings.experiment,
            info.state,
            f"{outcomes.n_ended(trials)}/{outcomes.n_planned(info.settings, trials)}",
            percent(best.error.mean) if best else views.NOTHING,
            clock(since),
        )
        shown.append((since, _summary(path, info, trials), row))
    shown.sort(key=lambda one: one[0], reverse=True)
    if as_json:
        faults = [{"out": str(path), "error": why} for path, why in unreadable.items()]
        _print_json({"runs": [summary for _, summary, _ in shown] + faults})
        return
    say = _sayer(no_color=no_color)
    if not shown and not unreadable:
        say(f"no runs below {folder}; start one: mnist-lab lr-sweep --data sample --epochs 2")
        return
    table = _plain(("run", "experiment", "state"), ("trials", "best", "when"))
    table.columns[0].overflow = "fold"
    for _, _, row in shown:
        table.add_row(*map(escape, row))
    if shown:
        say(table)
    for path, why in unreadable.items():
        say(f"{path.relative_to(folder)}: unreadable: {why}")
    say(f"details: mnist-lab status {quoted(folder)}/RUN")


def export(run_dir: Path, to: Sequence[Format], out: Path | None, **output: bool) -> None:
    """Write a run for other programs; show the files and how to open them."""
    from mnist_lab import export as exports

    files(exports.write(run_dir, *to, out=out), **output)
    if not output["as_json"]:
        for line in exports.how_to_open(run_dir, *to, out=out):
            _sayer(no_color=output["no_color"])(f"open it: {line}", soft_wrap=True)


def files(written: Sequence[Path], *, as_json: bool, no_color: bool) -> None:
    """Show the files that were written."""
    if as_json:
        _print_json({"files": _texts(written)})
        return
    for path in written:
        _sayer(no_color=no_color)(f"wrote {path}")


def schema(name: str | None) -> None:
    """Print the JSON schema of one of a run's files, or of all by their names."""
    from mnist_lab.rundir.schema import schemas  # most commands do without

    found = schemas()
    if name is not None and name not in found:
        raise SettingsError(f"mnist-lab writes no {name!r}", next_step=nearest(name, found))
    _print_json(found if name is None else found[name], indent=1, ensure_ascii=False)


def report(run_dirs: Sequence[Path], written: Path, *, as_json: bool, no_color: bool) -> None:
    """Show the page that was written about these runs, and what to do next."""
    files([written], as_json=as_json, no_color=no_color)
    if as_json:
        return
    from mnist_lab.study import load_run  # it is loaded already

    say = _sayer(no_color=no_color)
    say("open it in any browser; it needs no network")
    say(f"next: {next_command(list(map(load_run, run_dirs)), reported=True)}")


def dashboard(folder: Path | None, *, host: str, port: int, no_open: bool) -> None:
    """Serve all runs below a folder, `results` if there is none given, until Ctrl-C."""
    import webbrowser

    from mnist_lab.dashboard import serve  # a server, only here

    if folder is not None and not folder.is_dir():
        raise SettingsError(
            f"no folder {str(folder)!r}", next_step="give a folder of runs, such as results"
        )
    say = _sayer(no_color=True)

    def ready(address: str, once: str) -> None:
        say(f"Runs below {folder or RESULTS}: {address}", soft_wrap=True)
        say("Ctrl-C ends the dashboard, not the runs.")
        # A browser of a terminal would take the terminal.
        has_screen = any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
        if not no_open and (has_screen or sys.platform == "darwin"):
            Thread(target=webbrowser.open, args=(once,), daemon=True).start()

    serve(folder or RESULTS, host=host, port=port, ready=ready)


def space(path: Path | None, out: Path | None, *, as_json: bool, no_color: bool) -> None:
    """Show how a search space samples; draw it if there is a folder for the figure."""
    from mnist_lab import space as spaces  # ConfigSpace takes a second to import
    from mnist_lab.space import explaining
    from mnist_lab.study.results import draw_space

    chosen = spaces.default_space() if path is None else spaces.read_space(path)
    sampled, rules = explaining.sampled(chosen), explaining.rules(chosen)
    examples = explaining.ASKED if path is None else explaining.examples(sampled)
    sentences = explaining.explain(sampled, examples)
    written: list[Path] = []
    if out is not None:
        name = "the exercise sheet's space" if path is None else path.name
        written = draw_space(sampled, name, out, examples)
    if as_json:
        rows = [explaining.as_json(one, examples.get(one.name)) for one in sampled]
        said = {"rules": rules, "findings": [*sentences.values()], "files": _texts(written)}
        _print_json({"hyperparameters": rows} | said)
        return
    conditional = any(one.active < 1 for one in sampled)
    numbers = ("10 %", "median", "90 %", *["active"] * conditional)
    table = _plain(("hyperparameter", "range", "scale"), numbers)
    for one in sampled:
        bounds = ", ".join(map(rounded, one.choices)) or f"{one.lower:g} to {one.upper:g}"
        scale = one.scale if one.distribution == "uniform" else f"{one.scale}, {one.distribution}"
        quantiles = list(map(rounded, explaining.quantiles(one).values())) or ["–"] * 3
        active = percent(one.active) if one.active < 1 else "always"
        words = Text(in_words(one.name), no_wrap=True)
        table.add_row(words, bounds, scale, *quantiles, *[active] * conditional)
    say = _sayer(no_color=no_color)
    say(table)
    for line in (*rules, *(f"{topic}: {text}" for topic, text in sentences.items())):
        say(line)
    files(written, as_json=False, no_color=no_color)


def doctor(*, as_json: bool, no_color: bool) -> None:
    """Show what this machine offers and what is missing."""
    from mnist_lab.cli.doctor import examine, on_what  # numpy and psutil, only here

    found, problems = examine()
    if as_json:
        for kind in ("problem", "note"):
            found[f"{kind}s"] = [one.text for one in problems if one.kind == kind]
        _print_json(found)
        return
    say = _sayer(no_color=no_color)
    prevented = any(one.prevents_training for one in problems)
    verdict = "not ready: fix the problems below" if prevented else f"ready to train on {on_what()}"
    for line in (verdict, *(f"{one.kind}: {one.text}" for one in problems)):
        say(line, soft_wrap=not sys.stdout.isatty())
    table = Table(show_header=False, box=None, pad_edge=False)
    found["gpus"] = found["gpus"] or "none: training on the CPU"
    found["versions"] = ", ".join(f"{n} {v}" for n, v in found["versions"].items())
    words = {"True": "yes", "False": "no", "None": "unknown"}
    for name, value in found.items():
        head = name.replace("_gib", " (GiB)").replace("_", " ")
        table.add_row(head, escape(words.get(str(value), str(value))))
    say()
    say(table)


def _rough(run: Run) -> str:
    """Roughly how long a study would take on this machine, in words."""
    from mnist_lab.forecast import Forecast, rough_text
    from mnist_lab.machine import usable_cores
    from mnist_lab.search.planning import plan as configurations
    from mnist_lab.search.planning import promotions
    from mnist_lab.study.run import images_per_epoch

    settings = run.info.settings
    planned = configurations(settings, run.trials)
    n_images = images_per_epoch(settings, run.info.data)
    n_workers = max(len(usable_cores()) // settings.threads_per_worker, 1)
    more = promotions(settings, planned)
    forecast = Forecast(
        planned, run.trials, promotions=more, n_images=n_images, n_workers=n_workers
    )
    return rough_text(settings, forecast)


def _summary(path: Path, info: RunInfo, trials: list[Trial]) -> dict[str, Any]:
    """The run as one JSON object."""
    states = [trial.state for trial in trials]
    n_running = states.count("running") if info.state == "running" else 0
    n_complete, n_failed = states.count("complete"), states.count("failed")
    counts = {
        "planned": (n_all := outcomes.n_planned(info.settings, trials)),
        "complete": n_complete,
        "running": n_running,
        "failed": n_failed,
        "left": n_all - n_complete - n_running - n_failed,
    }
    n_epochs = outcomes.n_epochs_done(trials)
    n_in_all = max(outcomes.n_epochs_planned(info.settings, trials), n_epochs)
    best, is_test = views.best(info, trials), info.settings.experiment == "test"
    told: dict[str, Any] = {"best": None, "test": None}
    if best is not None and is_test:
        scores = [trial.test.test_error for trial in trials if trial.test]
        told["test"] = _measured("test_error", best.error)
        told["test"] |= {"interval_95": best.interval(), "repeats": scores}
    elif best is not None:
        configuration = best.configuration.model_dump(mode="json")
        told["best"] = _measured("valid_error", best.error) | {"configuration": configuration}
    return {
        "out": str(path),
        "experiment": info.settings.experiment,
        "state": info.state,
        "data": info.data.name,
        "trials": counts,
        "epochs": {"planned": n_in_all, "done": n_epochs},
        "unfinished": [
            {
                "trial": trial.trial,
                "state": views.state(info, trial),
                "configuration": trial.configuration.model_dump(mode="json"),
                "epochs": trial.n_epochs,
                "train_error": trial.epochs[-1].train_error if trial.epochs else None,
                "valid_error": trial.valid_error,
                "epoch_s": outcomes.seconds_per_epoch(trial),
                "left_s": views.seconds_left(trial, views.state(info, trial)),
            }
            for trial in views.unfinished(info, trials)
        ],
        "configurations": [
            {
                "configuration": row.configuration.model_dump(mode="json"),
                **_measured("valid_error", row.error),
                "epoch_s": row.seconds_per_epoch,
            }
            for row in outcomes.summary(trials, VARIED.get(info.settings.experiment))
        ],
        **told,
    }


def _measured(name: str, error: Spread | None) -> dict[str, Any]:
    n, mean, sd = error or (0, None, None)
    return {name: mean, f"{name}_sd": sd, "n": n}


def _say_tables(say: Callable[..., None], info: RunInfo, trials: list[Trial]) -> None:
    """The table of the results, and one of unfinished trials; none that would be empty."""
    for table in (views.summary_table(info, trials), views.unfinished_table(info, trials)):
        if table.rows:
            around = [[text] * bool(text) for text in (table.title, table.caption)]
            for line in (*around[0], *views.aligned(table), *around[1], ""):
                say(line, soft_wrap=True)


def _plain(words: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table without lines: columns of words, then of right-aligned numbers."""
    table = Table(*words, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for head in numbers:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _texts(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths]


def _print_json(value: dict[str, Any], **how: Any) -> None:
    sys.stdout.write(json.dumps(value, allow_nan=False, **how) + "\n")
    sys.stdout.flush()  # what cannot be written is an error while it can still be told


def _sayer(*, no_color: bool) -> Callable[..., None]:
    """The function that prints lines and tables; a name in them may look like markup."""
    # Wide when nobody looks: a log file has no edge to wrap at.
    width = None if sys.stdout.isatty() else 160
    console = _Console(no_color=no_color or None, width=width, highlight=False)
    return partial(console.print, markup=False)
