"""A hyperparameter in ConfigSpace's JSON: its rules, and the conversion of older ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from mnist_lab.errors import SettingsError, nearest

_RANGE = ("lower", "upper")
# What a hyperparameter of each type must say, and what it may.
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "categorical": (("choices",), ("default_value", "weights")),
    "ordinal": (("sequence",), ("default_value",)),
    "constant": (("value",), ()),
}
for _number in ("float", "int"):
    for _kind, _own in (("uniform", ()), ("normal", ("mu", "sigma")), ("beta", ("alpha", "beta"))):
        _KEYS[f"{_kind}_{_number}"] = (*_own, *_RANGE), ("default_value", "log")
# Before ConfigSpace 1.0: other names for keys and for a type.
_OLD_KEYS = {"default": "default_value", "probabilities": "weights"}
_OLD_TYPES = {"unparametrized": "constant"}
_MOST_STEPS = 20  # in a line that can be read


def current(one: dict[str, Any], source: str, *, is_old: bool) -> dict[str, Any]:
    """The JSON object of a hyperparameter of ours as ConfigSpace 1.2 writes it.

    `is_old`: a ConfigSpace before 1.0 wrote it, in the file `source`. It is refused if a key is
    missing, unknown or illegal, or has a meaning that ConfigSpace has dropped.
    """
    one = dict(one)
    for old, new in _OLD_KEYS.items():
        if old in one:
            given = one.pop(old)
            one[new] = given if one.get(new) is None else one[new]
    one["type"] = _OLD_TYPES.get(str(one.get("type")), one.get("type"))
    for problem, next_step in _faults(one, one.pop("q", None), is_old=is_old):
        raise SettingsError(f"{source}: {problem}", next_step=next_step)
    if one["type"].endswith("_int"):  # a whole number, also if it is written as 16.0
        whole = {key: one[key] for key in (*_RANGE, "default_value") if one.get(key) is not None}
        one |= {key: int(value) for key, value in whole.items()}
    return one


def _faults(one: dict[str, Any], step: Any, *, is_old: bool) -> Iterator[tuple[str, str]]:
    """The faults, and what to do; each check relies on those before it."""
    kind, name = one["type"], one["name"]
    if not isinstance(kind, str) or kind not in _KEYS:
        near = nearest(str(kind), _KEYS)
        yield f"{name} has the unknown type {json.dumps(kind)[:200]}", near
    is_1 = kind.endswith("_int") and _is_number(step) and step <= 1  # as it is in any case
    if step is not None and not is_1:
        problem = f'{name} has "q": {json.dumps(step)}, a step, which ConfigSpace dropped with 1.0'
        way = "leave it out to draw from the whole range, or list the values, then equally likely: "
        way += json.dumps(_ordinal(one, step), ensure_ascii=False)
        yield problem, way
    required, optional = _KEYS[kind]
    for key in required:  # what it must say is there, and nothing that nobody would read
        if key not in one or (one[key] is None and key != "value"):
            yield f"{name} has no {key!r}", f"add {key!r}"
    known = ("name", "type", "meta", *required, *optional)
    for key in one:
        if key not in known:
            yield f"{name} has {key!r}, which a {kind} does not have", nearest(key, known)
    if is_old and kind in {"normal_float", "normal_int"} and one.get("log"):
        problem = f'{name} is normal with "log": true, where mu and sigma were logarithms before'
        way = 'give it the type "uniform_float" or "uniform_int", without mu and sigma'
        yield f"{problem} ConfigSpace 1.0 and are not now", way
    for key, rule, holds in _rules(one):
        if not holds:
            received = json.dumps(one.get(key))[:200]
            yield f"{key!r} of {name} is {received}, not {rule}", f"correct {key!r}"


def _ordinal(one: dict[str, Any], step: Any) -> dict[str, Any]:
    """The hyperparameter with the values of its stepped range, as far as they fit into a line."""
    lower, upper, default = (one.get(key, math.nan) for key in (*_RANGE, "default_value"))
    values: list[Any] = []
    is_range = one["type"].startswith("uniform_") and all(map(_is_number, (lower, upper, step)))
    if is_range and 0 < upper - lower <= step * _MOST_STEPS:
        n_steps = math.floor((upper - lower) / step + 1e-9)
        values = [round(lower + n * step, 10) for n in range(n_steps + 1)]
        values = list(map(int, values)) if one["type"] == "uniform_int" else values
    ordinal = {"name": one["name"], "type": "ordinal", "sequence": values or ["…"]}
    if values and _is_number(default):
        ordinal["default_value"] = min(values, key=lambda value: abs(value - default))
    return ordinal


def _rules(one: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Key, the rule for its value, and whether it holds; each may rely on those before it."""
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
        yield key, "a number of 1 or more", key not in one or _is_number(one[key], at_least=1)
    for key in ("mu", "sigma"):
        yield key, "a finite number", key not in one or _is_number(one[key])
    yield "sigma", "above 0 in 13 decimals", round(one.get("sigma", 1), 13) > 0
    yield "mu", "above 0, as log is true", not log or one.get("mu", 1) > 0


def _is_number(value: Any, *, whole: bool = False, at_least: float = -1e300) -> bool:
    """Whether it is a JSON number that is neither infinite nor absurd."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return at_least <= value <= 1e300 and (not whole or value % 1 == 0)  # noqa: PLR2004
