"""The JSON schema: every file of real runs agrees with it, and damaged ones do not."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator, ValidationError
from made_events import configs, events, proposed, whole_trial, write_events

from mnist_lab import cli, study
from mnist_lab.config import TrainConfig
from mnist_lab.records import Event, TestScore, fold
from mnist_lab.rundir import RunDir
from mnist_lab.rundir.schema import schemas
from mnist_lab.study import results

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS = schemas()
SCORE = TestScore(test_error=0.25, test_loss=None, confusion=((3, 1), (0, 0)))


def validate(name: str, value: Any) -> None:
    """Make sure that a value agrees with the schema of the file."""
    Draft202012Validator(SCHEMAS[name]).validate(value)


def documents(run: RunDir) -> list[tuple[str, Any]]:
    """The content of each of a run's JSON files by its name; of the journal, each line."""
    found = [
        (path.name, json.loads(path.read_bytes()))
        for path in run.path.glob("*.json")
        if not path.name.startswith(".")
    ]
    lines = run.journal.read_bytes().splitlines()
    return found + [(run.journal.name, json.loads(line)) for line in lines]


def test_every_file_of_real_runs_agrees(real_runs: Path) -> None:
    """Each JSON file that the studies write, and each line of their journals, has its schema."""
    more = {"search": "best.json", "hyperband": "best.json", "test": "test.json"}
    kinds = set()
    for run in ("sweep", *more):
        found = documents(RunDir(real_runs / run))
        for name, value in found:
            validate(name, value)
            kinds |= {value["event"]} if name == "journal.jsonl" else set()
        names = {"run.json", "journal.jsonl", "curves.json"} | {more.get(run, "run.json")}
        assert {name for name, _ in found} == names
    assert kinds == {"begun", "proposed", "promoted", "started", "epoch", "finished"}
    (diverged,) = (trial for trial in study.load_run(real_runs / "sweep").trials if trial.diverged)
    assert diverged.reason is not None


@given(event=events, config=configs)
def test_any_record_agrees(event: Event, config: TrainConfig) -> None:
    """So does every event that there can be, and every configuration."""
    chain = {"line": 2, "after": "00000000", "crc32": "0123abcd"}
    validate("journal.jsonl", json.loads(event.model_dump_json()) | chain)
    validate("best.json", config.model_dump(mode="json"))


@pytest.fixture
def made(run: RunDir) -> dict[str, Any]:
    """A sound document of each kind."""
    trials = [trial.model_copy(update={"test": SCORE}) for trial in fold(whole_trial())]
    run.write_curves(trials)
    run.write_best(trials[0].configuration)
    run.write_test(results.test_result(trials))
    write_events(run, proposed())
    return dict(documents(run))


@pytest.mark.parametrize("name", SCHEMAS)
def test_damaged_files_do_not_agree(made: dict[str, Any], name: str) -> None:
    """A key too few, a key too many, a text for a number: each is seen, in every file."""
    Draft202012Validator.check_schema(SCHEMAS[name])
    document = made[name]
    validate(name, document)
    for key, value in document.items():
        without = {other: one for other, one in document.items() if other != key}
        wrong = document | {key: "damaged" if isinstance(value, list | dict) else []}
        for damaged in (without, wrong, document | {"surplus": 1}):
            with pytest.raises(ValidationError):
                validate(name, damaged)


def test_damage_inside_is_seen(made: dict[str, Any]) -> None:
    """The schema reaches down to the epochs of a trial, and knows the ranges."""
    for key, value in (("valid_error", "good"), ("epoch", 0), ("epoch", None)):
        damaged = deepcopy(made["curves.json"])
        damaged["trials"][0]["epochs"][1][key] = value
        with pytest.raises(ValidationError):
            validate("curves.json", damaged)
    for key, value in (("learning_rate", 0), ("filter_size", 29), ("momentum", 1)):
        with pytest.raises(ValidationError):
            validate("best.json", TrainConfig().model_dump() | {key: value})


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`mnist-lab schema` prints one of them, or all, or says which there are."""
    for words, shown in (([], SCHEMAS), (["best.json"], SCHEMAS["best.json"])):
        assert cli.main(["schema", *words]) == 0
        assert json.loads(capsys.readouterr().out) == shown
    assert cli.main(["schema", "bst.json"]) == 2
    assert "writes no 'bst.json'\nhint: did you mean 'best.json'?" in capsys.readouterr().err
