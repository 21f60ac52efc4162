"""Whole commands, run as a user runs them: real processes, real signals, the bundled digits."""

from __future__ import annotations

import json
import signal
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lab
import numpy as np
import pytest
from data_files import sample_arrays, write_npz
from lab import wait_until_gone, workers_of

from mnist_lab import data, machine, study
from mnist_lab.config import StudySettings, TrainConfig
from mnist_lab.records import fold
from mnist_lab.rundir import RunDir
from mnist_lab.study.workers import place_for

if TYPE_CHECKING:
    import subprocess

    from mnist_lab.config import Precision

REAL_MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist.npz"
CONFIGURATION = {"learning_rate", "batch_size", "num_filters", "filter_size", "epochs"}
real_lab = partial(lab.run, command=lab.REAL)


def start(*words: str) -> subprocess.Popen[str]:
    """Start a command, and wait until its first epoch stands in the journal."""
    process = lab.start(*words, command=lab.REAL)
    journal = RunDir(Path(words[words.index("--out") + 1])).journal
    lab.wait_for_epochs(journal, 1, process)
    return process


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and what was printed on standard error."""
    _, printed = process.communicate(timeout=60)
    return process.returncode, printed


def read(path: str) -> Any:
    """A JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def measured(out: str) -> list[Any]:
    """The trials of a run, without times and workers."""
    trials = sorted(read(f"{out}/curves.json")["trials"], key=lambda trial: trial["id"])
    for trial in trials:
        for part in (*trial.pop("rungs"), *trial["epochs"], trial):
            for key in ("trial", "started", "ended", "worker", "duration_s"):
                part.pop(key, None)
    return trials


def test_lr_sweep_writes_what_the_contract_names(real: Path) -> None:
    """Records, figures and the summary of a sweep; the same command again trains nothing."""
    words = ("--values", "0.1,1e9", "--epochs", "2", "--data", "sample", "--out", "sweep")
    out = Path("sweep")
    printed, progress = ((real / f"sweep.{kind}").read_text("utf-8") for kind in ("out", "err"))
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        *("run.json", "journal.jsonl", "curves.json", "findings.md"),
        *("learning_curves.png", "learning_curves.svg"),
    }
    for trial in read(f"{out}/curves.json")["trials"]:
        assert set(trial["configuration"]) == CONFIGURATION
    info = read(f"{out}/run.json")
    assert info["state"] == "complete"
    assert "not the whole of MNIST" in info["data"]["notice"]
    assert "not the whole of MNIST" in printed
    assert "not the whole of MNIST" in progress
    assert "Best learning rate: 0.1, with a validation error of " in printed
    assert len(printed.splitlines()) <= 24
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.rindex("! ") > printed.index("Next     mnist-lab filter-sweep --data sample")
    assert (out / "findings.md").exists()
    assert (out / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert "not the whole of MNIST" in (out / "learning_curves.svg").read_text(encoding="utf-8")
    journal = (out / "journal.jsonl").read_bytes()
    second = real_lab("lr-sweep", *words)
    assert "2 of 2 trials were already done" in second.stdout
    assert (out / "journal.jsonl").read_bytes() == journal


def test_own_data() -> None:
    """One's own data train; what they are and what is odd about them is told wherever they show."""
    arrays = sample_arrays()
    some = np.flatnonzero(arrays["y_train"][:600] != 8)
    for key in ("x_train", "y_train"):
        arrays[key] = arrays[key][some]
    write_npz(Path("mine.npz"), arrays)
    words = ("lr-sweep", "--values", "0.1", "--epochs", "1", "--workers", "1", "--data", "mine.npz")
    planned, done = lab.run(*words, "--dry-run"), lab.run(*words)
    asked = lab.run("status", "results/lr-sweep")
    lab.run("report", "results/lr-sweep")
    odd = "no training image is of class 8"
    assert read("results/lr-sweep/run.json")["data"]["warnings"] == [odd]
    written = [Path("results/lr-sweep", name) for name in ("findings.md", "report.html")]
    texts = [done.stderr, *(one.stdout for one in (planned, done, asked))]
    for text in (*texts, *(path.read_text("utf-8") for path in written)):
        assert odd in text
        assert "not MNIST: mine" in text


@pytest.mark.proof
def test_number_of_workers_changes_no_number() -> None:
    """One, two or four workers of one thread train the same curves, to the last digit."""
    search = ("random-search", "--iters", "4", "--epochs", "2", "--data", "sample", "--quiet")
    for n_workers in ("1", "2", "4"):
        real_lab(*search, "--workers", n_workers, "--out", f"workers-{n_workers}")
    assert measured("workers-2") == measured("workers-1")
    assert measured("workers-4") == measured("workers-1")


@pytest.mark.usefixtures("real")
def test_search_then_test_then_status_and_plot() -> None:
    """The main job, end to end: a search, its best configuration tested, all of it shown again."""
    best = read("search/best.json")
    assert set(best) == CONFIGURATION
    trials = read("search/curves.json")["trials"]
    first = min(trials, key=lambda trial: trial["epochs"][-1]["valid_error"])
    assert first["configuration"] == best
    figures = ("incumbent", "learning_curves", "hyperparameters", "parallel_coordinates")
    for name, kind in product((*figures, "search_space"), ("png", "svg")):
        assert Path("search", f"{name}.{kind}").stat().st_size > 1000
    names = {path.name for path in Path("search/hpbandster").iterdir()}
    assert names == {"configs.json", "configspace.json", "results.json"}
    answer = read("test.out")
    result = read("test/test.json")
    assert result["test_error"] == answer["test"]["test_error"]
    assert len(result["repeats"]) == 2
    for repeat in result["repeats"]:
        low, high = repeat["interval_95"]
        assert 0 <= low < repeat["test_error"] < high <= 1
    confusion = np.array(result["confusion"])
    assert confusion.sum() == 2 * result["n_images"]
    assert result["test_error"] == pytest.approx(1 - np.trace(confusion) / confusion.sum())
    assert Path("test/model.keras").stat().st_size > 10_000
    for name in ("confusion.png", "mistakes.png"):
        assert Path("test", name).stat().st_size > 1000

    status = json.loads(real_lab("status", "search", "--json").stdout)
    assert status["state"] == "complete"
    assert status["trials"] == {"planned": 3, "complete": 3, "running": 0, "failed": 0, "left": 0}
    before = Path("search/incumbent.svg").read_bytes()
    Path("search/incumbent.svg").unlink()
    Path("search/curves.json").unlink()  # the journal is the truth
    real_lab("plot", "search")
    assert Path("search/incumbent.svg").read_bytes() == before


def test_filter_sweep_draws_cost_against_error() -> None:
    """Two figures, and the large filter is trained first."""
    words = ("--values", "1,2", "--learning-rate", "0.05", "--epochs", "1")
    lab.run("filter-sweep", *words, "--data", "sample", "--out", "f")
    assert [t["configuration"]["filter_size"] for t in read("f/curves.json")["trials"]] == [2, 1]
    drawn = Path("f/filter_cost.svg").read_text(encoding="utf-8")
    assert "1×1" in drawn
    assert "learning rate 0.05, batch size 128, 16 filters, 1 epoch" in drawn
    assert Path("f/learning_curves.png").exists()


def test_precision_auto_is_that_of_the_processor_and_then_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run keeps its precision, also on a machine whose processor would suit another."""

    def chosen(*, has_it: bool | None, fresh: bool = False) -> str:
        monkeypatch.setattr(machine, "has_bfloat16", lambda: has_it)
        run = study.train(
            TrainConfig(epochs=1), data="sample", precision="auto", fresh=fresh, dry_run=True
        )
        return run.info.settings.precision

    assert chosen(has_it=True) == "bfloat16"
    assert chosen(has_it=False) == chosen(has_it=None) == "float32"
    lab.run("train", "--epochs", "1", "--data", "sample", "--precision", "bfloat16")
    assert chosen(has_it=False) == "bfloat16"
    assert chosen(has_it=False, fresh=True) == "float32"


def test_a_precision_that_the_processor_imitates_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take many times as long, and nothing else would say why."""

    def is_told(*, has_it: bool | None, precision: Precision) -> bool:
        monkeypatch.setattr(machine, "has_bfloat16", lambda: has_it)
        settings = StudySettings(experiment="train", base=TrainConfig(), precision=precision)
        _, lines = place_for({"workers": 1}, settings, 0)
        return any("no bfloat16 instructions" in line for line in lines)

    assert is_told(has_it=False, precision="bfloat16")
    assert not is_told(has_it=False, precision="float32")
    assert not is_told(has_it=True, precision="bfloat16")
    assert not is_told(has_it=None, precision="bfloat16")


def test_train_space_and_doctor() -> None:
    """The small commands answer, in words and in JSON."""
    lab.run("train", "--epochs", "1", "--num-filters", "4", "--data", "sample", "--quiet")
    assert Path("results/train/model.keras").exists()
    shown = json.loads(real_lab("space", "--json").stdout)
    assert shown["files"] == []
    assert not Path("results/space").exists()  # nobody asked for a figure
    shown = json.loads(real_lab("space", "--json", "--out", "drawn").stdout)
    assert all(Path(path).parts[0] == "drawn" and Path(path).exists() for path in shown["files"])
    assert len(shown["files"]) == 2
    assert "does not mean powers of two" in real_lab("space").stdout
    assert Path("results/space/search_space.png").exists()
    assert "ready to train" in real_lab("doctor").stdout


SWEEP = ("lr-sweep", "--values", "0.1,0.05,0.01", "--epochs", "3", "--data", "sample")


@pytest.mark.proof
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_interrupted_run_continues_to_the_same_curves(number: signal.Signals, code: int) -> None:
    """However it is stopped: what is finished is kept, no process is left, the end is the same."""
    process = start(*SWEEP, "--out", "stopped")
    workers = workers_of(process)
    process.send_signal(number)
    assert end(process)[0] == code
    wait_until_gone(workers)
    status = json.loads(real_lab("status", "stopped", "--json").stdout)
    assert status["state"] in {"stopped", "interrupted"}
    real_lab(*SWEEP, "--out", "stopped")
    real_lab(*SWEEP, "--out", "whole", "--workers", "1")
    assert measured("stopped") == measured("whole")


@pytest.mark.proof
@pytest.mark.real_data
@pytest.mark.skipif(not REAL_MNIST.exists(), reason="all of MNIST is not here")
def test_one_epoch_on_all_of_mnist() -> None:
    """On the real data the base configuration passes 90 % accuracy in its first epoch."""
    real_lab("train", "--epochs", "1", "--data", str(REAL_MNIST), "--out", "real")
    (trial,) = fold(RunDir(Path("real")).read_events())
    assert trial.epochs[0].valid_error is not None
    assert trial.epochs[0].valid_error < 0.10
    info = RunDir(Path("real")).read_info()
    assert info.data.is_mnist
    assert info.data.digests == data.dataset.MNIST_MD5
    assert info.settings == StudySettings(experiment="train", base=TrainConfig(epochs=1))
