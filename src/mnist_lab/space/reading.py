"""The exercise sheet's search space, and those in files of ConfigSpace's JSON."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.exceptions import ForbiddenValueError

from mnist_lab.config import TrainConfig, check
from mnist_lab.errors import SettingsError, nearest
from mnist_lab.space.describing import describe, native
from mnist_lab.space.sampling import sample, silence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a search may vary; the number of epochs is its budget.
SEARCHABLE = tuple(name for name in TrainConfig.model_fields if name != "epochs")
# Of ConfigSpace's JSON: what ConfigSpace 1.2 writes. It reads the older ones, and ignores the rest.
_FORMAT_VERSION = 0.4
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
        n_legal = len(list(sample(space, n_tries, np.random.RandomState(0))))
    if n_legal < _LEAST_LEGAL * n_tries:
        raise SettingsError(
            f"a search space allows at least {100 * _LEAST_LEGAL:g} % of its combinations",
            received=f"{n_legal} of {n_tries:,} draws from {path}",
            next_step="forbid less, or narrow the ranges",
        )
    return space


def to_dict(space: ConfigurationSpace) -> dict[str, Any]:
    """The space as ConfigSpace's own JSON object."""
    plain: dict[str, Any] = json.loads(json.dumps(space.to_serialized_dict(), default=native))
    return plain


def from_dict(values: dict[str, Any]) -> ConfigurationSpace:
    """The space of :func:`to_dict`."""
    with silence():
        # A copy: ConfigSpace takes apart what it is given.
        return ConfigurationSpace.from_serialized_dict(copy.deepcopy(values))


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
