"""Workers that join a run which another process, perhaps on another machine, writes."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mnist_lab.errors import SettingsError, StudyError
from mnist_lab.execute import dask
from mnist_lab.execute.cluster import TOPIC, is_connected
from mnist_lab.execute.pool import Pool
from mnist_lab.execute.worker import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client

    from mnist_lab.execute.cluster import Token
    from mnist_lab.execute.pool import WorkerSlot
    from mnist_lab.execute.worker import Trainer

TICK_S = 0.2
# How long a run that cannot be reached is waited for: long enough to put a cable back.
REJOIN_PATIENCE_S = 600.0


def connect(token: Token) -> Client:
    """A connection to a run.

    Raises:
        SettingsError: the token is damaged.
        StudyError: the run does not answer.
    """
    try:
        secured = dask.security(token.credentials)
        secured.get_connection_args("client")
    except (OSError, ValueError, TypeError) as problem:  # as ssl has it, one for each damage
        raise SettingsError(
            f"the certificates of the token cannot be used ({problem})",
            next_step="copy the run's .token.json again",
        ) from None
    return dask.connect(
        token.scheduler,
        secured,
        "check that it runs (mnist-lab status), and was started with --host and an address that "
        "this machine reaches",
    )


def work(
    client: Client,
    token: Token,
    trainer: Trainer,
    slots: Sequence[WorkerSlot],
    *,
    name: str | None,
    host: str,
    files: Sequence[int],
    note: Callable[[str], None],
) -> None:
    """Work for a run until it ends; join again after it was out of reach for a while.

    Args:
        client: the connection to the run, which this closes.
        token: of the run.
        trainer: of this machine's workers.
        slots: the resources of each worker.
        name: the beginning of their names; None: this machine's name.
        host: this machine's address for the run.
        files: descriptors that they inherit, under the same numbers.
        note: called with a line when the run cannot be reached, and when it can again.

    Raises:
        StudyError: a worker cannot start, or the run cannot be reached for
            :data:`REJOIN_PATIENCE_S`.
    """
    line: Client | None = client
    while line is not None:
        pool = Pool(slots, trainer, files, name)
        try:
            pool.join(Line(token.scheduler, token.credentials, host))
            _watch_over(pool, line)
        finally:
            pool.stop()
            # Of a line that tries to connect again it raises whatever went wrong with that.
            with suppress(Exception):
                line.close()
        line = _connect_again(token, note)


def _watch_over(pool: Pool, client: Client) -> None:
    """Keep the workers alive while the run can be reached."""
    start_s = time.monotonic()

    def happened(event: tuple[float, dict[str, Any]]) -> None:
        if "dismissed" in event[1]:
            pool.kill(event[1]["dismissed"])

    client.subscribe_topic(TOPIC, happened)
    while is_connected(client):
        time.sleep(TICK_S)
        try:
            for name, reason in pool.look(time.monotonic() - start_s):
                if reason is not None:
                    client.log_event(TOPIC, {"gone": name, "reason": reason})
        except OSError:  # the line is cut
            return


def _connect_again(token: Token, note: Callable[[str], None]) -> Client | None:
    """Reconnect to a run that was cut off; None if it has ended."""
    until_s = time.monotonic() + REJOIN_PATIENCE_S
    is_told = False
    while True:
        try:
            client = connect(token)
        except StudyError as problem:
            # There is a machine, and nobody who listens, or it is somebody else.
            if isinstance(problem.__cause__, ConnectionRefusedError | ssl.SSLError):
                note("the run has ended, or was stopped")
                return None
            if time.monotonic() > until_s:
                raise
            if not is_told:
                note(f"the run cannot be reached ({problem.__cause__}); trying again")
                is_told = True
            time.sleep(1)
        else:
            note("reconnected to the run")
            return client
