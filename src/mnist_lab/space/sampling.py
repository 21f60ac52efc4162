"""Draws from a search space, its JSON, and its configurations as vectors for a model."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ConfigSpace import ConfigurationSpace, Constant
from ConfigSpace.hyperparameters import FloatHyperparameter
from numpy.typing import NDArray

from mnist_lab.config import OPTIONAL, TrainConfig
from mnist_lab.errors import SettingsError

Vector = NDArray[np.float64]

_FLOATS = {name for name, field in TrainConfig.model_fields.items() if field.annotation is float}


def draw(space: ConfigurationSpace, seed: int) -> dict[str, Any]:
    """One configuration, determined by `seed`: the active hyperparameters, as Python numbers.

    Raises:
        SettingsError: the space forbids everything.
    """
    random = np.random.RandomState(seed)
    # Five at first, as ConfigSpace itself does: a seed draws what it drew.
    for n_tries in (5, 50, 500, 5_000, 50_000):
        for drawn in sample(space, n_tries, random):
            return drawn
    problem = "the search space forbids everything: none of 50,000 draws is legal"
    raise SettingsError(problem, next_step="forbid less")


def draws(space: ConfigurationSpace, n_draws: int) -> dict[str, list[Any]]:
    """The values of each hyperparameter, where active, in `n_draws` configurations."""
    random = np.random.RandomState(0)
    drawn: list[dict[str, Any]] = []
    while len(drawn) < n_draws:
        drawn += sample(space, n_draws, random)
    return {name: [one[name] for one in drawn[:n_draws] if name in one] for name in space}


def to_dict(space: ConfigurationSpace) -> dict[str, Any]:
    """The space as ConfigSpace's own JSON object."""
    plain = json.dumps(space.to_serialized_dict(), default=lambda value: value.item())
    return dict(json.loads(plain))


def from_dict(values: dict[str, Any]) -> ConfigurationSpace:
    """The space from the JSON object of :func:`to_dict`."""
    with silence():
        # A copy: ConfigSpace takes apart what it is given.
        return ConfigurationSpace.from_serialized_dict(copy.deepcopy(values))


def kinds(space: ConfigurationSpace) -> tuple[int, ...]:
    """For each dimension of the vectors, its number of choices, or 0 for numbers.

    The order is that of the space's hyperparameters: those that others depend on come first.
    """
    return tuple(0 if hasattr(one, "lower") else int(one.size) for one in space.values())


def to_vector(space: ConfigurationSpace, values: Mapping[str, Any]) -> Vector:
    """A configuration as a point of ConfigSpace's unit cube.

    Args:
        space: with d hyperparameters.
        values: of the active hyperparameters; other keys are ignored. Those of
            :data:`~mnist_lab.config.OPTIONAL` are 0 if they are missing.

    Returns:
        Shape `(d,)`: between 0 and 1 for a number, on its scale; the index of a choice; NaN where
        the hyperparameter is inactive.

    Raises:
        ValueError: an active hyperparameter has no value, or one outside the space.
    """
    full = dict.fromkeys(space, None) | dict.fromkeys(OPTIONAL, 0.0) | dict(values)
    coordinates = [
        one.to_vector(full[name]) if one.legal_value(full[name]) else np.nan
        for name, one in space.items()
    ]
    vector = np.array(coordinates, float)
    unknown = np.isnan(vector)
    for name, is_active, is_unknown in zip(space, _activity(space, vector), unknown, strict=True):
        if is_active and is_unknown:
            raise ValueError(f"{name} {full[name]!r} is outside the space")
    return vector - _constants(space)


def from_vector(space: ConfigurationSpace, vector: Vector) -> dict[str, Any] | None:
    """The configuration at a point of the unit cube, as :func:`draw` gives it.

    Args:
        space: with d hyperparameters.
        vector: shape `(d,)`; values beyond the range count as its end, an index is rounded, and
            NaN means the hyperparameter's default.

    Returns:
        The values of the active hyperparameters; None if the space forbids their combination.
    """
    defaults = [one.to_vector(one.default_value) for one in space.values()]
    n_choices = np.array(kinds(space))
    place = np.clip(vector, 0, np.where(n_choices, n_choices - 1, 1))
    place = np.where(n_choices, np.rint(place), place) + _constants(space)
    (values,) = _configurations(space, np.where(np.isnan(vector), defaults, place)[np.newaxis])
    return values


def active(space: ConfigurationSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """The active hyperparameters of the space in a whole configuration.

    Raises:
        ValueError: see :func:`to_vector`.
    """
    full = dict.fromkeys(OPTIONAL, 0.0) | dict(values)
    is_out = np.isnan(to_vector(space, full))
    return {name: full[name] for name, out in zip(space, is_out, strict=True) if not out}


def sample(
    space: ConfigurationSpace, n_tries: int, random: np.random.RandomState
) -> Iterator[dict[str, Any]]:
    """The legal ones among `n_tries` draws.

    ConfigSpace's own sampler never returns where everything is forbidden, and (1.2.0) takes "at
    most" for "at least" in a forbidden clause.
    """
    drawn = [one.sample_vector(n_tries, seed=random) for one in space.values()]
    found = _configurations(space, np.stack(drawn, axis=1))
    return (values for values in found if values is not None)


def _configurations(space: ConfigurationSpace, vectors: Vector) -> Iterator[dict[str, Any] | None]:
    """The configuration of each of ConfigSpace's vectors, shape `(n, d)`; None if forbidden."""
    columns = [*map(_values, space.values(), vectors.T)]
    exact = [one.to_vector(np.asarray(c)) for one, c in zip(space.values(), columns, strict=True)]
    for row, vector in zip(zip(*columns, strict=True), np.stack(exact, axis=1), strict=True):
        used = zip(space, row, _activity(space, vector), strict=True)
        configuration = {name: value for name, value, is_active in used if is_active}
        with silence():
            forbidden = any(one.is_forbidden_vector(vector) for one in space.forbidden_clauses)
        yield None if forbidden else configuration


def _values(hyperparameter: Any, column: Vector) -> list[Any]:
    """The values at these coordinates, in Python's numbers."""
    values = np.asarray(hyperparameter.to_value(column))
    if isinstance(hyperparameter, FloatHyperparameter):
        values = values.round(13)  # as ConfigSpace does
    return [*map(float, values)] if hyperparameter.name in _FLOATS else values.tolist()


def _activity(space: ConfigurationSpace, vector: Vector) -> list[bool]:
    """Whether each hyperparameter is active; the others become NaN in ConfigSpace's `vector`."""
    conditions = space.parent_conditions_of
    is_active = []
    # ConfigSpace's order is that of dependence.
    for index, name in enumerate(space):
        is_active.append(all(one.satisfied_by_vector(vector) for one in conditions[name]))
        if not is_active[-1]:
            vector[index] = np.nan
    return is_active


def _constants(space: ConfigurationSpace) -> Vector:
    """Shape `(d,)`: 1 for a constant, which is ConfigSpace's coordinate of its only choice."""
    return np.array([float(isinstance(one, Constant)) for one in space.values()])


def silence() -> contextlib.AbstractContextManager[Any]:
    """Suppress what ConfigSpace 1.2.0 prints for a forbidden "at least"."""
    return contextlib.redirect_stdout(io.StringIO())
