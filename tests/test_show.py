"""What a person reads of a run: as it goes on, where it stopped, what is left, what it came to."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lab
import pytest
from made_events import (
    TIME,
    an_epoch,
    epoch_done,
    failed,
    finished,
    promoted,
    proposed,
    run_info,
    started,
    study_settings,
    whole_trial,
    write_events,
)
from made_runs import final_test, make_run, sweep

from mnist_lab import cli, space
from mnist_lab.cli import show
from mnist_lab.cli.ending import WIDTH
from mnist_lab.config import TrainConfig
from mnist_lab.records import EpochDone, Event, fold
from mnist_lab.rundir import RunDir
from mnist_lab.study import Run
from mnist_lab.words import command

if TYPE_CHECKING:
    from collections.abc import Callable

    Status = Callable[..., tuple[str, Any]]
    from mnist_lab.config import StudySettings

FIVE = study_settings(values=(0.1,), repeats=5)
BRACKETS = study_settings(  # 9, 3, 1 trials up to 2, 6, 18 epochs: 13 trainings, 42 epochs
    experiment="hyperband",
    base=TrainConfig(epochs=18),
    values=None,
    iters=1,
    min_epochs=2,
    space=space.to_dict(space.default_space()),
)


def rung(trial: int, first: int, last: int) -> list[Event]:
    """A trial is trained from one epoch to another."""
    epochs = [epoch_done(trial, number) for number in range(first, last + 1)]
    return [started(trial, from_epoch=first - 1), *epochs, finished(trial, budget=last)]


NINE = [[proposed(trial, epochs=2), *rung(trial, 1, 2)] for trial in range(1, 10)]
PARTLY = [proposed(4), started(4), epoch_done(4, 1)]


@pytest.mark.parametrize(
    ("settings", "events", "words", "left"),
    [
        (FIVE, [], "5 trainings, 15 epochs in all, on MNIST, into r", (5, 15)),
        (
            FIVE,
            [*whole_trial(1), *whole_trial(2), *whole_trial(3), *PARTLY],
            (
                "2 more trainings, 5 more epochs, on MNIST; "
                "3 of 5 trainings and 10 of 15 epochs are done in r"
            ),
            (2, 5),
        ),
        (
            FIVE,
            [*chain(*map(whole_trial, (1, 2, 3, 5))), proposed(4), started(4), failed(4)],
            "nothing: all is done in r (5 trainings, 12 epochs, 1 failed)",
            (0, 0),
        ),
        (
            BRACKETS,
            [],
            "1 bracket: 9 configurations, 13 trainings, 42 epochs, on MNIST, into r",
            (13, 42),
        ),
        (
            BRACKETS,
            [*chain(*NINE), promoted(1, 6), *rung(1, 3, 6), promoted(2, 6), *rung(2, 3, 4)[:-1]],
            (
                "3 more trainings, 18 more epochs, on MNIST; "
                "10 of 13 trainings and 24 of 42 epochs are done in r"
            ),
            (3, 18),
        ),
        # Six failed, so only two were promoted.
        (BRACKETS, chain(*NINE), "nothing: all is done in r (9 trainings, 18 epochs)", (0, 0)),
    ],
)
def test_dry_run(
    settings: StudySettings,
    events: Any,
    words: str,
    left: tuple[int, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What would be trained is what is left, of trainings and of epochs."""
    state = "complete" if words.startswith("nothing") else "running"
    run = Run(Path("r"), run_info(settings=settings, state=state), fold(events))
    show.plan(run, as_json=False, no_color=True)
    line = f"would run {re.escape(words)}" + (
        r"; roughly \d+ (s|min) to .* with \d+ workers?" * bool(left[0])
    )
    assert re.fullmatch(line, capsys.readouterr().out.splitlines()[-1])
    show.plan(run, as_json=True, no_color=True)
    told = json.loads(capsys.readouterr().out)["left"]
    assert (told["trainings"], told["epochs"]) == left


def slow(trial: int, number: int, valid_error: float | None = 0.04) -> EpochDone:
    """An epoch of 20 seconds."""
    return EpochDone(time=TIME, trial=trial, epoch=an_epoch(number, valid_error, 20.0))


@pytest.fixture
def status(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Status:
    """What `status` prints of a run, in words, and as JSON; its tables fit 80 columns."""

    def status(path: Path, writer: str = "") -> tuple[str, Any]:
        if writer:
            monkeypatch.setattr(RunDir, "writer", lambda _: writer)
        assert cli.main(["status", str(path)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(len(line) for line in lines if line.startswith("  ")) <= WIDTH
        words = " ".join(" ".join(lines).split())
        assert cli.main(["status", str(path), "--json"]) == 0
        return words, json.loads(capsys.readouterr().out)

    return status


def test_status_of_a_run_that_goes_on(status: Status) -> None:
    """Running trials have their epoch, error and time left; nothing is called unfinished."""
    events = [
        *whole_trial(1),
        *(proposed(2, learning_rate=0.01), started(2), slow(2, 1, 0.3), slow(2, 2, 0.2)),
        *(proposed(3, learning_rate=0.01), started(3)),
    ]
    run = make_run(Path("r"), study_settings(repeats=3), *events, state="running")
    words, told = status(run, "process 7 on pool")
    assert "unfinished" not in words
    for part in (
        "2 running",
        "2/3 20.0 % 20.00 20 s",
        "0/3 – – running",
        "1 of 6 trials complete, 2 running, 0 failed, 3 left; 5 of 18 epochs done, about ",
        "process 7 on pool is writing it",
    ):
        assert part in words
    keys = ("trial", "epochs", "valid_error", "left_s")
    left = [tuple(one[key] for key in keys) for one in told["unfinished"]]
    assert left == [(2, 2, 0.2, 20.0), (3, 0, None, None)]
    assert told["left_s"] > 2


@pytest.mark.parametrize(
    "experiment", ["lr-sweep", "wide-space", "hyperband-whole", "test-random-search-6"]
)
def test_status_of_the_reference_runs(status: Status, experiment: str) -> None:
    """A row for each value, repeat, or one of the best ten; what all share is not in it."""
    words, told = status(lab.REFERENCE / experiment)
    assert ("the best 10 of" in words) is (experiment in {"wide-space", "hyperband-whole"})
    assert words.count("filters of") == (told["best"] is not None)


def test_status_of_a_search_that_goes_on(status: Status) -> None:
    """The time left counts what is not drawn yet; who is promoted waits."""
    events: list[Event] = [proposed(1, epochs=2), started(1), slow(1, 1)]
    run = make_run(Path("r"), BRACKETS, *events, state="running")
    words, told = status(run, "process 7 on pool")
    assert told["left_s"] == pytest.approx(41 * 20, abs=20)
    assert "about 13 min" in words or "about 14 min" in words
    write_events(RunDir(run), slow(1, 2), finished(1, budget=2), promoted(1, 6))
    words, told = status(run, "process 7 on pool")
    assert "2/6 4.00 % 20.00 waiting" in words
    assert told["left_s"] is None  # nobody trains it now


@pytest.mark.parametrize("state", ["stopped", "running"])
def test_status_of_a_run_that_stopped(status: Status, state: str) -> None:
    """At a time limit, or killed: what was trained in part stands there with what it reached."""
    events: list[Event] = []
    for trial in (1, 2, 3):
        events += [proposed(trial, epochs=10, learning_rate=trial / 10), started(trial)]
        events += [slow(trial, number, 0.5 - number / 20) for number in range(1, 10)]
    settings = study_settings(values=(0.1, 0.2, 0.3), base=TrainConfig(epochs=10))
    words, told = status(make_run(Path("r"), settings, *events, state=state))
    assert words.count("9/10 5.00 % 20.00 stopped") == 3
    assert "0 of 3 trials complete, 0 running, 0 failed, 3 left; 27 of 30 epochs done" in words
    assert [one["left_s"] for one in (told, *told["unfinished"])] == [None] * 4


def test_status_of_a_run_with_failed_trials(status: Status) -> None:
    """They are not trained again unless asked for: the command that does is named."""
    first: list[Event] = [proposed(1), proposed(2, learning_rate=0.2), started(1), failed(1)]
    more: dict[str, list[Event]] = {
        "complete": [started(2), finished(2)],
        "stopped": [started(2)],
        "failed": [started(2), failed(2)],
    }
    settings = study_settings(values=(0.1, 0.2))
    for state, events in more.items():
        words, _ = status(make_run(Path(state), settings, *first, *events, state=state))
        again = words.rsplit("train the failed ones again: mnist-lab lr-sweep ")[1]
        assert again.endswith(" --retry-failed")
        assert ("continue: mnist-lab" in words) is (state == "stopped")


def test_epochs_as_they_were_typed() -> None:
    """The command that continues a run has the shorter of decimal number and fraction."""
    for epochs, text in {1 / 16: "1/16", 3 / 32: "3/32", 0.1: "0.1", 0.5: "0.5", 2: "2"}.items():
        made = study_settings(experiment="hyperband", values=None, iters=1, min_epochs=epochs)
        assert f"--min-epochs={text} --max-epochs=3 " in command(made, "r")


def test_status_of_all_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each run below `results`, the newest first; of one that is damaged, why."""
    assert cli.main(["status"]) == 0
    assert capsys.readouterr().out.startswith("no runs below results; start one: mnist-lab ")
    sweep(Path("results/old"), ended="2025-01-02T03:04:05Z")
    sweep(Path("results/deep/new"), ended="2026-01-02T03:04:05Z")
    (make_run(Path("results/bad"), study_settings()) / "run.json").write_text("{", encoding="utf-8")
    assert cli.main(["status"]) == 0
    out = capsys.readouterr().out
    rows = [re.split(r"  +", line)[:4] for line in out.splitlines()]
    assert rows[1:3] == [[run, "lr-sweep", "complete", "4/4"] for run in ("deep/new", "old")]
    assert "bad: unreadable: results/bad/run.json is damaged" in out
    assert cli.main(["status", "results", "--json"]) == 0
    *told, bad = json.loads(capsys.readouterr().out)["runs"]
    assert [one["out"] for one in told] == ["results/deep/new", "results/old"]
    assert bad["out"] == "results/bad"


def test_advice_is_true_in_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Only a command that trains has --fresh, so the advice is to train."""
    (make_run(Path("r"), study_settings()) / "run.json").write_text("x", encoding="utf-8")
    for words in ("status r", "plot r", "report r", "export r --to csv"):
        assert cli.main(words.split()) == 2
        assert "or train anew with --fresh, which sets the run aside" in capsys.readouterr().err


def test_what_is_near_or_old(status: Status, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is misspelt has a neighbour; a report that is older than its run is named."""
    path = sweep(Path("results/lr-sweep"))
    assert cli.main(["status", "results/lrsweep"]) == 2
    assert "did you mean 'lr-sweep'?" in capsys.readouterr().err
    assert cli.main(["report", str(path)]) == 0
    capsys.readouterr()
    assert "is older" not in status(path)[0]
    os.utime(path / "report.html", (0, 0))
    assert "report is older than the run; anew: mnist-lab report results/lr" in status(path)[0]


def test_status_of_a_test(status: Status) -> None:
    """The mean over the repeats, and how many there are; no interval where they are all equal."""
    words, told = status(final_test(Path("t"), repeats=3))
    assert "test error: 0.20 ± 0.00 % (n = 3)" in words
    assert (told["test"]["n"], told["test"]["test_error"]) == (3, pytest.approx(0.002))
    assert told["test"]["interval_95"] is None
    assert "best:" not in words


# --- stopping, by real processes

SWEEP = ("lr-sweep", "--data", "sample", "--values", "0.1,0.2", "--epochs", "60", "--workers", "1")


@pytest.mark.proof
@pytest.mark.parametrize(
    ("stop", "words", "code", "why"),
    [
        (signal.SIGINT, (), 130, ""),
        (signal.SIGTERM, ("--quiet",), 143, " (terminated by SIGTERM)"),
        (None, ("--time-limit", "10s", "--json"), 75, " (the time limit is reached)"),
    ],
)
def test_what_is_kept(
    stop: signal.Signals | None, words: tuple[str, ...], code: int, why: str
) -> None:
    """Whoever stops a run reads what is kept and how to continue, and then where it goes on."""
    run_dir = RunDir(Path("results/lr-sweep"))
    process = lab.start(*SWEEP, *words, FORMULA_SECONDS="0.3")
    if stop is not None:
        lab.wait_for_epochs(run_dir.journal, 3, process)
        process.send_signal(stop)
    out, printed = process.communicate(timeout=60)
    assert process.returncode == code
    last = printed.splitlines()[-1]
    n_epochs = sum(len(trial.epochs) for trial in run_dir.read_trials())
    assert n_epochs > 0
    kept = f"0 of 2 trials finished, {n_epochs} epochs? saved"
    assert re.fullmatch(rf"Stopped{re.escape(why)}: {kept}\. Continue: mnist-lab lr-sweep .*", last)
    if "--json" in words:
        (unfinished,) = json.loads(out)["unfinished"]
        assert unfinished["epochs"] == n_epochs
    done = lab.run(*SWEEP)
    assert re.search(rf"continuing after 0 finished trials and {n_epochs} epochs?\n", done.stderr)
    assert "Next     mnist-lab filter-sweep" in done.stdout


# A signal that arrives where exceptions are ignored, as in somebody's `except` or a `__del__`.
LOSES = f"""
import runpy, signal, sys
from contextlib import suppress
from mnist_lab import progress
from mnist_lab.records import EpochDone

update = progress.Lines.update

def lose(self, event):
    update(self, event)
    if isinstance(event, EpochDone) and event.epoch.epoch == 3:
        with suppress(BaseException):
            signal.raise_signal(int(sys.argv[-1]))

progress.Lines.update = lose
runpy.run_path({lab.LAB[1]!r}, run_name="__main__")
"""


@pytest.mark.parametrize(("lost", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_lost_signal_is_obeyed(lost: signal.Signals, code: int) -> None:
    """What a handler raises may be lost; the run ends all the same, a moment later."""
    program = [sys.executable, "-c", LOSES]
    process = lab.start(*SWEEP, "--seed", str(int(lost)), command=program)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == code
    assert printed.splitlines()[-1].startswith("Stopped")


def test_nothing_was_begun() -> None:
    """Stopped before there is a run, there is nothing to tell of."""
    process = lab.start(*SWEEP, FORMULA_SECONDS="0.3")
    lab.wait_for(Path("results").exists, process)
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 143
    assert printed.splitlines()[-1].startswith(("Terminated by", "Stopped ("))
