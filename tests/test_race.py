"""A race: who is dropped, what its end says, and the same race however it comes to its end."""

from __future__ import annotations

import json
import math
import random
import re
import runpy
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab import run as lab
from lab import start, wait_for_epochs
from made_events import run_info, study_settings, whole_trial
from scipy.stats import ttest_rel  # type: ignore[import-untyped]

from mnist_lab.cli import show
from mnist_lab.cli.ending import ending
from mnist_lab.config import TrainConfig
from mnist_lab.findings import findings
from mnist_lab.plots import Caption, content
from mnist_lab.plots import race as drawn
from mnist_lab.racing import FEWEST, gap, judge, level_of, planned, race_of
from mnist_lab.records import fold
from mnist_lab.rundir import RunDir
from mnist_lab.study import Run
from mnist_lab.views import summary_table

if TYPE_CHECKING:
    from mnist_lab.config import StudySettings
    from mnist_lab.records import Trial

SIZES = (16, 32, 33)  # the formula's error falls with the batch size, 33 a little below 32
SIMULATED = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "race.py"))


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    """Somebody is worse where the one-sided p of SciPy's paired test is below the level."""
    draw = random.Random(0)  # noqa: S311 - the same numbers each time
    for n in (FEWEST, 8, 20):
        one, other = ([draw.gauss(mean, 0.1) for _ in range(n)] for mean in (0.15, 0))
        p = ttest_rel(one, other, alternative="greater").pvalue
        for level in (p * 1.01, p * 0.99):
            assert gap(one, other, level).is_worse == (p < level)
    assert math.isinf(gap([1, 2, 3, 4], [0, 0, 0, 0], 0.05).half)  # too few
    assert math.isinf(gap([1] * 9, [0] * 9, 0.05).half)  # no width would claim too much


def test_who_is_dropped_when() -> None:
    """From the fifth complete round on: the worse, and whoever failed; the rest goes on."""
    results: dict[tuple[int, int], float | None] = {}
    for number in range(1, FEWEST + 1):
        jitter = number % 3 / 1000
        results |= {(0, number): 0.01, (1, number): 0.3 + jitter, (2, number): 0.012 - jitter}
        results[3, number] = None if number == 2 else 0.001
        left = [one.place for one in judge(4, results, 20).left]
        assert left == ([0, 2] if number == FEWEST else [2, 0, 1, 3] if number == 9 else left)
    race = judge(4, results, 20)
    ends = [(one.dropped, one.by) for one in race.contenders]
    assert ends == [(None, None), (5, race.contenders[1].by), (None, None), (5, None)]
    assert race.contenders[1].by in {0, 2}
    # A round counts when it is complete.
    half = judge(4, results | {(0, 6): 0.5}, 20)
    assert (half, half.is_over) == (race, False)
    assert judge(4, results, FEWEST).is_over
    everybody = dict.fromkeys(results)
    assert judge(4, everybody, 20).left == []


def test_simulated_races_keep_what_they_promise() -> None:
    """The best is dropped in at most 5 % of races, and a clear one wins soon."""
    for kind, most_lost, share in (("2, equal", 0.08, 1.0), ("5, one better by 0.2", 0.05, 0.6)):
        draw = random.Random(1)  # noqa: S311 - the same numbers each time
        outcomes = [
            SIMULATED["simulated"](SIMULATED["KINDS"][kind](draw), draw) for _ in range(100)
        ]
        assert sum(one.lost_best for one in outcomes) <= 100 * most_lost
        assert sum(one.share for one in outcomes) <= 100 * share
    divisors = SIMULATED["divisors"](20_000)
    assert max(value for name, value in divisors.items() if "20 rounds" in name) < 10


def _study(*errors: list[float], most: int = 20) -> tuple[StudySettings, list[Trial]]:
    """A race with these errors, configuration by configuration."""
    configurations = tuple(TrainConfig(epochs=1, batch_size=size) for size in SIZES[: len(errors)])
    settings = study_settings(
        experiment="race", values=None, configurations=configurations, repeats=most
    )
    events: list[Any] = []
    for number in range(max(map(len, errors))):
        for place, own in enumerate(errors):
            if number < len(own):
                trial = 1 + sum(one.event == "proposed" for one in events)
                made = whole_trial(trial, own[number], epochs=1, batch_size=SIZES[place])
                made[0] = made[0].model_copy(update={"id": (number, 0, place)})
                events += made
    return settings, fold(events)


def test_the_end_is_told_in_words() -> None:
    """Who wins by how much; what is undecided, and what tells more; who was dropped when."""
    good = [0.010, 0.011, 0.0105, 0.0102, 0.0109]
    near = [0.0109, 0.0103, 0.0106, 0.0108, 0.0104]
    bad = [error + 0.01 + place / 1e4 for place, error in enumerate(good)]
    settings, trials = _study(good, bad)
    told = {one.topic: one.text for one in findings(settings, trials, 10_000)}
    assert told["winner"].startswith("Configuration 1 wins after 5 repeats:")
    assert "configuration 2, is worse by 1.02 points (" in told["winner"]
    assert (
        "Configuration 2 after repeat 5 (1.02 points worse than configuration 1)" in told["dropped"]
    )
    assert "10 trainings; repeating all 20 times takes 40" in told["certainty"]
    assert planned(settings, trials) == [trial.configuration for trial in trials]
    run = Run(Path(), run_info(settings=settings, state="stopped"), trials, 0, ())
    end = [line.text for line in ending(run, findings(settings, trials, 10_000))]
    assert end[2].startswith("  Configuration 1 wins after 5 repeats: learning rate 0.1, batch")
    rows = [line.split() for line in end if line.strip()[:1].isdigit()]
    assert rows[0][:5] == ["1", "batch", "16", "1.05", "±"]
    assert rows[1][-3:] == ["+1.02", "5", "dropped"]
    table = summary_table(run.info, trials)
    assert [row[0].text.partition(":")[0] for row in table.rows] == ["1", "2"]
    svg = content(
        drawn(
            race_of(settings, trials), settings.configurations or (), Caption("d", "", "", "", "")
        ),
        "svg",
    ).decode()
    assert "Configuration 1 wins after 5 repeats" in svg
    assert "dropped after" in svg

    settings, trials = _study(good, near, bad)
    assert len(planned(settings, trials)) == 15 + 2 * 15  # the third is trained no further
    settings, trials = _study(good, near, bad, most=5)
    told = {one.topic: one.text for one in findings(settings, trials, 10_000)}
    assert told["leader"].startswith("Configuration 1 leads, but has not won, after 5 repeats")
    assert "5 repeats cannot separate configuration 1 and configuration 2." in told["undecided"]
    assert "--max-repeats" in told["undecided"]


def test_a_dry_run_counts_those_left(capsys: pytest.CaptureFixture[str]) -> None:
    """What the dropped will not train is neither done nor left."""
    settings, trials = _study([0.01] * 5, [0.011, 0.009] * 2 + [0.01], [0.05, 0.06] * 2 + [0.05])
    run = Run(Path("r"), run_info(settings=settings, state="stopped"), trials)
    show.plan(run, as_json=False, no_color=True)
    told = "would run at most 30 more trainings, 30 more epochs, on MNIST; 15 of 45 trainings and"
    assert f"{told} 15 of 45 epochs are done in r; roughly " in capsys.readouterr().out


def test_a_training_without_an_epoch_has_no_error() -> None:
    """A journal by hand may end a training before its first epoch; that counts as failed."""
    settings, trials = _study([0.01], [0.02])
    trials[0] = trials[0].model_copy(update={"epochs": ()})
    errors = [one.errors for one in race_of(settings, trials).contenders]
    assert errors == [(None,), (0.02,)]


@pytest.fixture(scope="module")
def configurations(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files of configurations, as words of the command."""
    folder, words = tmp_path_factory.mktemp("configurations"), []
    for size in SIZES:
        path = folder / f"{size}.json"
        config = {"learning_rate": 0.01, "batch_size": size, "num_filters": 4, "filter_size": 3}
        path.write_text(json.dumps(config | {"epochs": 2}), encoding="utf-8")
        words += ["--config", str(path)]
    return words


def _numbers(out: Path) -> list[Any]:
    trials = RunDir(out).read_trials()
    return [(one.trial, one.id, one.seed, one.configuration, one.valid_error) for one in trials]


def test_one_race_whatever_happens(tmp_path: Path, configurations: list[str]) -> None:
    """With two workers, killed and continued, or with more repeats later: the same numbers."""
    whole, killed, grown = (tmp_path / name for name in ("whole", "killed", "grown"))
    words = ["race", *configurations, "--data", "sample", "--quiet", "--out"]
    ended = lab(*words, str(whole), "--workers", "2").stdout
    assert re.search(r"Next     mnist-lab test --config \S*whole/best.json", ended)
    process = start(*words, str(killed), "--workers", "2", FORMULA_SECONDS="0.05")
    wait_for_epochs(RunDir(killed).journal, 21, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert lab(*words, str(killed), "--workers", "1").returncode == 0
    lab(*words, str(grown), "--workers", "1", "--max-repeats", "3")
    lab(*words, str(grown), "--workers", "1")
    assert _numbers(whole) == _numbers(killed) == _numbers(grown)
    best = json.loads(RunDir(whole).best.read_text(encoding="utf-8"))
    assert best["batch_size"] == 33
    # What `status` and reports print makes the same race.
    from mnist_lab import load_run
    from mnist_lab.words import command

    line = command(load_run(whole).info.settings, "OUT")
    assert line.startswith("printf %s ")
    assert "--config=/dev/stdin" in line


def test_takes_the_best_of_runs(tmp_path: Path) -> None:
    """Of each run the lowest errors; one alone is no race, nor is a folder without errors."""
    sweep, out = str(tmp_path / "sweep"), str(tmp_path / "race")
    same = ("--data", "sample", "--quiet")
    lab("lr-sweep", "--values", "0.1,0.01,0.05", "--epochs", "1", *same, "--out", sweep)
    shown = lab("race", sweep, "--top", "2", "--dry-run", "--json", *same, "--out", out).stdout
    rates = {one["learning_rate"] for one in json.loads(shown)["configurations"]}
    assert rates == {0.1, 0.05}
    refused = lab("race", sweep, "--top", "1", *same, "--out", out, code=2).stderr
    assert "a race needs two different configurations, not 1" in refused
    assert level_of(5) == pytest.approx(0.00125)
