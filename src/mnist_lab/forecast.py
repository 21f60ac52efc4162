"""How long the rest of a study takes, and how much of it fits before a deadline.

The cost of an epoch is learned from the epochs done so far. A simulation then hands out the rest of
the plan to the workers, as the engine will.
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

from mnist_lab.config import describe_brackets, whole
from mnist_lab.errors import SettingsError
from mnist_lab.records import EpochDone, Event, Failed, Finished, Started, Trials
from mnist_lab.words import counted, epochs_text, roughly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnist_lab.config import Bracket, StudySettings, TrainConfig
    from mnist_lab.records import Trial

# Seconds of 10^9 multiplications in each convolution, 10^9 activations, 10^5 images and 10^3 steps:
# fitted to seven configurations on one core of an AMD EPYC with AVX-512. Scaled by a run's own
# epochs they told the rest of four searches to 12 % after one configuration, 7 % after five, 8 %
# after ten (of the medians of 40 orders the worst).
FIRST_GUESS = (0.024, 0.027, 2.7, 0.1, 0.16)
# How long the validation after a part of an epoch takes, as a part of an epoch: of 8, 22 and 54
# filters 0.017, 0.019 and 0.016 (docs/performance/short.json).
VALIDATION = 0.017
# A worker is stuck when it is silent for so many times the forecast of an epoch, and for so long.
STUCK_FACTOR = 10.0
STUCK_S = 300.0

_UNITS_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Deadline(NamedTuple):
    """When a study must stop: the earlier of two ends, each by its own clock."""

    # The end of a duration, by a clock that nobody can set and that stops while the machine sleeps.
    monotonic_s: float = math.inf
    # A time of day, in seconds since 1970: where the wall clock is set, it moves too.
    wall_s: float = math.inf

    def seconds_left(self) -> float:
        """Seconds from now until then; below 0 afterwards."""
        return min(self.monotonic_s - time.monotonic(), self.wall_s - time.time())

    def words(self) -> str:
        """The time of day, such as "18:00", by the current wall clock."""
        now, left_s = time.time(), self.seconds_left()
        end = datetime.fromtimestamp(round(now + left_s)).astimezone()
        is_near = left_s < 600  # noqa: PLR2004 - minutes are coarse here
        words = end.strftime("%H:%M:%S" if is_near else "%H:%M")
        is_today = end.date() == datetime.fromtimestamp(now).astimezone().date()
        return words if is_today else f"{end:%A} {words}"


def deadline_of(time_limit: str | None, until: str | None) -> Deadline | None:
    """The earlier of a duration such as `1h30m` from now and a time of day such as `18:00`.

    None without either. Local time; one that has passed today means tomorrow. A SettingsError if
    one of them cannot be read.
    """
    deadline = Deadline()
    if time_limit is not None:
        deadline = deadline._replace(monotonic_s=time.monotonic() + _seconds(time_limit))
    if until is not None:
        deadline = deadline._replace(wall_s=_next_time_of_day(until))
    return None if deadline == Deadline() else deadline


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)(min|[smhd])", text)
    total = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if "".join(map("".join, parts)) != text or not 1 <= total < 1e8:  # noqa: PLR2004
        problem = f"--time-limit: {text!r} is not a duration of a second or more"
        raise SettingsError(problem, next_step="write it as 2h, 90m or 1h30m")
    return total


def _next_time_of_day(text: str) -> float:
    if (match := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)) is None:
        problem = f"--until: {text!r} is not a time of day"
        raise SettingsError(problem, next_step="write it as 18:00, from 00:00 to 23:59")
    # Naive local time: the day on which the clocks change is as long as the wall clock says.
    now = datetime.fromtimestamp(time.time())  # noqa: DTZ006
    end = now.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
    return (end + timedelta(days=end <= now)).timestamp()


class CostModel:
    """The cost of an epoch of a configuration on `n_images`: a guess, scaled by measured ones."""

    def __init__(self, n_images: int) -> None:
        self._n_images = n_images
        self.seconds: dict[tuple[int, int, int], list[float]] = {}
        self._scale: float | None = 1.0

    def learn(self, config: TrainConfig, part: float, seconds: float) -> None:
        """Learn that a part of an epoch of `config` took so many seconds; 0 is ignored."""
        if part < 1:
            seconds /= part + VALIDATION
        if seconds > 0:
            self.seconds.setdefault(_shape(config), []).append(seconds)
            self._scale = None

    def epoch_s(self, config: TrainConfig) -> float:
        """The expected seconds of an epoch of `config`."""
        if known := self.seconds.get(_shape(config)):
            return median(known)
        if self._scale is None:
            ratios = (median(took) / self._guess_s(*one) for one, took in self.seconds.items())
            self._scale = median(ratios)
        return self._scale * self._guess_s(*_shape(config))

    def _guess_s(self, batch_size: int, filters: int, side: int) -> float:
        n, area = self._n_images, side**2
        first, second = n * filters * area * 28**2, n * filters**2 * area * 14**2
        activations, steps = n * filters * 28**2, math.ceil(n / batch_size)
        work = (first / 1e9, second / 1e9, activations / 1e9, n / 1e5, steps / 1e3)
        return sum(a * b for a, b in zip(work, FIRST_GUESS, strict=True))


def _shape(config: TrainConfig) -> tuple[int, int, int]:
    return config.batch_size, config.num_filters, config.filter_size


class Running(NamedTuple):
    """A trial in training, its current position in epochs, and its seconds left.

    The seconds are None before the first epoch of any trial.
    """

    trial: Trial
    position: float
    left_s: float | None


class Forecast:
    """Follows a study's events and predicts how long the rest takes; safe for several threads.

    `trials` are in their current state. `since` has the monotonic time of the last news of each
    trial in training. `promotions` are placeholders for the trials to be promoted, with the added
    epochs. `planned` has the configurations of all trials, in the order of their start; `n_workers`
    are trained at the same time. An epoch trains on `n_images`.
    """

    def __init__(
        self,
        planned: Sequence[TrainConfig],
        trials: Iterable[Trial] = (),  # those that the journal knows already
        *,
        promotions: Sequence[TrainConfig] = (),
        n_images: int,
        n_workers: int,
        deadline: Deadline | None = None,
        brackets: Sequence[Bracket] = (),
    ) -> None:
        self.n_trainings = len(planned) + len(promotions)
        self.noun = "trainings" if promotions else "trials"
        self.deadline, self.brackets = deadline, brackets
        self.trials = Trials(known=trials)
        self.since: dict[int, float] = {}
        self._lock = threading.Lock()
        self._costs = CostModel(n_images)
        self.n_workers, self.planned, self._promotions = n_workers, planned, promotions
        for trial in self.trials:
            for epoch, part in zip(trial.epochs, trial.parts, strict=True):
                self._costs.learn(trial.configuration, part, epoch.duration_s)

    def update(self, event: Event) -> None:
        """Follow one event."""
        with self._lock:
            self.trials.apply(event)
            if isinstance(event, EpochDone):
                trial = self.trials.numbered(event.trial)
                self._costs.learn(trial.configuration, trial.parts[-1], event.epoch.duration_s)
            if isinstance(event, Started | EpochDone):
                self.since[event.trial] = time.monotonic()
            elif isinstance(event, Finished | Failed):
                self.since.pop(event.trial, None)

    def replan(self, planned: Sequence[TrainConfig]) -> None:
        """Accept a shorter plan: a race has dropped some."""
        with self._lock:
            self.planned = planned
            self.n_trainings = len(planned) + len(self._promotions)

    def patience_s(self, config: TrainConfig) -> float:
        """How long a worker may be silent before it counts as stuck: seconds, at least 300."""
        with self._lock:
            return max(STUCK_S, STUCK_FACTOR * self._costs.epoch_s(config))

    def seconds_left(self) -> float | None:
        """Seconds until everything is trained; None before the first epoch."""
        return self.rough_s() if self._costs.seconds else None

    def rough_s(self) -> float:
        """Seconds until everything is trained; a guess before the first measured epoch."""
        now = time.monotonic()
        with self._lock:
            return max(self._ends(now), default=now) - now

    def running(self) -> list[Running]:
        """The trials in training now, by number."""
        with self._lock:
            numbers = sorted(self.since)
            return [self._running(self.trials.numbered(number)) for number in numbers]

    def _running(self, trial: Trial) -> Running:
        n_left, left_s = trial.configuration.epochs - trial.n_epochs, None
        position = trial.n_epochs
        if self._costs.seconds:
            cost_s = self._costs.epoch_s(trial.configuration)
            silent_s = time.monotonic() - self.since[trial.trial]
            # It is there when it says so.
            position += min(silent_s / cost_s, 0.95 * min(n_left, 1))
            left_s = (trial.configuration.epochs - position) * cost_s
        return Running(trial, position, left_s)

    def share_done(self) -> float:
        """The share of the work that is done, from 0 to 1, weighing each epoch by its cost."""
        done_s = left_s = 0.0
        with self._lock:
            positions = {n: self._running(self.trials.numbered(n)).position for n in self.since}
            for trial in self.trials:
                cost_s = self._costs.epoch_s(trial.configuration)
                position = positions.get(trial.trial, trial.n_epochs)
                done_s += cost_s * position
                if trial.trial in positions:
                    left_s += cost_s * (trial.configuration.epochs - position)
            left_s += sum(n_left * self._costs.epoch_s(one) for one, n_left in self._waiting())
        return done_s / (done_s + left_s) if done_s else 0.0

    def words(self) -> str:
        """How much will be done by the deadline, in words; empty without one or before epoch 1."""
        if self.deadline is None or not self._costs.seconds:
            return ""
        with self._lock:
            now, left_s = time.monotonic(), self.deadline.seconds_left()
            n_late = sum(end - now > left_s for end in self._ends(now))
        n_all = self.n_trainings
        many = f"{n_all - n_late} of {n_all}" if n_late or n_all == 1 else f"all {n_all}"
        return f"{many} {self.noun} will fit before {self.deadline.words()}"

    def _ends(self, now: float) -> list[float]:
        """The end of each remaining trial."""
        ends = []
        for number, since in self.since.items():
            trial = self.trials.numbered(number)
            n_left = trial.configuration.epochs - trial.n_epochs
            ends.append(max(since + n_left * self._costs.epoch_s(trial.configuration), now))
        free = [*ends, *[now] * (self.n_workers - len(ends))]
        heapq.heapify(free)
        for config, n_left in self._waiting():
            seconds = n_left * self._costs.epoch_s(config)
            start = heapq.heapreplace(free, free[0] + seconds)
            ends.append(start + seconds)
        return ends

    def _waiting(self) -> Iterator[tuple[TrainConfig, float]]:
        """The trials not in training yet, with their epochs left."""
        promoted: Counter[float] = Counter()
        for trial in self.trials:
            config = trial.configuration
            if trial.ended is None and trial.trial not in self.since:
                yield config, config.epochs - trial.n_epochs
            budgets = dict.fromkeys([*(rung.budget for rung in trial.rungs), config.epochs])
            promoted.update(whole(after - before) for before, after in pairwise(budgets))
        for config in self.planned[len(self.trials) :]:
            yield config, config.epochs
        for config in self._promotions:
            # A stand-in holds the place of one that is not known yet.
            promoted[config.epochs] -= 1
            if promoted[config.epochs] < 0:
                yield config, config.epochs


def in_prospect(settings: StudySettings, forecast: Forecast) -> str:
    """What a study will train and roughly how long it takes, in words."""
    what = f"{counted(settings.n_trials, 'trial')} of {epochs_text(settings.base.epochs)}"
    if settings.brackets:
        what = describe_brackets(settings.brackets)
    elif settings.configurations:
        what = f"up to {counted(settings.n_trials, 'trial')}"  # of as many epochs as each has
    return what + rough_text(settings, forecast)


def rough_text(settings: StudySettings, forecast: Forecast) -> str:
    """`; roughly 3 min to 6 min with 2 workers`; empty on a GPU, where it cannot be predicted.

    The reference runs, on a machine whose cores share their units, took up to twice the guess.
    """
    if settings.device != "cpu" or not (seconds := forecast.rough_s()):
        return ""
    left = " left" * any(trial.epochs for trial in forecast.trials)
    low, high = roughly(seconds), roughly(2 * seconds)
    guess = low + f" to {high}" * (low != high)
    return f"; roughly {guess}{left} with {counted(forecast.n_workers, 'worker')}"
