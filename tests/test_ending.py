"""The end of a command: the answer first, on one screen, warnings last."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import REFERENCE
from made_events import failed, proposed, run_info, started, study_settings
from made_runs import final_test, make_run, search, sweep

from mnist_lab.cli.ending import ending
from mnist_lab.findings import findings
from mnist_lab.rundir import RunDir
from mnist_lab.study import load_run

if TYPE_CHECKING:
    from mnist_lab.cli.ending import Line

RUNS = sorted(path.parent for path in REFERENCE.glob("*/run.json"))


def ended(path: Path) -> list[Line]:
    """What is said when this run has just ended."""
    run = load_run(path)
    run = run._replace(n_before=0, files=tuple(sorted(path.glob("*.*"))))
    data = run.info.data
    return ending(run, findings(run.info.settings, run.trials, data.n_valid, data))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_fits_a_screen(path: Path) -> None:
    """Each reference run ends on one screen: its answer in the third line, the next command."""
    lines = ended(path)
    assert sum(max(1, -(-len(line.text) // 80)) for line in lines) <= 24
    assert all(line.whole or len(line.text) <= 80 for line in lines)
    answer = lines[2].text
    assert any(answer.startswith(f"  {word} ") for word in ("Best", "Test", "Configuration"))
    assert lines[2].style == "bold"
    last = [line.text for line in lines if line.style != "yellow"][-1]
    assert last.startswith("Next     mnist-lab ")
    assert f"Details  {path}/findings.md" in [line.text for line in lines]


def test_answers() -> None:
    """The answer of each kind of run, and a row of its table."""
    sweep(Path("lr"))
    search(Path("search"))
    final_test(Path("test"), repeats=3)
    make_run(Path("nothing"), study_settings(), proposed(), started(), failed(), state="stopped")
    expected = {
        "lr": "  Best learning rate: 0.01, with a validation error of 3.40 %",
        "search": "  Best validation error 2.17 %  (trial 1, after 3 epochs)",
        "test": "  Test error 0.20 %",
        "nothing": "  No result yet.",
    }
    ends = {name: ended(Path(name)) for name in expected}
    found = {name: [line.text for line in lines] for name, lines in ends.items()}
    for name, answer in expected.items():
        assert next(line.text for line in ends[name] if line.style == "bold") == answer
    assert any(line.split()[:2] == ["0.01", "3.40"] for line in found["lr"])
    assert "  3 repeats: 0.20, 0.20, 0.20 %" in found["test"]
    assert "All with batch size 128, 16 filters of 3×3, 3 epochs" in "".join(found["lr"])


def test_warnings_come_last() -> None:
    """What went wrong, and what the data are: marked, in yellow, after all else."""
    path = search(Path("search"))
    info = RunDir(path).read_info()
    data = info.data.model_copy(update={"notice": "not MNIST", "is_mnist": False})
    RunDir(path).write_info(run_info(settings=info.settings, data=data, state="stopped"))
    lines = ended(path)
    marked = [line for line in lines if line.style == "yellow"]
    assert marked == lines[-len(marked) :]
    told = " ".join(line.text for line in marked)
    for part in ("! 1 of 1", "trials failed", "! not MNIST"):
        assert part in told
