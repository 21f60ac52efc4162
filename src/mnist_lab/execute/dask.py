"""Dask as this program uses it: settings, credentials, and servers without HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import socket
import ssl
import sys
import tempfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dask
import distributed
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from distributed.security import Security
from pydantic import Field

from mnist_lab.config import Frozen
from mnist_lab.errors import LabError, StudyError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

# How many may be connected to a port without having shown a certificate yet, and for how long; the
# longest there makes room for the next. Dask waits for all of them for ever, until no file can be
# opened.
MOST_STRANGERS = 100
HANDSHAKE_S = 10.0

# Measured at 64 workers on two cores, which drown with the defaults.
_SETTINGS: dict[str, Any] = {
    # Every loss comes back to our own loop, which counts the attempts.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # A laptop that was asleep has heard of no worker for longer than any limit.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "5s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.event-loop-monitor-interval": "10s",
    "distributed.admin.low-level-log-length": 100,
}
# The line that a worker process prints when the run has it.
READY = "mnist-lab: this worker is ready"
# How long one answer is waited for.
ANSWER_S = 10.0
# Dask tells of every closed connection, among our lines; what matters comes back by itself.
for _name in ("distributed", "distributed.client", "tornado", "tornado.application"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)
# Dask keeps one configuration for all that a process does, a notebook's other clusters included.
_one_at_a_time = threading.Lock()


class Credentials(Frozen):
    """The secret PEM texts that every process of a run shows and trusts."""

    certificate: str = Field(min_length=1)  # Dask takes none for a wish to go without
    key: str


class _Door:
    """Accept only connections that show the run's certificate; drop the others soon.

    Args:
        listener: Dask's, which keeps a silent connection for ever.
    """

    def __init__(self, listener: Any) -> None:
        self._strangers: dict[Any, None] = {}  # the longest there first
        self._handle = listener.tcp_server.handle_stream
        listener.tcp_server.handle_stream = self._come
        self._prepare = listener._prepare_stream  # noqa: SLF001 - Dask has no other place for it
        listener._prepare_stream = self._prove  # noqa: SLF001

    def _come(self, stream: Any, address: Any) -> Coroutine[Any, Any, None]:
        # At once, as a hundred may come before the loop does anything else.
        if len(self._strangers) == MOST_STRANGERS:
            longest = next(iter(self._strangers))
            del self._strangers[longest]
            longest.close()
        self._strangers[stream] = None
        handling: Coroutine[Any, Any, None] = self._handle(stream, address)
        return handling

    async def _prove(self, stream: Any, address: str) -> Any:
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                return await self._prepare(stream, address)
        except TimeoutError:
            stream.close()
            return None
        finally:
            self._strangers.pop(stream, None)


class _Server(distributed.core.Server):  # type: ignore[misc]  # Dask is untyped
    """How our servers differ from Dask's: they do not trust a connection for being local."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Dask looks for modules first in a folder for temporary files.
        sys.path.remove(self.local_directory)

    async def listen(self, *args: Any, **options: Any) -> None:
        """As the base class, but watch new connections."""
        await super().listen(*args, **options)
        _Door(self.listeners[-1])

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Start none: it authenticates nobody."""


class Scheduler(_Server, distributed.Scheduler):  # type: ignore[misc]
    """Dask's scheduler, as :class:`_Server` says."""


class Worker(_Server, distributed.Worker):  # type: ignore[misc]
    """Dask's worker, as :class:`_Server` says."""

    async def handle_scheduler(self, comm: Any) -> None:
        """Receive everything from the scheduler, from its first message on."""
        print(READY, flush=True)  # noqa: T201 - into the parent's file
        await super().handle_scheduler(comm)


@contextmanager
def dask_settings() -> Iterator[None]:
    """Dask's configuration while our objects are made.

    The unused folder of each Dask server is removed afterwards: by default it lies where others may
    write, and it would survive a kill.
    """
    with (
        _one_at_a_time,
        tempfile.TemporaryDirectory(prefix="mnist-lab-") as folder,
        dask.config.set(_SETTINGS | {"temporary-directory": folder}),
    ):
        yield


def bracketed(host: str) -> str:
    """An address in Dask's form, with brackets around IPv6."""
    return f"[{host}]" if ":" in host else host


def connect(scheduler: str, security: Security | None, next_step: str) -> Any:
    """A client of a scheduler.

    Args:
        scheduler: its address.
        security: None takes it from Dask's own configuration.
        next_step: of the error.

    Raises:
        StudyError: nothing answers, or not as a scheduler does; its cause says why.
    """
    try:
        place = urlsplit(scheduler)
        # Dask tries a refused connection again until the end, and forgets why; and for a server
        # that says nothing it would wait without one. A scheduler speaks first.
        with socket.create_connection((place.hostname, place.port), ANSWER_S) as probe:
            if place.scheme == "tcp":
                probe.recv(1)
        return distributed.Client(
            scheduler, security=security, timeout=ANSWER_S, set_as_default=False
        )
    except LabError:
        raise
    except Exception as problem:  # noqa: BLE001 - whoever listens there may answer anything
        cause: BaseException = problem
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise StudyError(
            f"no answer from {scheduler.partition('//')[2]} ({_reason(cause)})",
            next_step=next_step,
        ) from cause


def _reason(problem: BaseException) -> str:
    return getattr(problem, "strerror", None) or str(problem) or type(problem).__name__


def new_credentials() -> Credentials:
    """Credentials for one run: only a self-signed authority.

    They end with the run and are valid at any time, because the clocks of machines differ.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mnist-lab")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(3000, 1, 1, tzinfo=dt.UTC))
        .sign(key, hashes.SHA256())
    )
    as_pem = serialization.Encoding.PEM
    return Credentials(
        certificate=certificate.public_bytes(as_pem).decode(),
        key=key.private_bytes(
            as_pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


def security(credentials: Credentials) -> Security:
    """Mutual TLS 1.3 between all processes with these credentials."""
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=credentials.certificate,
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        tls_max_version=None,
        **{f"tls_{role}_cert": credentials.certificate for role in roles},
        **{f"tls_{role}_key": credentials.key for role in roles},
    )
