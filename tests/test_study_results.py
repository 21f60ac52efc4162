"""What is drawn of a run: from its records, and the mistakes from its data set."""

from __future__ import annotations

import shutil
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from made_events import (
    epoch_done,
    finished,
    proposed,
    run_info,
    started,
    study_settings,
    write_events,
)

from mnist_lab import data, study
from mnist_lab.records import Mistake, TestScore
from mnist_lab.rundir import RunDir
from mnist_lab.study.results import test_result as result_of

if TYPE_CHECKING:
    from pathlib import Path


WRONG = Mistake(image=7, true=7, predicted=1, confidence=0.875)
SCORE = TestScore(test_error=0.5, test_loss=0.7, confusion=((1, 1), (0, 0)), mistakes=(WRONG,))


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    """A test on the bundled digits that got one of them wrong."""
    run_dir = RunDir(tmp_path / "test")
    run_dir.create()
    settings = study_settings(experiment="test", values=None)
    run_dir.write_info(run_info(settings=settings, data=data.load(data.SAMPLE).info))
    ended = finished(test=SCORE)
    write_events(run_dir, proposed(), started(), epoch_done(number=1), ended)
    return run_dir


def drawn(run_dir: RunDir) -> tuple[set[str], list[str]]:
    """The names of the figures, and the notes."""
    notes: list[str] = []
    files = study.draw(study.load_run(run_dir.path), notes.append)
    return {path.stem for path in files}, notes


def test_mistakes(run_dir: RunDir) -> None:
    """The misclassified digits are among the figures, with their pixels from the data set."""
    assert drawn(run_dir) == ({"confusion", "mistakes"}, [])
    shown = (run_dir.path / "mistakes.svg").read_text(encoding="utf-8")
    assert "7 → 1" in shown
    assert "88 %" in shown
    assert "data:image/png" in shown


def test_data_elsewhere(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run's data set has moved, it is looked for where this machine has it."""
    info = run_dir.read_info()
    moved = info.data.model_copy(update={"source": str(run_dir.path / "mnist.npz")})
    run_dir.write_info(info.model_copy(update={"data": moved}))
    monkeypatch.setenv(data.DATA_VARIABLE, data.SAMPLE)
    assert drawn(run_dir) == ({"confusion", "mistakes"}, [])


@pytest.mark.parametrize("other", [{"source": "/nowhere/mnist.npz"}, {"digests": {"a": "b"}}])
def test_no_data(run_dir: RunDir, other: dict[str, object]) -> None:
    """Without the data set, or with another one, the figure stays as it is, and a note says why."""
    info = run_dir.read_info()
    run_dir.write_info(info.model_copy(update={"data": info.data.model_copy(update=other)}))
    names, notes = drawn(run_dir)
    assert names == {"confusion"}
    assert [note.partition(":")[0] for note in notes] == ["no figure of the misclassified digits"]
    kept = run_dir.write_figure("mistakes", "svg", b"<svg>the digits</svg>")
    names, (note,) = drawn(run_dir)
    assert names == {"confusion"}
    assert note.startswith("the figure of the misclassified digits stays as it is: ")
    assert "--" not in note  # plot and report have no such option
    assert kept.read_bytes() == b"<svg>the digits</svg>"
    page = study.report([run_dir.path]).read_text(encoding="utf-8")
    assert b64encode(b"<svg>the digits</svg>").decode() in page
    kept.rename(secret := run_dir.path.parent / "secret")
    kept.symlink_to(secret)
    page = study.report([run_dir.path]).read_text(encoding="utf-8")
    assert b64encode(b"<svg>the digits</svg>").decode() not in page


def test_older_record(run_dir: RunDir) -> None:
    """A test from before mistakes were recorded is drawn without them."""
    shutil.copy(run_dir.journal, before := run_dir.path / "before")
    text = before.read_text(encoding="utf-8")
    old = text.replace(f',"mistakes":[{WRONG.model_dump_json()}]', "")
    assert old != text
    run_dir.journal.write_text(old, encoding="utf-8")
    assert drawn(run_dir) == ({"confusion"}, [])


def test_result_names_them(run_dir: RunDir) -> None:
    """`test.json` has the mistakes of each repeat."""
    (repeat,) = result_of(run_dir.read_trials()).repeats
    assert repeat.mistakes == (WRONG,)
