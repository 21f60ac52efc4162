"""The search space: what it holds, its JSON, what it samples, its vectors for a model.

`log=True` means that the logarithm of the value is uniform: each doubling is equally likely. It
does not mean powers of two: 22 filters and a batch size of 95 are ordinary draws.

A hyperparameter that its condition leaves out is inactive: a configuration lacks it, and the base
configuration's value holds. One that compares an inactive one takes ConfigSpace's view, as the
programs do that read a search: only "not equal" is true.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ConfigSpace import (
    BetaFloatHyperparameter,
    BetaIntegerHyperparameter,
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    NormalFloatHyperparameter,
    NormalIntegerHyperparameter,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.exceptions import ForbiddenValueError
from ConfigSpace.hyperparameters import FloatHyperparameter

from mnist_lab.config import OPTIONAL, TrainConfig, check
from mnist_lab.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

# What a search may vary; the number of epochs is its budget.
SEARCHABLE = tuple(name for name in TrainConfig.model_fields if name != "epochs")
_FLOATS = {name for name, field in TrainConfig.model_fields.items() if field.annotation is float}

# Of ConfigSpace's JSON: what ConfigSpace 1.2 writes. It reads the older ones, and ignores the rest.
_FORMAT_VERSION = 0.4
# As ConfigSpace rounds the numbers of a configuration.
_DECIMALS = 13
# Rarer than this, legal configurations are not worth waiting for.
_LEAST_LEGAL = 0.01

# What reading JSON and ConfigSpace's decoder raise on what is no search space.
_NOT_A_SPACE = (
    ArithmeticError,
    AttributeError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
)
_NORMAL = (NormalFloatHyperparameter, NormalIntegerHyperparameter)
_BETA = (BetaFloatHyperparameter, BetaIntegerHyperparameter)


class Hyperparameter(NamedTuple):
    """One hyperparameter of a space, in words.

    `scale` is log, linear or choice. `probabilities`, before conditions and forbidden combinations,
    are those of the choices if they differ, and `distribution` on its scale is uniform, normal or
    beta. `forbids` says that a forbidden combination names it.
    """

    name: str
    scale: str
    lower: float | None
    upper: float | None
    choices: tuple[Any, ...]
    probabilities: tuple[float, ...] = ()
    distribution: str = "uniform"
    forbids: bool = False


def default_space() -> ConfigurationSpace:
    """The exercise sheet's search space; `configs/space.json` is the same."""
    space = ConfigurationSpace(name="exercise")
    space.add(
        UniformFloatHyperparameter("learning_rate", 1e-4, 1e-1, log=True, default_value=1e-2),
        UniformIntegerHyperparameter("batch_size", 16, 128, log=True, default_value=64),
        UniformIntegerHyperparameter("num_filters", 8, 64, log=True, default_value=16),
        CategoricalHyperparameter("filter_size", [3, 5]),
    )
    return space


def read_space(path: Path) -> ConfigurationSpace:
    """The search space in a file of ConfigSpace's own JSON.

    Raises:
        SettingsError: the file is missing, is not such JSON, varies what the CNN does not know or
            reaches beyond the ranges of :class:`~mnist_lab.config.TrainConfig`, or forbids almost
            everything.
    """
    with _refusing(path):
        values = _parsed(path.read_text(encoding="utf-8"))
    return check_space(values, path)


def check_space(values: dict[str, Any], path: Path) -> ConfigurationSpace:
    """The search space of ConfigSpace's JSON object, which was read from the file `path`.

    Raises:
        SettingsError: as :func:`read_space`.
    """
    with _refusing(path):
        space = from_dict(_current(values, path))
    for one in describe(space):
        # Legal in ConfigSpace is not yet legal for the CNN.
        for extreme in one.choices or (one.lower, one.upper):
            check(TrainConfig, {one.name: extreme}, source=str(path))
    n_tries = 1000
    # Some of what is no distribution only shows when it is drawn from.
    with _refusing(path):
        n_legal = len(list(_sample(space, n_tries, np.random.RandomState(0))))
    if n_legal < _LEAST_LEGAL * n_tries:
        raise SettingsError(
            f"a search space allows at least {100 * _LEAST_LEGAL:g} % of its combinations",
            received=f"{n_legal} of {n_tries:,} draws from {path}",
            next_step="forbid less, or narrow the ranges",
        )
    return space


def to_dict(space: ConfigurationSpace) -> dict[str, Any]:
    """The space as ConfigSpace's own JSON object."""
    plain: dict[str, Any] = json.loads(json.dumps(space.to_serialized_dict(), default=_native))
    return plain


def from_dict(values: dict[str, Any]) -> ConfigurationSpace:
    """The space of :func:`to_dict`."""
    with _silence():
        # A copy: ConfigSpace takes apart what it is given.
        return ConfigurationSpace.from_serialized_dict(copy.deepcopy(values))


def draw(space: ConfigurationSpace, seed: int) -> dict[str, Any]:
    """One configuration, decided by `seed` alone: the active hyperparameters, in Python's numbers.

    ConfigSpace returns NumPy's scalars for categoricals; Pyro4 refuses them.

    Raises:
        SettingsError: the space forbids everything.
    """
    random = np.random.RandomState(seed)
    # Five at first, as ConfigSpace itself does: a seed draws what it drew.
    for n_tries in (5, 50, 500, 5_000, 50_000):
        for drawn in _sample(space, n_tries, random):
            return drawn
    raise SettingsError(
        "a search space allows some combination of its values",
        received="none in 50,000 draws",
        next_step="forbid less",
    )


def draws(space: ConfigurationSpace, n_draws: int, seed: int = 0) -> dict[str, list[Any]]:
    """`n_draws` configurations as a list of values for each hyperparameter.

    A value that its conditions leave out is missing from its list.
    """
    random = np.random.RandomState(seed)
    drawn: list[dict[str, Any]] = []
    while len(drawn) < n_draws:
        drawn += _sample(space, n_draws, random)
    return {name: [one[name] for one in drawn[:n_draws] if name in one] for name in space}


def describe(space: ConfigurationSpace) -> list[Hyperparameter]:
    """The hyperparameters of the space, in its order."""
    named = set(re.findall(r"\w+", str(space.forbidden_clauses)))
    return [
        _describe(hyperparameter)._replace(forbids=name in named)
        for name, hyperparameter in space.items()
    ]


def rules(space: ConfigurationSpace) -> list[str]:
    """The conditions and the forbidden combinations of the space, in words."""
    conditions = [
        f"{condition.child.name} only if "
        + str(condition).replace(f"{condition.child.name} | ", "")
        for condition in space.conditions
    ]
    forbidden = [str(clause).replace("Forbidden: ", "") for clause in space.forbidden_clauses]
    return [
        rule.replace(" && ", " and ").replace(" || ", " or ").replace(" == ", " = ")
        for rule in (*conditions, *(f"never {clause}" for clause in forbidden))
    ]


def kinds(space: ConfigurationSpace) -> tuple[int, ...]:
    """For each dimension of the vectors the number of choices, 0 for one of numbers.

    The order is that of the space's hyperparameters: those on which others depend come first.
    """
    return tuple(len(one.choices) for one in describe(space))


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
    full = dict.fromkeys(OPTIONAL, 0.0) | dict(values)
    known = [name in full and bool(one.legal_value(full[name])) for name, one in space.items()]
    vector = np.array(
        [
            one.to_vector(full[name]) if legal else np.nan
            for (name, one), legal in zip(space.items(), known, strict=True)
        ],
        dtype=np.float64,
    )
    active = _activity(space, vector)
    for name, is_active, legal in zip(space, active, known, strict=True):
        if is_active and not legal:
            raise ValueError(f"{name} has a value of the space: got {full.get(name)!r}")
    return vector - _constants(space)


def from_vector(space: ConfigurationSpace, vector: Vector) -> dict[str, Any] | None:
    """The configuration at a point of the unit cube, as :func:`draw` gives it.

    Args:
        space: with d hyperparameters.
        vector: shape `(d,)`; what is beyond the range counts as its end, an index is rounded, and
            NaN is the hyperparameter's default.

    Returns:
        The values of the active hyperparameters; None if the space forbids their combination.
    """
    defaults = [one.to_vector(one.default_value) for one in space.values()]
    ends = [max(n_choices - 1, 0) if n_choices else 1 for n_choices in kinds(space)]
    indices = np.array(kinds(space)) > 0
    place = np.clip(vector, 0, ends)
    place = np.where(indices, np.rint(place), place) + _constants(space)
    (values,) = _configurations(space, np.where(np.isnan(vector), defaults, place)[np.newaxis])
    return values


def active(space: ConfigurationSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a whole configuration what the space varies, without what its conditions leave out.

    Raises:
        ValueError: see :func:`to_vector`.
    """
    full = dict.fromkeys(OPTIONAL, 0.0) | dict(values)
    missing = np.isnan(to_vector(space, full))
    return {name: full[name] for name, is_out in zip(space, missing, strict=True) if not is_out}


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What goes wrong with the search space in this file is a :class:`SettingsError`."""
    try:
        # ConfigSpace divides by a sigma of 0, which NumPy would only warn about.
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            yield
    except OSError as problem:
        raise SettingsError(
            "a search space is a readable file",
            received=f"{path} ({problem.strerror})",
            next_step="give --space FILE in ConfigSpace's JSON",
        ) from None
    except ForbiddenValueError as problem:
        raise SettingsError(
            "the default values of a search space are not forbidden",
            received=f"{path} ({problem})",
            next_step="change a default_value, or forbid less",
        ) from None
    except _NOT_A_SPACE as problem:
        lacking = f"nothing called {problem}" if isinstance(problem, KeyError) else problem
        raise _no_space(path, f"{type(problem).__name__}: {lacking}") from None


def _parsed(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    values = json.loads(text, parse_constant=refuse)
    if not isinstance(values, dict):
        raise TypeError(f"a JSON object is expected, and not a {type(values).__name__}")
    return values


def _current(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The JSON object as ConfigSpace 1.2 writes it, made from it or from an older one.

    ConfigSpace would translate an old one, too, but drops what it no longer knows.
    """
    version = values.get("format_version", values.get("json_format_version", _FORMAT_VERSION))
    if not isinstance(version, (int, float)) or version > _FORMAT_VERSION:
        raise SettingsError(
            f"a search space has ConfigSpace's format version {_FORMAT_VERSION} or an older one",
            received=f"{version!r} in {path}",
            next_step="write it with ConfigSpace 1.2",
        )
    hyperparameters = [_current_hyperparameter(one) for one in values.get("hyperparameters", [])]
    if not hyperparameters:
        raise _no_space(path, "no hyperparameter")
    for one in hyperparameters:
        if one["name"] not in SEARCHABLE:
            raise SettingsError(
                f"a search space varies {', '.join(SEARCHABLE)}",
                received=f"{one['name']!r} in {path}",
                next_step="the epochs are the budget: give --epochs or --max-epochs"
                if one["name"] == "epochs"
                else nearest(str(one["name"]), SEARCHABLE),
            )
    return values | {"hyperparameters": hyperparameters}


def _current_hyperparameter(one: dict[str, Any]) -> dict[str, Any]:
    one = dict(one)
    # Before ConfigSpace 1.0: another name for a field, and steps between values.
    for old, new in (("default", "default_value"), ("probabilities", "weights")):
        if old in one:
            given = one.pop(old)
            one[new] = given if one.get(new) is None else one[new]
    if one.pop("q", None) is not None:
        raise ValueError(f"{one['name']} has a step q, which ConfigSpace no longer knows")
    return one


def _no_space(path: Path, reason: str) -> SettingsError:
    return SettingsError(
        "a search space is ConfigSpace's own JSON",
        received=f"{path} ({reason})",
        next_step="write it with ConfigurationSpace.to_json",
    )


def _sample(
    space: ConfigurationSpace, n_tries: int, random: np.random.RandomState
) -> Iterator[dict[str, Any]]:
    """The legal ones among `n_tries` draws.

    ConfigSpace's own sampler never returns where everything is forbidden, and (1.2.0) takes "at
    most" for "at least" in a forbidden clause.
    """
    drawn = [one.sample_vector(n_tries, seed=random) for one in space.values()]
    for values in _configurations(space, np.stack(drawn, axis=1)):
        if values is not None:
            yield values


def _configurations(space: ConfigurationSpace, vectors: Vector) -> Iterator[dict[str, Any] | None]:
    """The configuration of each of ConfigSpace's vectors, shape `(n, d)`; None if forbidden."""
    columns = [_values(one, column) for one, column in zip(space.values(), vectors.T, strict=True)]
    exact = np.stack(
        [
            one.to_vector(np.asarray(column))
            for one, column in zip(space.values(), columns, strict=True)
        ],
        axis=1,
    )
    for row, vector in zip(zip(*columns, strict=True), exact, strict=True):
        is_active = _activity(space, vector)
        with _silence():
            forbidden = any(one.is_forbidden_vector(vector) for one in space.forbidden_clauses)
        chosen = zip(space, row, is_active, strict=True)
        yield None if forbidden else {name: value for name, value, used in chosen if used}


def _values(hyperparameter: Any, column: Vector) -> list[Any]:
    """The values at these coordinates, in Python's numbers."""
    values = hyperparameter.to_value(column)
    if isinstance(hyperparameter, FloatHyperparameter):
        values = np.round(values, _DECIMALS)
    natives = [_native(value) for value in values]
    return list(map(float, natives)) if hyperparameter.name in _FLOATS else natives


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


def _silence() -> contextlib.AbstractContextManager[Any]:
    # ConfigSpace 1.2.0 prints the vector whenever it compares it with a forbidden "at least".
    return contextlib.redirect_stdout(io.StringIO())


def _describe(hyperparameter: Any) -> Hyperparameter:
    choices: Sequence[Any]
    probabilities: tuple[float, ...] = ()
    if isinstance(hyperparameter, CategoricalHyperparameter):
        choices = hyperparameter.choices
        if hyperparameter.weights is not None:
            probabilities = tuple(map(float, hyperparameter.probabilities))
    elif isinstance(hyperparameter, OrdinalHyperparameter):
        choices = hyperparameter.sequence
    elif isinstance(hyperparameter, Constant):
        choices = (hyperparameter.value,)
    else:
        distribution = "uniform"
        if isinstance(hyperparameter, (*_NORMAL, *_BETA)):
            distribution = "normal" if isinstance(hyperparameter, _NORMAL) else "beta"
        return Hyperparameter(
            hyperparameter.name,
            "log" if hyperparameter.log else "linear",
            _native(hyperparameter.lower),
            _native(hyperparameter.upper),
            (),
            distribution=distribution,
        )
    natives = tuple(_native(choice) for choice in choices)
    return Hyperparameter(hyperparameter.name, "choice", None, None, natives, probabilities)


def _native(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
