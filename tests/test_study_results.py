"""What is drawn of a run: from its records, and the mistakes from its data set."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from data_files import sample_arrays, write_npz
from made_events import (
    begun_as,
    epoch_done,
    finished,
    forge,
    journal_lines,
    proposed,
    started,
    study_settings,
    whole_trial,
    write_events,
)
from made_figures import texts
from made_runs import make_run

from mnist_lab import data, space, study
from mnist_lab.config import TrainConfig
from mnist_lab.errors import RunDirError
from mnist_lab.findings import page
from mnist_lab.records import Mistake, TestScore
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from pathlib import Path


WRONG = Mistake(image=7, true=7, predicted=1, confidence=0.875)
SCORE = TestScore(test_error=0.25, test_loss=0.7, confusion=((2, 2), (0, 4)), mistakes=(WRONG,))


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    """A test on the bundled digits that got one of them wrong."""
    settings = study_settings(experiment="test", values=None)
    events = (proposed(), started(), epoch_done(number=1), finished(test=SCORE))
    info = data.load(data.SAMPLE).info
    return RunDir(make_run(tmp_path / "test", settings, *events, data=info, state="running"))


def drawn(run_dir: RunDir) -> tuple[set[str], list[str]]:
    """The names of the figures, and the notes."""
    notes: list[str] = []
    files = study.load_run(run_dir.path).draw(notes.append)
    return {path.stem for path in files}, notes


def test_mistakes(run_dir: RunDir) -> None:
    """The misclassified digits are among the figures, with their pixels from the data set."""
    assert drawn(run_dir) == ({"confusion", "mistakes"}, [])
    shown = (run_dir.path / "mistakes.svg").read_text(encoding="utf-8")
    assert "7 → 1" in shown
    assert "88 %" in shown
    assert "data:image/png" in shown


@pytest.mark.parametrize(
    ("stem", "wrong", "often"),
    [
        ("fashion_mnist", "Sneaker\n→ Trouser", "T-shirt/top is most often taken for Trouser"),
        ("mine", "7 → 1", "0 is most often taken for 1"),
    ],
)
def test_other_classes(run_dir: RunDir, stem: str, wrong: str, often: str) -> None:
    """What is no digit is called a class, by its name where it has one, in all that is written."""
    path = write_npz(run_dir.path / f"{stem}.npz", sample_arrays())
    info = run_dir.read_info().model_copy(update={"data": data.load(str(path)).info})
    warned = info.data.model_copy(update={"warnings": ("something is odd",)})
    run_dir.write_info(info.model_copy(update={"data": warned}))
    run = study.load_run(run_dir.path)
    figures = run.figures().values()
    written = ["\n".join(texts(figure)) for figure in figures]
    written += [page(run.info, run.trials), study.report([run.path]).read_text(encoding="utf-8")]
    written[-1] = re.sub(r"<script.*?</script>", "", written[-1], flags=re.DOTALL)
    confusion, mistakes, findings, report = written
    assert "true class" in confusion
    assert wrong in mistakes
    for text in (findings, report):
        assert often in text
        assert "something is odd" in text
    assert "Which class was taken for which" in report
    for text in written:
        assert not re.search(r"\bdigits?\b", text)
        assert data.load(str(path)).info.name in text


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
    forge(run_dir, [begun_as(run_dir), *journal_lines(run_dir)[1:]])
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
    assert "The images are not on this machine." in page


def test_older_record(run_dir: RunDir) -> None:
    """A test from before mistakes were recorded is drawn without them."""
    lines = journal_lines(run_dir)
    assert lines[-1]["test"].pop("mistakes")
    forge(run_dir, lines)
    assert drawn(run_dir) == ({"confusion"}, [])


def test_mistakes_beyond_the_images(run_dir: RunDir) -> None:
    """A record that names an image which the data set lacks is told so, in a note."""
    lines = journal_lines(run_dir)
    lines[-1]["test"]["mistakes"][0]["image"] = 714
    forge(run_dir, lines)
    names, notes = drawn(run_dir)
    assert names == {"confusion"}
    assert "images beyond the 714 of sample" in notes[0]


@pytest.mark.parametrize(
    ("size", "error"),
    [(4, "a trial is not from the search space in run.json"), (3, "")],
)
def test_trials_of_other_settings(tmp_path: Path, size: int, error: str) -> None:
    """A trial beside the search space is refused; a budget that no rung has is not drawn."""
    space_file = space.to_dict(space.default_space())
    settings = study_settings(
        experiment="hyperband", values=None, iters=1, min_epochs=1, space=space_file
    ).model_copy(update={"base": TrainConfig(epochs=2)})
    run_dir = RunDir(make_run(tmp_path / "search", settings, state="running"))
    assert "incumbent" in drawn(run_dir)[0]  # no trial yet
    write_events(run_dir, *whole_trial(filter_size=size, learning_rate=0.01))
    if error:
        with pytest.raises(RunDirError, match=error):
            drawn(run_dir)
    else:
        assert "brackets" in drawn(run_dir)[0]
