"""Who proposes the next configuration: the one thing in which the experiments differ.

A proposal is drawn from (study seed, HpBandSter's id) alone, never from a generator that other
proposals have advanced, so it does not depend on how many workers there are or who was first.

With a single budget there is nothing to promote, so HpBandSter's base iteration is all it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from hpbandster.core.base_iteration import BaseIteration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Proposals(Protocol):
    """What the master asks for configurations."""

    n_iterations: int
    n_trainings: int

    def iteration(self, number: int, **options: Any) -> BaseIteration:
        """HpBandSter's iteration `number`, from 0; `options` are for its constructor."""


class Grid:
    """Given configurations, each repeated from several seeds, in the order given.

    The seed of a trial comes from its repeat alone, so the values of a sweep are compared on the
    same seeds, pair by pair.

    Args:
        configurations: the hyperparameters of each.
        repeats: trainings of each configuration.
        epochs: of each training.
        seed: of the study.
    """

    n_iterations = 1

    def __init__(
        self, configurations: Sequence[dict[str, Any]], *, repeats: int, epochs: int, seed: int
    ) -> None:
        self.n_trainings = len(configurations) * repeats
        self._epochs = epochs
        self._trials = [
            (configuration, {"seed": derive_seed(seed, repeat), "repeat": repeat})
            for configuration in configurations
            for repeat in range(1, repeats + 1)
        ]

    def iteration(self, number: int, **options: Any) -> BaseIteration:
        """All configurations, as one iteration."""
        trials = iter(self._trials)
        return BaseIteration(
            number, [self.n_trainings], [self._epochs], lambda _: next(trials), **options
        )


class RandomSearch:
    """Configurations drawn from a search space, one an iteration, as HpBandSter's own.

    Args:
        draw: one configuration of the search space, decided by the seed it is given.
        n_iterations: how many configurations.
        epochs: of each training.
        seed: of the study.
    """

    def __init__(
        self,
        draw: Callable[[int], dict[str, Any]],
        *,
        n_iterations: int,
        epochs: int,
        seed: int,
    ) -> None:
        self.n_iterations = self.n_trainings = n_iterations
        self._draw = draw
        self._epochs = epochs
        self._seed = seed

    def iteration(self, number: int, **options: Any) -> BaseIteration:
        """One configuration, drawn for this iteration."""

        def propose(_: float) -> tuple[dict[str, Any], dict[str, Any]]:
            seed = derive_seed(self._seed, number)
            return self._draw(seed), {"seed": seed}

        return BaseIteration(number, [1], [self._epochs], propose, **options)


def derive_seed(study_seed: int, *place: int) -> int:
    """The seed of the trial at `place`: below 2**31, different for different places.

    NumPy's `SeedSequence` mixes the numbers, so neighbours are independent.
    """
    return int(np.random.SeedSequence([study_seed, *place]).generate_state(1)[0]) >> 1
