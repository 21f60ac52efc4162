"""Whole commands leave the numbers that they left before: a net under whatever is rebuilt.

Workers compute the formula, so the numbers are the same on every machine. What a run directory
holds then, without times, hosts and processes, is in `golden/`, a file for each command. A change
that is meant to change numbers records them again, and shows by the difference what it changed:
`python tests/test_golden.py` for all, with names for some. A test never writes there.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lab
import pytest

from mnist_lab import load_run
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Iterable

GOLDEN = lab.TESTS / "golden"
WIDE_SPACE = lab.TESTS.parent / "configs" / "wide-space.json"
BEST = {"learning_rate": 0.03, "batch_size": 48, "num_filters": 24, "filter_size": 5, "epochs": 4}

BUDGETS = "--min-epochs 1 --max-epochs 9 --eta 3 --survivors 1"
COMMANDS = {
    "lr-sweep": "lr-sweep --values 0.1,0.01 --repeats 3 --epochs 3",
    "filter-sweep": "filter-sweep --epochs 3 --seed 7",
    "random-search": "random-search --iters 6 --epochs 3 --seed 7",
    "hyperband": f"hyperband --iters 3 {BUDGETS}",
    "hyperband-parts": "hyperband --iters 3 --min-epochs 1/8 --max-epochs 2 --eta 4 --survivors 1",
    # Its best configuration, by batch size, fails when it is promoted.
    "hyperband-failed": f"hyperband --iters 2 {BUDGETS} --space {WIDE_SPACE}",
    "bohb": f"bohb --iters 4 {BUDGETS}",  # the model proposes in the last one
    "test": "test --config best.json --repeats 2",
}
ENVIRONMENT = {"hyperband-failed": {"FORMULA_RAISES": "59"}}

EPOCH = ("epoch", "train_loss", "train_error", "valid_loss", "valid_error")
RUNG = ("budget", "valid_error", "diverged")
TRIAL = ("trial", "id", "configuration", "seed", "repeat", "state", "diverged", "reason", "test")


class Session(NamedTuple):
    """A command as it is given once: with these words more, and stopped after so many epochs."""

    words: str = ""
    n_epochs: int | None = None
    by: signal.Signals = signal.SIGKILL
    code: int = 0


PROOF = pytest.mark.proof
WHOLE = [Session()]
TWICE = [
    Session(n_epochs=20, code=-signal.SIGKILL),
    Session(n_epochs=66, by=signal.SIGINT, code=130),
    Session(),
]
EARLY = [
    Session(n_epochs=10, code=-signal.SIGKILL),
    Session(n_epochs=25, by=signal.SIGINT, code=130),
    Session(),
]
# One second is too short: an epoch takes a fifth of it.
SLOWLY = [Session("--time-limit 1s", code=75), Session(n_epochs=8, code=-signal.SIGKILL), Session()]
WAYS = {
    **{name: (name, WHOLE) for name in COMMANDS},
    "hyperband with 2 workers": ("hyperband", [Session("--workers 2")]),
    "hyperband-parts with 2 workers": ("hyperband-parts", [Session("--workers 2")]),
    "hyperband-parts stopped twice": ("hyperband-parts", EARLY),
    "bohb stopped twice": ("bohb", TWICE),
    "random-search stopped twice": ("random-search", SLOWLY),
    "random-search that grows": ("random-search", [Session("--iters 3"), Session("--iters 6")]),
}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=PROOF if way == "bohb stopped twice" else ()) for way in WAYS]
)
def test_numbers_are_those_of_before(way: str) -> None:
    """However a command comes to its end, its run is the golden one, number for number."""
    name, sessions = WAYS[way]
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    found = json.loads(json.dumps(read(made(name, sessions))))
    for part in golden:
        assert found.pop(part) == golden[part]
    assert found == {}


@pytest.mark.proof
def test_bohb_proposes_again_what_the_journal_knows() -> None:
    """Two workers' results came in another order than one's: what is recorded is not drawn anew."""

    def proposed(*sessions: Session) -> list[Any]:
        """The ids, the seeds and the hyperparameters, without the epochs, which grow."""
        trials = RunDir(made("bohb", sessions)).read_trials()
        return [
            (trial.id, trial.seed, trial.configuration.model_copy(update={"epochs": 1}))
            for trial in trials
        ]

    before = proposed(Session("--workers 2", n_epochs=74, code=-signal.SIGKILL))
    assert before[-1][0][0] == 3  # the iteration in which the model proposes
    assert proposed(Session())[: len(before)] == before


def test_every_golden_is_asked_for() -> None:
    """None is left of a command that is gone."""
    assert {path.stem for path in GOLDEN.iterdir()} == set(COMMANDS)


def made(name: str, sessions: Iterable[Session]) -> Path:
    """The run directory, in the working directory, after these sessions of the command."""
    Path("best.json").write_text(json.dumps(BEST), encoding="utf-8")
    run = Path("run")
    for words, n_epochs, by, code in sessions:
        # An option that is given twice counts as the last time.
        command = f"{COMMANDS[name]} --data sample --workers 1 --quiet --out {run} {words}"
        # Not 0: no two trainings of one worker shall end in the same millisecond.
        seconds = 0.2 if "--time-limit" in words else 0.002 if n_epochs is None else 0.03
        environment = ENVIRONMENT.get(name, {}) | {"FORMULA_SECONDS": str(seconds)}
        process = lab.start(
            *command.split(), command=lab.LAB, FORMULA_DRAWS_NOTHING="1", **environment
        )
        while n_epochs is not None and process.poll() is None:
            if sum(len(trial.epochs) for trial in RunDir(run).read_trials()) >= n_epochs:
                process.send_signal(by)
                break
            time.sleep(0.01)
        _, printed = process.communicate(timeout=120)
        assert process.returncode == code, printed
    return run


def read(path: Path) -> dict[str, Any]:
    """What a run directory holds, without times, hosts and processes."""
    run, run_dir = load_run(path), RunDir(path)
    events = run_dir.read_events()
    trials = [_of_trial(trial.model_dump(mode="json")) for trial in run.trials]
    assert [_of_trial(trial) for trial in _json(run_dir.curves)["trials"]] == trials
    results = _json_lines(run_dir.hpbandster / "results.json")
    files = {
        "state": run.info.state,
        "proposals": [event.id for event in events if event.event == "proposed"],
        # Which bracket promotes first depends on the workers.
        "promotions": sorted((e.trial, e.budget) for e in events if e.event == "promoted"),
        "trials": trials,
        "findings": _numbers(run_dir.findings.read_text(encoding="utf-8")),
        "best": _json(run_dir.best),
        "test": _json(run_dir.test),
        "hpbandster_configs": _json_lines(run_dir.hpbandster / "configs.json"),
        "hpbandster_results": [[id_, budget, *rest] for id_, budget, _, *rest in results],
    }
    return {part: content for part, content in files.items() if content}


def _of_trial(trial: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: trial[key] for key in TRIAL},
        "epochs": [[epoch[key] for key in EPOCH] for epoch in trial["epochs"]],
        "rungs": [[rung[key] for key in RUNG] for rung in trial["rungs"]],
    }


def _numbers(findings: str) -> list[str]:
    """The numbers of each line, in their order; words may change, and seconds are the machine's."""
    without_times = re.sub(r"[\d.,]+ (s|ms|min|h)\b", "", findings)
    lines = [re.findall(r"[-+]?\d+(?:[.,]\d+)*", line) for line in without_times.splitlines()]
    return [" ".join(numbers) for numbers in lines if numbers]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _json_lines(path: Path) -> list[Any]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def record(name: str) -> None:
    """Replace a golden; what is a list has a line for each item, so that differences are short."""
    parts = []
    for part, content in read(made(name, WHOLE)).items():
        if isinstance(content, list):
            lines = ",\n  ".join(json.dumps(item, separators=(",", ":")) for item in content)
            parts.append(f'"{part}": [\n  {lines}\n]')
        else:
            parts.append(f'"{part}": {json.dumps(content, separators=(",", ":"))}')
    GOLDEN.mkdir(exist_ok=True)
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    (GOLDEN / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for each in sys.argv[1:] or COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            record(each)
            os.chdir(lab.TESTS)
