"""Guards around every test: this machine only, no download, nothing written beside the test.

The interpreter's audit hook tells of each socket, file and process before it happens, whoever asks:
what a test must not do is refused, and the test fails, even if somebody swallows the refusal. What
child processes do cannot be heard; a trap, which their environment names as proxy, catches those
that would download.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clusters import Slurm, Sshd
    from data_files import Arrays

    from mnist_lab.data import Dataset
    from mnist_lab.rundir import RunDir

RESULTS = Path(__file__).parents[1] / "results"
LOOPBACK = "127.0.0.1"
HERE = {"localhost", socket.gethostname()}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
# What else of a developer's environment changes what our commands do or show.
PERSONAL = ("MNIST_LAB_DATA", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
# What libraries set in the environment, once, when they are imported.
LIBRARIES = ("ENABLE_", "HDF5_", "KERAS_BACKEND", "KMP_", "PYDANTIC_", "PYTEST_", "TF", "TPU_")
# Real training of the bundled digits; the second rate diverges.
REAL = {
    "sweep": "lr-sweep --values 0.1,1e9 --epochs 2 --data sample --workers 1",
    "search": "random-search --iters 3 --epochs 1 --data sample --workers 1",
    "hyperband": "hyperband --iters 1 --min-epochs 1/3 --max-epochs 3 --eta 3 --data sample "
    "--workers 1",
    "test": "test --config search/best.json --data sample --workers 1 --repeats 2 --json",
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# A busy machine is slow, which is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("proof", PATIENT, max_examples=200)
settings.register_profile("tests", PATIENT, max_examples=20)
settings.load_profile("tests")


class Refused(OSError):
    """As the system would refuse, so that whoever asked cleans up; the test fails in any case."""


class Guard:
    """Hears what the interpreter is about to do, and refuses what a test must not do."""

    def __init__(self) -> None:
        self.watching = False
        self.offences: list[str] = []
        self._trap = socket.create_server((LOOPBACK, 0))
        self._trap.settimeout(0)
        self.trap_port: int = self._trap.getsockname()[1]

    def hear(self, event: str, details: tuple[Any, ...]) -> None:
        """Python's audit hook."""
        if self.watching and (offence := self.offence(event, details)):
            self.offences.append(offence)
            raise Refused(f"guard: this test {offence}")

    def offence(self, event: str, details: tuple[Any, ...]) -> str | None:
        """What the test does wrong by this event, in words; None for what it may do."""
        if event in {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}:
            return self._offence_of_address(details[1])
        if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
            return _offence_of_lookup(details[0])
        if event == "open":
            path, _, flags = details
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            return _offence_of_path(path) if writes else None
        if event in {"os.mkdir", "os.rename"}:
            return _offence_of_path(details[0]) or _offence_of_path(details[1])
        if event == "subprocess.Popen":
            return _offence_of_process(details[1], details[2])
        return None

    def was_trapped(self) -> bool:
        """Whether a child process asked the proxy for something."""
        n_calls = 0
        with suppress(BlockingIOError):
            while True:
                self._trap.accept()[0].close()
                n_calls += 1
        return n_calls > 0

    def close(self) -> None:
        """Hear nothing more: a hook cannot be taken away."""
        self.watching = False
        self._trap.close()

    def _offence_of_address(self, address: Any) -> str | None:
        if not isinstance(address, tuple) or not isinstance(address[0], str):
            return None  # a socket of this machine's own kinds, or one that is connected already
        if address[:2] == (LOOPBACK, self.trap_port):
            return "downloads: the data set comes from --data, MNIST_LAB_DATA or the sample"
        return None if _is_here(address[0]) else f"opens a socket to {address[0]}:{address[1]}"


@pytest.fixture
def arrays() -> Arrays:
    """A small data set of random images."""
    from data_files import make_arrays  # this file is tested alone, too

    return make_arrays()


@pytest.fixture(scope="session")
def sample() -> Dataset:
    """The bundled digits."""
    from mnist_lab import data

    return data.load(data.SAMPLE)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run directory that was just begun."""
    from made_events import run_info

    from mnist_lab.rundir import RunDir

    run = RunDir(tmp_path / "results" / "lr-sweep")
    run.create()
    run.write_info(run_info())
    return run


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """The one guard of all tests."""
    # Where the tests are started in the background, a shell has them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    guard = Guard()
    sys.addaudithook(guard.hear)
    yield guard
    guard.close()


@pytest.fixture(autouse=True)
def _guarded(guard: Guard, tmp_path: Path) -> Iterator[None]:
    """Run the test in its own folder and a clean environment; afterwards both are as before."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*PROXIES, *map(str.lower, PROXIES), *PERSONAL):
            patch.delenv(name, raising=False)
        for name in PROXIES[:3]:
            patch.setenv(name, f"http://{LOOPBACK}:{guard.trap_port}")
        patch.setenv("NO_PROXY", LOOPBACK)
        patch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        patch.chdir(tmp_path)
        before = _state()
        guard.offences.clear()
        guard.watching = True
        yield
        guard.watching = False
        offences = list(guard.offences)
        if guard.was_trapped():
            offences.append("starts a process that downloads")
        offences += [f"leaves {name} changed" for name in _changes(before, _state())]
        _restore(before)
    if offences:
        pytest.fail(f"guard: this test {'; '.join(offences)}")


@pytest.fixture(scope="session")
def real_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of :data:`REAL`, trained once for all tests of all processes; to be read only.

    What each command printed is beside its folder: `sweep.out` and `sweep.err`.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "real"
    with FileLock(shared / "real.lock"):
        if not folder.exists():
            making = Path(tempfile.mkdtemp(dir=shared))
            for name, words in REAL.items():
                command = [sys.executable, "-m", "mnist_lab", *words.split(), "--out", name]
                with (
                    (making / f"{name}.out").open("w") as out,
                    (making / f"{name}.err").open("w") as err,
                ):
                    subprocess.run(command, cwd=making, stdout=out, stderr=err, check=True)
            making.rename(folder)
    return folder


@pytest.fixture
def real(real_runs: Path, tmp_path: Path) -> Path:
    """A copy of them in the test's own folder."""
    return Path(shutil.copytree(real_runs, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """A real Slurm, which has no job of this test before and after; without one, a skip."""
    import clusters

    found = clusters.slurm(tmp_path, monkeypatch)
    yield found
    found.clean()


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """A real SSH server, which this test's home folder may log in to; without one, a skip."""
    import clusters

    return clusters.sshd(tmp_path, monkeypatch)


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port where nobody listens, and that nobody else gets."""
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        yield bound.getsockname()[1]


@pytest.fixture
def can_be_hung_up() -> Iterator[None]:
    """Children take over whether SIGHUP is ignored: whoever runs the tests may use nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def _state() -> dict[str, Any]:
    """The environment and the signal handlers, which outlive a test."""
    handlers = {number.name: signal.getsignal(number) for number in SIGNALS}
    kept = {key: text for key, text in os.environ.items() if not key.startswith(LIBRARIES)}
    return handlers | kept


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )


def _restore(before: dict[str, Any]) -> None:
    """Spare the next tests: the guilty one is known."""
    for name in _changes(before, _state()):
        if name in signal.Signals.__members__:
            signal.signal(signal.Signals[name], before[name])
        elif name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]


def _is_here(host: str) -> bool:
    """Whether an address, or a name, is this machine's own, seen by nobody else."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in HERE  # "" is not: it means all addresses of this machine


def _offence_of_lookup(host: str | bytes | None) -> str | None:
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or _is_here(name) or re.fullmatch(r"[\d.]+|.*:.*", name):
        return None  # nobody has to be asked for these
    return f"looks up the host {name}"


def _offence_of_path(path: Any) -> str | None:
    if not isinstance(path, str | bytes | os.PathLike):
        return None  # a file that is open already
    place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - called thousands of times
    if place == str(RESULTS) or place.startswith(f"{RESULTS}{os.sep}"):
        return f"writes to {place}, which is the user's"
    return None


def _offence_of_process(command: Any, folder: Any) -> str | None:
    """A command of ours writes to ./results where nothing else is said."""
    words = [command] if isinstance(command, str) else [os.fsdecode(word) for word in command]
    ours = any("mnist_lab" in word for word in words) or Path(words[0]).name == "mnist-lab"
    if ours and folder is not None and RESULTS.parent == Path(os.fsdecode(folder)).resolve():
        return f"runs {words[0]} in {folder}, whose results/ is the user's"
    return None
