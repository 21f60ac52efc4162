"""BOHB's model of a search: where the good configurations lie, and where the others lie.

Falkner, Klein and Hutter, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale" (ICML
2018), with HpBandSter's constants. HpBandSter's own model calls functions that ConfigSpace and
NumPy no longer have, draws from NumPy's global generator, and its densities are not finite if all
good configurations share a choice. So this is our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mnist_lab.records import HpBandSterId

    Vector = NDArray[np.float64]

# HpBandSter's defaults, which are the paper's.
TOP_SHARE = 0.15
N_SAMPLES = 64
RANDOM_SHARE = 1 / 3
WIDENING = 3.0
NARROWEST = 1e-3


class Cube(NamedTuple):
    """The search space as a unit cube, as :mod:`mnist_lab.space` describes it.

    `kinds` has the number of choices of each dimension, or 0 if it is continuous. A vector holds a
    choice's index, a number from 0 to 1, or NaN if the hyperparameter is inactive.
    """

    kinds: tuple[int, ...]
    to_vector: Callable[[Mapping[str, Any]], Vector]
    from_vector: Callable[[Vector], dict[str, Any] | None]


class DensityModel:
    """Learns from results, and proposes points where good ones are dense and others are not.

    Args:
        cube: the search space.
    """

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        self._least = len(cube.kinds) + 1
        # By budget: the vector and the loss of each trial.
        self._results: dict[float, dict[HpBandSterId, tuple[Vector, float]]] = {}

    def learn(
        self, id_: HpBandSterId, values: Mapping[str, Any], budget: float, loss: float
    ) -> None:
        """Learn the loss of a configuration trained for `budget` epochs."""
        results = self._results.setdefault(budget, {})
        results[id_] = (self._cube.to_vector(values), loss)

    def propose(self, seed: int) -> dict[str, Any] | None:
        """The hyperparameters where good results are densest, compared with the others.

        Among :data:`N_SAMPLES` draws around the good configurations, this is the one with the
        largest ratio of the two densities. They use the largest budget with enough results.

        Args:
            seed: of the draws.

        Returns:
            The hyperparameters; None to draw at random instead: before there are enough results,
            and in a third of all cases.
        """
        generator = np.random.default_rng([seed, len(self._cube.kinds)])
        if generator.random() < RANDOM_SHARE:
            return None
        for budget in sorted(self._results, reverse=True):
            # In the order of the ids: which came first must not matter.
            results = [self._results[budget][id_] for id_ in sorted(self._results[budget])]
            split = self._split(results, generator)
            if split is not None:
                return self._best_draw(*split, generator)
        return None

    def _split(
        self, results: Sequence[tuple[Vector, float]], generator: np.random.Generator
    ) -> tuple[_Density, _Density] | None:
        """The densities of the good and of the other configurations; None if there are too few."""
        n_good = max(self._least, int(TOP_SHARE * len(results)))
        if len(results) < n_good + self._least:
            return None
        order = np.argsort([loss for _, loss in results], kind="stable")
        vectors = np.array([results[place][0] for place in order])
        n_bad = max(self._least, int((1 - TOP_SHARE) * len(results)))
        kinds = self._cube.kinds
        return (
            _Density(_imputed(vectors[:n_good], kinds, generator), kinds),
            _Density(_imputed(vectors[n_good : n_good + n_bad], kinds, generator), kinds),
        )

    def _best_draw(
        self, good: _Density, bad: _Density, generator: np.random.Generator
    ) -> dict[str, Any] | None:
        draws = [good.draw(generator) for _ in range(N_SAMPLES)]
        tiny = 1e-32
        ratios = [max(good.at(draw), tiny) / max(bad.at(draw), tiny) for draw in draws]
        for place in np.argsort(ratios)[::-1]:
            values = self._cube.from_vector(draws[place])
            if values is not None:  # not a combination that the space forbids
                return values
        return None


class _Density:
    """A kernel density estimate: Gaussian kernels, and Aitchison and Aitken's (1976) for choices.

    Args:
        points: `(n, d)`, without NaN.
        kinds: see :class:`Cube`.
    """

    def __init__(self, points: Vector, kinds: tuple[int, ...]) -> None:
        self._points = points
        self._kinds = kinds
        n, d = points.shape
        # The normal reference rule, as statsmodels has it for HpBandSter.
        widths = 1.06 * points.std(axis=0) * n ** (-1 / (4 + d))
        # A choice's width is the probability of another one: uniform at most.
        widest = [(kind - 1) / kind if kind else np.inf for kind in kinds]
        self._widths = np.clip(widths, NARROWEST, np.maximum(widest, NARROWEST))

    def at(self, place: Vector) -> float:
        """The density at a point of shape `(d,)`."""
        kernels = np.empty_like(self._points)
        for one, kind in enumerate(self._kinds):
            column, width = self._points[:, one], self._widths[one]
            if kind:
                other = width / max(kind - 1, 1)
                kernels[:, one] = np.where(column == place[one], 1 - width, other)
            else:
                distances = (place[one] - column) / width
                kernels[:, one] = np.exp(-(distances**2) / 2) / (width * np.sqrt(2 * np.pi))
        return float(kernels.prod(axis=1).mean())

    def draw(self, generator: np.random.Generator) -> Vector:
        """A point near one of the points, drawn more widely than the density for diversity."""
        point: Vector = self._points[generator.integers(len(self._points))].copy()
        for one, kind in enumerate(self._kinds):
            width = self._widths[one]
            if kind:
                if generator.random() < width:
                    point[one] = generator.integers(kind)
            else:
                point[one] = _truncated_normal(point[one], WIDENING * width, generator)
        return point


def _truncated_normal(mean: float, width: float, generator: np.random.Generator) -> float:
    """A normal draw between 0 and 1: values outside are drawn again."""
    while True:
        value = generator.normal(mean, width)
        if 0 <= value <= 1:
            return float(value)


def _imputed(vectors: Vector, kinds: tuple[int, ...], generator: np.random.Generator) -> Vector:
    """The vectors with each NaN, of an inactive hyperparameter, replaced by a value that occurs.

    If it is active in none of them, any value is used.
    """
    filled: Vector = vectors.copy()
    for one, kind in enumerate(kinds):
        missing = np.isnan(vectors[:, one])
        known = vectors[~missing, one]
        if not len(known):
            known = np.arange(kind, dtype=float) if kind else generator.random(len(vectors))
        filled[missing, one] = generator.choice(known, missing.sum())
    return filled
