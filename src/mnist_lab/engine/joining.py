"""Workers that join a run which another process, perhaps on another machine, writes."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import Pyro4.errors

from mnist_lab import machine
from mnist_lab.engine.pool import Pool
from mnist_lab.engine.transport import Token, address_towards, dispatcher_of, secure
from mnist_lab.engine.worker import Orders
from mnist_lab.errors import SettingsError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnist_lab.engine.pool import WorkerSlot

TICK_S = 0.2
# How long a run that cannot be reached is waited for: long enough to put a cable back.
REJOIN_PATIENCE_S = 600.0
# What must agree for the same numbers.
_VERSIONS = ("mnist-lab", "tensorflow", "keras", "numpy")


class _Ended(Exception):
    """Nobody listens any more where the run was."""


def orders_of(token: Token) -> Orders:
    """What a worker that joins is told.

    Everything that Pyro4 does in this process from now on is for that run.

    Raises:
        StudyError: nobody answers, or the run uses other versions.
    """
    try:
        secure(token.credentials)
    except (OSError, ValueError, TypeError) as problem:  # as ssl has it, one for each damage
        raise SettingsError(
            "a token holds certificates",
            received=f"one that cannot be used ({problem})",
            next_step="copy the run's .token.json again",
        ) from None
    try:
        with dispatcher_of(token.host, token.port, token.run_id) as dispatcher:
            told = json.loads(dispatcher.orders())
            own = address_towards(token.host, token.port)
    except (Pyro4.errors.PyroError, OSError) as problem:
        raise StudyError(
            "a run can be joined where it listens",
            received=f"no answer from {token.host}:{token.port} ({_cause(problem)})",
            next_step="see whether it runs (mnist-lab status), and was started with --host and an "
            "address that this machine reaches",
        ) from None
    here = machine.versions()
    different = [
        f"{name} {told['versions'][name]} there, {here[name]} here"
        for name in _VERSIONS
        if told["versions"].get(name) != here[name]
    ]
    if different:
        raise StudyError(
            "all workers of a run use the same versions",
            received="; ".join(different),
            next_step="install the same requirements.lock",
        )
    # What is secret is in the token, and need not be told.
    mine = {"host": own, "nameserver": token.host, "credentials": token.credentials}
    return Orders.model_validate(told | mine)


def work(
    token: Token,
    orders: Orders,
    places: Sequence[WorkerSlot],
    *,
    files: Sequence[int] = (),
    note: Callable[[str], None],
) -> None:
    """Work for a run until it ends.

    Args:
        token: of the run.
        orders: what :func:`orders_of` answered, with the data set of this machine.
        places: where workers run.
        files: descriptors that they inherit, under the same numbers.
        note: called with a line when the run cannot be reached, and when it is reached again.

    Raises:
        StudyError: a worker cannot start, or the run cannot be reached for
            :data:`REJOIN_PATIENCE_S`.
    """
    line = _Line(token, note)
    pool = Pool(orders, is_known=line.is_known, is_gone=line.is_gone, files=files)
    start_s = time.monotonic()
    try:
        pool.start(places, 0.0)
        while True:
            time.sleep(TICK_S)
            line.look()
            for name, reason in pool.replace_dead(time.monotonic() - start_s):
                line.tell_lost(name, reason)
    except _Ended:
        note("the run has ended, or was stopped")
    finally:
        names = pool.names
        pool.stop()
        line.leave(names)


class _Line:
    """The line to a run's dispatcher, which may be cut for a while."""

    def __init__(self, token: Token, note: Callable[[str], None]) -> None:
        self._token = token
        self._dispatcher: Any = None
        self._note = note
        self._last_s = self._last_try_s = time.monotonic()
        self._n_failed = 0

    def is_known(self, name: str) -> bool:
        """Whether the run knows this worker; while nobody can tell: yes."""
        return bool(self._ask("is_known", name, otherwise=True))

    def is_gone(self, name: str) -> bool:
        """Whether the run has given this worker up; while nobody can tell: no."""
        return bool(self._ask("is_gone", name, otherwise=False))

    def tell_lost(self, name: str, reason: str) -> None:
        """Say that a worker died, and why; if nobody hears, it will be missed."""
        self._ask("lost", name, reason, otherwise=None)

    def look(self) -> None:
        """See whether the run is still there."""
        self._ask("is_known", "", otherwise=False)
        if time.monotonic() - self._last_s > REJOIN_PATIENCE_S:
            raise StudyError(
                f"a run can be reached again within {REJOIN_PATIENCE_S:.0f} s",
                next_step="see whether its machine runs, then join again",
            )

    def leave(self, names: Sequence[str]) -> None:
        """Say that these workers are taken away; if nobody hears, they will be missed."""
        with suppress(Pyro4.errors.PyroError):
            for name in names:
                self._connected().leave(name)

    def _connected(self) -> Any:
        if self._dispatcher is None:
            self._dispatcher = dispatcher_of(self._token.host, self._token.port, self._token.run_id)
        return self._dispatcher

    def _ask(self, method: str, *arguments: str, otherwise: Any) -> Any:
        if self._n_failed and time.monotonic() - self._last_try_s < 1:
            return otherwise
        try:
            answer = getattr(self._connected(), method)(*arguments)
        except Pyro4.errors.PyroError as problem:
            if isinstance(_cause(problem), ConnectionRefusedError):
                raise _Ended from None
            # Once is nothing yet: a run that ends closes its connections first.
            self._n_failed += 1
            self._last_try_s = time.monotonic()
            if self._n_failed == 2:  # noqa: PLR2004
                self._note(f"the run cannot be reached ({_cause(problem)}); trying again")
            return otherwise
        self._last_s = time.monotonic()
        if self._n_failed > 1:
            self._note("the run is reached again")
        self._n_failed = 0
        return answer


def _cause(problem: BaseException) -> BaseException:
    """What is at the bottom of an error of Pyro4."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    return problem
