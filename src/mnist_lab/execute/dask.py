"""Dask as this program uses it: its settings, its credentials, its servers without HTTP."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dask
import distributed
from distributed.security import Security

from mnist_lab.config import Frozen
from mnist_lab.errors import LabError, StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
# How long one answer is waited for.
ANSWER_S = 10.0
# Dask tells of every closed connection, among our lines; what matters comes back by itself.
for _name in ("distributed", "distributed.client", "tornado", "tornado.application"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)
# Dask keeps one configuration for all that a process does, a notebook's other clusters included.
_one_at_a_time = threading.Lock()


class Credentials(Frozen):
    """What every process of a run shows and trusts, as PEM: secret."""

    certificate: str
    key: str


class Scheduler(distributed.Scheduler):  # type: ignore[misc]  # Dask is untyped
    """Dask's scheduler without its HTTP server, which asks nobody who he is."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """There is none."""


class Worker(distributed.Worker):  # type: ignore[misc]
    """Dask's worker without its HTTP server."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """There is none."""


@contextmanager
def dask_settings() -> Iterator[None]:
    """Dask's configuration while something of ours is made."""
    with _one_at_a_time, dask.config.set(_SETTINGS):
        yield


def connect(scheduler: str, security: Security | None, rule: str, next_step: str) -> Any:
    """A client of a scheduler.

    Args:
        scheduler: its address.
        security: None is what Dask's own configuration has.
        rule: of the error.
        next_step: of the error.

    Raises:
        StudyError: nobody answers, or not as a scheduler does; its cause says why.
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
            rule,
            received=f"no answer from {scheduler.partition('//')[2]} ({_reason(cause)})",
            next_step=next_step,
        ) from cause


def _reason(problem: BaseException) -> str:
    return getattr(problem, "strerror", None) or str(problem) or type(problem).__name__


def new_credentials() -> Credentials:
    """Credentials for one run: an authority that signed itself, and nothing else."""
    made = Security.temporary()
    return Credentials(certificate=made.tls_ca_file, key=made.tls_client_key)


def security(credentials: Credentials) -> Security:
    """Mutual TLS 1.3 between all who have these credentials."""
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=credentials.certificate,
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        **{f"tls_{role}_cert": credentials.certificate for role in roles},
        **{f"tls_{role}_key": credentials.key for role in roles},
    )
