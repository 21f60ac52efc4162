"""Which command follows: it exists, names a file that is there, and leads on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from made_events import (
    begun_as,
    epoch_done,
    failed,
    finished,
    forge,
    journal_lines,
    proposed,
    started,
    study_settings,
)
from made_runs import final_test, make_run, search, sweep

from mnist_lab.cli.commands import mnist_lab
from mnist_lab.cli.following import next_command
from mnist_lab.config import TrainConfig
from mnist_lab.rundir import RunDir
from mnist_lab.study import load_run


def searched(name: str, errors: dict[int, float], **configuration: Any) -> Path:
    """A complete search of one trial, with these errors at these budgets."""
    settings = study_settings(experiment="random-search", values=None, iters=1, space={})
    events: list[Any] = [proposed(epochs=max(errors), **configuration), started()]
    for number in range(1, max(errors) + 1):
        events.append(epoch_done(number=number, valid_error=errors.get(number, 0.5)))
        if number in errors:
            events.append(finished(budget=number))
    path = make_run(Path(name), settings, *events)
    best = load_run(path).best
    assert best is not None
    RunDir(path).write_best(best.configuration)
    return path


def a_test(name: str, **base: Any) -> Path:
    """A complete test of this configuration."""
    path = final_test(Path(name))
    info = RunDir(path).read_info()
    settings = info.settings.model_copy(update={"base": TrainConfig(**base)})
    RunDir(path).write_info(info.model_copy(update={"settings": settings}))
    forge(RunDir(path), [begun_as(RunDir(path)), *journal_lines(RunDir(path))[1:]])
    return path


@pytest.fixture(autouse=True)
def _runs() -> None:
    """One of each; every search found another learning rate."""
    sweep(Path("lr"))
    make_run(Path("filters"), study_settings(experiment="filter-sweep", values=(3,)))
    searched("long", {2: 0.3, 6: 0.08, 18: 0.01}, learning_rate=0.01)
    searched("short", {6: 0.05}, learning_rate=0.02)
    searched("other budget", {7: 0.02}, learning_rate=0.03)
    searched("known", {6: 0.04}, learning_rate=0.04)
    a_test("test", learning_rate=0.04, epochs=9)
    search(Path("running"))
    none = study_settings(experiment="random-search", values=None, iters=1, space={})
    make_run(Path("nothing"), none, proposed(), started(), failed())


@pytest.mark.parametrize(
    ("paths", "ended", "reported"),
    [
        ("lr", "filter-sweep", "filter-sweep"),
        ("filters", "random-search --iters 50", "random-search --iters 50"),
        ("lr filters", "random-search --iters 50", "random-search --iters 50"),
        ("long", "test --config long/best.json", "test --config long/best.json"),
        # What all have is 6 epochs, whatever the long one came to later.
        ("long short", "test --config short/best.json", "test --config short/best.json"),
        ("short long lr", "test --config short/best.json", "test --config short/best.json"),
        ("long 'other budget'", "test --config long/best.json", "test --config long/best.json"),
        ("'other budget'", "test --config 'other budget/best.json'", None),
        ("known", "report known test", "report known test"),
        ("short known", "report short known test", "report short known test"),
        ("known test", "report known test", "export test --to csv"),
        ("test", "report test", "export test --to csv"),
        ("short test", "test --config short/best.json", "test --config short/best.json"),
        ("running short", "status running", "status running"),
        ("nothing", "report nothing", "export nothing --to csv"),
    ],
)
def test_next(paths: str, ended: str, reported: str | None) -> None:
    """From sweeps to searches, to the test of the best of all, to the report, to the tables."""
    runs = [load_run(path) for path in shlex.split(paths)]
    for line, wanted in [
        (next_command(runs), ended),
        (next_command(runs, reported=True), reported or ended),
    ]:
        assert line == f"mnist-lab {wanted}"
        _, name, *words = shlex.split(line)
        assert mnist_lab.commands[name].make_context(name, words) is not None
        assert all(Path(word).exists() for word in words if "best" in word)


def test_data_that_are_not_found_by_themselves_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample, and a file that is there: the next command is on the same data."""
    monkeypatch.delenv("MNIST_LAB_DATA", raising=False)
    here = Path("own.npz").absolute()
    here.touch()
    for source, words in [
        ("sample", "--data sample"),
        (str(here), f"--data {here}"),
        ("/none.npz", ""),
    ]:
        for path, command in [("lr", "filter-sweep"), ("long", "test --config long/best.json")]:
            info = RunDir(Path(path)).read_info()
            data = info.data.model_copy(update={"source": source})
            RunDir(Path(path)).write_info(info.model_copy(update={"data": data}))
            assert next_command([load_run(path)]) == f"mnist-lab {command} {words}".rstrip()
    monkeypatch.setenv("MNIST_LAB_DATA", "sample")
    info = RunDir(Path("lr")).read_info()
    data = info.data.model_copy(update={"source": "sample"})
    RunDir(Path("lr")).write_info(info.model_copy(update={"data": data}))
    assert next_command([load_run("lr")]) == "mnist-lab filter-sweep"
