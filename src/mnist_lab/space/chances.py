"""How likely each value is: the distribution behind ConfigSpace's draws, without drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ConfigSpace import UniformFloatHyperparameter, UniformIntegerHyperparameter
from ConfigSpace.hyperparameters import FloatHyperparameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ConfigSpace import ConfigurationSpace
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

_N_CELLS = 240  # of what is continuous
# Beyond this, whole numbers are as good as continuous.
_MOST_VALUES = 10_000


class Chances(NamedTuple):
    """How likely the values of a hyperparameter are, before what its space forbids.

    Cell i goes from `edges[i]` to `edges[i + 1]` and is drawn with the probability `masses[i]`. Of
    whole numbers (`whole`) it is the one value in its middle; of others its width is the same for
    all cells on the hyperparameter's scale. Choices have no cells.
    """

    edges: tuple[float, ...]
    masses: tuple[float, ...]
    whole: bool


def chances(space: ConfigurationSpace, name: str) -> Chances:
    """The exact distribution of the draws of the hyperparameter `name`."""
    one: Any = space[name]
    if not hasattr(one, "log"):
        return Chances((), (), whole=False)
    size = one.upper - one.lower + 1
    if isinstance(one, FloatHyperparameter) or size > _MOST_VALUES:
        places = np.linspace(0, 1, _N_CELLS + 1)
        return _chances(_scaled(one, places), np.diff(_cumulated(one)(places)), whole=False)
    masses = _of_whole_numbers(one, size)
    edges = one.lower - 0.5 + np.arange(size + 1)
    return _chances(edges, masses, whole=True)


def _of_whole_numbers(one: Any, size: int) -> Vector:
    """The probabilities of `lower`, `lower + 1`, ..., shape `(size,)`.

    ConfigSpace (1.2, `DiscretizedContinuousScipyDistribution`) draws from the unit interval and
    cuts it into `size` bins, which stand for as many levels. Where the distribution is uniform on a
    log scale, the bins have equal width in values: [lower, upper] is cut, and not [lower - 0.5,
    upper + 0.5]. Of the others they have equal width in the unit interval, whatever the scale.
    """
    if isinstance(one, UniformIntegerHyperparameter):
        if not one.log:
            return np.full(size, 1 / size)
        bounds = np.linspace(one.lower, one.upper, size + 1)
        return np.asarray(np.diff(np.log(bounds)) / np.log(one.upper / one.lower))
    masses = np.diff(_cumulated(one)(np.linspace(0, 1, size + 1)))
    levels = one.to_value(np.linspace(0, 1, size))
    return np.bincount(levels - one.lower, weights=masses, minlength=size).astype(np.float64)


def _cumulated(one: Any) -> Callable[[Vector], Vector]:
    """The distribution function on the unit interval, from 0 to 1."""
    if isinstance(one, (UniformFloatHyperparameter, UniformIntegerHyperparameter)):
        return lambda places: places
    cumulated: Callable[[Vector], Vector] = one._vector_dist.rv.cdf  # noqa: SLF001 - nowhere public
    return cumulated


def _scaled(one: Any, places: Vector) -> Vector:
    """The values at these places of the unit interval, whole or not."""
    if one.log:
        return np.geomspace(one.lower, one.upper, len(places))
    return np.asarray(one.lower + places * (one.upper - one.lower))


def _chances(edges: Vector, masses: Vector, *, whole: bool) -> Chances:
    total = masses.sum()
    return Chances(tuple(edges.tolist()), tuple((masses / total).tolist()), whole)
