"""The exercise sheet's search space, and those in ConfigSpace's JSON files."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from ConfigSpace.exceptions import ForbiddenValueError
from ConfigSpace.read_and_write.dictionary import CONDITION_DECODERS, FORBIDDEN_DECODERS

from mnist_lab.config import TrainConfig, check, read_json
from mnist_lab.errors import SettingsError, nearest
from mnist_lab.space.explaining import describe
from mnist_lab.space.hyperparameters import current
from mnist_lab.space.sampling import from_dict, sample

# What a search may vary; the number of epochs is its budget.
SEARCHABLE = tuple(name for name in TrainConfig.model_fields if name != "epochs")
_FORMAT_VERSION = 0.4  # of ConfigSpace 1.2, which reads the older ones, and ignores the rest
# The parts of a space; later ones name hyperparameters of the first.
_DECODERS = {"conditions": CONDITION_DECODERS, "forbiddens": FORBIDDEN_DECODERS}
_PARTS = ("hyperparameters", *_DECODERS)
# As ConfigSpace wrote them from 0.6 on, and does not read them any more.
_RELATIONS = {"LESS": "RELATION_LT", "EQUALS": "RELATION_EQ", "GREATER": "RELATION_GT"}
_EXAMPLE = (
    'give one such as {"hyperparameters": [{"name": "learning_rate", "type": "uniform_float", '
    '"lower": 0.0001, "upper": 0.1, "log": true}]}'
)
# The first line of the other formats that ConfigSpace writes, after empty lines and comments.
_OTHER_FORMAT = re.compile(
    r"(?:\s*#.*\n|\s*\n)*\s*[\w-]+\s*(?:(?P<pcs>(?:real|integer|categorical|ordinal)\b|[\[{|])|:)"
)
# What ConfigSpace raises on what is no search space.
_NOT_A_SPACE = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(AssertionError, RecursionError),
)


def default_space() -> ConfigurationSpace:
    """The exercise sheet's search space; `configs/space.json` is the same."""
    space = ConfigurationSpace(name="exercise")
    space.add(
        Float("learning_rate", (1e-4, 1e-1), log=True, default=1e-2),
        Integer("batch_size", (16, 128), log=True, default=64),
        Integer("num_filters", (8, 64), log=True, default=16),
        Categorical("filter_size", [3, 5]),
    )
    return space


def read_space(path: Path) -> ConfigurationSpace:
    """The search space in a file of ConfigSpace's own JSON.

    Raises:
        SettingsError: the file is missing or is not such JSON, or the space varies what the CNN
            does not have, exceeds the ranges of :class:`~mnist_lab.config.TrainConfig`, or forbids
            almost everything.
    """
    parsed = partial(_parsed, path=path)
    return check_space(read_json(path, "a search space", _EXAMPLE, parsed), path)


def check_space(values: dict[str, Any], path: Path) -> ConfigurationSpace:
    """The search space of ConfigSpace's JSON object, read from the file `path`.

    Raises:
        SettingsError: as :func:`read_space`.
    """
    try:
        values = _current(values, path)
    except RecursionError:
        problem = f"{path}: its clauses are nested too deep"
        raise SettingsError(problem, next_step="nest fewer") from None
    with _refusing(path, values):
        space = from_dict(values)
    for one in describe(space):
        # Legal in ConfigSpace is not yet legal for the CNN.
        for extreme in one.choices or (one.lower, one.upper):
            check(TrainConfig, {one.name: extreme}, source=str(path))
    # Some of what is no distribution only shows when it is drawn from.
    with _refusing(path, values):
        n_legal = len(list(sample(space, 1000, np.random.RandomState(0))))
    if n_legal < 10:  # noqa: PLR2004 - rarer ones are not worth waiting for
        problem = f"{path} forbids nearly everything: {n_legal} of 1,000 draws are legal"
        raise SettingsError(problem, next_step="forbid less, or narrow the ranges")
    return space


@contextlib.contextmanager
def _refusing(path: Path, values: dict[str, Any]) -> Iterator[None]:
    """Turn any failure with the search space in this file into a :class:`SettingsError`."""
    try:
        # ConfigSpace divides by a sigma of 0, which NumPy would only warn about.
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            yield
    except _NOT_A_SPACE as problem:
        what = "ConfigSpace refuses"
        way = "correct its keys and values; the value in a condition, for example, is one that its"
        way += " parent can have"
        if isinstance(problem, ForbiddenValueError):
            what = "the default values are forbidden by"
            way = "change a default_value, or forbid less"
        problem_text = f"{path}: {what} {_first_refused(values)}"
        raise SettingsError(problem_text, next_step=way) from None


def _first_refused(values: dict[str, Any]) -> str:
    """The first part of a space that ConfigSpace refuses."""
    kept: dict[str, Any] = {part: [] for part in _PARTS}
    for part in _PARTS:
        for one in values[part]:
            kept[part].append(one)
            try:
                from_dict(kept)
            except _NOT_A_SPACE:
                return f"the {_singular(part)} {json.dumps(one)[:200]}"
    return "a distribution that cannot be drawn from"


def _parsed(text: str, path: Path) -> Any:
    """The value of a JSON text; errors name ConfigSpace's other formats."""
    if other := _OTHER_FORMAT.match(text):
        problem = f"{path} is {'PCS' if other['pcs'] else 'YAML'}, not JSON"
        raise SettingsError(problem, next_step=_EXAMPLE)
    values = json.loads(text)
    try:  # what is kept in the run is written again
        json.dumps(values, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        problem = f"{path} holds infinite numbers or broken characters"
        way = "look for NaN, Infinity, 1e999 or \\ud800 in it"
        raise SettingsError(problem, next_step=way) from None
    return values


def _current(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The JSON object as ConfigSpace 1.2 writes it, made from it or from an older one.

    ConfigSpace would translate an old one, too, but would drop what it no longer knows.
    """
    parts = {part: values.get(part) or [] for part in _PARTS}
    for problem, next_step in _faults(values, parts):
        raise SettingsError(f"{path}: {problem}", next_step=next_step)
    is_old, ours = "json_format_version" in values, parts.pop("hyperparameters")
    names = [one["name"] for one in ours]
    return {
        "name": values.get("name"),
        "hyperparameters": [current(one, str(path), is_old=is_old) for one in ours],
    } | {part: [_rule(one, part, names, path) for one in found] for part, found in parts.items()}


def _faults(values: dict[str, Any], parts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The faults, and what to do; each check relies on those before it."""
    version = values.get("format_version", values.get("json_format_version", _FORMAT_VERSION))
    if not isinstance(version, (int, float)) or version > _FORMAT_VERSION:
        problem = f"its format version is {json.dumps(version)}; the newest known is"
        yield f"{problem} {_FORMAT_VERSION}", "write it with ConfigSpace 1.2"
    for part, found in parts.items():
        if not _are_objects(found):
            yield f"the {part} are {json.dumps(found)[:200]}, not a list of objects", _EXAMPLE
    names = [one.get("name") for one in parts["hyperparameters"]]
    if not names:
        yield "there are no hyperparameters", _EXAMPLE
    for name in names:
        if name not in SEARCHABLE:
            way = nearest(str(name), SEARCHABLE)
            if name == "epochs":
                way = "the epochs are the budget: use --epochs or --max-epochs"
            known = isinstance(name, str)
            yield f"a search cannot vary {name!r}" if known else "a hyperparameter has no name", way
        if (n_times := names.count(name)) > 1:
            yield f"{name!r} is there {n_times} times", "leave the others out"


def _rule(one: dict[str, Any], part: str, names: Sequence[str], path: Path) -> dict[str, Any]:
    """A condition or a forbidden clause, with those that it joins, as ConfigSpace 1.2 writes it."""
    kind, shown = str(one.get("type")), json.dumps(one)[:200]
    where = f"{path}: the {_singular(part)}"
    if kind == "RELATION":
        kind = _RELATIONS.get(str(one.get("lambda")), kind)
        one = one | {"type": kind}
    if kind not in _DECODERS[part]:
        near = nearest(kind, _DECODERS[part])
        raise SettingsError(f"{where} {shown} has an unknown type", next_step=near)
    for key in one.keys() & {"child", "parent", "name", "left", "right"}:
        if one[key] not in names:
            unknown = f"has the {key} {json.dumps(one[key])[:200]}, which is no hyperparameter"
            way = nearest(str(one[key]), names)
            raise SettingsError(f"{where} {unknown} of the space", next_step=way)
    for key in one.keys() & {"conditions", "clauses"}:
        if not _are_objects(one[key]):
            problem = f"{where} {shown} has {key} that are not a list of others"
            raise SettingsError(problem, next_step=f"correct {key!r}")
        one = one | {key: [_rule(inner, part, names, path) for inner in one[key]]}
    return one


def _singular(part: str) -> str:
    return "forbidden clause" if part == "forbiddens" else part[:-1]


def _are_objects(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, dict) for one in values)
