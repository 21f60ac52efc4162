"""HpBandSter made dependable: proposals, the resumable master, worker processes.

:func:`run_trials` trains; `joining` lets other machines take part. HpBandSter decides and
distributes; what it lacks (resuming, noticing the dead, ending instead of hanging) is added by the
modules of this folder.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from mnist_lab import machine
from mnist_lab.engine.ledger import Ledger, Store
from mnist_lab.engine.master import Master
from mnist_lab.engine.pool import Pool, WorkerSlot
from mnist_lab.engine.transport import Nameserver, Token, new_credentials, secure
from mnist_lab.engine.worker import Orders
from mnist_lab.errors import LabError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnist_lab.config import TrainConfig
    from mnist_lab.engine.proposals import Proposals
    from mnist_lab.records import Event

__all__ = ["WorkerSlot", "run_trials"]

# How often the main thread looks after the workers and the screen.
TICK_S = 0.1
# A tick that took longer than this was no work: this process was suspended.
LONGEST_TICK_S = 1.0
# A worker that is stuck or cut off has cost more before it is one.
LOOK_FOR_LOST_S = 2.0

# Without a handler Python prints HpBandSter's warnings among our lines.
logging.getLogger("hpbandster").addHandler(logging.NullHandler())


def run_trials(
    *,
    proposals: Proposals,
    base: TrainConfig,
    history: Sequence[Event],
    emit: Callable[[Event], None],
    store: Store,
    trainer: str,
    arguments: dict[str, Any],
    files: Sequence[int] = (),
    places: Sequence[WorkerSlot],
    n_threads: int,
    host: str,
    announce: Callable[[str, str], None],
    patience_s: Callable[[TrainConfig], float],
    tick: Callable[[], None],
    note: Callable[[str], None],
) -> None:
    """Train everything that `proposals` propose and `history` does not know yet.

    Args:
        proposals: who proposes.
        base: the configuration that proposed hyperparameters are put into.
        history: the journal's events so far.
        emit: called with each new event, from several threads, one at a time.
        store: keeps checkpoints and models.
        trainer: `module:function`, see :class:`~mnist_lab.engine.worker.Orders`.
        arguments: of that function.
        files: descriptors that the workers of this machine inherit, under the same numbers.
        places: where workers run; they are started only if there is something to train. Without
            any the run waits for those that join.
        n_threads: of each worker.
        host: this machine's address for workers of others; loopback is for this one alone.
        announce: called with `HOST:PORT` and the :class:`Token` of the run as JSON, a secret.
        patience_s: how many seconds a worker may take for an epoch of a configuration before it
            counts as stuck and is replaced.
        tick: called about ten times a second from the calling thread; what it raises ends the run.
        note: called with a line about a worker that was lost or replaced.

    Raises:
        StudyError: a worker cannot start, or a thread of the engine died.
        LabError: what `emit` raised.
    """
    run_id, credentials = secrets.token_hex(8), new_credentials()
    secure(credentials)
    nameserver = Nameserver(run_id, host=host, port=0)
    _, port = nameserver.start()
    address: dict[str, Any] = {"nameserver": host, "nameserver_port": port}
    ledger = Ledger(history, base=base, emit=emit, store=store)
    try:
        master = Master(
            proposals=proposals, ledger=ledger, on_note=note, run_id=run_id, host=host, **address
        )
    except BaseException:
        nameserver.shutdown()
        raise
    dispatcher = master.dispatcher
    orders = Orders(
        trainer=trainer,
        arguments=arguments,
        run_id=run_id,
        host=machine.LOOPBACK,
        credentials=credentials,
        n_threads=n_threads,
        versions=machine.versions(),
        **address,
    )
    dispatcher.give_orders(orders.model_dump_json(exclude={"credentials"}))
    pool = Pool(orders, is_known=dispatcher.is_known, is_gone=dispatcher.is_gone, files=files)
    dispatcher.is_watched = lambda name: name in pool.names
    decisions = threading.Thread(target=master.run_guarded, name="master", daemon=True)
    decisions.start()
    try:
        token = Token(host=host, port=port, run_id=run_id, credentials=credentials)
        announce(f"{host}:{port}", token.model_dump_json())
        started = False
        clock_s, looked_s, last = 0.0, 0.0, time.monotonic()
        while decisions.is_alive():
            decisions.join(TICK_S)
            now = time.monotonic()
            clock_s += min(now - last, LONGEST_TICK_S)
            last = now
            if master.work_wanted.is_set() and not started:
                pool.start(places, clock_s)
                started = True
            dispatcher.clock_s = clock_s
            if clock_s - looked_s > LOOK_FOR_LOST_S:
                looked_s = clock_s
                dispatcher.give_up_stuck(patience_s)
                dispatcher.give_up_silent()
            for name, reason in pool.replace_dead(clock_s):
                dispatcher.worker_lost(name, reason)
            _raise_failure(dispatcher.failure)
            tick()
        _raise_failure(master.failure)
    finally:
        master.stop()
        dispatcher.shutdown()
        pool.stop()
        nameserver.shutdown()


def _raise_failure(failure: BaseException | None) -> None:
    if isinstance(failure, LabError):
        raise failure
    if failure is not None:
        raise StudyError(
            "the engine's threads live as long as the study",
            received=f"{type(failure).__name__}: {failure}",
            next_step="give the same command to continue",
        ) from failure
