"""From the settings of a study to the proposals that HpBandSter's master asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnist_lab.config import VARIED, TrainConfig, forward_multiplications

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnist_lab.config import StudySettings
    from mnist_lab.engine.proposals import Proposals


def proposals_of(settings: StudySettings) -> Proposals:
    """Who proposes the configurations of this study."""
    from mnist_lab.engine import proposals  # HpBandSter, only to train

    epochs, seed = settings.base.epochs, settings.seed
    if settings.iters is not None:
        return proposals.RandomSearch(
            _draw(settings), n_iterations=settings.iters, epochs=epochs, seed=seed
        )
    varied = [config.model_dump() for config in _distinct(settings)]
    return proposals.Grid(varied, repeats=settings.repeats, epochs=epochs, seed=seed)


def plan(settings: StudySettings) -> list[TrainConfig]:
    """The configurations that will be trained, in the order they are handed out."""
    if settings.iters is None:
        return [config for config in _distinct(settings) for _ in range(settings.repeats)]
    from mnist_lab.engine.proposals import derive_seed  # HpBandSter

    draw = _draw(settings)
    return [
        settings.base.model_copy(update=draw(derive_seed(settings.seed, number)))
        for number in range(settings.iters)
    ]


def _distinct(settings: StudySettings) -> list[TrainConfig]:
    """The configurations of a grid; long ones first, so that the last to end keeps nobody waiting.

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
