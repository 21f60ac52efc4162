"""The source of the next training: HpBandSter's iterations; `next` asks and `tell` reports results.

A proposal is drawn from (study seed, HpBandSter's id), never from a generator that other proposals
have advanced, so it does not depend on the number of workers or on their order. BOHB's proposals
also depend on the known results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from hpbandster.core.base_iteration import BaseIteration
from hpbandster.core.dispatcher import Job

from mnist_lab import racing
from mnist_lab.config import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mnist_lab.config import Bracket
    from mnist_lab.records import HpBandSterId
    from mnist_lab.search.density import DensityModel

    # A configuration of the search space, decided by the seed.
    Draw = Callable[[int], dict[str, Any]]


# The loss of a training whose own is not finite: HpBandSter promotes none with an infinite one, and
# would draw new configurations for a rung that lacks some. No cross-entropy of floats is as large.
WORST_LOSS = 1e9


class Proposal(NamedTuple):
    """A configuration to train up to the last of its stops: its hyperparameters, its trial's seed.

    The stops are the budgets of its rungs so far; the training is validated at each.
    """

    id: HpBandSterId
    values: dict[str, Any]
    seed: int
    repeat: int | None
    stops: tuple[float, ...]

    @property
    def budget(self) -> float:
        """The last stop, in epochs."""
        return self.stops[-1]


class Trained(NamedTuple):
    """The result of a training: its last error, and its validation loss, None if not finite.

    The error is the validation's, or the training's without validation images.
    """

    error: float
    loss: float | None


class Proposals:
    """Configurations drawn from a search space at random: random search and Hyperband.

    Args:
        draw: returns one configuration of the search space, determined by the given seed.
        brackets: HpBandSter's iterations; random search has one configuration in each.
        seed: of the study.
    """

    def __init__(self, draw: Draw, *, brackets: Sequence[Bracket], seed: int) -> None:
        # Those that will be trained no further, for whoever keeps something of theirs.
        self.over: list[HpBandSterId] = []
        # Whether nothing that is proposed depends on a result.
        self.independent = all(len(bracket.n_configs) == 1 for bracket in brackets)
        self._draw = draw
        self._brackets = brackets
        self._seed = seed
        self._iterations: list[_Iteration] = []

    def next(self) -> Proposal | None:
        """What to train next; None while that depends on results not yet reported."""
        while True:
            for iteration in self._iterations:
                run = iteration.get_next_run()
                if run is not None:
                    id_, values, budget = run
                    seed, repeat = self.seed_of(id_), self.repeat_of(id_)
                    own = iteration.budgets[id_[1] :]
                    stops = tuple(whole(one) for one in own if one <= budget)
                    return Proposal(id_, values, seed, repeat, stops)
            number = len(self._iterations)
            if number == len(self._brackets):
                return None
            self._iterations.append(_Iteration(number, self._brackets[number], self))

    def tell(self, proposal: Proposal, trained: Trained | None) -> float | None:
        """Report the result of a proposal; None: it could not be trained.

        Returns:
            The number that compares it with others of its budget: the error or, within the first
            epoch, the loss, which shows more (docs/performance.md has the measurements).
        """
        iteration = self._iterations[proposal.id[0]]
        is_last = proposal.budget == iteration.budgets[-1]
        loss = None if trained is None else trained.error
        if trained is not None and proposal.budget < 1 and not is_last:
            loss = WORST_LOSS if trained.loss is None else trained.loss
        job = Job(proposal.id, config=proposal.values, budget=proposal.budget)
        job.result = None if loss is None else {"loss": loss}
        iteration.register_result(job)
        if loss is None or is_last:
            self.over.append(proposal.id)
        return loss

    def propose(self, id_: HpBandSterId) -> dict[str, Any]:
        """The hyperparameters of the configuration with this id."""
        return self._draw(self.seed_of(id_))

    def seed_of(self, id_: HpBandSterId) -> int:
        """The seed of the trial: of several trainings, that of the repeat."""
        repeat = self.repeat_of(id_)
        return derive_seed(self._seed, *(id_ if repeat is None else (repeat,)))

    def repeat_of(self, id_: HpBandSterId) -> int | None:
        """The number of the repeat, from 1, if a configuration has several trainings."""
        del id_
        return None


class Grid(Proposals):
    """Given configurations, each repeated from several seeds, in the order given.

    The seed of a trial depends only on its repeat, so the values of a sweep are compared on the
    same seeds, pair by pair.

    Args:
        configurations: the hyperparameters of each.
        repeats: trainings of each configuration.
        bracket: all of them, up to the epochs of each.
        seed: of the study.
    """

    def __init__(
        self,
        configurations: Sequence[dict[str, Any]],
        *,
        repeats: int,
        bracket: Bracket,
        seed: int,
    ) -> None:
        super().__init__(configurations.__getitem__, brackets=[bracket], seed=seed)
        self._repeats = repeats

    def propose(self, id_: HpBandSterId) -> dict[str, Any]:
        """The configuration whose turn it is."""
        return self._draw(id_[2] // self._repeats)

    def repeat_of(self, id_: HpBandSterId) -> int:
        """The number of the repeat, from 1."""
        return 1 + id_[2] % self._repeats


class Race(Proposals):
    """Given configurations round after round, each from the round's seed, except those dropped.

    Drops depend only on complete rounds, and a round is proposed only after its drops are known. So
    neither the order of the results nor later results change a proposal.

    Args:
        configurations: the hyperparameters and the epochs of each.
        most: the maximum number of rounds.
        seed: of the study.
    """

    def __init__(self, configurations: Sequence[dict[str, Any]], *, most: int, seed: int) -> None:
        super().__init__(configurations.__getitem__, brackets=[], seed=seed)
        self._configurations = configurations
        self._results: dict[tuple[int, int], float | None] = {}
        self._most = most
        self._round = 0  # of those who are due
        self._due: list[int] = []

    def next(self) -> Proposal | None:
        """The next of the round; None until the drops are known, and at the end."""
        if not self._due:
            n, most = len(self._configurations), self._most
            race = racing.judge(n, self._results, most)
            is_known = race.n_rounds == self._round or self._round < racing.FEWEST
            if self._round == most or race.is_over or not is_known:
                return None
            self._round += 1
            self._due = sorted(one.place for one in race.left)
        id_ = (self._round - 1, 0, self._due.pop(0))
        values = self._configurations[id_[2]]
        return Proposal(id_, values, self.seed_of(id_), self.repeat_of(id_), (values["epochs"],))

    def tell(self, proposal: Proposal, trained: Trained | None) -> float | None:
        """The error; a training that failed or diverged has none."""
        is_sound = trained is not None and trained.loss is not None
        number, _, place = proposal.id
        self._results[place, number + 1] = trained.error if trained and is_sound else None
        self.over.append(proposal.id)
        return None if trained is None else trained.error

    def repeat_of(self, id_: HpBandSterId) -> int:
        """The number of the round, from 1."""
        return id_[0] + 1


class Bohb(Proposals):
    """Configurations that a density model of the good results proposes (Falkner et al., 2018).

    Earlier proposals are repeated: a continued search does not depend on the order in which its
    results came.

    Args:
        draw: see :class:`Proposals`.
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
        self.independent = False
        self._model = model
        self._recorded = recorded

    def tell(self, proposal: Proposal, trained: Trained | None) -> float | None:
        """Also let the model learn; a failed training counts as a bad one."""
        loss = super().tell(proposal, trained)
        known = float("inf") if loss is None else loss
        self._model.learn(proposal.id, proposal.values, proposal.budget, known)
        return loss

    def propose(self, id_: HpBandSterId) -> dict[str, Any]:
        """The recorded hyperparameters, else the model's, else random ones."""
        if id_ in self._recorded:
            return self._recorded[id_]
        return self._model.propose(self.seed_of(id_)) or super().propose(id_)


class _Iteration(BaseIteration):  # type: ignore[misc]  # HpBandSter is untyped
    """HpBandSter's successive halving, which asks for a configuration by its id."""

    def __init__(self, number: int, bracket: Bracket, proposals: Proposals) -> None:
        # HpBandSter changes the list of what it still has to propose.
        super().__init__(number, list(bracket.n_configs), bracket.epochs, None)
        self._proposals = proposals

    def add_configuration(self, config: Any = None, config_info: Any = None) -> HpBandSterId:
        """Propose the next configuration of the rung."""
        del config, config_info  # HpBandSter gives none here
        id_ = (self.HPB_iter, self.stage, self.actual_num_configs[self.stage])
        added: HpBandSterId = super().add_configuration(self._proposals.propose(id_), {})
        return added

    def process_results(self) -> None:
        """Promote; trials that are not promoted end here."""
        super().process_results()
        beaten = [id_ for id_, datum in self.data.items() if datum.status == "TERMINATED"]
        self._proposals.over.extend(beaten)

    def _advance_to_next_stage(
        self, config_ids: Sequence[HpBandSterId], losses: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Promote the best of a rung by HpBandSter's rule, in which the first of equals wins."""
        del config_ids
        ranks: NDArray[np.int64] = np.argsort(np.argsort(losses, kind="stable"), kind="stable")
        promoted: NDArray[np.bool_] = ranks < self.num_configs[self.stage]
        return promoted


def derive_seed(study_seed: int, *place: int) -> int:
    """The seed of the trial at `place`: below 2**31, different for different places.

    NumPy's `SeedSequence` mixes the numbers, so neighbours are independent.
    """
    return int(np.random.SeedSequence([study_seed, *place]).generate_state(1)[0]) >> 1
