"""Where to train, in words: what is refused before anything is written, and how it is told."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lab
import psutil
import pytest
from lab import measured
from test_search import BASE, Memory, decide, formula_trainer, grid, results

import mnist_lab
from mnist_lab import cli
from mnist_lab.errors import SettingsError
from mnist_lab.execute.loop import run_trials
from mnist_lab.execute.places import Existing
from mnist_lab.records import Event, Started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEARCH = ("random-search", "--iters", "4", "--epochs", "3", "--data", "sample")
# What each system calls the options below, and its own words around the command.
SCRIPTS = {
    "slurm": ("#SBATCH -t 00:10:00", "#SBATCH -p short", "--mem=954M\n", "-o '{logs}'/"),
    "pbs": ("#PBS -l walltime=00:10:00", "#PBS -q short", "mem=954MB", "-o '{logs}'/"),
    "lsf": ("#BSUB -W 00:10", "#BSUB -q short", "#BSUB -M 1000000", "-o '{logs}'/"),
    "sge": ("#$ -l h_rt=00:10:00", "#$ -q short", "#!/", "-o '{logs}'/"),
    "htcondor": ("Executable = /bin/sh", "MY.DaskWorkerMemory = 1000000000", "= {logs}\n"),
}
SIZES = (16, 32, 64, 128, 48, 96, 24, 80)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes import the formula; Dask's settings are not those of who runs the tests."""
    monkeypatch.setenv("PYTHONPATH", str(lab.TESTS))
    monkeypatch.setenv("FORMULA_SECONDS", "0.05")
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path / "dask"))


def settings(*lines: str) -> list[str]:
    """The words that name a settings file with this table `[cluster]`."""
    Path("site.toml").write_text("\n".join(["[cluster]", *lines]))
    return ["--settings", "site.toml"]


@pytest.mark.parametrize("system", SCRIPTS)
def test_script_of_a_job(system: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run shows it, with what the site asks for, and makes nothing."""
    site = ['memory = "1GB"', 'job_script_prologue = "module load python"']
    if system != "htcondor":
        site += ['queue = "short"', 'walltime = "00:10:00"']
    words = settings(f'place = "{system}"', *site)
    before = sorted(Path().rglob("*"))
    assert cli.main([*SEARCH, *words, "--workers", "3", "--out", "my runs/one", "--dry-run"]) == 0
    assert sorted(Path().rglob("*")) == before
    script = capsys.readouterr().err
    folder = Path("my runs/one").absolute()
    for line in SCRIPTS[system]:
        assert line.format(logs=folder / "jobs") in script
    command = script.replace("''", "'")  # HTCondor has the command in quotes of its own
    assert f"-m mnist_lab worker '{folder}' --quiet --workers 1 --name " in command
    assert command.index("module load python") < command.index("-m mnist_lab")
    assert "distributed" not in script


@pytest.mark.parametrize(
    ("place", "queue"), [("slurm", "#SBATCH -p short"), ("pbs", ""), ("local", "")]
)
def test_table_is_for_its_own_place(
    place: str, queue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another one on the command line does not get its options; the same one does."""
    words = settings('place = "slurm"', 'queue = "short"', 'account = "students"')
    words += ["--cluster", place, "--workers", "1", "--dry-run"]
    assert cli.main([*SEARCH, *words]) == 0
    script = capsys.readouterr().err
    assert queue in script
    assert ("students" in script) == (place == "slurm")


def test_function_takes_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    """As a word or with its options; there are no further ones."""
    site = {"place": "slurm", "job-extra-directives": ["--qos=low"]}
    for cluster in (site, "slurm"):
        mnist_lab.random_search(iters=2, data="sample", cluster=cluster, workers=2, dry_run=True)
    with pytest.raises(SettingsError, match="no option 'quue'; did you mean 'queue'"):
        mnist_lab.random_search(
            iters=2, data="sample", cluster={"place": "slurm", "quue": "a"}, workers=2
        )
    assert not Path("results").exists()
    capsys.readouterr()


REFUSED = {
    "slrum": "'slrum' is not a place; did you mean 'slurm'?",
    "SLURM": "'SLURM' is not a place; did you mean 'slurm'?",
    "": "'' is not a place; choose one of htcondor, local,",
    "local:2": "'local:2' is not a place; write it as local",
    "slurm:3": "'slurm:3' is not a place; write it as slurm",
    "ssh": "'ssh' is not a place; write it as ssh:pool01,me@pool02:2222",
    "ssh:a,,b": "'ssh:a,,b' is not a place; write it as ssh:pool01,me@pool02:2222",
    "ssh:a b": "'ssh:a b' is not a place; write it as ssh:pool01,me@pool02:2222",
    "tcp://host": "'tcp://host' is not a place; write it as tcp://HOST:8786",
    "tls:host:8786": "'tls:host:8786' is not a place; write it as tls://HOST:8786",
    "ucx://host:8786": "'ucx://host:8786' is not a place; choose one of htcondor, local,",
}


def refused(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """The one line with which a command is refused; nothing is written."""
    before = sorted(Path().rglob("*"))
    assert cli.main([*SEARCH, "--quiet", *words]) == code
    line = "; ".join(capsys.readouterr().err.splitlines())
    if code == 2:
        assert sorted(Path().rglob("*")) == before
    return line.removeprefix("error: ").replace("; hint: ", "; ")


def test_place_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    """One line says which there are, and what was probably meant."""
    for place, words in REFUSED.items():
        line = refused(["--cluster", place], capsys)
        assert line.startswith("--cluster: ")
        assert words in line
    needs = "--cluster slurm needs the number of workers; add it, such as --workers 20"
    for workers in ([], ["--workers", "auto"], ["--workers", "0"]):
        assert refused(["--cluster", "slurm", *workers], capsys) == needs
    line = refused(["--cluster", "ssh:a", "--workers", "0"], capsys)
    assert line == "--workers: 0 is too small; use auto, or 1 or more with --cluster ssh"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['place = "slurm"', 'quue = "a"'], "no option 'quue'; did you mean 'queue'?"),
        (['place = "slurm"', 'cores = "many"'], "is wrong (invalid literal for int()"),
        (['place = "slurm"', 'memory = "lots"'], "(Could not interpret 'lots' as a byte unit)"),
        (['place = "slurm"', "n_workers = 3"], "no option 'n_workers'; its options are"),
        (['place = "ssh:a"', 'pasword = "a"'], "no option 'pasword'; did you mean 'password'?"),
        (['place = "ssh:a"', 'client_keys = ["none"]'], "No such file or directory: 'none'"),
        (
            ['place = "tcp://a:1"', 'queue = "a"'],
            "[cluster]: queue does not apply to tcp",
        ),
        (['plce = "slurm"'], "'' is not a place; choose one of htcondor, local,"),
        (['place = ["slurm"]'], "\"['slurm']\" is not a place; did you mean 'slurm'?"),
    ],
)
def test_table_with_a_mistake(
    lines: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused before anything is submitted."""
    assert words in refused([*settings(*lines), "--workers", "1"], capsys)


@pytest.mark.parametrize(
    ("place", "module", "package"),
    [("ssh:a", "asyncssh", "asyncssh"), ("slurm", "dask_jobqueue", "dask-jobqueue")],
)
def test_extra_that_is_not_installed(
    place: str,
    module: str,
    package: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    line = refused(["--cluster", place, "--workers", "2"], capsys)
    kind = place.partition(":")[0]
    assert line == (
        f"--cluster {kind} needs the package {package}, which is not installed; "
        f"pip install {package}"
    )


def test_ctrl_c_is_still_ours() -> None:
    """dask-jobqueue would have it end the process with 0, and fails outside the main thread."""
    code = """import signal, threading
from mnist_lab.execute.elsewhere import BatchSystem
before = signal.getsignal(signal.SIGINT)
thread = threading.Thread(target=BatchSystem, args=("slurm", {}))
thread.start()
thread.join()
BatchSystem("pbs", {})
print(signal.getsignal(signal.SIGINT) is before)"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_scheduler_that_does_not_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    """Nobody listens, or somebody says nothing, or something else: one line, soon."""
    monkeypatch.setattr("mnist_lab.execute.dask.ANSWER_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        cases = [(f"tcp://127.0.0.1:{port}", "timed out"), (f"tls://127.0.0.1:{port}", "TLS")]
        for place, reason in cases:
            line = refused(["--cluster", place], capsys, code=1)
            assert line.startswith("no answer from")
            assert reason in line
    begin_s = time.monotonic()
    line = refused(["--cluster", f"tcp://127.0.0.1:{free_port}"], capsys, code=1)
    assert f"no answer from 127.0.0.1:{free_port} (Connection refused); check that it" in line
    line = refused(["--cluster", "tcp://127.0.0.1:99999"], capsys, code=1)
    assert "(Port out of range 0-65535)" in line
    assert time.monotonic() - begin_s < 10


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("slurm", "slurm-1: No such file or directory: 'sbatch'"),
        ("ssh:127.0.0.1:9", "127.0.0.1:9: Connect call failed ('127.0.0.1', 9)"),
    ],
)
def test_nothing_starts_anywhere(place: str, reason: str) -> None:
    """It is tried three times; the one line says why it was in vain."""
    words = (*SEARCH, "--quiet", "--workers", "1", "--cluster", place)
    assert lab.run(*words, code=1, PATH="/nowhere").stderr == (
        f"error: no worker could start; the last attempt: {reason}\n"
        "hint: fix that, then run the same command again to continue\n"
    )


class Dask:
    """Somebody else's Dask cluster."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._file = Path("scheduler.json")
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        while not self._file.exists() or not self._file.read_text():
            time.sleep(0.05)

    @property
    def address(self) -> str:
        """Of the scheduler."""
        address: str = json.loads(self._file.read_text())["address"]
        return address

    def work(self, *words: str, before: str = "") -> psutil.Process:
        """Start a process of workers, which does something before."""
        return self._start("worker", "--nthreads", "1", *words, before=before)

    def end(self) -> None:
        """Leave none of its processes behind."""
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                for one in psutil.Process(process.pid).children(recursive=True):
                    one.kill()
            process.kill()
            process.wait()

    def _start(self, what: str, *words: str, before: str = "") -> psutil.Process:
        code = f"{before}\nfrom distributed.cli.dask_{what} import main\nmain()"
        words = ("-c", code, *words, "--scheduler-file", str(self._file), "--no-dashboard")
        with Path(f"{what}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log)
        self._processes.append(process)
        return psutil.Process(process.pid)


@pytest.fixture
def foreign() -> Iterator[Dask]:
    """A Dask scheduler without workers."""
    cluster = Dask()
    yield cluster
    cluster.end()


def test_existing_scheduler(foreign: Dask) -> None:
    """Its workers give the same numbers as our own, for one run after the other."""
    foreign.work("--nworkers", "2")
    cluster = ["--cluster", foreign.address]
    for out, words in {"here": [], "there": cluster, "again": cluster}.items():
        lab.run(*SEARCH, *words, "--out", out, FORMULA_DRAWS_NOTHING="1")
        assert measured(out) == measured("here")


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (
            "import sys; sys.modules['mnist_lab'] = None",
            "a worker of the scheduler cannot train (ModuleNotFoundError(",
        ),
        (
            "from mnist_lab import machine as m; m.versions = (m.versions() | {'keras': '2'}).copy",
            "this worker has other versions than the run: keras ",
        ),
    ],
)
def test_workers_of_others_that_cannot_train(
    foreign: Dask, before: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says why, and the scheduler forgets what it was asked for."""
    foreign.work("--no-nanny", before=before)
    while "Registered to" not in Path("worker.log").read_text():
        time.sleep(0.05)
    assert words in refused(["--cluster", foreign.address], capsys, code=1)


@pytest.mark.proof
def test_workers_of_others_are_replaced(foreign: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is killed or suspended is started again by its nanny: the same numbers."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.3")
    nanny = foreign.work("--nworkers", "2")
    events: list[Event] = []
    struck: list[Callable[[psutil.Process], Any]] = [psutil.Process.kill, psutil.Process.suspend]

    def tick() -> None:
        n_epochs = sum(event.event == "epoch" for event in events)
        if struck and n_epochs > 4 * (3 - len(struck)):
            workers = [one for one in nanny.children() if "spawn_main" in " ".join(one.cmdline())]
            struck.pop(0)(min(workers, key=psutil.Process.create_time))

    notes: list[str] = []
    run_trials(
        proposals=grid(*SIZES),
        base=BASE,
        trials=[],
        emit=events.append,
        store=Memory(),
        open_cluster=lambda: Existing(foreign.address).open(formula_trainer()),
        patience_s=lambda _: 4.0,
        tick=tick,
        note=notes.append,
    )
    assert struck == []
    assert len({event.worker for event in events if isinstance(event, Started)}) >= 3
    assert results(events) == results(decide(grid(*SIZES)))
    assert len(notes) == 2
