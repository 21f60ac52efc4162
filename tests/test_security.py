"""Who lacks a run's certificate can do nothing to it, and nothing of it is left lying about."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import formula
import lab
import psutil
import pytest
from cryptography.x509 import load_pem_x509_certificate
from lab import TESTS, wait_for, wait_until_gone, workers_of
from test_machines import RUN, TOKEN, hosts

import mnist_lab
from mnist_lab import machine
from mnist_lab.errors import StudyError
from mnist_lab.execute import dask, joining
from mnist_lab.execute.cluster import Cluster, Token
from mnist_lab.execute.dask import Credentials, new_credentials, security
from mnist_lab.execute.worker import Trainer
from mnist_lab.records import EpochDone, Started
from mnist_lab.rundir import RunDir
from mnist_lab.study import session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEARCH = ("random-search", "--iters", "400", "--epochs", "50", "--data", "sample")
SHORT = ("random-search", "--iters", "4", "--epochs", "5", "--data", "sample", "--workers", "1")
__all__ = ["hosts"]  # a fixture

LOOPBACK = "127.0.0.1"
HAS_IPV6 = any(one.address == "::1" for all_ in psutil.net_if_addrs().values() for one in all_)
# How long nothing may be learned during a flood, on a busy machine; an epoch takes 0.1 s.
LONGEST_GAP_S = 3.0
# Where the processes listen whose numbers are given, as seen on their own host.
LOOK = """
import sys, psutil, test_security
for pid in sys.argv[1:]:
    print(*[port for _, port in test_security.listens(psutil.Process(int(pid)))])
"""
# Connects to one port, and holds on until its input ends.
FLOOD = """
import random, resource, socket, sys
host, port, n_silent, n_loud = sys.argv[1], *map(int, sys.argv[2:])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
nonsense = [random.Random(1).randbytes(5000), b"GET / HTTP/1.1\\r\\n\\r\\n", bytes(64),
            b"\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03"]
held = []
for number in range(n_silent + n_loud):
    held.append(socket.create_connection((host, port), timeout=20))
    if number % 11 == 0:
        try:
            held[-1].sendall(nonsense[number // 11 % 4])
        except ConnectionError:
            pass
print("there", flush=True)
sys.stdin.read()
"""


class Live(NamedTuple):
    """A run that goes on: its process, where it is, and what it takes to join it."""

    process: subprocess.Popen[str]
    out: Path
    token: Token

    @property
    def secrets(self) -> list[bytes]:
        """Lines of the run's certificate and of its key, as they would be found anywhere."""
        texts = self.token.credentials.model_dump().values()
        return [line.encode() for text in texts for line in text.split("\n")[1:-2]]

    @property
    def family(self) -> list[psutil.Process]:
        """Its process and its workers'."""
        return [psutil.Process(self.process.pid), *workers_of(self.process)]


def listens(process: psutil.Process) -> set[tuple[str, int]]:
    """The addresses and ports where a process takes connections, or datagrams from anybody."""
    return {
        (one.laddr.ip, one.laddr.port)
        for one in process.net_connections(kind="inet")
        if one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and not one.raddr)
    }


def start(
    folder: Path, *words: str, before: Sequence[str] = (), seconds: str = "0.05", **more: str
) -> subprocess.Popen[str]:
    """Give the lab a command in `folder`, with its temporary files in `folder/tmp`."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [*before, *lab.LAB, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(TESTS), "FORMULA_SECONDS": seconds, "FORMULA_DRAWS_NOTHING": "1"}
        | {"TMPDIR": str(folder / "tmp")}
        | more,
    )


def n_epochs(folder: Path) -> int:
    """How many epochs the journal of the run in `folder` knows."""
    return lab.n_epochs(RunDir(folder / "run").journal)


def read_token(folder: Path) -> Token:
    """What the run in `folder` wrote for those who join."""
    return Token.model_validate_json((folder / "run" / TOKEN).read_text(encoding="utf-8"))


def stop(process: subprocess.Popen[str], code: int = 143) -> str:
    """End a study; returns what it printed. No process is left."""
    workers = workers_of(process)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=30)
    wait_until_gone(workers)
    assert process.returncode == code, printed
    return printed


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes import the formula."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A run with two workers, on loopback, that trains while the tests look at it."""
    folder = tmp_path_factory.mktemp("live")
    process = start(folder, *SEARCH, "--workers", "2", "--out", "run", "--debug")
    with ExitStack() as ending:
        ending.callback(process.kill)
        wait_for(lambda: n_epochs(folder), process)
        wait_for(lambda: all(map(listens, workers_of(process))), process)
        # Dask's folder is gone when a worker has joined.
        wait_for(lambda: not any((folder / "tmp").iterdir()), process)
        yield Live(process, folder / "run", read_token(folder))
        stop(process)


# --- who is heard


def showing(credentials: Credentials, *, trusting: bool = True) -> ssl.SSLContext:
    """A client that shows a certificate; whom it trusts is its own affair."""
    context = security(credentials).get_connection_args("client")["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    if trusting:
        context.verify_mode = ssl.CERT_NONE
    return context


def showing_nothing(_: Credentials) -> ssl.SSLContext:
    """TLS without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def signed_by_another(own: Credentials) -> ssl.SSLContext:
    """What another run would show, by somebody who knows whom this run trusts."""
    context = showing(new_credentials())
    context.load_verify_locations(cadata=own.certificate)
    return context


def of_old(own: Credentials) -> ssl.SSLContext:
    """The right certificate, over the TLS of 2008."""
    context = showing(own)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def hears(port: int, context: ssl.SSLContext | None) -> bytes:
    """The first byte that a server says, which is Dask's greeting; empty where it hangs up."""
    with socket.create_connection((LOOPBACK, port), timeout=20) as plain:
        try:
            if context is None:
                plain.sendall(bytes(64))
                return plain.recv(1)
            with context.wrap_socket(plain) as secured:
                return secured.recv(1)
        except (ssl.SSLError, ConnectionError):
            return b""


def test_only_who_shows_the_runs_certificate_is_heard(live: Live) -> None:
    """At the scheduler's port and at every worker's; and that over TLS 1.3 alone."""
    ports = [port for process in live.family for _, port in listens(process)]
    assert len(ports) == 3
    for port in ports:
        assert hears(port, None) == b""
        for stranger in (showing_nothing, signed_by_another, of_old):
            assert hears(port, stranger(live.token.credentials)) == b"", stranger
        assert hears(port, showing(live.token.credentials, trusting=False)) != b""


def test_token_of_another_run_is_refused_in_one_line(live: Live) -> None:
    """Who joins with what another run wrote, or an older session of this one, is told so."""
    stale = live.token.model_copy(update={"credentials": new_credentials()})
    with pytest.raises(StudyError, match=r"^no answer from"):
        joining.connect(stale)


def test_clocks_may_differ() -> None:
    """A machine that thinks it is last year, or the next, may join."""
    certificate = load_pem_x509_certificate(new_credentials().certificate.encode())
    assert certificate.not_valid_before_utc.year <= 2000
    assert certificate.not_valid_after_utc.year >= 3000


# --- who says nothing, or nonsense


def test_strangers_make_room_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest there goes first, all go soon; who has shown a certificate may be silent."""
    monkeypatch.setattr(dask, "MOST_STRANGERS", 3)
    monkeypatch.setattr(dask, "HANDSHAKE_S", 2.0)
    trainer = Trainer("run", formula.open_formula, {}, n_threads=1, versions=machine.versions())
    path = list(sys.path)
    with closing(Cluster(trainer, host=LOOPBACK)) as cluster, ExitStack() as opened:
        assert sys.path == path  # Dask would look for modules in a temporary folder first
        token = cluster.token
        port = int(token.scheduler.rpartition(":")[2])
        plain = socket.create_connection((LOOPBACK, port), timeout=5)
        known = opened.enter_context(showing(token.credentials).wrap_socket(plain))
        assert known.recv(1)
        known.settimeout(0)
        began = time.monotonic()
        silent = [
            opened.enter_context(socket.create_connection((LOOPBACK, port), timeout=5))
            for _ in range(5)
        ]
        assert [one.recv(1) for one in silent[:2]] == [b""] * 2
        assert time.monotonic() - began < 1.5
        assert [one.recv(1) for one in silent[2:]] == [b""] * 3
        assert 1.5 < time.monotonic() - began < 20
        time.sleep(0.5)
        assert known.recv(1000)  # the rest of the greeting, and no end
        with pytest.raises(ssl.SSLWantReadError):
            known.recv(1000)


@pytest.mark.proof
@pytest.mark.parametrize("where", ["loopback", "network"])
def test_floods_delay_no_epoch_and_end_nothing(
    where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """3,000 silent connections and 300 loud ones at every port, with 1,024 files to open."""
    elsewhere = where == "network"
    lan = request.getfixturevalue("hosts") if elsewhere else None
    here, there = (lan.inside("a"), lan.inside("b")) if lan else ([], [])
    host = RUN if elsewhere else LOOPBACK
    usual = ["sh", "-c", 'ulimit -Sn 1024; exec "$@"', "sh"]
    begin = partial(start, tmp_path, before=[*here, *usual], seconds="0.1")
    words = ("--workers", "0", "--host", host) if elsewhere else ("--workers", "2")
    with ExitStack() as ending:
        run = begin(*SEARCH, *words, "--out", "run")
        ending.callback(run.kill)
        main = psutil.Process(run.pid)
        if elsewhere:
            wait_for((tmp_path / "run" / TOKEN).exists, run)
            joined = begin("worker", "run", "--workers", "2")
            ending.callback(joined.kill)
            main = psutil.Process(joined.pid)
        wait_for(lambda: n_epochs(tmp_path), run)
        wait_for(lambda: len(main.children()) == 2, run)
        family = [psutil.Process(run.pid), *main.children()]
        ports: list[str] = []

        def found() -> bool:
            pids = [str(one.pid) for one in family]
            look = [*here, "env", f"PYTHONPATH={TESTS}", sys.executable, "-c", LOOK, *pids]
            told = subprocess.run(look, check=True, capture_output=True, text=True)
            ports[:] = told.stdout.split()
            return len(ports) == 3

        wait_for(found, run)
        floods = [
            subprocess.Popen(
                [*there, sys.executable, "-c", FLOOD, host, port, "3000", "300"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for port in ports
        ]
        for flood in floods:
            ending.enter_context(flood)
        last_s, count, gap_s = time.monotonic(), n_epochs(tmp_path), 0.0
        until_s = last_s + 8
        while time.monotonic() < until_s:
            now, known = time.monotonic(), n_epochs(tmp_path)
            gap_s = max(gap_s, now - last_s)
            if known > count:
                count, last_s = known, now
            time.sleep(0.02)
        assert gap_s < LONGEST_GAP_S
        for flood in floods:
            assert flood.communicate()[0] == "there\n"
        assert all(one.is_running() for one in family)
        printed = stop(run)
        if elsewhere:
            printed += joined.communicate(timeout=30)[0]
            assert joined.returncode == 0, printed
    assert "Traceback" not in printed
    events = list(RunDir(tmp_path / "run").read_events())
    assert {event.attempt for event in events if isinstance(event, Started)} == {1}


# --- the secret, and what lies about


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
def test_token_is_its_owners_alone_whatever_the_umask(mask: int, tmp_path: Path) -> None:
    """A generous umask does not open it, a strict one takes away only what it says."""
    tmp_path.joinpath("run").mkdir()
    before = os.umask(mask)
    try:
        RunDir(tmp_path / "run").write_token("secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run" / TOKEN).stat().st_mode) == 0o600 & ~mask


def test_secret_is_in_no_file_and_in_no_process_table(live: Live) -> None:
    """Of a run that goes on: only the token has it, and Dask no folder."""
    assert stat.S_IMODE((live.out / TOKEN).stat().st_mode) == 0o600
    folder = live.out.parent
    assert list((folder / "tmp").iterdir()) == []
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != TOKEN]
    assert RunDir(live.out).journal in files
    processes = [
        Path(f"/proc/{process.pid}/{name}")
        for process in live.family
        for name in ("cmdline", "environ")
    ]
    assert len(live.secrets) > 5
    assert all(secret in (live.out / TOKEN).read_bytes() for secret in live.secrets)
    for place in [*files, *processes]:
        try:
            content = place.read_bytes()
        except FileNotFoundError:
            # The run goes on: a checkpoint half written has its proper name by now.
            assert place.parent == RunDir(live.out).checkpoints, place
            continue
        assert not [secret for secret in live.secrets if secret in content], place


def is_new(folder: Path, tokens: list[Token]) -> bool:
    """Whether there is a token, and none of these."""
    with suppress(FileNotFoundError):  # a session that begins removes what a killed one left
        return read_token(folder) not in tokens
    return False


@pytest.mark.proof
def test_token_lives_as_long_as_the_run_is_written(tmp_path: Path) -> None:
    """It is gone after an interrupt and the end; each session has its own; no litter, ever."""
    tokens: list[Token] = []
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130), (None, 0)):
        process = start(tmp_path, *SHORT, "--out", "run", seconds="0.2" if number else "0.001")
        wait_for(partial(is_new, tmp_path, tokens), process)
        tokens.append(read_token(tmp_path))
        if number:
            more = n_epochs(tmp_path) + 1
            lab.wait_for_epochs(RunDir(tmp_path / "run").journal, more, process)
            workers = workers_of(process)
            process.send_signal(number)
            wait_until_gone(workers)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == code, printed
        assert (tmp_path / "run" / TOKEN).exists() is (number == signal.SIGKILL)
        assert list((tmp_path / "tmp").iterdir()) == []
    assert len({token.credentials.certificate for token in tokens}) == 3


@pytest.mark.proof
@pytest.mark.parametrize(
    ("failure", "code"), [({}, 143), ({"FORMULA_RAISES": "*"}, 1), ({"FORMULA_UNUSABLE": "1"}, 1)]
)
def test_secret_is_never_printed(failure: dict[str, str], code: int, tmp_path: Path) -> None:
    """Not with --debug, not with a traceback, not by Dask's own log; nor is it left in a file."""
    logs = {"DASK_LOGGING__DISTRIBUTED": "debug"}
    process = start(tmp_path, *SHORT, "--out", "run", "--debug", seconds="0.2", **failure, **logs)
    wait_for((tmp_path / "run" / TOKEN).exists, process)
    secrets = Live(process, tmp_path / "run", read_token(tmp_path)).secrets
    if failure:
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == code, printed
    else:
        wait_for(lambda: n_epochs(tmp_path), process)
        printed = stop(process)
    assert "Traceback" in printed
    assert not (tmp_path / "run" / TOKEN).exists()
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        assert not [secret for secret in secrets if secret in path.read_bytes()], path
    assert not [secret for secret in secrets if secret.decode() in printed]
    assert "PRIVATE KEY" not in printed


# --- where it listens


def test_nothing_listens_beyond_loopback_by_default(live: Live) -> None:
    """One port for the scheduler and one for each worker, and nothing else: no HTTP server."""
    assert [[host for host, _ in listens(one)] for one in live.family] == [[LOOPBACK]] * 3


@pytest.mark.proof
@pytest.mark.skipif(not HAS_IPV6, reason="needs IPv6: this machine's loopback has no ::1")
def test_host_may_be_an_address_of_ipv6(tmp_path: Path) -> None:
    """The run listens there alone, and at loopback for its own workers; others join and it ends."""
    process = start(tmp_path, *SHORT, "--out", "run", "--host", "::1", seconds="1")
    wait_for(lambda: n_epochs(tmp_path), process)
    assert {host for host, _ in listens(psutil.Process(process.pid))} == {"::1"}
    assert [host for one in workers_of(process) for host, _ in listens(one)] == [LOOPBACK]
    at = read_token(tmp_path).scheduler.removeprefix("tls://")
    assert at.startswith("[::1]:")
    words = ("--join", at, "--token", str(tmp_path / "run" / TOKEN), "--workers", "1")
    joined = start(tmp_path, "worker", *words, seconds="0.01")
    wait_for(lambda: [host for one in workers_of(joined) for host, _ in listens(one)], joined)
    assert {host for one in workers_of(joined) for host, _ in listens(one)} == {"::1"}
    for one in (process, joined):
        printed, _ = one.communicate(timeout=60)
        assert one.returncode == 0, printed
    workers = {e.worker for e in RunDir(tmp_path / "run").read_events() if isinstance(e, Started)}
    assert len(workers) == 2


# --- in one process


@pytest.mark.parametrize("way", ["threads", "asyncio", "asyncio's own thread"])
def test_two_studies_at_once_in_one_process(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both end with their own numbers, and with keys of their own."""
    monkeypatch.setattr(session, "open_trainer", formula.open_formula)
    monkeypatch.setenv("FORMULA_SECONDS", "0.1")
    path, keys, rates = list(sys.path), set[str](), (0.1, 0.05)

    def study(rate: float) -> None:
        out = tmp_path / f"{rate}"
        mnist_lab.lr_sweep([rate], epochs=8, data="sample", workers=1, out=out)

    async def both() -> None:
        if way == "asyncio":
            await asyncio.gather(*(asyncio.to_thread(study, rate) for rate in rates))
        else:  # as in a notebook's cell
            other = threading.Thread(target=study, args=rates[:1])
            other.start()
            study(rates[1])
            other.join()

    if way == "threads":
        threads = [threading.Thread(target=study, args=(rate,)) for rate in rates]
        for one in threads:
            one.start()
        while any(one.is_alive() for one in threads):
            for rate in rates:
                with suppress(FileNotFoundError):  # not there yet, or no more
                    token = (tmp_path / f"{rate}" / TOKEN).read_bytes()
                    keys.add(Token.model_validate_json(token).credentials.key)
            time.sleep(0.05)
        assert len(keys) == 2
    else:
        asyncio.run(both())
    for rate in rates:
        run = RunDir(tmp_path / f"{rate}")
        (trial,) = run.read_trials()
        errors = [e.epoch.valid_error for e in run.read_events() if isinstance(e, EpochDone)]
        config = trial.configuration
        assert config.learning_rate == rate
        assert errors == [formula.error_of(config, trial.seed, n) for n in range(1, 9)]
    assert sys.path == path
