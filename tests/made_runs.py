"""Run directories made for the tests of the report: of each kind, broken off, and a stranger's."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from made_events import (
    begun_as,
    epoch_done,
    failed,
    finished,
    forge,
    journal_lines,
    proposed,
    run_info,
    started,
    study_settings,
    whole_trial,
    write_events,
)

from mnist_lab import space
from mnist_lab.config import TrainConfig
from mnist_lab.records import TestScore
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from pathlib import Path

    from mnist_lab.config import StudySettings
    from mnist_lab.records import Event

# Would run if it reached a page unescaped: as an element, as an attribute, as the end of a script.
EVIL = (
    '"><img src=x onerror="window.hit=1"><script>window.hit=1</script></script><!--\u2028${a}&lt;'
)


def make_run(path: Path, settings: StudySettings, *events: Event, **info: Any) -> Path:
    """A run directory with these records."""
    run_dir = RunDir(path)
    run_dir.create()
    run_dir.write_info(run_info(settings=settings, **{"state": "complete"} | info))
    write_events(run_dir, *events)
    return path


def sweep(path: Path, *, repeats: int = 2, **info: Any) -> Path:
    """A learning-rate sweep over two values."""
    events: list[Event] = []
    for number, rate in enumerate((0.1, 0.01) * repeats, start=1):
        made = whole_trial(number, rate / 10 + 0.03 + number / 1000, learning_rate=rate)
        made[0] = made[0].model_copy(update={"repeat": (number + 1) // 2})
        events += made
    return make_run(path, study_settings(repeats=repeats), *events, **info)


def search(path: Path, n: int = 12, *, space_file: dict[str, Any] | None = None) -> Path:
    """A random search: its last three trials failed, diverged and are not finished."""
    draw = random.Random(0)  # noqa: S311 - the same numbers each time
    events: list[Event] = []
    for number in range(1, n + 1):
        drawn = {
            "learning_rate": round(10 ** draw.uniform(-4, -1), 6),
            "batch_size": draw.randint(16, 128),
            "num_filters": draw.randint(8, 64),
            "filter_size": draw.choice((3, 5)),
        }
        whole = whole_trial(number, round(draw.uniform(0.01, 0.3), 4), **drawn)
        ends: dict[int, list[Event]] = {
            n - 2: [*whole[:4], failed(number, "its worker was killed")],
            n - 1: [*whole[:-1], finished(number, loss=0.9, diverged=True)],
            n: [proposed(number, **drawn), started(number), epoch_done(number, 1, 0.2)],
        }
        events += ends.get(number, whole) if n > 3 else whole
    settings = study_settings(
        experiment="random-search",
        values=None,
        iters=n,
        space=space_file or space.to_dict(space.default_space()),
    )
    return make_run(path, settings, *events, state="running" if n > 3 else "complete")


def final_test(path: Path, *, repeats: int = 1) -> Path:
    """A test of a configuration: each repeat takes 20 of 1,000 fours for nines."""
    confusion = tuple(
        tuple((980 if row == 4 else 1000) * (row == column) for column in range(10))
        for row in range(10)
    )
    rows = [list(row) for row in confusion]
    rows[4][9] = 20
    score = TestScore(test_error=0.002, test_loss=0.1, confusion=tuple(map(tuple, rows)))
    events: list[Event] = []
    for number in range(1, repeats + 1):
        epochs = [epoch_done(number, epoch, None) for epoch in (1, 2, 3)]
        events += [proposed(number), started(number), *epochs, finished(number, test=score)]
    settings = study_settings(experiment="test", values=None, repeats=repeats, fit_on="train+valid")
    return make_run(path, settings, *events)


def by_a_stranger(path: Path) -> Path:
    """A search in which every text that can be one is :data:`EVIL`; returns the folder."""
    search(path)
    run_dir = RunDir(path)
    info = json.loads(run_dir.run.read_text(encoding="utf-8"))
    info["versions"] = {"python": EVIL, EVIL: EVIL}
    info["machine"] = {"host": EVIL, EVIL: {EVIL: [EVIL]}}
    info["command"] = EVIL
    info["data"] |= {"name": EVIL, "source": EVIL, "notice": EVIL, "is_mnist": False}
    info["data"]["digests"] = {EVIL: EVIL}
    info["settings"]["space"] |= {"name": EVIL, EVIL: EVIL}
    for one in info["settings"]["space"]["hyperparameters"]:
        one["meta"] = {EVIL: EVIL}
    run_dir.run.write_text(json.dumps(info), encoding="utf-8")
    events = [
        event | {key: EVIL for key in ("worker", "reason") if key in event}
        for event in journal_lines(run_dir)[1:]
    ]
    forge(run_dir, [begun_as(run_dir), *events])
    return path


# A configuration that no default is.
UNUSUAL = TrainConfig(
    learning_rate=0.0123456789, batch_size=33, num_filters=5, filter_size=4, epochs=2, momentum=0.9
)
