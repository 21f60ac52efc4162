"""Several machines, for real: network namespaces as hosts, cables pulled out, machines killed.

The hosts hang on one switch. Root makes them, with iproute2; elsewhere these tests are skipped. The
last tests need neither: how a worker is refused.
"""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from shutil import which
from typing import TYPE_CHECKING, NamedTuple

import lab
import psutil
import pytest
from data_files import make_arrays, write_npz
from lab import measured, wait_for

from mnist_lab import machine
from mnist_lab.execute.cluster import Token
from mnist_lab.execute.dask import new_credentials
from mnist_lab.records import EpochDone, Started
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = ".token.json"  # noqa: S105 - its name, not what is in it
N_TRIALS, N_EPOCHS = 5, 8
SEARCH = ("random-search", "--iters", str(N_TRIALS), "--epochs", str(N_EPOCHS), "--data", "sample")
RUN = "10.77.0.1"
ADDRESSES = {"a": RUN, "b": "10.77.0.2", "c": "10.77.0.3"}
# How soon a silent machine is given up: as usual, or as soon as Dask can.
USUAL, SOON = "30s", "11s"
# What `psutil` sees is the network of the process that asks.
LOOK = """
import json, psutil, socket
print(json.dumps([
    (one.pid, one.laddr.ip)
    for one in psutil.net_connections(kind="inet")
    if one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and not one.raddr)
]))
"""


class Command(NamedTuple):
    """A command on one of the hosts, and the file that it prints into."""

    process: subprocess.Popen[bytes]
    output: Path

    def printed(self) -> str:
        """What it said so far."""
        return self.output.read_text(encoding="utf-8")

    def family(self) -> list[psutil.Process]:
        """Its process and its workers', as far as they live."""
        try:
            main = psutil.Process(self.process.pid)
            return [main, *main.children()]
        except psutil.NoSuchProcess:
            return []

    def end(self, within_s: float = 60) -> int:
        """Wait for its end; returns the exit code."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"did not end within {within_s} s; it printed {self.printed()}")


class Lan:
    """Three hosts on a switch, each a network namespace of its own.

    Args:
        folder: where the commands print to.
        prefix: of the namespaces' names, which other runs of these tests do not use.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._number = itertools.count()
        self._commands: list[Command] = []

    def build(self) -> None:
        """Make the hosts, or skip the tests."""
        for name in ("switch", *ADDRESSES):
            self._ip("netns", "add", self._name(name))
            self._ip("-n", self._name(name), "link", "set", "lo", "up")
        switch = self._name("switch")
        self._ip("-n", switch, "link", "add", "name", "bridge", "type", "bridge")
        self._ip("-n", switch, "link", "set", "bridge", "up")
        for name, address in ADDRESSES.items():
            host = self._name(name)
            ends = ("type", "veth", "peer", "name", "net", "netns", host)
            self._ip("-n", switch, "link", "add", "name", f"port-{name}", *ends)
            self._ip("-n", switch, "link", "set", f"port-{name}", "master", "bridge", "up")
            self._ip("-n", host, "address", "add", f"{address}/24", "dev", "net")
            self._ip("-n", host, "link", "set", "net", "up")

    def clear(self) -> None:
        """Leave no process and no namespace behind, whatever happened."""
        self.kill_all()
        for name in ("switch", *ADDRESSES):
            with suppress(subprocess.CalledProcessError):
                self._ip("netns", "delete", self._name(name))

    def kill_all(self) -> None:
        """End every command, and what it left."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for command in self._commands:
            command.process.kill()
            command.process.wait()
        self._commands.clear()
        with suppress(subprocess.CalledProcessError):
            self.plug("b")
            self.switch_on("b")

    def pids(self) -> list[int]:
        """The processes of all hosts."""
        pids: list[int] = []
        for name in ADDRESSES:
            with suppress(subprocess.CalledProcessError):
                pids += map(int, self._ip("netns", "pids", self._name(name)).split())
        return pids

    def listeners(self, name: str) -> dict[int, set[str]]:
        """The processes of a host that take connections or datagrams, and at which addresses."""
        look = [*self.inside(name), sys.executable, "-c", LOOK]
        done = subprocess.run(look, check=True, capture_output=True, text=True)
        found: dict[int, set[str]] = {}
        for pid, address in json.loads(done.stdout):
            found.setdefault(pid, set()).add(address)
        return found

    def switch_off(self, name: str) -> None:
        """Take the network of a host down from inside, so that it knows of no way out."""
        self._ip("-n", self._name(name), "link", "set", "net", "down")

    def switch_on(self, name: str) -> None:
        """Bring it up again."""
        self._ip("-n", self._name(name), "link", "set", "net", "up")

    def unplug(self, name: str) -> None:
        """Pull the cable of a host out of the switch."""
        self._ip("-n", self._name("switch"), "link", "set", f"port-{name}", "down")

    def plug(self, name: str) -> None:
        """Put it back."""
        self._ip("-n", self._name("switch"), "link", "set", f"port-{name}", "up")

    def inside(self, name: str) -> list[str]:
        """The words before a command that is to run on a host."""
        return [which("ip") or "ip", "netns", "exec", self._name(name)]

    def lab(self, host: str, *words: str, hide: Path | None = None, **environment: str) -> Command:
        """Give `mnist-lab` a command on a host, which does not see the folder `hide`."""
        folder = self._folder / f"{host}-{next(self._number)}"
        folder.mkdir()
        command = [*lab.LAB, *words]
        if hide is not None:  # `ip netns exec` gives its command mounts of its own
            mount = 'mount -t tmpfs none "$0" && exec "$@"'
            command = ["sh", "-c", mount, str(hide), *command]
        with (folder / "printed").open("wb") as output:
            process = subprocess.Popen(
                [*self.inside(host), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(lab.TESTS), "COLUMNS": "200"} | environment,
            )
        self._commands.append(Command(process, folder / "printed"))
        return self._commands[-1]

    def _name(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _ip(self, *words: str) -> str:
        tool = which("ip") or "ip"
        done = subprocess.run([tool, *words], check=True, capture_output=True, text=True)
        return done.stdout


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """The hosts of all tests of this module."""
    if os.name != "posix" or os.geteuid() != 0 or which("ip") is None:
        pytest.skip("needs hosts of its own: root, with iproute2, makes network namespaces")
    lan = Lan(tmp_path_factory.mktemp("hosts"), f"lab{os.getpid()}")
    try:
        try:
            lan.build()
        except subprocess.CalledProcessError as problem:
            if not re.search(r"not (permitted|supported)|Permission denied", problem.stderr):
                raise
            pytest.skip(f"needs hosts of its own: {problem.stderr.strip()}")
        yield lan
    finally:
        lan.clear()


@pytest.fixture
def lan(hosts: Lan) -> Iterator[Lan]:
    """The hosts, plugged in; afterwards nobody is left on them."""
    yield hosts
    left = hosts.pids()
    hosts.kill_all()
    assert left == []


@pytest.fixture(scope="module")
def alone(hosts: Lan, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The run of a single machine."""
    out = tmp_path_factory.mktemp("alone") / "run"
    command = hosts.lab("a", *SEARCH, "--workers", "2", "--out", str(out))
    assert command.end() == 0, command.printed()
    return str(out)


class Search:
    """A search on host A that only coordinates, or has workers of its own too."""

    def __init__(
        self,
        lan: Lan,
        out: Path,
        *,
        workers: int = 0,
        patience: str = USUAL,
        seconds: str = "0.1",
    ) -> None:
        self.lan = lan
        self.out = out
        self.run = RunDir(out)
        words = ("--workers", str(workers), "--host", RUN, "--out", str(out))
        self.command = lan.lab(
            "a",
            *SEARCH,
            *words,
            FORMULA_SECONDS=seconds,
            DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP=patience,
        )
        wait_for((out / TOKEN).exists)

    def join(self, host: str, seconds: str = "0.1", patience: str = USUAL) -> Command:
        """Join with one worker from another host that sees the folder."""
        words = ("worker", str(self.out), "--workers", "1")
        return self.lan.lab(
            host,
            *words,
            FORMULA_SECONDS=seconds,
            DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP=patience,
        )

    def workers(self, command: Command) -> set[str]:
        """The names of a command's workers, as the journal has them, so far."""
        pids = {f".{process.pid}." for process in command.family()[1:]}
        return {e.worker for e in self.started() if any(pid in e.worker for pid in pids)}

    def started(self) -> list[Started]:
        """Which worker took which trial."""
        return [event for event in self.run.read_events() if isinstance(event, Started)]

    def n_epochs(self, command: Command | None = None) -> int:
        """How many epochs the journal has; with a command: how many its worker made since."""
        if command is None or not self.run.journal.exists():
            return lab.n_epochs(self.run.journal)
        names, trial_of, count = self.workers(command), dict[int, str](), 0
        for event in self.run.read_events():
            if isinstance(event, Started):
                trial_of[event.trial] = event.worker
            elif isinstance(event, EpochDone):
                count += trial_of[event.trial] in names
        return count

    def ends_like(self, alone: str, *commands: Command) -> None:
        """The run and the workers end well, with the curves of a single machine; none is lost."""
        for command in (self.command, *commands):
            assert command.end() == 0, command.printed()
            assert "Traceback" not in command.printed()
        assert measured(str(self.out)) == measured(alone)
        assert not (self.out / TOKEN).exists()
        trained: list[tuple[int, float]] = []
        for event in self.run.read_events():
            if isinstance(event, EpochDone):
                trained.append((event.trial, event.epoch.epoch))
            elif isinstance(event, Started):
                assert event.from_epoch == sum(trial == event.trial for trial, _ in trained)
        assert len(trained) == len(set(trained)) == N_TRIALS * N_EPOCHS


@pytest.mark.proof
def test_workers_of_two_machines_one_of_them_late(lan: Lan, alone: str, tmp_path: Path) -> None:
    """One sees the folder; the other has the token alone, and comes in the middle."""
    search = Search(lan, tmp_path / "run")
    wait_for(lambda: "workers join with mnist-lab worker" in search.command.printed())
    early = search.join("b", seconds="0.5")  # so that the other comes long before the end
    wait_for(lambda: search.n_epochs(early) > 3)
    (tmp_path / "elsewhere").mkdir()
    token = tmp_path / "elsewhere" / "copy"
    token.write_bytes((search.out / TOKEN).read_bytes())
    address = json.loads(token.read_bytes())["scheduler"].removeprefix("tls://")
    words = ("worker", "--join", address, "--token", str(token), "--workers", "1")
    late = lan.lab("c", *words, hide=search.out, FORMULA_SECONDS="1")
    wait_for(lambda: search.n_epochs(late) > 3)
    assert lan.listeners("a") == {search.command.process.pid: {RUN}}
    for command, host in ((early, "b"), (late, "c")):
        _, worker = command.family()
        assert lan.listeners(host) == {worker.pid: {ADDRESSES[host]}}
    search.ends_like(alone, early, late)
    assert {event.attempt for event in search.started()} == {1}
    assert "the run has ended, or was stopped" in late.printed()


@pytest.mark.proof
def test_machine_that_is_cut_off_is_given_up_and_comes_back(
    lan: Lan, alone: str, tmp_path: Path
) -> None:
    """Its trial goes on from its last epoch; when the cable is back, a fresh worker works on."""
    search = Search(lan, tmp_path / "run", patience=SOON)
    cut = search.join("b", patience=SOON)
    wait_for(lambda: search.n_epochs() > 3)
    before = search.workers(cut)
    lan.switch_off("b")
    wait_for(lambda: "left, or was cut off" in search.command.printed())
    n_before = search.n_epochs()
    other = search.join("c", seconds="0.8")
    wait_for(lambda: search.n_epochs() > n_before)
    wait_for(lambda: "the run cannot be reached" in cut.printed())
    assert search.workers(cut) <= before
    lan.switch_on("b")
    wait_for(lambda: "reconnected to the run" in cut.printed())
    wait_for(lambda: search.workers(cut) - before)
    search.ends_like(alone, cut, other)
    assert sorted(e.attempt for e in search.started()) == [*[1] * N_TRIALS, 2]


@pytest.mark.proof
def test_short_cut_loses_nothing(lan: Lan, alone: str, tmp_path: Path) -> None:
    """A cable that is out for three seconds costs those, and no attempt."""
    search = Search(lan, tmp_path / "run")
    cut = search.join("b", seconds="0.05")
    wait_for(lambda: search.n_epochs() > 3)
    lan.unplug("b")
    time.sleep(3)
    lan.plug("b")
    plugged, n_before = time.monotonic(), search.n_epochs()
    wait_for(lambda: search.n_epochs() > n_before)
    assert time.monotonic() - plugged < 10
    search.ends_like(alone, cut)
    assert {(event.worker, event.attempt) for event in search.started()} == {
        (event.worker, 1) for event in search.started()[:1]
    }
    assert "cut off" not in search.command.printed()


@pytest.mark.proof
def test_machine_that_dies_and_one_that_leaves(lan: Lan, alone: str, tmp_path: Path) -> None:
    """The dead one is missed after a while, the other at once; both trials go on elsewhere."""
    search = Search(lan, tmp_path / "run", patience=SOON)
    dies, leaves = search.join("b"), search.join("c", seconds="0.5")
    wait_for(lambda: search.n_epochs(dies) > 1 and search.n_epochs(leaves) > 1)
    for process in dies.family():
        process.kill()
    assert dies.end() == -signal.SIGKILL
    leaves.process.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    wait_for(lambda: "left, or was cut off" in search.command.printed())
    assert time.monotonic() - interrupted < 6
    assert leaves.end(within_s=10) == 130
    assert "Interrupted" in leaves.printed().splitlines()[-1]
    last = search.join("b", seconds="0.02")
    search.ends_like(alone, last)
    assert "left, or was cut off" in search.command.printed()
    assert sorted(e.attempt for e in search.started()) == [*[1] * N_TRIALS, 2, 2]


@pytest.mark.proof
def test_killed_run_sends_its_workers_home_and_continues(
    lan: Lan, alone: str, tmp_path: Path
) -> None:
    """Without a master the workers end soon; the same command goes on, and they join again."""
    search = Search(lan, tmp_path / "run", workers=1, seconds="0.5")
    other = search.join("b", seconds="0.5")
    wait_for(lambda: search.n_epochs(other) > 3)
    main, own = search.command.family()
    assert lan.listeners("a") == {main.pid: {RUN}, own.pid: {"127.0.0.1"}}
    assert len({event.worker for event in search.started()}) == 2
    stale = (search.out / TOKEN).read_bytes()
    search.command.process.kill()
    killed = time.monotonic()
    assert other.end(within_s=15) == 0, other.printed()
    assert time.monotonic() - killed < 10
    assert "the run has ended, or was stopped" in other.printed()
    wait_for(lambda: lan.pids() == [])
    assert (search.out / TOKEN).read_bytes() == stale
    refused = search.join("b")
    assert refused.end() == 1
    problem, hint = refused.printed().splitlines()
    assert problem.startswith("error: no answer from ")
    assert hint.startswith("hint: ")
    (search.out / TOKEN).unlink()
    again = Search(lan, search.out)
    assert (search.out / TOKEN).read_bytes() != stale
    back = again.join("b", seconds="0.02")
    again.ends_like(alone, back)


@pytest.mark.proof
def test_cable_of_the_run_itself(lan: Lan, alone: str, tmp_path: Path) -> None:
    """A run without a network waits for its workers, which come back when it does."""
    search = Search(lan, tmp_path / "run", patience=SOON)
    other = search.join("b", patience=SOON)
    wait_for(lambda: search.n_epochs() > 3)
    lan.switch_off("a")
    wait_for(lambda: "the run cannot be reached" in other.printed())
    lan.switch_on("a")
    search.ends_like(alone, other)


@pytest.mark.proof
def test_stuck_worker_of_another_machine_is_replaced(
    lan: Lan, alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own machine is told, ends it and starts another; the trial goes on."""
    monkeypatch.setenv("FORMULA_STUCK_S", "5")
    search = Search(lan, tmp_path / "run")
    words = ("worker", str(search.out), "--workers", "1")
    stuck = str(tmp_path / "stuck")
    other = lan.lab("b", *words, FORMULA_SECONDS="0.1", FORMULA_STUCK_ONCE=stuck)
    search.ends_like(alone, other)
    assert "finished no epoch for" in search.command.printed()
    assert max(event.attempt for event in search.started()) == 2


# --- one machine, and another process


@pytest.mark.proof
def test_trial_that_kills_joined_workers_fails(tmp_path: Path) -> None:
    """It is told from a cut line: three workers die of it, and then it is recorded, with why.

    They were joined from a terminal, as a person would.
    """
    out, environment = tmp_path / "run", os.environ | {"PYTHONPATH": str(lab.TESTS)}
    words = ("random-search", "--iters", "1", "--data", "sample", "--workers", "0")
    with subprocess.Popen(
        [*lab.LAB, *words, "--out", str(out)],
        env=environment,
        stderr=subprocess.DEVNULL,
    ) as run:
        wait_for((out / TOKEN).exists)
        terminal, its_end = pty.openpty()
        with subprocess.Popen(
            [*lab.LAB, "worker", str(out), "--workers", "1"],
            env=environment | {"FORMULA_DIES": "*"},
            stderr=its_end,
        ) as joined:
            os.close(its_end)
            assert run.wait(60) == 1
            assert joined.wait(60) == 0
        assert b"joining 127.0.0.1:" in os.read(terminal, 10_000)
        os.close(terminal)
    (trial,) = RunDir(out).read_trials()
    assert trial.reason == "its worker was killed by signal 9 (SIGKILL)"
    starts = [one for one in RunDir(out).read_events() if isinstance(one, Started)]
    assert len({one.worker for one in starts}) == len(starts) == 3


# --- who is refused, and with which words


def refusal(*words: str, **environment: str) -> tuple[int, str]:
    """The exit code of `mnist-lab worker`, and the one line that it prints."""
    process = lab.start("worker", *words, command=lab.LAB, **environment)
    out, err = process.communicate(timeout=60)
    assert out == ""
    line = "; ".join(err.splitlines())
    return process.returncode, line.removeprefix("error: ").replace("; hint: ", "; ")


def token_for(port: int) -> str:
    """A token of a run that is not there."""
    return Token(
        scheduler=f"tls://127.0.0.1:{port}",
        credentials=new_credentials(),
        run="mnist-lab-00",
        arguments={"source": "sample", "digests": {}, "fit_on": "train", "device": "cpu"},
        n_threads=1,
        versions=machine.versions(),
    ).model_dump_json()


def test_worker_for_nobody_is_refused_in_one_line(tmp_path: Path, free_port: int) -> None:
    """No run, none that is written now, none that listens: what to do is said, and the code."""
    code, line = refusal(str(tmp_path / "nothing"))
    assert code == 2
    assert line.startswith("no folder ")
    # As PowerShell writes what it copies.
    (tmp_path / "token").write_text(token_for(free_port), encoding="utf-16")
    code, line = refusal("--token", str(tmp_path / "token"))
    assert code == 1
    assert line == (
        f"no answer from 127.0.0.1:{free_port} (Connection refused); check that it runs "
        "(mnist-lab status), and was started with --host and an address that this machine reaches"
    )
    assert refusal("--token", str(tmp_path / "token"), "--join", "nö..such:7")[0] == 1


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "{} is not a copy of a run's .token.json"),
        (b"{}", "{} is not a copy of a run's .token.json"),
        (token_for(1).replace("fit_on", "fit").encode(), "{} is not a copy of a run's .token.json"),
        (b"\xff\xfe\x00", "cannot read {}"),
        (None, "cannot read {}"),
        (
            re.sub('"certificate":"[^"]*', '"certificate":"', token_for(1)).encode(),
            "{} is not a copy",
        ),
        *(
            (damaged.encode(), "the certificates of the token cannot")
            for damaged in (
                token_for(1).replace("BEGIN", "BEGUN"),
                token_for(1).replace("PRIVATE", "PRÜVATE"),
                re.sub('"key":"[^"]*', '"key":"', token_for(1)),
            )
        ),
    ],
    ids=["empty", "json", "keys", "bytes", "absent", "cut", "damaged", "no ASCII", "no key"],
)
def test_token_that_is_none_is_refused(content: bytes | None, rule: str, tmp_path: Path) -> None:
    """Whatever else lies there, it is a wrong command line and no defect."""
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    code, line = refusal("--token", str(tmp_path / "token"))
    assert code == 2
    assert line.startswith(rule.format(tmp_path / "token"))


@pytest.mark.parametrize("at", ["127.0.0.1", ":7", "127.0.0.1:0", "127.0.0.1:99999", "a:b"])
def test_join_wants_an_address_and_a_port(at: str, tmp_path: Path) -> None:
    """Anything else is refused before anybody is called."""
    (tmp_path / "token").write_text(token_for(7), encoding="utf-8")
    code, line = refusal("--join", at, "--token", str(tmp_path / "token"))
    assert code == 2
    assert line.startswith(f"--join: {at!r} is not HOST:PORT")


@pytest.mark.parametrize("words", [(), ("--join", "127.0.0.1:7"), ("run", "--token", "token")])
def test_run_is_named_in_one_way(words: tuple[str, ...]) -> None:
    """By its directory, or by an address and a token; by both or none is refused."""
    code, line = refusal(*words)
    assert code == 2
    assert line.startswith("worker needs a run directory, or --join and --token")


def test_worker_that_would_measure_something_else_is_refused(tmp_path: Path) -> None:
    """Another data set, other versions, or none at all: each is told, and the run goes on."""
    out = tmp_path / "run"
    process = lab.start(*SEARCH, "--workers", "0", "--out", str(out))
    try:
        wait_for((out / TOKEN).exists)
        code, line = refusal(str(out), FORMULA_VERSIONS="0.0")
        assert code == 1
        assert line.startswith("this worker has other versions than the run: mnist-lab ")
        assert "tensorflow" in line
        assert line.endswith("0.0 here; install the same requirements.lock")
        other = write_npz(tmp_path / "other.npz", make_arrays())
        code, line = refusal(str(out), "--data", str(other), "--workers", "1")
        assert code == 2
        assert "is not the data set that the run began with" in line
        assert str(other) in line
        code, line = refusal(str(out), "--workers", "0")
        assert (code, line) == (2, "--workers: 0 is too small; use auto, or 1 or more here")
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 143
    code, line = refusal(str(out))
    assert code == 2
    assert line.startswith("nobody is training ")
