"""A worker process: loads what it trains with once, then trains one trial after the other.

Its process calls :func:`main`; the first line of its standard input tells it what to do
(:class:`Orders`). The input stays open while its parent lives: at its end the worker ends too, so
none is left behind, however the parent died.

The dispatcher may be on another machine. While it cannot be reached a call is tried again; one that
has given this worker up says so, and the worker ends, for its parent to start a fresh one.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, cast

import psutil
import Pyro4
import Pyro4.errors
from hpbandster.core import worker as hpbandster_worker

from mnist_lab import machine
from mnist_lab.config import Frozen
from mnist_lab.engine.transport import (
    CALL_S,
    Credentials,
    dispatcher_of,
    nameserver_at,
    secure,
)
from mnist_lab.engine.wire import from_wire, to_wire
from mnist_lab.errors import ExitCode, LabError
from mnist_lab.records import Proposed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import ModuleType

    from mnist_lab.config import TrainConfig
    from mnist_lab.records import Checkpoint, HpBandSterId, Result

    Train = Callable[
        [TrainConfig, int, Checkpoint | None],
        Generator[Checkpoint, None, tuple[Result, bytes | None]],
    ]


# TensorFlow and oneDNN keep what they compiled for each shape: 0.1 GiB after 50 trials of the
# exercise's search space. A worker that grew by more than this since its first trial is started
# anew, which takes seconds.
MOST_GROWTH_GIB = 0.5
# How often a worker gives a sign of life, and how long it waits before it tries a call again.
HEARTBEAT_S = 3.0
RETRY_S = 1.0
# Keras imports these where they are installed, and training needs none: without them, and without
# looking for garbage, `import keras` takes 2.5 s of processor time instead of 5.4, and 200 MB that
# no other process shares instead of 287.
UNWANTED = ("IPython", "matplotlib", "pandas", "sklearn")


class Orders(Frozen):
    """What a worker is told when it starts.

    `trainer` names a function as `module:function`; called with `arguments` it returns the function
    that trains one trial (`mnist_lab.training.open_trainer` is the real one).
    """

    trainer: str
    arguments: dict[str, Any]
    run_id: str
    host: str
    nameserver: str
    nameserver_port: int
    credentials: Credentials
    n_threads: int
    # Package to version, where the run was started.
    versions: dict[str, str]
    # Makes the worker's name its own, where two machines share a host name.
    tag: str = ""


class Worker(hpbandster_worker.Worker):  # type: ignore[misc]  # HpBandSter is untyped
    """HpBandSter's worker, training with `train` and reporting each epoch.

    Args:
        train: trains one trial.
        orders: where the nameserver is, and under which run to register.
    """

    def __init__(self, train: Train, orders: Orders) -> None:
        super().__init__(
            orders.run_id,
            nameserver=orders.nameserver,
            nameserver_port=orders.nameserver_port,
            host=orders.host,
            logger=logging.getLogger("hpbandster"),
            id=orders.tag,
        )
        self._train = train
        self._dispatcher: Any = None
        self._turn = 0
        self._one_at_a_time = threading.Lock()
        self._first_gib: float | None = None

    def serve(self) -> None:
        """Register, announce, and take jobs until the process ends.

        HpBandSter announces before it registers, and may then wait a minute to be found.
        """
        self.pyro_daemon = Pyro4.Daemon(host=self.host)
        uri = self.pyro_daemon.register(self, self.worker_id)
        _until_heard(lambda: self._announce(uri))
        threading.Thread(target=self._give_signs_of_life, daemon=True).start()
        self.pyro_daemon.requestLoop()

    def _announce(self, uri: Any) -> None:
        with nameserver_at(self.nameserver, self.nameserver_port) as names:
            names.register(self.worker_id, uri)
        with self._dispatcher_proxy() as dispatcher:
            dispatcher.trigger_discover_worker()

    def _dispatcher_proxy(self) -> Any:
        return dispatcher_of(self.nameserver, self.nameserver_port, self.run_id)

    def _give_signs_of_life(self) -> None:
        with _until_heard(self._dispatcher_proxy) as dispatcher:
            while True:
                time.sleep(HEARTBEAT_S)
                _until_heard(lambda: _end_unless(dispatcher.heartbeat(self.worker_id)))

    @Pyro4.expose  # type: ignore[untyped-decorator]  # Pyro4 is untyped
    @Pyro4.oneway  # type: ignore[untyped-decorator]
    def start_computation(
        self,
        callback: Any,
        id: HpBandSterId,  # noqa: A002 - as HpBandSter
        *,
        turn: int,
        **kwargs: Any,
    ) -> None:
        """Train a trial; `callback` is the dispatcher, which takes its epochs and its result.

        `turn` is given back with each, so that one which is told twice counts once.
        A worker whose memory grew too much says so with the result, and ends: it gets no other.
        """
        with self._one_at_a_time:
            self._turn = turn
            if self._dispatcher is None:
                # Kept for the trials to come: the handshake of a connection takes milliseconds.
                self._dispatcher = callback
                callback._pyroTimeout = CALL_S  # noqa: SLF001 - Pyro4's documented setting
            result: dict[str, Any] = {"result": None, "exception": None}
            try:
                result["result"] = self.compute(config_id=id, **kwargs)
            except Exception as problem:  # noqa: BLE001 - whatever ended the trial is its result
                result["exception"] = str(machine.shortage(problem) or traceback.format_exc())
            leaves = self._growth()
            told = (id, result, self.worker_id, turn, leaves)
            _until_heard(lambda: self._dispatcher.register_result(*told))
            if leaves:
                os._exit(ExitCode.DONE)

    def _growth(self) -> str | None:
        """How much its memory grew since its first trial, in words, if that is too much."""
        gib = psutil.Process().memory_info().rss / 2**30
        if self._first_gib is None:
            self._first_gib = gib
        if gib - self._first_gib <= MOST_GROWTH_GIB:
            return None
        return f"its memory grew from {self._first_gib:.1f} to {gib:.1f} GiB"

    def compute(
        self,
        config_id: HpBandSterId,
        trial: str,
        start: dict[str, Any] | None,
        **_: Any,
    ) -> dict[str, Any]:
        """Train `trial`, a :class:`~mnist_lab.records.Proposed` as JSON, from `start` on.

        Returns:
            HpBandSter's `{"loss": ..., "info": ...}`, with the outcome as JSON and the model, if it
            is kept.
        """
        proposed = Proposed.model_validate_json(trial)
        steps = self._train(
            proposed.configuration, proposed.seed, from_wire(start) if start else None
        )
        while True:
            try:
                checkpoint = next(steps)
            except StopIteration as end:
                outcome, model = end.value
                break
            self._report(config_id, to_wire(checkpoint))
        return {
            "loss": outcome.loss,
            "info": {
                "outcome": outcome.model_dump_json(),
                "model": model,
            },
        }

    def _report(self, config_id: HpBandSterId, checkpoint: dict[str, Any]) -> None:
        """Tell the dispatcher of an epoch; end if it does not want to hear of it."""
        _until_heard(
            lambda: _end_unless(
                self._dispatcher.register_epoch(config_id, self.worker_id, self._turn, checkpoint)
            )
        )


def main() -> int:
    """Read the orders, load the trainer, serve."""
    orders = Orders.model_validate_json(sys.stdin.readline())
    try:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        secure(orders.credentials)
        train = _imported(orders.trainer)(**orders.arguments)
        Worker(train, orders).serve()
    except Exception as problem:
        expected = problem if isinstance(problem, LabError) else machine.shortage(problem)
        if expected is None:
            raise
        sys.stderr.write(f"{expected}\n")
        return expected.exit_code
    return ExitCode.DONE


def _imported(name: str) -> Callable[..., Train]:
    """The function `module:function`."""
    module, function = name.split(":")
    sys.modules.update(dict.fromkeys(UNWANTED, cast("ModuleType", None)))
    gc.disable()  # importing makes many objects and no garbage
    try:
        found: Callable[..., Train] = getattr(importlib.import_module(module), function)
    finally:
        gc.enable()
        gc.freeze()
        for unwanted in UNWANTED:
            del sys.modules[unwanted]
    return found


def _until_heard(call: Callable[[], Any]) -> Any:
    """Call until it gets through: a cable may be out, and the parent knows how long to wait."""
    while True:
        try:
            return call()
        except Pyro4.errors.CommunicationError:
            time.sleep(RETRY_S)


def _end_unless(wanted: bool) -> None:  # noqa: FBT001 - what the dispatcher answered
    """End this process if the dispatcher has given it up."""
    if not wanted:
        os._exit(ExitCode.DONE)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(ExitCode.TERMINATED)
