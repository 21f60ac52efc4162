"""A search space in words: its hyperparameters, its conditions, what it forbids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ConfigSpace import (
    BetaFloatHyperparameter,
    BetaIntegerHyperparameter,
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    NormalFloatHyperparameter,
    NormalIntegerHyperparameter,
    OrdinalHyperparameter,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            native(hyperparameter.lower),
            native(hyperparameter.upper),
            (),
            distribution=distribution,
        )
    natives = tuple(native(choice) for choice in choices)
    return Hyperparameter(hyperparameter.name, "choice", None, None, natives, probabilities)


def native(value: Any) -> Any:
    """A value in Python's numbers: Pyro4 refuses NumPy's."""
    return value.item() if hasattr(value, "item") else value
