"""Mutual TLS around all of Pyro4: who lacks a run's key can neither list nor call anything."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import formula
import psutil
import Pyro4
import Pyro4.errors
import pytest
from test_engine import BASE, Memory, grid, results, run
from test_faults import TESTS, measured, wait_until_gone, workers_of

from mnist_lab.config import Bracket
from mnist_lab.engine import WorkerSlot, joining, run_trials
from mnist_lab.engine.dispatcher import Dispatcher
from mnist_lab.engine.proposals import Grid
from mnist_lab.engine.transport import (
    Credentials,
    Nameserver,
    Token,
    address_towards,
    dispatcher_name,
    dispatcher_of,
    nameserver_at,
    new_credentials,
    secure,
)
from mnist_lab.engine.worker import Orders
from mnist_lab.errors import SettingsError, StudyError
from mnist_lab.records import EpochDone, Event, Started
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAB = TESTS / "formula_lab.py"
SEARCH = ("random-search", "--iters", "40", "--epochs", "50", "--data", "sample", "--workers", "1")
SHORT = ("random-search", "--iters", "4", "--epochs", "5", "--data", "sample", "--workers", "1")
TOKEN = ".token.json"  # noqa: S105 - its name, not what is in it
CONTEXTS = ("__ssl_server_context", "__ssl_client_context")
HAS_IPV6 = any(one.address == "::1" for all_ in psutil.net_if_addrs().values() for one in all_)


class Live(NamedTuple):
    """A run that goes on: its process, where it is, and what it takes to join it."""

    process: subprocess.Popen[str]
    out: Path
    token: Token

    @property
    def secrets(self) -> list[bytes]:
        """Lines of the run's certificates and of its key, as they would be found anywhere."""
        texts = self.token.credentials.model_dump().values()
        return [line.encode() for text in texts for line in text.split("\n")[1:-2]]

    def doors(self) -> dict[str, str]:
        """The Pyro4 addresses of the nameserver, of the dispatcher and of the worker."""
        (worker,) = workers_of(self.process)
        (its_port,) = ports_of(worker)
        (port,) = ports_of(psutil.Process(self.process.pid)) - {self.token.port}
        own = dispatcher_name(self.token.run_id)
        name = f"{own.removesuffix('dispatcher')}worker.{socket.gethostname()}.{worker.pid}"
        # The tag at the end of a worker's name is told by those who may list: here it is guessed.
        return {
            "nameserver": f"PYRO:Pyro.NameServer@127.0.0.1:{self.token.port}",
            "dispatcher": f"PYRO:{own}@127.0.0.1:{port}",
            "worker": f"PYRO:{name}@127.0.0.1:{its_port}",
        }


def listens(process: psutil.Process) -> set[tuple[str, int]]:
    """The addresses and ports where a process takes connections, or datagrams from anybody."""
    return {
        (one.laddr.ip, one.laddr.port)
        for one in process.net_connections(kind="inet")
        if one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and not one.raddr)
    }


def ports_of(process: psutil.Process) -> set[int]:
    """The ports where a process listens."""
    return {port for _, port in listens(process)}


def start(folder: Path, *words: str, seconds: str = "0.05", **more: str) -> subprocess.Popen[str]:
    """Start a study in `folder`, with its temporary files in `folder/tmp`."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(LAB), *words, "--out", str(folder / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(TESTS), "FORMULA_SECONDS": seconds, "TMPDIR": str(folder / "tmp")}
        | more,
    )


def wait_for(happens: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until it happens, for a minute; a process that ends first tells why."""
    deadline = time.monotonic() + 60
    while not happens():
        if process is not None and process.poll() is not None:
            pytest.fail(f"ended first: {process.communicate()}")
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_trained(folder: Path) -> bool:
    """Whether the journal of the run in `folder` knows an epoch."""
    journal = RunDir(folder / "run").journal
    return journal.exists() and b'"event":"epoch"' in journal.read_bytes()


def read_token(folder: Path) -> Token:
    """What the run in `folder` wrote for those who join."""
    return Token.model_validate_json((folder / "run" / TOKEN).read_text(encoding="utf-8"))


def stop(process: subprocess.Popen[str]) -> str:
    """End a study; returns what it printed. No process is left."""
    workers = workers_of(process)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=30)
    wait_until_gone(workers)
    return printed


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A run with one worker, on loopback, that trains while the tests look at it."""
    folder = tmp_path_factory.mktemp("live")
    process = start(folder, *SEARCH, "--debug")
    try:
        wait_for(lambda: has_trained(folder), process)
        yield Live(process, folder / "run", read_token(folder))
    finally:
        stop(process)


@pytest.fixture(autouse=True)
def _pyro_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What Pyro4 does in this process afterwards is what it did before."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    contexts = {name: vars(Pyro4.socketutil)[name] for name in CONTEXTS}
    settings = {
        name: getattr(Pyro4.config, name)
        for name in ("SSL", "SSL_REQUIRECLIENTCERT", "SSL_SERVERCERT", "THREADPOOL_SIZE")
    }
    yield
    vars(Pyro4.socketutil).update(contexts)
    for name, value in settings.items():
        setattr(Pyro4.config, name, value)


# --- who may call


def show(context: ssl.SSLContext | None) -> None:
    """Make this process a client that uses `context`; None is no TLS at all."""
    Pyro4.config.SSL = context is not None
    vars(Pyro4.socketutil)["__ssl_client_context"] = context


def trusting(authority: str | None = None) -> ssl.SSLContext:
    """A client that shows no certificate, and trusts one authority, or everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if authority is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=authority)
    return context


def with_nothing(_: Credentials) -> None:
    """Plain Pyro4."""
    show(None)


def with_tls_alone(_: Credentials) -> None:
    """TLS without a certificate, that asks nobody for one."""
    show(trusting())


def with_the_authority_alone(own: Credentials) -> None:
    """TLS without a certificate, that knows whom to trust."""
    show(trusting(own.authority))


def with_those_of_another_run(_: Credentials) -> None:
    """What another run would show."""
    secure(new_credentials())


def with_a_certificate_of_another_run(_: Credentials) -> None:
    """As above, trusting everybody: it is the run that must refuse."""
    secure(new_credentials())
    context = vars(Pyro4.socketutil)["__ssl_client_context"]
    context.verify_mode = ssl.CERT_NONE


STRANGERS = [
    with_nothing,
    with_tls_alone,
    with_the_authority_alone,
    with_those_of_another_run,
    with_a_certificate_of_another_run,
]


def ask(where: str, what: str) -> Any:
    """Call a method without arguments, or with a name, as a client that is what it shows."""
    with Pyro4.Proxy(where) as proxy:
        proxy._pyroTimeout = 5
        method = proxy.__getattr__(what)
        return method("nobody") if what == "is_known" else method()


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize(
    ("door", "method"),
    [("nameserver", "list"), ("dispatcher", "orders"), ("worker", "is_busy")],
)
def test_stranger_can_neither_list_nor_call(
    stranger: Callable[[Credentials], None], door: str, method: str, live: Live
) -> None:
    """Without the run's certificate no Pyro4 connection comes about, at none of the three."""
    where = live.doors()[door]
    stranger(live.token.credentials)
    with pytest.raises(Pyro4.errors.CommunicationError, match=r"cannot connect|connection|receiv"):
        ask(where, method)
    with Pyro4.Proxy(where) as proxy:
        proxy._pyroTimeout = 5
        with pytest.raises(Pyro4.errors.CommunicationError):
            proxy._pyroBind()


def test_who_has_the_token_lists_and_calls(live: Live) -> None:
    """The same calls at the same doors are answered to one who shows the run's certificate."""
    doors = live.doors()
    secure(live.token.credentials)
    names = ask(doors["nameserver"], "list")
    assert names[dispatcher_name(live.token.run_id)] == doors["dispatcher"]
    (worker,) = (uri for name, uri in names.items() if ".worker." in name)
    assert worker.rpartition("@")[2] == doors["worker"].rpartition("@")[2]
    assert ask(worker, "is_busy") is False
    assert json.loads(ask(doors["dispatcher"], "orders"))["run_id"] == live.token.run_id
    assert ask(doors["dispatcher"], "is_known") is False


def test_token_of_another_run_is_refused_in_one_line(live: Live) -> None:
    """Who joins with what another run wrote, or an older session of this one, is told so."""
    stale = live.token.model_copy(update={"credentials": new_credentials()})
    with pytest.raises(StudyError, match=r"^a run can be joined where it listens: got no answer"):
        joining.orders_of(stale)


def test_token_whose_certificates_are_damaged_is_refused_in_one_line(live: Live) -> None:
    """A token that was cut or changed while it was copied is told from a defect."""
    for name, text in live.token.credentials.model_dump().items():
        for damaged in ("", text[: len(text) // 2], "ünusable"):
            credentials = live.token.credentials.model_copy(update={name: damaged})
            with pytest.raises(SettingsError, match="a token holds certificates"):
                joining.orders_of(live.token.model_copy(update={"credentials": credentials}))


# --- who says nothing, or nonsense


def touch(doors: dict[str, str], *, say: bytes | None, n_times: int) -> list[socket.socket]:
    """Connect to each door so many times, and say the same everywhere."""
    sockets = []
    for where in doors.values():
        host, _, port = where.rpartition("@")[2].rpartition(":")
        for _ in range(n_times):
            one = socket.create_connection((host, int(port)), timeout=5)
            sockets.append(one)
            if say:
                one.sendall(say)
    return sockets


def n_epochs(live: Live) -> int:
    """How many epochs the journal knows."""
    return RunDir(live.out).journal.read_bytes().count(b'"event":"epoch"')


@pytest.mark.proof
def test_silent_clients_delay_nobody(live: Live) -> None:
    """Fifty connections that say nothing, at each door: calls are answered, epochs go on."""
    doors = live.doors()
    secure(live.token.credentials)
    silent = touch(doors, say=None, n_times=50)
    try:
        before, began = n_epochs(live), time.monotonic()
        names = ask(doors["nameserver"], "list")
        assert ask(doors["dispatcher"], "is_known") is False
        for name, uri in names.items():
            if ".worker." in name:
                assert ask(uri, "is_busy") is False
        assert time.monotonic() - began < 3
        wait_for(lambda: n_epochs(live) > before + 5, live.process)
        assert time.monotonic() - began < 10
    finally:
        for one in silent:
            one.close()


@pytest.mark.proof
@pytest.mark.parametrize(
    "nonsense",
    [
        random.Random(1).randbytes(5000),  # noqa: S311 - chance, not secrecy
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # how a handshake of TLS begins
        b"PYRO\x00\x30\x00\x01" + bytes(100),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"!" * 16,  # what Pyro4 says to itself to end a loop
    ],
    ids=["random", "tls", "pyro", "http", "interrupt"],
)
def test_garbage_harms_nobody(nonsense: bytes, live: Live) -> None:
    """Whatever comes in, the run goes on with the same processes, and right calls are answered."""
    doors, workers = live.doors(), workers_of(live.process)
    for one in touch(doors, say=nonsense, n_times=3):
        one.close()
    hold = touch(doors, say=nonsense, n_times=2)
    before = n_epochs(live)
    wait_for(lambda: n_epochs(live) > before + 3, live.process)
    secure(live.token.credentials)
    assert len(ask(doors["nameserver"], "list")) == 3
    assert workers_of(live.process) == workers
    for one in hold:
        one.close()


@pytest.mark.proof
def test_run_among_strangers_ends_with_the_same_curves(tmp_path: Path) -> None:
    """Silent clients and garbage from the first moment to the last: the result is the same."""
    alone, watched = start(tmp_path / "alone", *SHORT), start(tmp_path / "watched", *SHORT)
    sockets: list[socket.socket] = []
    wait_for(lambda: ports_of(psutil.Process(watched.pid)), watched)
    for port in ports_of(psutil.Process(watched.pid)):
        sockets += touch({"": f"@127.0.0.1:{port}"}, say=None, n_times=5)
    wait_for(lambda: has_trained(tmp_path / "watched"), watched)
    for worker in workers_of(watched):
        for port in ports_of(worker):
            sockets += touch({"": f"@127.0.0.1:{port}"}, say=b"nonsense", n_times=5)
    began = time.monotonic()
    for process in (alone, watched):
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0, printed
    assert time.monotonic() - began < 20
    assert measured(str(tmp_path / "watched" / "run")) == measured(str(tmp_path / "alone" / "run"))
    for one in sockets:
        one.close()


def test_address_where_nobody_speaks_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and says nothing costs a worker seconds, not for ever."""
    monkeypatch.setattr("mnist_lab.engine.transport.CALL_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        token = Token(
            host="127.0.0.1",
            port=mute.getsockname()[1],
            run_id="00",
            credentials=new_credentials(),
        )
        began = time.monotonic()
        with pytest.raises(StudyError, match=r"got no answer from 127\.0\.0\.1"):
            joining.orders_of(token)
        assert time.monotonic() - began < 5


def test_silent_client_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not show a certificate soon is not waited for: silent clients cannot pile up."""
    monkeypatch.setattr("mnist_lab.engine.transport.CALL_S", 0.5)
    secure(new_credentials())
    nameserver = Nameserver("00", host="127.0.0.1", port=0)
    host, port = nameserver.start()
    try:
        with socket.create_connection((host, port), timeout=5) as silent:
            began = time.monotonic()
            assert silent.recv(1) == b""
            assert 0.4 < time.monotonic() - began < 3
        with nameserver_at(host, port) as names:
            assert list(names.list()) == ["Pyro.NameServer"]
            time.sleep(1)  # who has shown one may be silent for as long as it likes
            assert list(names.list()) == ["Pyro.NameServer"]
    finally:
        nameserver.shutdown()


def test_run_that_ends_while_a_worker_joins_is_no_defect() -> None:
    """Between the orders and the first look nobody listens any more: the worker just ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    credentials = new_credentials()
    secure(credentials)
    orders = Orders(
        trainer=formula.TRAINER,
        arguments={},
        run_id="00",
        host="127.0.0.1",
        nameserver="127.0.0.1",
        nameserver_port=port,
        credentials=credentials,
        n_threads=1,
        versions={},
    )
    token = Token(host="127.0.0.1", port=port, run_id="00", credentials=credentials)
    notes: list[str] = []
    before = psutil.Process().children()
    joining.work(token, orders, [WorkerSlot()], note=notes.append)
    assert notes == ["the run has ended, or was stopped"]
    assert psutil.Process().children() == before


# --- the secret


def test_token_is_its_owners_alone(live: Live) -> None:
    """Nobody else reads it, and it says what it takes to join."""
    assert stat.S_IMODE((live.out / TOKEN).stat().st_mode) == 0o600
    assert live.token.host == "127.0.0.1"


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


@pytest.mark.proof
def test_token_lives_as_long_as_the_run_is_written(tmp_path: Path) -> None:
    """It is gone after the end, an interrupt and a failure; each session has its own."""
    tokens = []
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (None, 0)):
        process = start(tmp_path, *SHORT, seconds="0.2" if number else "0.001")
        assert not (tmp_path / "run" / TOKEN).exists()
        wait_for((tmp_path / "run" / TOKEN).exists, process)
        tokens.append(read_token(tmp_path))
        if number:
            wait_for(lambda: has_trained(tmp_path), process)
            process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == code, printed
        assert not (tmp_path / "run" / TOKEN).exists()
        assert list((tmp_path / "tmp").iterdir()) == []
    for name in ("authority", "certificate", "key"):
        assert len({getattr(token.credentials, name) for token in tokens}) == 3
    assert len({token.run_id for token in tokens}) == 3
    failed = start(tmp_path / "failed", *SHORT, FORMULA_RAISES="*")
    printed, _ = failed.communicate(timeout=60)
    assert failed.returncode == 1, printed
    assert not (tmp_path / "failed" / "run" / TOKEN).exists()


def test_secret_is_in_no_file_and_in_no_process_table(live: Live) -> None:
    """Of a run that goes on: only the token has it, no command line and no environment."""
    folder = live.out.parent
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != TOKEN]
    assert RunDir(live.out).journal in files
    main = psutil.Process(live.process.pid)
    places = [
        *files,
        *(
            Path(f"/proc/{pid}/{name}")
            for pid in [main.pid, *(child.pid for child in main.children(recursive=True))]
            for name in ("cmdline", "environ")
        ),
    ]
    assert len(live.secrets) > 10
    assert any(secret in (live.out / TOKEN).read_bytes() for secret in live.secrets)
    for place in places:
        try:
            content = place.read_bytes()
        except FileNotFoundError:
            # The run goes on: a checkpoint half written has its proper name by now.
            assert place.parent == RunDir(live.out).checkpoints, place
            assert place.name.startswith(".trial-"), place
            continue
        assert not [secret for secret in live.secrets if secret in content], place


@pytest.mark.proof
@pytest.mark.parametrize(
    ("failure", "code"), [({}, 143), ({"FORMULA_RAISES": "*"}, 1), ({"FORMULA_UNUSABLE": "1"}, 1)]
)
def test_secret_is_never_printed(failure: dict[str, str], code: int, tmp_path: Path) -> None:
    """Not with --debug, not with a traceback, not by Pyro4's own log; nor is it left in a file."""
    log = {"PYRO_LOGFILE": str(tmp_path / "pyro.log"), "PYRO_LOGLEVEL": "DEBUG"}
    process = start(tmp_path, *SHORT, "--debug", seconds="0.1", **failure, **log)
    wait_for((tmp_path / "run" / TOKEN).exists, process)
    credentials = read_token(tmp_path).credentials
    secrets = Live(process, tmp_path / "run", read_token(tmp_path)).secrets
    assert credentials.key.splitlines()[1].encode() in secrets
    if not failure:
        wait_for(lambda: has_trained(tmp_path), process)
        process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == code, printed
    assert "Traceback" in printed
    assert (tmp_path / "pyro.log").stat().st_size > 0
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        assert not [secret for secret in secrets if secret in path.read_bytes()], path
    assert not [secret for secret in secrets if secret.decode() in printed]
    assert "PRIVATE KEY" not in printed


def test_pickle_is_never_accepted(live: Live) -> None:
    """What comes in is data: no serializer that runs what it reads is enabled, here or there."""
    doors = live.doors()
    secure(live.token.credentials)
    assert Pyro4.config.SERIALIZER == "msgpack"
    assert {"msgpack"} == Pyro4.config.SERIALIZERS_ACCEPTED
    for where in (doors["nameserver"], doors["dispatcher"]):
        with Pyro4.Proxy(where) as proxy:
            proxy._pyroTimeout = 5
            proxy._pyroSerializer = "pickle"
            with pytest.raises(Pyro4.errors.PyroError, match=r"serializer|pickle"):
                proxy._pyroBind()


# --- where it listens


def test_nothing_listens_beyond_loopback_by_default(live: Live) -> None:
    """The nameserver, the dispatcher and the worker, and nothing else."""
    (worker,) = workers_of(live.process)
    for process, n_ports in ((psutil.Process(live.process.pid), 2), (worker, 1)):
        assert {host for host, _ in listens(process)} == {"127.0.0.1"}
        assert len(listens(process)) == n_ports


@pytest.mark.proof
@pytest.mark.skipif(not HAS_IPV6, reason="needs IPv6: this machine's loopback has no ::1")
def test_host_may_be_an_address_of_ipv6(tmp_path: Path) -> None:
    """The run listens there alone, and at loopback for its own workers; others join and it ends."""
    process = start(tmp_path, *SHORT[:-1], "1", "--host", "::1", seconds="1")
    wait_for(lambda: has_trained(tmp_path), process)
    assert {host for host, _ in listens(psutil.Process(process.pid))} == {"::1"}
    (worker,) = workers_of(process)
    assert {host for host, _ in listens(worker)} == {"127.0.0.1"}
    token = read_token(tmp_path)
    assert token.host == "::1"
    (tmp_path / "token").write_text(token.model_dump_json())
    words = ["worker", "--join", f"[::1]:{token.port}", "--token", str(tmp_path / "token")]
    joined = subprocess.Popen(
        [sys.executable, str(LAB), *words, "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"FORMULA_SECONDS": "0.01"},
    )
    wait_for(lambda: workers_of(joined) and listens(workers_of(joined)[0]), joined)
    assert {host for host, _ in listens(workers_of(joined)[0])} == {"::1"}
    for one in (process, joined):
        printed, _ = one.communicate(timeout=60)
        assert one.returncode == 0, printed
    workers = {e.worker for e in RunDir(tmp_path / "run").read_events() if isinstance(e, Started)}
    assert len(workers) == 2


def test_own_address_is_the_one_towards_the_run() -> None:
    """A worker that joins over loopback listens at loopback."""
    assert address_towards("127.0.0.1", 9) == "127.0.0.1"


# --- in one process


def test_two_studies_of_one_process_have_keys_of_their_own() -> None:
    """Nothing of the first study opens the second."""
    tokens: list[Token] = []

    def study() -> None:
        run_trials(
            proposals=grid(16),
            base=BASE,
            history=[],
            emit=lambda _: None,
            store=Memory(),
            trainer=formula.TRAINER,
            arguments={},
            places=[WorkerSlot()],
            n_threads=1,
            host="127.0.0.1",
            announce=lambda _, text: tokens.append(Token.model_validate_json(text)),
            patience_s=lambda _: 300,
            tick=look,
            note=lambda _: None,
        )

    def look() -> None:
        token = tokens[-1]
        with dispatcher_of(token.host, token.port, token.run_id) as dispatcher:
            assert dispatcher.is_known("nobody") is False
        if len(tokens) == 2 and not refused:
            credentials = tokens[0].credentials
            client = vars(Pyro4.socketutil)["__ssl_client_context"]
            secure(credentials)
            try:
                with nameserver_at(token.host, token.port) as names:
                    names.list()
            except Pyro4.errors.CommunicationError as problem:
                refused.append(problem)
            vars(Pyro4.socketutil)["__ssl_client_context"] = client

    refused: list[Exception] = []
    study()
    study()
    assert len(refused) == 1
    first, second = tokens
    assert first.credentials.key != second.credentials.key
    assert first.credentials.authority != second.credentials.authority


# --- what is told twice


def test_result_that_is_told_twice_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker tells again what it got no answer to; by then it may have the next rung's job."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.05")
    tell = Dispatcher.register_result

    def twice(self: Dispatcher, *told: Any) -> None:
        tell(self, *told)
        threading.Timer(0.1, tell, (self, *told)).start()

    plain = run(rungs(), n_workers=1)
    monkeypatch.setattr(Dispatcher, "register_result", Pyro4.expose(twice))
    events = run(rungs(), n_workers=1)
    assert results(events) == results(plain)
    assert sum(isinstance(event, EpochDone) for event in events) == 2 * 3 + 6
    assert [e.trial for e in events if isinstance(e, Started)] == [1, 2, 2]


def test_worker_that_dies_in_a_later_rung_costs_one_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trial that was promoted is tried three times again: its rungs are not its attempts."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.05")
    n_deaths, others = 0, set(psutil.Process().children())

    def emit(event: Event) -> None:
        nonlocal n_deaths
        events.append(event)
        if isinstance(event, EpochDone) and event.epoch.epoch == 5 + n_deaths and n_deaths < 2:
            n_deaths += 1
            for worker in set(psutil.Process().children()) - others:
                worker.kill()

    events: list[Event] = []
    run(rungs(), n_workers=1, emit=emit)
    assert results(events) == results(run(rungs(), n_workers=1))
    begun = [(e.trial, e.attempt) for e in events if isinstance(e, Started)]
    assert begun == [(1, 1), (2, 1), (2, 1), (2, 2), (2, 3)]


def rungs() -> Grid:
    """Two trials, the better one last: the worker that ends a rung goes on with the same trial."""
    return Grid(
        [{"batch_size": 10}, {"batch_size": 500}],
        repeats=1,
        bracket=Bracket((2, 1), (3, 9)),
        seed=0,
    )
