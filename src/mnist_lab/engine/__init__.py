"""HpBandSter made dependable: proposals, the resumable master, worker processes.

:func:`run_trials` is the only door. HpBandSter decides and distributes; what it lacks (resuming,
noticing the dead, ending instead of hanging) is added by the modules of this folder.
"""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING, Any

from hpbandster.core.nameserver import NameServer

from mnist_lab.engine.ledger import Ledger, Store
from mnist_lab.engine.master import Master
from mnist_lab.engine.pool import Place, Pool
from mnist_lab.engine.worker import Orders
from mnist_lab.errors import LabError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnist_lab.config import TrainConfig
    from mnist_lab.engine.proposals import Proposals
    from mnist_lab.records import Event

__all__ = ["Place", "run_trials"]

LOOPBACK = "127.0.0.1"
# How often the main thread looks after the workers and the screen.
TICK_S = 0.1

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
    places: Sequence[Place],
    tick: Callable[[], None],
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
        places: where workers run; they are started only if there is something to train.
        tick: called about ten times a second from the calling thread; what it raises ends the run.

    Raises:
        StudyError: a worker cannot start, or a thread of the engine died.
        LabError: what `emit` raised.
    """
    run_id = secrets.token_hex(8)
    nameserver = NameServer(run_id, host=LOOPBACK, port=0)
    host, port = nameserver.start()
    address: dict[str, Any] = {"host": LOOPBACK, "nameserver": host, "nameserver_port": port}
    ledger = Ledger(history, base=base, emit=emit, store=store)
    try:
        master = Master(proposals=proposals, ledger=ledger, run_id=run_id, **address)
    except BaseException:
        nameserver.shutdown()
        raise
    dispatcher = master.dispatcher
    pool = Pool(
        Orders(trainer=trainer, arguments=arguments, run_id=run_id, **address),
        is_known=dispatcher.is_known,
    )
    decisions = threading.Thread(target=master.run_guarded, name="master", daemon=True)
    decisions.start()
    try:
        started = False
        while decisions.is_alive():
            decisions.join(TICK_S)
            if master.work_wanted.is_set() and not started:
                pool.start(places)
                started = True
            for name, reason in pool.replace_dead():
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
