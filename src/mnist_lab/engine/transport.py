"""How the processes of a run find and trust each other: the nameserver, and TLS for all of Pyro4.

Each run has a certificate authority of its own, which lives as long as the run is written; its one
certificate is what every process of the run shows, as server and as client. Who has none can
neither list nor call anything. Host names are not checked: that authority signs nothing else.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import Pyro4
import Pyro4.constants
import Pyro4.naming
import Pyro4.socketutil
from hpbandster.core.nameserver import NameServer

from mnist_lab.config import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each worker keeps up to three connections to the dispatcher; threads are made when needed.
MOST_CONNECTIONS = 1000
# How long a call over the network may take before it counts as failed.
CALL_S = 10.0


class Credentials(Frozen):
    """What a process of a run shows and trusts, as PEM: secret."""

    authority: str
    certificate: str
    key: str


class Token(Frozen):
    """What it takes to join a run: secret, and void when the run is no longer written."""

    host: str
    port: int
    run_id: str
    credentials: Credentials


def new_credentials() -> Credentials:
    """Credentials for one run, of an authority that nobody can use again."""
    import trustme  # a fifth of a second, to train only

    authority = trustme.CA()
    certificate = authority.issue_cert("mnist-lab")
    (chain,) = certificate.cert_chain_pems
    return Credentials(
        authority=authority.cert_pem.bytes().decode(),
        certificate=chain.bytes().decode(),
        key=certificate.private_key_pem.bytes().decode(),
    )


def secure(credentials: Credentials) -> None:
    """Make everything that Pyro4 does in this process from now on use mutual TLS."""
    Pyro4.config.SSL = True
    Pyro4.config.SSL_REQUIRECLIENTCERT = True
    # Where this is named Pyro4 takes a socket for a server's; it reads no file, having a context.
    Pyro4.config.SSL_SERVERCERT = "in memory"
    Pyro4.config.THREADPOOL_SIZE = MOST_CONNECTIONS
    # TLS writes twice before it reads: with Nagle's algorithm each connection took 50 ms, not 4.
    Pyro4.config.SOCK_NODELAY = True
    # Checkpoints are bytes, which Pyro4's own serpent writes as text and parses as Python.
    Pyro4.config.SERIALIZER = "msgpack"
    Pyro4.config.SERIALIZERS_ACCEPTED = {"msgpack"}
    # Pyro4 keeps the two contexts for ever, and its own trust every authority that the system does.
    vars(Pyro4.socketutil)["__ssl_server_context"] = _context(
        _ServerContext(ssl.PROTOCOL_TLS_SERVER), credentials
    )
    vars(Pyro4.socketutil)["__ssl_client_context"] = _context(
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), credentials
    )


class _ServerSocket(ssl.SSLSocket):
    """Shakes hands in the thread of its connection, with who is quick: the silent are cut off."""

    greets = False

    def recv(self, *args: Any, **options: Any) -> bytes:
        """As the base class, after the handshake."""
        if self.greets:
            self.settimeout(CALL_S)
            self.do_handshake()
            self.settimeout(None)
            self.greets = False
        return super().recv(*args, **options)


class _ServerContext(ssl.SSLContext):
    """Leaves the handshake to its sockets: whoever says nothing delays nobody."""

    sslsocket_class = _ServerSocket

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """As the base class, without the handshake."""
        wrapped = super().wrap_socket(*args, **options | {"do_handshake_on_connect": False})
        vars(wrapped)["greets"] = True  # not before: while it is made, Python receives from it
        return wrapped


def _context(context: ssl.SSLContext, credentials: Credentials) -> ssl.SSLContext:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=credentials.authority)
    with _secret_file(credentials.certificate + credentials.key) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _secret_file(text: str) -> Iterator[str]:
    """A file for as long as it takes to read it: Python loads a key from nothing else."""
    if hasattr(os, "memfd_create"):  # in memory: no disk ever has it, and none can be full
        number = os.memfd_create("certificate")
        try:
            os.write(number, text.encode("ascii"))
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with tempfile.TemporaryDirectory() as folder:  # its owner's alone
        path = Path(folder, "certificate.pem")
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")
        yield str(path)


class Nameserver(NameServer):  # type: ignore[misc]  # HpBandSter is untyped
    """HpBandSter's nameserver, for addresses of IPv6 too."""

    def start(self) -> tuple[str, int]:
        """Serve from a thread of its own; returns the address and the port."""
        # Without its second door: a datagram socket on all addresses, for who seeks a nameserver.
        _, self.pyro_ns, _ = Pyro4.naming.startNS(
            host=self.host, port=self.port, enableBroadcast=False
        )
        host, _, port = self.pyro_ns.locationStr.rpartition(":")
        threading.Thread(target=self.pyro_ns.requestLoop, name="nameserver", daemon=True).start()
        return host.strip("[]"), int(port)


def dispatcher_name(run_id: str) -> str:
    """What a run's dispatcher is registered as: HpBandSter's name for it."""
    return f"hpbandster.run_{run_id}.dispatcher"


def nameserver_at(host: str, port: int) -> Any:
    """A proxy of a run's nameserver; Pyro4's own `locateNS` waits for an answer without end."""
    place = f"[{host}]" if ":" in host else host
    proxy = Pyro4.Proxy(f"PYRO:{Pyro4.constants.NAMESERVER_NAME}@{place}:{port}")
    proxy._pyroTimeout = CALL_S  # noqa: SLF001 - Pyro4's documented setting
    return proxy


def dispatcher_of(host: str, port: int, run_id: str) -> Any:
    """A proxy of a run's dispatcher, for the thread that calls this.

    Raises:
        Pyro4.errors.CommunicationError: nobody answers.
        Pyro4.errors.NamingError: nobody of that run.
    """
    with nameserver_at(host, port) as names:
        proxy = Pyro4.Proxy(names.lookup(dispatcher_name(run_id)))
    proxy._pyroTimeout = CALL_S  # noqa: SLF001 - Pyro4's documented setting
    return proxy


def address_towards(host: str, port: int) -> str:
    """This machine's address as `host` sees it; nothing is sent."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        own: str = probe.getsockname()[0]
        return own
