"""What is drawn of a run: from its records, and the mistakes from its data set."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
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
from made_figures import texts

from mnist_lab import data, study
from mnist_lab.findings import page
from mnist_lab.records import Mistake, TestScore
from mnist_lab.rundir import RunDir
from mnist_lab.study.results import figures as figures_of
from mnist_lab.study.results import test_result as result_of

if TYPE_CHECKING:
    from pathlib import Path


WRONG = Mistake(image=7, true=7, predicted=1, confidence=0.875)
SCORE = TestScore(test_error=0.25, test_loss=0.7, confusion=((1, 1), (0, 2)), mistakes=(WRONG,))


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


@pytest.mark.parametrize(
    ("stem", "wrong", "often"),
    [
        ("fashion_mnist", "Sneaker\n→ Trouser", "T-shirt/top is taken for Trouser"),
        ("mine", "7 → 1", "0 is taken for 1"),
    ],
)
def test_other_classes(run_dir: RunDir, stem: str, wrong: str, often: str) -> None:
    """What is no digit is called a class, by its name where it has one, in all that is written."""
    path, sample = run_dir.path / f"{stem}.npz", data.load("sample")
    joined = sample.training.joined().train
    arrays = (joined.images, joined.labels, sample.test.images, sample.test.labels)
    np.savez(path, **dict(zip(data.NPZ_KEYS, arrays, strict=True)))  # type: ignore[arg-type] # numpy's stub
    info = run_dir.read_info().model_copy(update={"data": data.load(str(path)).info})
    warned = info.data.model_copy(update={"warnings": ("something is odd",)})
    run_dir.write_info(info.model_copy(update={"data": warned}))
    run = study.load_run(run_dir.path)
    figures = figures_of(run).values()
    written = ["\n".join(texts(figure)) for figure in figures]
    written += [page(run.info, run.trials), study.report([run.path]).read_text(encoding="utf-8")]
    written[-1] = re.sub(r"<script.*?</script>", "", written[-1], flags=re.DOTALL)
    confusion, mistakes, findings, report = written
    assert "true class" in confusion
    assert wrong in mistakes
    for text in (findings, report):
        assert f"most often {often}" in text
        assert "something is odd" in text
    assert "Which classes were taken for which" in report
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
