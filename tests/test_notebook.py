"""Notebooks: real kernels that train, show, watch, continue and are interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import formula
import lab
import nbformat
import psutil
import pytest
from jupyter_client.manager import start_new_kernel
from made_events import (
    failed,
    made_trial,
    proposed,
    run_info,
    started,
    study_settings,
    whole_trial,
)
from made_runs import make_run
from nbclient import NotebookClient

import mnist_lab
from mnist_lab import study
from mnist_lab.errors import LabError
from mnist_lab.notebook import trials_html
from mnist_lab.rundir import RunDir
from mnist_lab.study import session

if TYPE_CHECKING:
    from collections.abc import Iterator

TOUR = lab.TESTS.parent / "examples" / "tour.ipynb"
HURRY = "import os; os.environ['FORMULA_SECONDS'] = '0.001'"
FORMULA = (
    "import formula; from mnist_lab.study import session; session.open_trainer = "
    "formula.open_formula"
)
# 20 epochs each, of FORMULA_SECONDS.
SWEEP = "lr_sweep([0.1, 0.01], epochs=20, data='sample', workers=2, out='r')"
COMMAND = ["lr-sweep", "--values", "0.1,0.01", "--epochs", "20", "--data", "sample", "--out", "r"]

SEARCH_FIGURES = "incumbent learning_curves hyperparameters parallel_coordinates search_space"


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kernels write beside the test, and they and their workers can import the formula."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(lab.TESTS), prepend=os.pathsep)
    # So long that nothing ends before a test has seen it run.
    monkeypatch.setenv("FORMULA_SECONDS", "1")


class Notebook:
    """A kernel, and what its cells put out."""

    def __init__(self) -> None:
        self._manager, self._client = start_new_kernel(kernel_name="python3")

    def start(self, code: str) -> tuple[threading.Thread, list[dict[str, Any]]]:
        """Execute a cell in a thread, into a list of its outputs, with their types as `kind`."""
        outputs: list[dict[str, Any]] = []

        def keep(message: dict[str, Any]) -> None:
            if message["msg_type"] not in {"status", "execute_input"}:
                outputs.append(message["content"] | {"kind": message["msg_type"]})

        def execute() -> None:
            self._client.execute_interactive(
                code, timeout=300, output_hook=keep, stop_on_error=False
            )

        thread = threading.Thread(target=execute)
        thread.start()
        return thread, outputs

    def run(self, code: str) -> list[dict[str, Any]]:
        """Execute a cell; its outputs."""
        thread, outputs = self.start(code)
        thread.join()
        return outputs

    def value(self, code: str) -> Any:
        """What an expression is, which JSON can hold."""
        outputs = self.run(f"import json; print(json.dumps({code}))")
        assert {output["kind"] for output in outputs} == {"stream"}, outputs
        return json.loads("".join(output["text"] for output in outputs))

    def interrupt(self) -> None:
        """The stop button."""
        self._manager.interrupt_kernel()

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """A new notebook, whose studies train the formula."""
    notebook = Notebook()
    notebook.run(f"import mnist_lab; {FORMULA}")
    yield notebook
    notebook.close()


def html_of(outputs: list[dict[str, Any]], kind: str) -> list[str]:
    """The HTML that outputs of a kind show."""
    return [one["data"]["text/html"] for one in outputs if one["kind"] == kind]


def wait_for_epoch() -> None:
    """Until the journal of the run `r` tells of an epoch."""
    lab.wait_for(lambda: lab.n_epochs(RunDir(Path("r")).journal), seconds=200)


# --- the package


def test_the_package_offers_what_it_names() -> None:
    """Each name of the package is there, the functions explained; another is an AttributeError."""
    assert set(dir(mnist_lab)) == set(mnist_lab.__all__)
    for name in set(mnist_lab.__all__) - {"__version__"}:
        assert getattr(mnist_lab, name).__doc__
    assert mnist_lab.lr_sweep is study.lr_sweep
    with pytest.raises(AttributeError, match="'mnist_lab' has no attribute 'lr_swep'"):
        mnist_lab.lr_swep  # noqa: B018  # type: ignore[attr-defined]


# --- the tour


@pytest.mark.proof
def test_tour() -> None:
    """The notebook of examples/ runs from start to end, and its cells show what they promise."""
    tour = nbformat.read(TOUR, as_version=4)  # type: ignore[no-untyped-call]
    cells = {cell.id: cell for cell in tour.cells if cell.cell_type == "code"}
    assert all(not cell.outputs and cell.execution_count is None for cell in cells.values())
    NotebookClient(tour, timeout=300).execute()
    outputs = [output for cell in cells.values() for output in cell.outputs]
    assert {one.output_type for one in outputs} == {"display_data", "execute_result"}
    shown = {name: cell.outputs[-1].data for name, cell in cells.items() if cell.outputs}

    assert shown["lr-sweep"]["text/plain"] == (
        "<Run results/tour-sweep: lr-sweep, complete, 2 of 2 trials>"
    )
    for name, trials, figures in (
        ("lr-sweep", 2, ["learning_curves"]),
        ("search", 2, SEARCH_FIGURES.split()),
        ("test", 1, ["confusion", "mistakes"]),
    ):
        html = shown[name]["text/html"]
        assert html.count("<tr>") == 1 + trials
        assert re.findall('<img alt="(.*?)" src="data:image/png;base64,iVBOR', html) == figures
    assert "5,000 of its 70,000 digits" in shown["lr-sweep"]["text/html"]
    assert re.search(r"<td.*>.* % \(test\)</td>", shown["test"]["text/html"])
    progress = [o for o in cells["lr-sweep"].outputs if o.output_type == "display_data"]
    assert "2 of 2 trials done" in progress[-1].data["text/html"]

    for column in ("learning_rate", "state", "train_error", "valid_error", "epoch_s"):
        assert f"<th>{column}</th>" in shown["trials"]["text/html"]
    heads = re.findall(r"<th>([\d.]+)</th>", shown["epochs"]["text/html"])
    assert heads == ["0.01", "0.10", "1", "2"]
    assert shown["continue"]["text/plain"] == "2"
    assert shown["watch"]["text/html"].count("<td>complete</td>") == 2
    assert len(cells["watch"].outputs) == 1


# --- runs of a terminal


@pytest.mark.proof
def test_watch_and_continue_what_a_terminal_started(notebook: Notebook) -> None:
    """A notebook sees a terminal's run grow, follows it to its end, and goes on after it."""
    process = lab.start(*COMMAND, "--workers", "1", FORMULA_SECONDS="2")
    wait_for_epoch()
    look = "[mnist_lab.load_run('r').info.state, len(mnist_lab.load_run('r').epochs_to_pandas())]"
    state, n_epochs = notebook.value(look)
    assert (state, 1 <= n_epochs < 40) == ("running", True)
    refused = notebook.run(f"mnist_lab.{SWEEP}")[-1]
    assert refused["ename"] == "Busy"
    assert f"process {process.pid} on" in refused["evalue"]
    cell, watched = notebook.start("mnist_lab.watch('r')")
    lab.wait_for(lambda: len(set(html_of(watched, "update_display_data"))) > 1, seconds=200)
    process.terminate()
    cell.join()
    process.communicate(timeout=60)
    assert process.returncode == 143
    first, *updates, last = html_of(watched, "display_data") + html_of(
        watched, "update_display_data"
    )
    assert "running, 0 of 2 trials done" in first
    shown = [sum(map(int, re.findall(r"(\d+)/20", html))) for html in (first, *updates)]
    assert shown[0] < shown[-1]
    assert last == ""
    (end,) = html_of(watched, "execute_result")
    assert "stopped, 0 of 2 trials done" in end
    journal = RunDir(Path("r")).journal.read_bytes()

    notebook.run(HURRY)
    done = notebook.run(f"run = mnist_lab.{SWEEP}; run")
    assert "complete, 2 of 2 trials done" in html_of(done, "execute_result")[0]
    assert RunDir(Path("r")).journal.read_bytes().startswith(journal)
    frame = notebook.value("run.epochs_to_pandas()[['trial', 'epoch']].values.tolist()")
    assert frame == [[trial, epoch] for trial in (1, 2) for epoch in range(1, 21)]


@pytest.mark.proof
def test_killed_run_is_interrupted_not_running(notebook: Notebook) -> None:
    """Nobody waits for a run whose process was killed; and it tells how it was started."""
    process = lab.start(*COMMAND, "--quiet")
    wait_for_epoch()
    process.kill()
    process.communicate()
    (end,) = html_of(notebook.run("mnist_lab.watch('r')"), "execute_result")
    assert "interrupted, 0 of 2 trials done" in end


# --- interrupts


@pytest.mark.proof
def test_stop_button(notebook: Notebook) -> None:
    """It ends a study by one line, however often pressed; all is kept, and nobody left behind."""
    pid = notebook.value("__import__('os').getpid()")
    cell, stopped = notebook.start(f"mnist_lab.{SWEEP}")
    wait_for_epoch()
    workers = psutil.Process(pid).children()
    assert len(workers) == 2
    for _ in range(3):  # at once: later ones would be the kernel's
        notebook.interrupt()
        time.sleep(0.005)
    cell.join()
    error = stopped[-1]
    assert (error["kind"], error["ename"]) == ("error", "Interrupted")
    (line,) = error["traceback"]
    assert re.match(r"Stopped: 0 of 2 trials finished, \d+ epochs? saved\. ", line)
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    handler = "signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    notebook.run("import signal")
    assert notebook.value(handler) is True
    kept = RunDir(Path("r")).journal.read_bytes()
    assert notebook.value("mnist_lab.load_run('r').info.state") == "stopped"
    assert "call mnist_lab.lr_sweep again" in notebook.value("mnist_lab.load_run('r').info.command")

    notebook.run(HURRY)
    (end,) = html_of(notebook.run(f"mnist_lab.{SWEEP}"), "execute_result")
    assert "complete, 2 of 2 trials done" in end
    assert RunDir(Path("r")).journal.read_bytes().startswith(kept)


@pytest.mark.proof
def test_stop_button_ends_the_watching_alone(notebook: Notebook) -> None:
    """Who stops to watch gets the run as it stands, and whoever writes it goes on."""
    process = lab.start(*COMMAND, "--quiet")
    wait_for_epoch()
    cell, seen = notebook.start("mnist_lab.watch('r')")
    lab.wait_for(lambda: seen, seconds=200)
    notebook.interrupt()
    cell.join()
    (end,) = html_of(seen, "execute_result")
    assert "running, 0 of 2 trials done" in end
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_study_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no signal arrives a study runs all the same, and touches no handler."""
    monkeypatch.setattr(session, "open_trainer", formula.open_formula)
    monkeypatch.setenv("FORMULA_SECONDS", "0.001")
    runs: list[study.Run] = []

    def call() -> None:
        runs.append(mnist_lab.train(mnist_lab.TrainConfig(epochs=2), data="sample", out="r"))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert [trial.state for trial in runs[0].trials] == ["complete"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- a run as a value

EVIL = "<script>alert('&')</script>"


def made_run(**info: Any) -> mnist_lab.Run:
    """A complete trial, one that failed with an evil reason, and one that waits."""
    events = [*whole_trial(1), proposed(2), started(2), failed(2, EVIL), proposed(3)]
    path = make_run(Path(f"made {EVIL[:8]}"), study_settings(repeats=2), *events, **info)
    return mnist_lab.load_run(str(path))


def test_text_from_files_is_escaped() -> None:
    """A run directory of somebody else brings no script into a notebook."""
    evil = run_info().data.model_copy(update={"name": EVIL, "notice": EVIL})
    html = made_run(data=evil)._repr_html_()
    assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;" in html
    assert "<script" not in html


def test_an_error_of_zero_is_the_best() -> None:
    """The table of a search has the best first."""
    settings = study_settings(experiment="random-search", values=None, iters=2, space={})
    trials = [made_trial(1, [None]), made_trial(2, [0.1]), made_trial(3, [0.0])]
    html = trials_html("r", run_info(settings=settings), trials)
    assert re.findall(r"<tr><td[^>]*>(\d+)<", html) == ["3", "2", "1"]


def test_frames() -> None:
    """One row a trial or an epoch, numbers as numbers, and what was not measured is missing.

    No epochs make no rows, and all columns; what has only begun, or was a dry run, shows itself as
    a table without figures.
    """
    run = made_run()
    frame = run.to_pandas()
    assert list(frame["state"]) == ["complete", "failed", "waiting"]
    assert list(frame["n_epochs"]) == [3, 0, 0]
    assert list(frame["valid_error"].isna()) == [False, True, True]
    assert frame["valid_error"].min() == 0.04
    assert frame["test_error"].dtype == "float64"
    assert frame["reason"][1] == EVIL
    assert run.best is not None
    assert run.best.trial == 1
    assert repr(run.best).startswith("<Trial 1: complete, validation error 4.00 % after 3 epochs, ")
    assert "<tr><td>filter size</td><td>3×3</td></tr>" in run.best._repr_html_()
    frame = run.epochs_to_pandas()
    assert list(frame["epoch"]) == [1, 2, 3]
    assert list(frame["valid_error"]) == [0.06, 0.05, 0.04]
    assert set(frame["filter_size"]) == {3}
    nothing = run._replace(trials=[])
    empty = nothing.epochs_to_pandas()
    assert (len(empty), list(empty.columns)) == (0, list(frame.columns))
    assert "<img" not in nothing._repr_html_()
    assert "0 of 4 trials done" in nothing._repr_html_()
    assert nothing.best is None


def test_pandas_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then one line tells the command that installs it."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LabError, match=r"which is not installed; pip install pandas"):
        made_run().to_pandas()
