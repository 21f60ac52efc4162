"""A hyperparameter in ConfigSpace's JSON: what it must say, and an older one as today's."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from mnist_lab.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANGE = ("lower", "upper")
_NUMBERS: dict[str, tuple[str, ...]]
_NUMBERS = {"uniform": (), "normal": ("mu", "sigma"), "beta": ("alpha", "beta")}
# What a hyperparameter of each type must say, and what it may.
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    f"{kind}_{number}": ((*own, *_RANGE), ("default_value", "log"))
    for kind, own in _NUMBERS.items()
    for number in ("float", "int")
} | {
    "categorical": (("choices",), ("default_value", "weights")),
    "ordinal": (("sequence",), ("default_value",)),
    "constant": (("value",), ()),
}
# Before ConfigSpace 1.0: other names for keys and for a type.
_OLD_KEYS = {"default": "default_value", "probabilities": "weights"}
_OLD_TYPES = {"unparametrized": "constant"}
_MOST_STEPS = 20  # in a line that can be read


def current(one: dict[str, Any], source: str, *, is_old: bool) -> dict[str, Any]:
    """The hyperparameter as ConfigSpace 1.2 writes it.

    Args:
        one: its JSON object, with the name of a hyperparameter of ours.
        source: what the person calls the file.
        is_old: whether ConfigSpace wrote it before 1.0.

    Raises:
        SettingsError: a key is missing, unknown, or has no legal value; or it has a meaning that
            ConfigSpace does not know any more.
    """
    one = _without_step(_renamed(one, source), source)
    _check_keys(one, source)
    kind, name = one["type"], one["name"]
    if is_old and kind in {"normal_float", "normal_int"} and one.get("log"):
        raise SettingsError(
            f'in {source}, {name} is no normal distribution with "log": true, whose mu and sigma '
            "were logarithms before ConfigSpace 1.0 and are not now",
            next_step='give it the type "uniform_float" or "uniform_int", without mu and sigma',
        )
    for key, rule, holds in _rules(one):
        if not holds:
            told, received = f"in {source}, {key!r} of {name} is {rule}", json.dumps(one.get(key))
            raise SettingsError(told, received=received[:200], next_step=f"correct {key!r}")
    if kind.endswith("_int"):  # a whole number, also if it is written as 16.0
        whole = {key: one[key] for key in (*_RANGE, "default_value") if one.get(key) is not None}
        one |= {key: int(value) for key, value in whole.items()}
    return one


def _renamed(one: dict[str, Any], source: str) -> dict[str, Any]:
    """The hyperparameter with the names that its keys and its type have now."""
    one = dict(one)
    for old, new in _OLD_KEYS.items():
        if old in one:
            given = one.pop(old)
            one[new] = given if one.get(new) is None else one[new]
    kind = one["type"] = _OLD_TYPES.get(str(one.get("type")), one.get("type"))
    if not isinstance(kind, str) or kind not in _KEYS:
        told = f"in {source}, {one['name']} has a type of ConfigSpace"
        near = nearest(str(kind), _KEYS)
        raise SettingsError(told, received=json.dumps(kind)[:200], next_step=near)
    return one


def _check_keys(one: dict[str, Any], source: str) -> None:
    """What it must say is there, and nothing that nobody would read."""
    kind, name = one["type"], one["name"]
    required, optional = _KEYS[kind]
    for key in required:
        if key not in one or (one[key] is None and key != "value"):
            told = f"in {source}, {name} has the key {key!r}"
            raise SettingsError(told, next_step=f"add {key!r}")
    known = ("name", "type", "meta", *required, *optional)
    for key in one:
        if key not in known:
            told = f"in {source}, {name} has only keys of the type {kind}"
            raise SettingsError(told, received=repr(key), next_step=nearest(key, known))


def _without_step(one: dict[str, Any], source: str) -> dict[str, Any]:
    """The hyperparameter without its step `q`, which ConfigSpace had until 1.0."""
    step = one.pop("q", None)
    kind, is_number = one["type"], _is_number(step)
    if step is None or (kind.endswith("_int") and is_number and step <= 1):
        return one  # whole numbers are drawn in any case
    lower, upper, default = (one.get(key, math.nan) for key in (*_RANGE, "default_value"))
    values: list[Any] = []
    is_range = kind in {"uniform_float", "uniform_int"} and all(map(_is_number, (lower, upper)))
    if is_range and is_number and 0 < upper - lower <= step * _MOST_STEPS:
        n_steps = math.floor((upper - lower) / step + 1e-9)
        values = [round(lower + n * step, 10) for n in range(n_steps + 1)]
        values = list(map(int, values)) if kind == "uniform_int" else values
    ordinal = {"name": one["name"], "type": "ordinal", "sequence": values or ["…"]}
    if values and _is_number(default):
        ordinal["default_value"] = min(values, key=lambda value: abs(value - default))
    raise SettingsError(
        f"in {source}, {one['name']} has no step q, which ConfigSpace gave up with 1.0",
        received=f'"q": {json.dumps(step)}',
        next_step="leave it out to draw from the whole range, or list the values, then equally "
        f"likely: {json.dumps(ordinal, ensure_ascii=False)}",
    )


def _rules(one: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Key, what its value is, and whether it holds; each may rely on those before it."""
    kind, default = one["type"], one.get("default_value")
    if kind == "constant":
        return
    if kind in {"categorical", "ordinal"}:
        key = "choices" if kind == "categorical" else "sequence"
        values, weights = one[key], one.get("weights")
        yield key, "a list of values", isinstance(values, list) and len(values) > 0
        yield key, "a list without repetition", all(values.count(one) == 1 for one in values)
        yield "default_value", f"one of {key}", default is None or default in values
        numbers = isinstance(weights, list) and all(_is_number(one, at_least=0) for one in weights)
        match = numbers and len(weights or ()) == len(values) and any(weights or ())
        yield "weights", "a number of 0 or more for each choice", weights is None or match
        return
    whole, log = kind.endswith("_int"), one.get("log")
    number = "a whole number" if whole else "a finite number"
    for key in _RANGE:
        yield key, number, _is_number(one[key], whole=whole)
    lower, upper = one["lower"], one["upper"]
    yield "upper", "above lower", upper > lower
    yield "log", "true or false", log is None or isinstance(log, bool)
    yield "lower", "above 0 in 13 decimals, as log is true", not log or round(lower, 13) > 0
    is_inside = default is None or (_is_number(default, whole=whole) and lower <= default <= upper)
    yield "default_value", f"{number} from lower to upper", is_inside
    for key in ("alpha", "beta"):
        yield key, "a number, at least 1", key not in one or _is_number(one[key], at_least=1)
    for key in ("mu", "sigma"):
        yield key, "a finite number", key not in one or _is_number(one[key])
    yield "sigma", "above 0 in 13 decimals", round(one.get("sigma", 1), 13) > 0
    yield "mu", "above 0, as log is true", not log or one.get("mu", 1) > 0


def _is_number(value: Any, *, whole: bool = False, at_least: float = -1e300) -> bool:
    """Whether it is a number of JSON that is neither infinite nor absurd."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and at_least <= value <= 1e300  # noqa: PLR2004
        and (not whole or value % 1 == 0)
    )
