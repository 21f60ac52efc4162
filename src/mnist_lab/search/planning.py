"""What a study will train: its proposals, and a plan of their configurations."""

from __future__ import annotations

from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

from mnist_lab import racing
from mnist_lab.config import VARIED, Bracket, TrainConfig, forward_multiplications, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from mnist_lab.config import StudySettings
    from mnist_lab.records import Trial
    from mnist_lab.search.proposals import Proposals


def proposals_of(settings: StudySettings, trials: Iterable[Trial] = ()) -> Proposals:
    """The source of this study's configurations; `trials` are those in its journal."""
    from mnist_lab.search import proposals  # HpBandSter, only to train

    seed = settings.seed
    if settings.configurations:
        configurations = [dict(config) for config in settings.configurations]
        return proposals.Race(configurations, most=settings.repeats, seed=seed)
    if settings.space is None:
        varied = [dict(config) for config in _distinct(settings)]
        bracket = Bracket((settings.n_trials,), (settings.base.epochs,))
        return proposals.Grid(varied, repeats=settings.repeats, bracket=bracket, seed=seed)
    draw, brackets = _draw(settings), _brackets_of(settings)
    if settings.experiment != "bohb":
        return proposals.Proposals(draw, brackets=brackets, seed=seed)
    return _bohb(settings, trials)


def _brackets_of(settings: StudySettings) -> list[Bracket]:
    """The brackets of a search; random search has one configuration in each."""
    return settings.brackets or [Bracket((1,), (settings.base.epochs,))] * (settings.iters or 0)


def plan(settings: StudySettings, trials: Collection[Trial] = ()) -> list[TrainConfig]:
    """The configurations that will be proposed, in the order of their start.

    BOHB's depend on results, so random ones stand in for them. A race's depend on results, too: it
    continues only with those that its `trials` left.
    """
    if settings.configurations:
        return racing.planned(settings, trials)
    if settings.space is None:
        return [config for config in _distinct(settings) for _ in range(settings.repeats)]
    from mnist_lab.search.proposals import derive_seed  # HpBandSter

    draw, planned = _draw(settings), []
    for number, bracket in enumerate(_brackets_of(settings)):
        for index in range(bracket.n_configs[0]):
            values = draw(derive_seed(settings.seed, number, 0, index))
            update = values | {"epochs": bracket.epochs[0]}
            planned.append(settings.base.model_copy(update=update))
    return planned


def guessed_plan(settings: StudySettings, trials: Sequence[Trial]) -> list[TrainConfig]:
    """As :func:`plan`, but configurations drawn so far stand in for all that a search will draw.

    It is fast, and enough to guess the cost of the rest. It needs at least one trial.
    """
    if settings.space is None:
        return plan(settings, trials)
    drawn = cycle(trial.configuration for trial in trials)
    return [
        next(drawn).model_copy(update={"epochs": bracket.epochs[0]})
        for bracket in _brackets_of(settings)
        for _ in range(bracket.n_configs[0])
    ]


def promotions(settings: StudySettings, planned: Iterable[TrainConfig]) -> list[TrainConfig]:
    """The promotions in the :func:`plan`, with the epochs that each adds.

    The promoted trials are not known yet; others of the same bracket stand in for them.
    """
    stand_ins, promoted = iter(planned), []
    for bracket in settings.brackets:
        first = [next(stand_ins) for _ in range(bracket.n_configs[0])]
        for n_configs, before, after in zip(
            bracket.n_configs[1:], bracket.epochs, bracket.epochs[1:], strict=False
        ):
            added = {"epochs": whole(after - before)}
            promoted += [config.model_copy(update=added) for config in first[:n_configs]]
    return promoted


def _distinct(settings: StudySettings) -> list[TrainConfig]:
    """The configurations of a grid; long ones first, so that no long one ends alone.

    The order among equals is the order given.
    """
    if settings.values is None:
        return [settings.base]
    varied = VARIED[settings.experiment]
    configs = [settings.base.model_copy(update={varied: value}) for value in settings.values]
    return sorted(configs, key=forward_multiplications, reverse=True)


def _draw(settings: StudySettings) -> Callable[[int], dict[str, Any]]:
    from mnist_lab import space  # ConfigSpace takes a second to import

    chosen = space.from_dict(settings.space or {})
    return lambda seed: space.draw(chosen, seed)


def _bohb(settings: StudySettings, trials: Iterable[Trial]) -> Proposals:
    from mnist_lab import space  # ConfigSpace takes a second to import
    from mnist_lab.search import density, proposals

    chosen = space.from_dict(settings.space or {})
    names = set(chosen)
    model = density.DensityModel(
        density.Cube(
            space.kinds(chosen),
            partial(space.to_vector, chosen),
            partial(space.from_vector, chosen),
        )
    )
    recorded = {trial.id: trial.configuration.model_dump(include=names) for trial in trials}
    return proposals.Bohb(
        _draw(settings),
        brackets=_brackets_of(settings),
        seed=settings.seed,
        model=model,
        recorded=recorded,
    )
