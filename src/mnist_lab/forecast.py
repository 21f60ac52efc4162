"""How long the rest of a study takes, and how much of it fits before a deadline.

What an epoch costs is learned from the epochs that are done; the rest of the plan is then handed
out to the workers in thought, as the engine will hand it out in fact.
"""

from __future__ import annotations

import heapq
import math
import re
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnist_lab.errors import SettingsError
from mnist_lab.records import EpochDone, Event, Failed, Finished, Started, Trials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from mnist_lab.config import TrainConfig
    from mnist_lab.records import Trial

# Seconds for each unit of `_work`, fitted to the seven configurations that were measured first, on
# one core of an AMD EPYC with AVX-512. Other machines are faster or slower as a whole; what a
# machine's own epochs say counts more with each configuration.
FIRST_GUESS = np.array([0.024, 0.027, 2.7, 0.1, 0.16])
# How much the first guess counts, in configurations measured: on 50 random configurations the total
# of the rest was then forecast to 14 % after one, 7 % after five, 5 % after ten (medians of 40
# orders).
GUESS_WEIGHT = 0.3
# Building and compiling what a trial runs, in seconds, on the same machine.
SECONDS_TO_COMPILE = 0.6
# A worker is stuck when it is silent for so many times the forecast of an epoch, and for so long.
STUCK_FACTOR = 10.0
STUCK_S = 300.0

_UNITS_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Deadline(NamedTuple):
    """When a study must stop: at the earlier of two ends, each by the clock that it was meant by.

    Attributes:
        monotonic_s: the end of a duration, by a clock that nobody can set. Like all durations of a
            run, it leaves out the time that the machine sleeps.
        wall_s: a time of day, in seconds since 1970: where the wall clock is set, it moves too.
    """

    monotonic_s: float = math.inf
    wall_s: float = math.inf

    def seconds_left(self) -> float:
        """Until then, from now; below 0 afterwards."""
        return min(self.monotonic_s - time.monotonic(), self.wall_s - time.time())

    def words(self) -> str:
        """The time of day, such as "18:00", as the wall clock stands now."""
        now, left_s = time.time(), self.seconds_left()
        end = datetime.fromtimestamp(round(now + left_s)).astimezone()
        is_near = left_s < 600  # noqa: PLR2004 - minutes are coarse here
        words = end.strftime("%H:%M:%S" if is_near else "%H:%M")
        is_today = end.date() == datetime.fromtimestamp(now).astimezone().date()
        return words if is_today else f"{end:%A} {words}"


def deadline_of(time_limit: str | None, until: str | None) -> Deadline | None:
    """The earlier of a duration from now and a time of day; None without either.

    Args:
        time_limit: such as `2h`, `90m`, `1h30m`, `45s`.
        until: such as `18:00`, local time; one that has passed today means tomorrow.

    Raises:
        SettingsError: one of them cannot be read.
    """
    deadline = Deadline()
    if time_limit is not None:
        deadline = deadline._replace(monotonic_s=time.monotonic() + _seconds(time_limit))
    if until is not None:
        deadline = deadline._replace(wall_s=_next_time_of_day(until, time.time()))
    return None if deadline == Deadline() else deadline


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)(min|[smhd])", text)
    total = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 1 <= total < 1e8:  # noqa: PLR2004
        raise SettingsError(
            "a time limit is a duration of at least a second, such as 2h, 90m or 1h30m",
            received=repr(text),
            next_step="correct --time-limit",
        )
    return total


def _next_time_of_day(text: str, now: float) -> float:
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        raise SettingsError(
            "a time of day is hours and minutes, 00:00 to 23:59, such as 18:00",
            received=repr(text),
            next_step="correct --until",
        )
    # Naive local time: the day on which the clocks change is as long as the wall clock says.
    moment = datetime.fromtimestamp(now)  # noqa: DTZ006
    end = moment.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
    if end <= moment:
        end += timedelta(days=1)
    return end.timestamp()


class CostModel:
    """What an epoch of a configuration costs on this machine, learned from those that are done.

    The seconds of an epoch are a sum of non-negative shares: the multiplications of the first and
    of the second convolution, what is done once for each activation, each image and each step.
    The shares are fitted by least squares of the relative errors, drawn towards a first guess that
    is scaled to the machine.

    Args:
        n_images: that an epoch trains on.
    """

    def __init__(self, n_images: int) -> None:
        self._n_images = n_images
        self._seconds: dict[tuple[int, int, int], list[float]] = {}
        self._shares: NDArray[np.float64] | None = FIRST_GUESS

    def learn(self, config: TrainConfig, seconds: float) -> None:
        """Take in an epoch of `config` that took so many seconds, above 0."""
        shape = (config.batch_size, config.num_filters, config.filter_size)
        self._seconds.setdefault(shape, []).append(seconds)
        self._shares = None

    def epoch_s(self, config: TrainConfig) -> float:
        """Seconds that an epoch of `config` will take, by all that is known."""
        shape = (config.batch_size, config.num_filters, config.filter_size)
        if shape in self._seconds:
            return median(self._seconds[shape])
        if self._shares is None:
            self._shares = self._fit()
        return float(self._work(*shape) @ self._shares)

    def _fit(self) -> NDArray[np.float64]:
        from scipy.optimize import nnls  # type: ignore[import-untyped]  # half a second, to train only

        work = np.array([self._work(*shape) for shape in self._seconds])
        seconds = np.array([median(times) for times in self._seconds.values()])
        guess = FIRST_GUESS * np.exp(np.median(np.log(seconds / (work @ FIRST_GUESS))))
        # In units of the guess, so that each share is drawn towards 1.
        rows = np.vstack([work * guess / seconds[:, None], np.sqrt(GUESS_WEIGHT) * np.eye(5)])
        target = np.concatenate([np.ones(len(seconds)), np.full(5, np.sqrt(GUESS_WEIGHT))])
        factors, _ = nnls(rows, target)
        return guess * factors  # type: ignore[no-any-return]  # SciPy is untyped

    def _work(self, batch_size: int, filters: int, side: int) -> NDArray[np.float64]:
        """What an epoch consists of: convolution 1 and 2, activations, images, steps."""
        n, area = self._n_images, side**2
        first, second = n * filters * area * 28**2, n * filters**2 * area * 14**2
        activations, steps = n * filters * 28**2, np.ceil(n / batch_size)
        return np.array([first / 1e9, second / 1e9, activations / 1e9, n / 1e5, steps / 1e3])


class Forecast:
    """Follows a study's events and tells how long the rest takes; safe to use from several threads.

    `trials` are as they stand now; `since` tells of each that a worker trains when it last told
    something, by the monotonic clock.

    Args:
        planned: the configurations of all trials, in the order they are handed out.
        trials: those that the journal knows already.
        promotions: stand-ins for the trials that will be promoted, with the epochs that are added.
        n_images: that an epoch trains on.
        n_workers: trials at the same time.
        deadline: when the study must stop.
    """

    def __init__(
        self,
        planned: Sequence[TrainConfig],
        trials: Iterable[Trial] = (),
        *,
        promotions: Sequence[TrainConfig] = (),
        n_images: int,
        n_workers: int,
        deadline: Deadline | None = None,
    ) -> None:
        self.n_trainings = len(planned) + len(promotions)
        self.noun = "trainings" if promotions else "trials"
        self.deadline = deadline
        self._lock = threading.Lock()
        self._costs = CostModel(n_images)
        self._n_workers = n_workers
        self._knows_speed = False
        self._planned, self._promotions = planned, promotions
        self.trials = Trials(known=trials)
        self.since: dict[int, float] = {}
        for trial in self.trials:
            for epoch in trial.epochs:
                self._learn(trial.configuration, epoch.duration_s)

    def update(self, event: Event) -> None:
        """Follow one event."""
        with self._lock:
            self.trials.apply(event)
            if isinstance(event, EpochDone):
                config = self.trials.numbered(event.trial).configuration
                self._learn(config, event.epoch.duration_s)
            if isinstance(event, Started | EpochDone):
                self.since[event.trial] = time.monotonic()
            elif isinstance(event, Finished | Failed):
                self.since.pop(event.trial, None)

    def patience_s(self, config: TrainConfig) -> float:
        """How long a worker may be silent before it counts as stuck: seconds, at least 300."""
        with self._lock:
            return max(STUCK_S, STUCK_FACTOR * self._costs.epoch_s(config))

    def seconds_left(self) -> float | None:
        """Until everything is trained; None before the first epoch."""
        now = time.monotonic()
        with self._lock:
            return max(self._ends(now), default=now) - now if self._knows_speed else None

    def words(self) -> str:
        """How much will be done by the deadline; empty without one, or before the first epoch."""
        if self.deadline is None or not self._knows_speed:
            return ""
        with self._lock:
            now, left_s = time.monotonic(), self.deadline.seconds_left()
            n_late = sum(end - now > left_s for end in self._ends(now))
        n_all = self.n_trainings
        many = f"{n_all - n_late} of {n_all}" if n_late else f"all {n_all}"
        return f"{many} {self.noun} will fit before {self.deadline.words()}"

    def _learn(self, config: TrainConfig, seconds: float) -> None:
        if seconds > 0:
            self._costs.learn(config, seconds)
            self._knows_speed = True

    def _ends(self, now: float) -> list[float]:
        """When each trial that is left will end."""
        ends = []
        for number, since in self.since.items():
            trial = self.trials.numbered(number)
            n_left = trial.configuration.epochs - len(trial.epochs)
            ends.append(max(since + n_left * self._costs.epoch_s(trial.configuration), now))
        free = [*ends, *[now] * (self._n_workers - len(ends))]
        heapq.heapify(free)
        for config, n_left in self._waiting():
            seconds = n_left * self._costs.epoch_s(config) + SECONDS_TO_COMPILE
            start = heapq.heapreplace(free, free[0] + seconds)
            ends.append(start + seconds)
        return ends

    def _waiting(self) -> Iterator[tuple[TrainConfig, int]]:
        """What nobody trains yet, with its epochs left."""
        promoted: Counter[int] = Counter()
        for trial in self.trials:
            config = trial.configuration
            if trial.ended is None and trial.trial not in self.since:
                yield config, config.epochs - len(trial.epochs)
            budgets = dict.fromkeys([*(rung.budget for rung in trial.rungs), config.epochs])
            promoted.update(after - before for before, after in pairwise(budgets))
        for config in self._planned[len(self.trials) :]:
            yield config, config.epochs
        for config in self._promotions:
            # A stand-in holds the place of one that is not known yet.
            promoted[config.epochs] -= 1
            if promoted[config.epochs] < 0:
                yield config, config.epochs
