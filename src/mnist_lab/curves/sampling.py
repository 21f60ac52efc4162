"""What a search space samples: draws, and how likely each of them was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class SampledHyperparameter(NamedTuple):
    """One hyperparameter of a search space, and what was drawn from it.

    `scale` is `log`, `linear` (then `lower` and `upper` are set) or `choice` (then `choices` are,
    and `probabilities` if they are not equal). `draws` lacks those in which it is inactive;
    `distribution`, on its scale, is `uniform`, `normal` or `beta`; `forbids` says that a forbidden
    combination names it, so that the draws need not follow it.
    """

    name: str
    scale: str
    lower: float | None
    upper: float | None
    choices: tuple[Any, ...]
    draws: Sequence[Any]
    probabilities: tuple[float, ...] = ()
    distribution: str = "uniform"
    forbids: bool = False


def active_shares(hyperparameters: Sequence[SampledHyperparameter]) -> list[float]:
    """In which share of the draws each hyperparameter of a space is active.

    What has no condition is active in all of them, and there is always such a one.
    """
    n_draws = max((len(one.draws) for one in hyperparameters), default=0)
    return [len(one.draws) / n_draws if n_draws else 1.0 for one in hyperparameters]
