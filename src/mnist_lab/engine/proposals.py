"""Who proposes the next configuration: the one thing in which the experiments differ.

A proposal is drawn from (study seed, HpBandSter's id), never from a generator that other proposals
have advanced, so it does not depend on how many workers there are or who was first. Those of BOHB
depend on the results that are known, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from hpbandster.core.base_iteration import BaseIteration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpbandster.core.dispatcher import Job
    from numpy.typing import NDArray

    from mnist_lab.config import Bracket
    from mnist_lab.engine.density import DensityModel
    from mnist_lab.records import HpBandSterId

    # A configuration of the search space, decided by the seed.
    Draw = Callable[[int], dict[str, Any]]


class Proposals(Protocol):
    """What the master asks for configurations."""

    n_iterations: int

    def iteration(self, number: int) -> Iteration:
        """HpBandSter's iteration `number`, from 0."""

    def new_result(self, job: Job) -> None:
        """A training ended."""


class Iteration(BaseIteration):  # type: ignore[misc]  # HpBandSter is untyped
    """HpBandSter's iteration by successive halving, which tells the proposals the id.

    Args:
        number: of the iteration.
        bracket: how many configurations are trained at each rung, and for how long.
        propose: the hyperparameters of the configuration with this id.
        trace: its `seed` and, if it has one, its `repeat`.
    """

    def __init__(
        self,
        number: int,
        bracket: Bracket,
        propose: Callable[[HpBandSterId], dict[str, Any]],
        trace: Callable[[HpBandSterId], dict[str, Any]],
    ) -> None:
        # HpBandSter changes the list of what it still has to propose.
        super().__init__(number, list(bracket.n_configs), bracket.epochs, None)
        self._propose = propose
        self._trace = trace

    def add_configuration(self, config: Any = None, config_info: Any = None) -> HpBandSterId:
        """Propose the next configuration of the rung."""
        del config, config_info  # HpBandSter gives none here
        id_ = (self.HPB_iter, self.stage, self.actual_num_configs[self.stage])
        added: HpBandSterId = super().add_configuration(self._propose(id_), self._trace(id_))
        return added

    def _advance_to_next_stage(
        self, config_ids: Sequence[HpBandSterId], losses: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """The best of a rung go on; HpBandSter's rule, in which the first of equals wins."""
        del config_ids
        ranks: NDArray[np.int64] = np.argsort(np.argsort(losses, kind="stable"), kind="stable")
        promoted: NDArray[np.bool_] = ranks < self.num_configs[self.stage]
        return promoted


class Grid:
    """Given configurations, each repeated from several seeds, in the order given.

    The seed of a trial comes from its repeat alone, so the values of a sweep are compared on the
    same seeds, pair by pair.

    Args:
        configurations: the hyperparameters of each.
        repeats: trainings of each configuration.
        bracket: all of them, up to the epochs of each.
        seed: of the study.
    """

    n_iterations = 1

    def __init__(
        self,
        configurations: Sequence[dict[str, Any]],
        *,
        repeats: int,
        bracket: Bracket,
        seed: int,
    ) -> None:
        self._bracket = bracket
        self._trials = [
            (configuration, {"seed": derive_seed(seed, repeat), "repeat": repeat})
            for configuration in configurations
            for repeat in range(1, repeats + 1)
        ]

    def iteration(self, number: int) -> Iteration:
        """All configurations, as one iteration."""
        return Iteration(
            number,
            self._bracket,
            lambda id_: self._trials[id_[2]][0],
            lambda id_: self._trials[id_[2]][1],
        )

    def new_result(self, job: Job) -> None:
        """Nothing to learn: the configurations are given."""


class Sampled:
    """Configurations drawn from a search space at random: random search and Hyperband.

    Args:
        draw: one configuration of the search space, decided by the seed it is given.
        brackets: of each iteration; random search has one configuration in each.
        seed: of the study.
    """

    def __init__(self, draw: Draw, *, brackets: Sequence[Bracket], seed: int) -> None:
        self.n_iterations = len(brackets)
        self._draw = draw
        self._brackets = brackets
        self._seed = seed

    def iteration(self, number: int) -> Iteration:
        """The configurations of one bracket."""
        return Iteration(
            number, self._brackets[number], self.propose, lambda id_: {"seed": self.seed_of(id_)}
        )

    def new_result(self, job: Job) -> None:
        """Nothing to learn: what is drawn does not depend on it."""

    def propose(self, id_: HpBandSterId) -> dict[str, Any]:
        """The hyperparameters of the configuration with this id."""
        return self._draw(self.seed_of(id_))

    def seed_of(self, id_: HpBandSterId) -> int:
        """The seed of its trial."""
        return derive_seed(self._seed, *id_)


class Bohb(Sampled):
    """Configurations that a density model of the good results proposes (Falkner et al., 2018).

    What was proposed once is proposed again: a search that continues does not depend on the order
    in which its results came.

    Args:
        draw: see :class:`Sampled`.
        brackets: of each iteration.
        seed: of the study.
        model: proposes, and learns from the results.
        recorded: the hyperparameters that the journal knows of each id.
    """

    def __init__(
        self,
        draw: Draw,
        *,
        brackets: Sequence[Bracket],
        seed: int,
        model: DensityModel,
        recorded: Mapping[HpBandSterId, dict[str, Any]],
    ) -> None:
        super().__init__(draw, brackets=brackets, seed=seed)
        self._model = model
        self._recorded = recorded

    def new_result(self, job: Job) -> None:
        """Let the model learn; a training that failed counts among the bad ones."""
        loss = float("inf") if job.result is None else job.result["loss"]
        self._model.learn(job.id, job.kwargs["config"], job.kwargs["budget"], loss)

    def propose(self, id_: HpBandSterId) -> dict[str, Any]:
        """The recorded ones, else the model's, else one drawn at random."""
        if id_ in self._recorded:
            return self._recorded[id_]
        return self._model.propose(self.seed_of(id_)) or super().propose(id_)


def derive_seed(study_seed: int, *place: int) -> int:
    """The seed of the trial at `place`: below 2**31, different for different places.

    NumPy's `SeedSequence` mixes the numbers, so neighbours are independent.
    """
    return int(np.random.SeedSequence([study_seed, *place]).generate_state(1)[0]) >> 1
