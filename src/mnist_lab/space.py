"""The search space: what it holds, its JSON, what it samples.

`log=True` means that the logarithm of the value is uniform: each doubling is equally likely. It
does not mean powers of two: 22 filters and a batch size of 95 are ordinary draws.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)

from mnist_lab.config import TrainConfig, check
from mnist_lab.errors import SettingsError, nearest

if TYPE_CHECKING:
    from pathlib import Path

# What a search may vary; the number of epochs is its budget.
SEARCHABLE = tuple(name for name in TrainConfig.model_fields if name != "epochs")


# What reading JSON and ConfigSpace's decoder raise on what is no search space.
_NOT_A_SPACE = (
    ArithmeticError,
    AttributeError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
)


class Hyperparameter(NamedTuple):
    """One hyperparameter of a space, in words: `scale` is log, linear or choice."""

    name: str
    scale: str
    lower: float | None
    upper: float | None
    choices: tuple[Any, ...]


def default_space() -> ConfigurationSpace:
    """The exercise sheet's search space."""
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
        SettingsError: the file is missing, is not such JSON, or varies what the CNN does not know.
    """
    try:
        space = from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as problem:
        raise SettingsError(
            "a search space is a readable file",
            received=f"{path} ({problem.strerror})",
            next_step="give --space FILE in ConfigSpace's JSON",
        ) from None
    except _NOT_A_SPACE as problem:
        raise SettingsError(
            "a search space is ConfigSpace's own JSON",
            received=f"{path} ({type(problem).__name__}: {problem})",
            next_step="write it with ConfigurationSpace.to_json",
        ) from None
    if not len(space):
        raise SettingsError(
            "a search space is ConfigSpace's own JSON",
            received=f"{path} (no hyperparameter)",
            next_step="write it with ConfigurationSpace.to_json",
        )
    for one in describe(space):
        if one.name not in SEARCHABLE:
            raise SettingsError(
                f"a search space varies {', '.join(SEARCHABLE)}",
                received=f"{one.name!r} in {path}",
                next_step=nearest(one.name, SEARCHABLE),
            )
        # Legal in ConfigSpace is not yet legal for the CNN.
        for extreme in one.choices or (one.lower, one.upper):
            check(TrainConfig, {one.name: extreme}, source=str(path))
    return space


def to_dict(space: ConfigurationSpace) -> dict[str, Any]:
    """The space as ConfigSpace's own JSON object."""
    plain: dict[str, Any] = json.loads(json.dumps(space.to_serialized_dict(), default=_native))
    return plain


def from_dict(values: dict[str, Any]) -> ConfigurationSpace:
    """The space of :func:`to_dict`."""
    # A copy: ConfigSpace takes apart what it is given.
    return ConfigurationSpace.from_serialized_dict(copy.deepcopy(values))


def draw(space: ConfigurationSpace, seed: int) -> dict[str, Any]:
    """One configuration, decided by `seed` alone, as native Python values.

    ConfigSpace returns NumPy's scalars for categoricals; Pyro4 refuses them.
    """
    space.seed(seed)
    return {name: _native(value) for name, value in space.sample_configuration().items()}


def draws(space: ConfigurationSpace, n_draws: int, seed: int = 0) -> dict[str, list[Any]]:
    """`n_draws` configurations as a list of values for each hyperparameter.

    A value that its conditions leave out is missing from its list.
    """
    space.seed(seed)
    values: dict[str, list[Any]] = {name: [] for name in space}
    for configuration in space.sample_configuration(n_draws):
        for name, value in configuration.items():
            values[name].append(_native(value))
    return values


def describe(space: ConfigurationSpace) -> list[Hyperparameter]:
    """The hyperparameters of the space, in its order."""
    return [_describe(hyperparameter) for hyperparameter in space.values()]


def _describe(hyperparameter: Any) -> Hyperparameter:
    if isinstance(hyperparameter, CategoricalHyperparameter):
        choices = tuple(_native(choice) for choice in hyperparameter.choices)
    elif isinstance(hyperparameter, OrdinalHyperparameter):
        choices = tuple(_native(choice) for choice in hyperparameter.sequence)
    elif isinstance(hyperparameter, Constant):
        choices = (_native(hyperparameter.value),)
    else:
        scale = "log" if hyperparameter.log else "linear"
        lower, upper = _native(hyperparameter.lower), _native(hyperparameter.upper)
        return Hyperparameter(hyperparameter.name, scale, lower, upper, ())
    return Hyperparameter(hyperparameter.name, "choice", None, None, choices)


def _native(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
