"""Exports: what the course, a spreadsheet, texts, Optuna and a real TensorBoard read of a run."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from lab import REFERENCE
from made_events import (
    an_epoch,
    epoch_done,
    failed,
    finished,
    proposed,
    run_info,
    started,
    study_settings,
    whole_trial,
    write_events,
)
from made_runs import make_run

from mnist_lab import cli, export, load_run
from mnist_lab.config import TrainConfig
from mnist_lab.errors import LabError
from mnist_lab.export.tables import markdown
from mnist_lab.records import TestScore
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS: tuple[export.Format, ...] = ("markdown", "latex")
SCORE = TestScore(test_error=0.25, test_loss=None, confusion=((3, 1), (0, 0)))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Trials: complete, tested without validation, failed before an epoch, running, waiting."""
    events = [
        *whole_trial(1, learning_rate=0.05, filter_size=5),
        *(proposed(2, epochs=1), started(2), epoch_done(2, valid_error=None)),
        finished(2, budget=1, test=SCORE),
        *(proposed(3, momentum=0.9), started(3), failed(3, "=HYPERLINK(1)")),
        *(proposed(4), started(4), epoch_done(4, valid_error=0.5)),
        proposed(5),
    ]
    return RunDir(make_run(tmp_path / "run", study_settings(), *events, state="running"))


def files(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_course(run: RunDir) -> None:
    """The course's names and keys, for each trial that made an epoch; what is not known is null."""
    written = export.write(run.path, "course")
    assert written == [
        run.path / "export" / "course" / "results" / f"results_run_{trial}.json"
        for trial in (1, 2, 4)
    ]
    whole, tested, running = (json.loads(path.read_bytes()) for path in written)
    settings = {"lr": 0.05, "num_filters": 16, "batch_size": 128, "filter_size": 5}
    assert whole == settings | {"learning_curve": [0.06, 0.05, 0.04], "test_error": None}
    assert (tested["learning_curve"], tested["test_error"]) == ([None], 0.25)
    assert running["learning_curve"] == [0.5]


def test_csv(run: RunDir) -> None:
    """Both tables have a header and a row for each trial or epoch; text never is a formula."""
    trials, epochs = (
        list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        for path in export.write(run.path, "csv")
    )
    states = ["complete", "complete", "failed", "running", "waiting"]
    assert [row["state"] for row in trials] == states
    assert [row["valid_error"] for row in trials] == ["0.04", "", "", "0.5", ""]
    assert [row["test_error"] for row in trials] == ["", "0.25", "", "", ""]
    assert trials[2]["reason"] == "'=HYPERLINK(1)"
    assert trials[2]["momentum"] == "0.9"
    rows = [" ".join((row["trial"], row["epoch"], row["valid_error"])) for row in epochs]
    assert rows == ["1 1 0.06", "1 2 0.05", "1 3 0.04", "2 1 ", "4 1 0.5"]
    assert {row["filter_size"] for row in epochs if row["trial"] == "1"} == {"5"}


def test_run_without_a_trial(tmp_path: Path) -> None:
    """What has just begun gives tables without rows, and nothing for the course."""
    run = make_run(tmp_path / "new", study_settings(), state="running")
    assert export.write(run, "course") == []
    for path in export.write(run, "csv"):
        assert path.read_text(encoding="utf-8").startswith("trial,repeat,")
        assert path.read_text(encoding="utf-8").count("\n") == 1
    assert len(export.write(run, "tensorboard")) == 1


def test_export_changes_nothing_else(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    """The files go to export/ of the run or to --out, are named, and are the same again."""
    before = files(run.path)
    assert cli.main(["export", str(run.path), "--to", "csv"]) == 0
    assert f"wrote {run.path / 'export' / 'csv' / 'trials.csv'}" in capsys.readouterr().out
    for to in get_args(export.Format):
        words = ["export", str(run.path), "--to", to, "--json"]
        assert cli.main([*words, "--out", f"other/{to}"]) == 0
        named = {Path(name) for name in json.loads(capsys.readouterr().out)["files"]}
        made = files(Path("other", to))
        assert named == {Path("other", to, name) for name in made}
        assert cli.main(words) == 0
        capsys.readouterr()
        assert files(run.path / "export" / to) == made
    assert {name: content for name, content in files(run.path).items() if name in before} == before


def test_several_at_once(
    run: RunDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each format that is named is written, into a folder of its own; if one cannot be, none is."""
    words = ["export", str(run.path), "--to", "course", "--to", "csv", "--to", "csv"]
    assert cli.main(words) == 0
    assert {one.name for one in run.export.iterdir()} == {"course", "csv"}
    course, table = capsys.readouterr().out.splitlines()[-2:]
    assert course == f"open it: with the course's own scripts: {run.export}/course/results"
    assert table == f"open it: with a spreadsheet, or pandas.read_csv: {run.export}/csv/trials.csv"
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    assert files(tmp_path / "out") == files(run.export)
    assert cli.main([*words, "--out", str(run.run)]) == 2
    assert "is, or lies below, a file" in capsys.readouterr().err
    for package in ("tensorboard", "optuna"):
        monkeypatch.setitem(sys.modules, package, None)
        assert cli.main([*words, "--to", package, "--out", str(tmp_path / "none")]) == 2
        assert not (tmp_path / "none").exists()
        with pytest.raises(LabError, match=f"not installed; pip install {package}"):
            export.write(run.path, package)


def optuna_study(path: Path) -> Any:
    """The study that Optuna itself finds in an export of this run."""
    import optuna

    (written,) = export.write(path, "optuna")
    backend = optuna.storages.journal.JournalFileBackend(str(written))
    storage = optuna.storages.JournalStorage(backend)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


@pytest.mark.parametrize("name", ["hyperband", "wide-space", "filter-sweep"])
def test_optuna(name: str, tmp_path: Path) -> None:
    """Optuna's best trial is ours, and it has every value, digit for digit."""
    from optuna import distributions as kinds

    run = load_run(shutil.copytree(REFERENCE / name, tmp_path / name))
    study = optuna_study(run.path)
    assert run.best is not None
    assert (study.best_trial.number + 1, study.best_value) == (run.best.trial, run.best.valid_error)
    assert study.metric_names == ["validation error"]
    largest = max(trial.configuration.epochs for trial in run.trials)
    varied = {"filter_size"} if name == "filter-sweep" else set(run.best.configuration.model_dump())
    for theirs, ours in zip(study.trials, run.trials, strict=True):
        is_whole = ours.configuration.epochs == largest
        assert theirs.state.name == ("COMPLETE" if is_whole else "PRUNED")
        errors = [epoch.valid_error for epoch in ours.epochs]
        assert theirs.intermediate_values == dict(enumerate(errors, start=1))
        assert theirs.value == errors[-1]
        # Dropout is left out where a condition does, and momentum 0 is one of its values.
        values = {one: getattr(ours.configuration, one) for one in varied - {"epochs"}}
        drawn = {one: value for one, value in values.items() if value or one == "momentum"}
        assert theirs.params == drawn
        assert theirs.user_attrs["seconds"] == sum(epoch.duration_s for epoch in ours.epochs)
        began = ours.started and datetime.fromisoformat(ours.started)
        assert theirs.datetime_start.astimezone(UTC) == began
    expected = {
        "hyperband": ("learning_rate", kinds.FloatDistribution(1e-4, 0.1, log=True)),
        "wide-space": ("num_filters", kinds.IntDistribution(8, 64, log=True)),
        "filter-sweep": ("filter_size", kinds.CategoricalDistribution((1, 3, 5, 7))),
    }
    assert expected[name] in study.trials[0].distributions.items()


def test_optuna_of_a_run_that_is_not_over(run: RunDir) -> None:
    """What failed, runs and waits is so in Optuna; parts of an epoch are steps in their order."""
    part = epoch_done(4).model_copy(update={"epoch": an_epoch(0.125, 0.6)})
    write_events(run, started(4, attempt=2), part, epoch_done(4, 1, 0.5))
    study = optuna_study(run.path)
    states = ["COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"]
    assert [trial.state.name for trial in study.trials] == states
    assert [trial.value for trial in study.trials] == [0.04, *[None] * 4]
    assert study.trials[1].user_attrs["test_error"] == 0.25
    assert study.trials[2].user_attrs["reason"] == "=HYPERLINK(1)"
    assert study.user_attrs["epoch_of_step"] == [0.125, 1, 2, 3]
    assert study.trials[0].intermediate_values == {2: 0.06, 3: 0.05, 4: 0.04}
    assert study.trials[3].intermediate_values == {1: 0.6, 2: 0.5}


TABLES = {
    "lr-sweep": ("| 0.1 | 5 | 1.39 ± 0.14 % | 1.22 to 1.56 % | 4.26 |", "12 epochs. Error"),
    "hyperband-whole": ("| 1 | 0.79 % | 0.054 | 18 | 46 | 5×5 |", "18 epochs, n = 1 training"),
    "test-random-search-20": (
        "included | 10 | 0.78 ± 0.07 % | 0.73 to 0.83 % |",
        "10,000 test images",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, tmp_path: Path) -> None:
    """Both tables say the same: mean, spread, n, interval, and in words of what and with what."""
    path = shutil.copytree(REFERENCE / name, tmp_path / name)
    page, source = (one.read_text(encoding="utf-8") for one in export.write(path, *TEXTS))
    plain = source.replace(r"\ensuremath{\pm}", "±").replace(r"\ensuremath{\times}", "×")
    made = "mnist-lab 0.1.0, tensorflow 2.21.0, keras 3.15.1, 2026-11-24."
    experiment = load_run(path).info.settings.experiment
    for text in (*TABLES[name], f"{experiment}, complete, seed ", made):
        assert text in page
        assert text.strip("| ").replace(" | ", " & ").replace("%", r"\%") in plain
    n_columns = page.splitlines()[0].count("|") - 1
    assert re.search(rf"{{tabular}}{{[lr]{{{n_columns}}}}}", source)


def test_table_of_a_race() -> None:
    """Its configurations may be trained for different numbers of epochs."""
    both = (TrainConfig(epochs=6), TrainConfig(epochs=3))
    settings = study_settings(experiment="race", values=None, configurations=both)
    page = markdown(run_info(settings=settings), [])
    assert "MNIST. 3 epochs or 6 epochs each. Error:" in page


def test_tables_of_a_strangers_run(run: RunDir) -> None:
    """No text of a run is obeyed by LaTeX or becomes markup, and pdflatex knows every sign."""
    evil = r"\input{/etc/passwd}%_#&$^~ <b>|`*[x](y)![z] 数 ×±–"
    data = run.read_info().data.model_copy(update={"name": evil})
    run.write_info(run.read_info().model_copy(update={"data": data}))
    page, source = (one.read_text(encoding="utf-8") for one in export.write(run.path, *TEXTS))
    assert re.search(r"(?<!\\)[<>|`*[]", page.splitlines()[-1]) is None
    (caption,) = (line for line in source.splitlines() if line.startswith(r"\caption"))
    left = re.sub(r"\\(caption|ensuremath|times|pm|text[a-z]+)\b|\\[#$%&_{}]", "", caption)
    assert re.findall(r"[\\#$%&^~_]", left) == []
    assert r"\textbackslash{}u6570" in caption
    assert source.isascii()


@pytest.fixture
def board(run: RunDir) -> Iterator[str]:
    """The address of a real TensorBoard that shows the exported run."""
    export.write(run.path, "tensorboard")
    words = ["--logdir", str(run.export / "tensorboard"), "--host", "127.0.0.1", "--port", "0"]
    log = Path("log")
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", *words], stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 200
        while not (found := re.search(r"at (http\S+)", log.read_text(encoding="utf-8"))):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.2)
        while len(ask(f"{found[1]}data/runs")) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield found[1]
    finally:
        process.terminate()
        process.wait()


def ask(url: str, request: dict[str, Any] | None = None) -> Any:
    """What TensorBoard answers."""
    content = None if request is None else json.dumps(request).encode()
    asked = urllib.request.Request(url, content, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310 - our own address
        return json.load(answer)


@pytest.mark.proof
def test_tensorboard(board: str) -> None:
    """A real TensorBoard shows each trial's scalars, and a table of hyperparameters and results."""
    runs = ask(f"{board}data/runs")
    assert sorted(runs) == [".", "trial-00001", "trial-00002", "trial-00004"]

    def scalars(run: str, tag: str) -> list[Any]:
        shown = ask(f"{board}data/plugin/scalars/scalars?run={run}&tag={tag}")
        return [(step, pytest.approx(value)) for _, step, value in shown]

    assert scalars("trial-00001", "valid_error") == [(1, 0.06), (2, 0.05), (3, 0.04)]
    assert scalars("trial-00001", "train_loss") == [(1, 0.2), (2, 0.2), (3, 0.2)]
    assert scalars("trial-00002", "test_error") == [(1, 0.25)]
    tags = ask(f"{board}data/plugin/scalars/tags")
    assert set(tags["trial-00002"]) == {"train_loss", "train_error", "test_error"}

    hparams = f"{board}data/plugin/hparams/"
    about = ask(f"{hparams}experiment", {"experimentName": ""})
    names = {"learning_rate", "batch_size", "num_filters", "filter_size", "epochs"}
    assert {one["name"] for one in about["hparamInfos"]} == names
    metrics = ["valid_error", "test_error", "train_error"]
    assert [one["name"]["tag"] for one in about["metricInfos"]] == metrics
    statuses = ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"]
    metric = {"metric": {"group": "", "tag": "valid_error"}}
    wanted = {"startIndex": 0, "sliceSize": 9, "allowedStatuses": statuses, "colParams": [metric]}
    groups = ask(f"{hparams}session_groups", wanted)["sessionGroups"]
    rows = {group["name"]: group for group in groups}
    assert set(rows) == {"trial-00001", "trial-00002", "trial-00004"}
    assert rows["trial-00001"]["hparams"]["learning_rate"] == 0.05
    assert rows["trial-00001"]["sessions"][0]["status"] == "STATUS_SUCCESS"
    assert rows["trial-00004"]["sessions"][0]["status"] == "STATUS_UNKNOWN"
    errors = {one["name"]["tag"]: one["value"] for one in rows["trial-00001"]["metricValues"]}
    assert errors["valid_error"] == pytest.approx(0.04)
