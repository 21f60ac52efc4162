"""What is drawn of a run: from its records, and the mistakes from its data set."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from made_events import (
    epoch_done,
    finished,
    proposed,
    run_info,
    started,
    study_settings,
    whole_trial,
    write_events,
)

from mnist_lab import data, space, study
from mnist_lab.config import TrainConfig
from mnist_lab.errors import RunDirError
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
    """Without the data set, or with another one, the figure is left out, and a note says why."""
    info = run_dir.read_info()
    run_dir.write_info(info.model_copy(update={"data": info.data.model_copy(update=other)}))
    names, notes = drawn(run_dir)
    assert names == {"confusion"}
    assert [note.partition(":")[0] for note in notes] == ["no figure of the misclassified digits"]


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


def test_mistakes_beyond_the_images(run_dir: RunDir) -> None:
    """A record that names an image which the data set lacks is told so, in a note."""
    text = run_dir.journal.read_text(encoding="utf-8")
    run_dir.journal.write_text(text.replace('"image":7', '"image":714'), encoding="utf-8")
    names, notes = drawn(run_dir)
    assert names == {"confusion"}
    assert "images beyond the 714 of sample" in notes[0]


@pytest.mark.parametrize(
    ("size", "error"),
    [(4, "each trial of a search is of the search space in run.json"), (3, "")],
)
def test_trials_of_other_settings(tmp_path: Path, size: int, error: str) -> None:
    """A trial beside the search space is refused; a budget that no rung has is not drawn."""
    space_file = space.to_dict(space.default_space())
    run_dir = RunDir(tmp_path / "search")
    run_dir.create()
    settings = study_settings(
        experiment="hyperband", values=None, iters=1, min_epochs=1, space=space_file
    ).model_copy(update={"base": TrainConfig(epochs=2)})
    run_dir.write_info(run_info(settings=settings))
    assert "incumbent" in drawn(run_dir)[0]  # no trial yet
    write_events(run_dir, *whole_trial(filter_size=size, learning_rate=0.01))
    if error:
        with pytest.raises(RunDirError, match=error):
            drawn(run_dir)
    else:
        assert "brackets" in drawn(run_dir)[0]
