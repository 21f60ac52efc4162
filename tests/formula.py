"""A trainer that computes a formula instead of training, so that the engine's tests take seconds.

Worker processes import it by name. What goes wrong is told by environment variables: a trial is
named by its batch size, `*` means every trial.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.errors import DataError
from mnist_lab.records import Checkpoint, Epoch, Mistake, Result, Step, TestScore

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnist_lab.config import TrainConfig

# What FORMULA_LEAKS_MIB leaks in each epoch after the first.
hoard: list[bytes] = []


def error_of(config: TrainConfig, seed: int, epoch: float) -> float:
    """The formula: between 0 and 1, different for different trials, falling with the epochs."""
    size = config.batch_size + config.filter_size + 1000 * config.learning_rate
    return 1 / (1 + epoch + size + seed % 7)


def score_of(seed: int) -> TestScore:
    """The formula's test: of 71 images of each digit, up to 7 are taken for the next one."""
    n_wrong = [seed >> digit & 7 for digit in range(10)]
    return TestScore(
        test_error=sum(n_wrong) / 710,
        test_loss=sum(n_wrong) / 71,
        confusion=tuple(
            tuple(
                71 - wrong if column == row else wrong * (column == (row + 1) % 10)
                for column in range(10)
            )
            for row, wrong in enumerate(n_wrong)
        ),
        mistakes=(Mistake(image=seed % 710, true=4, predicted=5, confidence=0.875),),
    )


def open_formula(*, final: bool = False, **_: Any) -> Callable[..., Step]:
    """What a worker trains with; FORMULA_UNUSABLE makes it raise, FORMULA_ASLEEP sleep."""
    if os.environ.get("FORMULA_ASLEEP"):
        time.sleep(1000)
    if os.environ.get("FORMULA_UNUSABLE"):
        raise DataError("the formula has no data", next_step="give it some")
    return partial(_train, final=final)


def _train(
    config: TrainConfig, seed: int, start: Checkpoint | None, stop: float, *, final: bool = False
) -> Step:
    if start is not None:
        assert start.state == f"after epoch {start.epoch.epoch}".encode()
    before = number = start.epoch.epoch if start else 0
    if number < config.epochs:
        number = stop
        assert before < stop <= min(int(before) + 1, config.epochs)
        time.sleep(float(os.environ.get("FORMULA_SECONDS", "0.001")))
        _perhaps_fail(config, number)
        error = error_of(config, seed, number)
        epoch = Epoch(
            epoch=number,
            train_loss=error * config.filter_size,
            train_error=error / 2,
            valid_loss=error * config.num_filters,
            valid_error=error,
            n_valid=None if number >= 1 else 100,
            duration_s=config.filter_size / 1000 * (number - before),
        )
        start = Checkpoint(epoch, f"after epoch {number}".encode())
    assert start is not None
    if number < config.epochs:
        return Step(start)
    loss = error_of(config, seed, config.epochs)
    return Step(start, Result(loss=loss, test=score_of(seed) if final else None), b"a model")


def _is_first(path: str) -> bool:
    """Whether this process made the file, as one of several does."""
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _perhaps_fail(config: TrainConfig, epoch: float) -> None:
    if epoch < 2:
        return
    if os.environ.get("FORMULA_RAISES") in {"*", str(config.batch_size)}:
        raise ValueError(f"no formula for batch size {config.batch_size}")
    if os.environ.get("FORMULA_DIES") in {"*", str(config.batch_size)}:
        os.kill(os.getpid(), signal.SIGKILL)
    once = os.environ.get("FORMULA_DIES_ONCE")  # a file that the first death leaves behind
    if once and _is_first(once):
        os.kill(os.getpid(), signal.SIGKILL)
    stuck = os.environ.get("FORMULA_STUCK_ONCE")
    if stuck and _is_first(stuck):
        os.kill(os.getpid(), signal.SIGSTOP)
    hoard.append(b"x" * (int(os.environ.get("FORMULA_LEAKS_MIB", "0")) << 20))
