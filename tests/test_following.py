"""Which command follows: it exists, names a file that is there, and leads on."""

from __future__ import annotations

import errno
import shlex
from pathlib import Path
from typing import Any, NoReturn

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

SEARCH = study_settings(experiment="random-search", values=None, iters=1, space={})


def searched(name: str, errors: dict[int, float], **configuration: Any) -> Path:
    """A complete search of one trial, with these errors at these budgets."""
    events: list[Any] = [proposed(epochs=max(errors), **configuration), started()]
    for number in range(1, max(errors) + 1):
        events.append(epoch_done(number=number, valid_error=errors.get(number, 0.5)))
        if number in errors:
            events.append(finished(budget=number))
    path = make_run(Path(name), SEARCH, *events)
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
    make_run(Path("nothing"), SEARCH, proposed(), started(), failed())


TABLES = "export test --to csv"
LONG, SHORT = (f"test --config {one}/best.json --repeats 10" for one in ("long", "short"))


@pytest.mark.parametrize(
    ("paths", "ended", "reported"),
    [
        ("lr", "filter-sweep", None),
        ("filters", "hyperband", None),
        ("lr filters", "hyperband", None),
        ("long", LONG, None),
        ("long short", SHORT, None),  # at 6 epochs, whatever the long one came to later
        ("short long lr", SHORT, None),
        ("long 'other budget'", LONG, None),
        ("'other budget'", "test --config 'other budget/best.json' --repeats 10", None),
        ("known", "report known test", None),
        ("short known", "report short known test", None),
        ("known test", "report known test", TABLES),
        ("test", "report test", TABLES),
        ("short test", SHORT, None),
        ("running short", "status running", None),
        ("nothing", "report nothing", "export nothing --to csv"),
    ],
)
def test_next(paths: str, ended: str, reported: str | None) -> None:
    """From sweeps to searches, to the test of the best of all, to the report, to the tables."""
    runs = [load_run(path) for path in shlex.split(paths)]
    for is_reported, wanted in [(False, ended), (True, reported or ended)]:
        line = next_command(runs, reported=is_reported)
        assert line == f"mnist-lab {wanted}"
        _, name, *words = shlex.split(line)
        assert mnist_lab.commands[name].make_context(name, words) is not None
        assert all(Path(word).exists() for word in words if "best" in word)


def test_a_folder_that_must_not_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beside the search is not known then, and its best is to be tested."""
    run = load_run("known")

    def refuse(path: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert next_command([run]) == "mnist-lab test --config known/best.json --repeats 10"


def on_data(path: str, source: str) -> str:
    """The command after a run whose data came from there."""
    run = RunDir(Path(path))
    info = run.read_info()
    data = info.data.model_copy(update={"source": source})
    run.write_info(info.model_copy(update={"data": data}))
    return next_command([load_run(path)])


def test_data_that_are_not_found_by_themselves_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample, and a file that is there: the next command is on the same data."""
    here = Path("own.npz").absolute()
    here.touch()
    for source, words in {
        "sample": " --data sample",
        str(here): f" --data {here}",
        "/none.npz": "",
    }.items():
        assert on_data("lr", source) == f"mnist-lab filter-sweep{words}"
        assert on_data("long", source) == f"mnist-lab {LONG}{words}"
    monkeypatch.setenv("MNIST_LAB_DATA", "sample")
    assert on_data("lr", "sample") == "mnist-lab filter-sweep"
