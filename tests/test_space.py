"""The search space: what it draws, what log means, its JSON, and what is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import ConfigSpace as CS  # noqa: N817 - as its documentation does
import numpy as np
import pytest
from ConfigSpace import CategoricalHyperparameter as Choice
from ConfigSpace import ConfigurationSpace, Float, Integer
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lab import space
from mnist_lab.cli import show
from mnist_lab.config import Hyperparameter, TrainConfig, check
from mnist_lab.errors import SettingsError
from mnist_lab.space import explaining, reading, sampling

CONFIGS = Path(__file__).parents[1] / "configs"
SPACE = space.default_space()
SEEDS = st.integers(0, 2**31 - 1)
RANGES = {"learning_rate": (1e-4, 1e-1), "batch_size": (16, 128), "num_filters": (8, 64)}


def written(tmp_path: Path, values: Any) -> Path:
    """A file with these values as JSON."""
    path = tmp_path / "space.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def space_of(*hyperparameters: Any) -> ConfigurationSpace:
    """A space of these hyperparameters."""
    made = ConfigurationSpace()
    made.add(*hyperparameters)
    return made


# --- what it draws


def test_default_space() -> None:
    """The default is the exercise sheet's space, and lies in configs/, too."""
    assert space.read_space(CONFIGS / "space.json") == SPACE
    assert set(explaining.describe(SPACE)) == {
        Hyperparameter("learning_rate", "log", 1e-4, 1e-1, ()),
        Hyperparameter("batch_size", "log", 16, 128, (), whole=True),
        Hyperparameter("num_filters", "log", 8, 64, (), whole=True),
        Hyperparameter("filter_size", "choice", None, None, (3, 5)),
    }


@given(SEEDS)
def test_draws(seed: int) -> None:
    """A draw lies in the space, is what the CNN takes, and in Python's own numbers."""
    drawn = space.draw(SPACE, seed)
    kinds = {name: type(value) for name, value in drawn.items()}
    assert kinds == dict.fromkeys(RANGES, int) | {"learning_rate": float, "filter_size": int}
    assert all(low <= drawn[name] <= high for name, (low, high) in RANGES.items())
    assert drawn["filter_size"] in {3, 5}
    check(TrainConfig, TrainConfig().model_dump() | drawn, source="a draw")


@given(seed=SEEDS, others=st.lists(SEEDS, max_size=3))
def test_a_draw_depends_on_its_seed_alone(seed: int, others: list[int]) -> None:
    """Whatever was drawn before, and from whichever copy of the space, the draw is the same."""
    fresh = space.from_dict(space.to_dict(space.default_space()))
    for other in others:
        space.draw(SPACE, other)
    assert space.draw(SPACE, seed) == space.draw(fresh, seed)


def test_log_makes_each_doubling_equally_likely() -> None:
    """On a log scale each octave, or decade, gets the same share, and every whole number comes."""
    many = sampling.draws(SPACE, 5000)
    linear = sampling.draws(space_of(Integer("batch_size", (16, 127))), 5000)["batch_size"]
    for values, bounds, shares in (
        (many["learning_rate"], [1e-4, 1e-3, 1e-2, 1e-1], [1 / 3] * 3),
        (many["batch_size"], [16, 32, 64, 129], [1 / 3] * 3),
        (many["num_filters"], [8, 16, 32, 65], [1 / 3] * 3),
        (many["filter_size"], [3, 5, 6], [1 / 2] * 2),
        (linear, [16, 32, 64, 128], [1 / 7, 2 / 7, 4 / 7]),
    ):
        found = [sum(low <= n < high for n in values) / 5000 for low, high in pairwise(bounds)]
        assert found == pytest.approx(shares, abs=0.03)
    # Such as the student's 95 and 22.
    assert set(many["batch_size"]) == set(range(16, 129))
    assert set(many["num_filters"]) == set(range(8, 65))
    assert len({json.dumps(space.draw(SPACE, seed)) for seed in range(100)}) == 100


def test_describe_other_kinds() -> None:
    """Constants, ordinals, linear ranges and other distributions are told in the same words."""
    other = space_of(
        CS.Constant("filter_size", 3),
        CS.OrdinalHyperparameter("batch_size", [32, 64, 128]),
        Float("learning_rate", (0.01, 0.1)),
        Choice("num_filters", [8, 16], weights=[1, 3]),
        CS.NormalFloatHyperparameter("momentum", mu=0.9, sigma=0.1, lower=0, upper=0.99),
        CS.BetaFloatHyperparameter("dropout", alpha=2, beta=2, lower=0, upper=0.5),
    )
    other.add(CS.ForbiddenEqualsClause(other["num_filters"], 8))
    assert {one.name: (*one[1:5], *one[6:10]) for one in explaining.describe(other)} == {
        "filter_size": ("choice", None, None, (3,), (), "uniform", False, False),
        "batch_size": ("choice", None, None, (32, 64, 128), (), "uniform", False, False),
        "learning_rate": ("linear", 0.01, 0.1, (), (), "uniform", False, False),
        "num_filters": ("choice", None, None, (8, 16), (0.25, 0.75), "uniform", True, False),
        "momentum": ("linear", 0, 0.99, (), (), "normal", False, False),
        "dropout": ("linear", 0, 0.5, (), (), "beta", False, False),
    }


# --- conditions and forbidden combinations


def whole() -> ConfigurationSpace:
    """A space of three whole-number hyperparameters and an ordinal one."""
    return space_of(
        Integer("batch_size", (1, 6), default=3),
        Integer("filter_size", (1, 6), default=4),
        CS.OrdinalHyperparameter("momentum", [0.9, 0.5, 0.0]),
        Integer("num_filters", (1, 6), log=True, default=2),
    )


def both(s: ConfigurationSpace) -> Any:
    """Forbids many filters without momentum."""
    many = CS.ForbiddenGreaterThanClause(s["num_filters"], 3)
    return CS.ForbiddenAndConjunction(many, CS.ForbiddenEqualsClause(s["momentum"], 0))


def two(s: ConfigurationSpace, child: Any) -> tuple[Any, Any]:
    """Much momentum, small filters."""
    much = CS.EqualsCondition(child, s["momentum"], 0.9)
    return much, CS.LessThanCondition(child, s["filter_size"], 4)


# What makes a clause or a condition, of what and with what; and what it says, in Python.
Rule = tuple[Callable[..., Any], str, Any, str]
FORBIDDEN: list[Rule] = [
    (CS.ForbiddenEqualsClause, "num_filters", 5, "num_filters == 5"),
    (CS.ForbiddenInClause, "num_filters", [5, 6], "num_filters in {5, 6}"),
    (CS.ForbiddenLessThanClause, "num_filters", 2, "num_filters < 2"),
    (CS.ForbiddenLessThanEqualsClause, "num_filters", 1, "num_filters <= 1"),
    (CS.ForbiddenGreaterThanClause, "num_filters", 4, "num_filters > 4"),
    (CS.ForbiddenGreaterThanEqualsClause, "num_filters", 5, "num_filters >= 5"),
    (CS.ForbiddenGreaterThanClause, "momentum", 0.9, "momentum < 0.9"),  # later in the order
    (both, "", None, "num_filters > 3 and momentum == 0"),
    (CS.ForbiddenEqualsRelation, "num_filters", "batch_size", "num_filters == batch_size"),
    (CS.ForbiddenLessThanRelation, "batch_size", "num_filters", "batch_size < num_filters"),
    (CS.ForbiddenGreaterThanRelation, "batch_size", "filter_size", "batch_size > filter_size"),
]
CONDITIONS: list[Rule] = [
    (CS.EqualsCondition, "batch_size", 5, "batch_size == 5"),
    (CS.NotEqualsCondition, "batch_size", 5, "batch_size != 5"),
    (CS.InCondition, "batch_size", [1, 5], "batch_size in {1, 5}"),
    (CS.GreaterThanCondition, "batch_size", 2, "batch_size > 2"),
    (CS.LessThanCondition, "batch_size", 2, "batch_size < 2"),
    (CS.LessThanCondition, "momentum", 0.0, "momentum > 0"),  # earlier in the order
    (CS.AndConjunction, "", None, "momentum == 0.9 and filter_size < 4"),
    (CS.OrConjunction, "", None, "momentum == 0.9 or filter_size < 4"),
]


def holds(rule: str, drawn: dict[str, Any]) -> bool:
    """Whether a rule holds for a configuration."""
    return bool(eval(rule, {}, drawn))  # noqa: S307 - our own


def drawn_from(made: ConfigurationSpace, tmp_path: Path, n: int = 200) -> list[dict[str, Any]]:
    """Draws from a space that went through its file; each is legal for ConfigSpace itself."""
    read = space.read_space(written(tmp_path, space.to_dict(made)))
    assert read == made
    found = [space.draw(read, seed) for seed in range(n)]
    for one in found:
        CS.Configuration(read, values=one)
    return found


def test_forbidden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a clause forbids is never drawn, and all else is.

    ConfigSpace 1.2.0 draws what is "at most" forbidden, and prints at "at least".
    """
    free = [space.draw(whole(), seed) for seed in range(200)]
    for kind, name, value, rule in FORBIDDEN:
        made = whole()
        with sampling.silence():
            other = made[value] if isinstance(value, str) else value
            made.add(kind(made[name], other) if name else kind(made))
            found = drawn_from(made, tmp_path)
        assert not any(holds(rule, one) for one in found)
        allowed = {json.dumps(one["num_filters"]) for one in free if not holds(rule, one)}
        assert {json.dumps(one["num_filters"]) for one in found} == allowed
        space.to_vector(made, space.from_vector(made, np.full(4, 0.4)) or {})
        assert capsys.readouterr().out == ""


def test_condition(tmp_path: Path) -> None:
    """A hyperparameter is drawn exactly where its condition holds, else it is absent."""
    for kind, name, value, rule in CONDITIONS:
        made = whole()
        child = made["num_filters"]
        made.add(kind(child, made[name], value) if name else kind(*two(made, child)))
        found = drawn_from(made, tmp_path)
        assert {"num_filters" in one for one in found} == {True, False}
        assert all(("num_filters" in one) == holds(rule, one) for one in found)


def test_draws_of_what_is_inactive() -> None:
    """It is missing, the others are all there, and it breaks no clause, whatever it would be."""
    made = whole()
    made.add(CS.EqualsCondition(made["momentum"], made["batch_size"], 3))
    made.add(CS.ForbiddenInClause(made["momentum"], [0.5, 0.0]))
    found = sampling.draws(made, 300)
    assert set(found["momentum"]) == {0.9}
    assert 0 < len(found["momentum"]) == found["batch_size"].count(3) < 150
    assert len(found["batch_size"]) == 300


def test_chain_of_conditions(tmp_path: Path) -> None:
    """Where the parent is inactive, so is the child, in whatever order they are named."""
    made = whole()
    made.add(CS.LessThanCondition(made["momentum"], made["num_filters"], 4))
    made.add(CS.EqualsCondition(made["batch_size"], made["momentum"], 0.9))
    made.add(CS.ForbiddenEqualsClause(made["filter_size"], 1))
    held = {frozenset(one) for one in drawn_from(made, tmp_path)}
    always = frozenset({"num_filters", "filter_size"})
    assert held == {always, always | {"momentum"}, always | {"momentum", "batch_size"}}


def test_rules_in_words() -> None:
    """Conditions and forbidden combinations are told in words."""
    assert explaining.rules(SPACE) == []
    made = whole()
    made.add(CS.OrConjunction(*two(made, made["num_filters"])), both(made))
    condition = "number of filters only if (momentum = 0.9 or filter size < 4)"
    assert explaining.rules(made) == [condition, "never (number of filters > 3 and momentum = 0)"]


def test_numbers_are_the_cnns_kind() -> None:
    """A whole number where the CNN takes any number becomes one, from whatever hyperparameter."""
    made = space_of(
        Integer("learning_rate", (1, 2)),
        CS.Constant("dropout", 0),
        Choice("momentum", [0, 0.5]),
        CS.OrdinalHyperparameter("weight_decay", [0, 1]),
        CS.NormalIntegerHyperparameter("batch_size", mu=8, sigma=2, lower=1, upper=20),
        CS.BetaFloatHyperparameter("num_filters", alpha=2, beta=2, lower=1, upper=9),
    )
    kinds = {name: type(value) for name, value in space.draw(made, 1).items()}
    assert kinds.pop("batch_size") is int
    assert kinds == dict.fromkeys(kinds, float)
    assert len(kinds) == 5


def test_everything_forbidden_ends() -> None:
    """A draw from a space without anything legal is an error, and not for ever."""
    made = space_of(Integer("batch_size", (1, 2)), Integer("num_filters", (3, 4)))
    # What ConfigSpace itself refuses when it is added.
    made._dag.unconditional_forbiddens.append(CS.ForbiddenInClause(made["batch_size"], [1, 2]))
    made.forbidden_clauses[0].set_vector_idx(made.index_of)
    with pytest.raises(SettingsError, match=r"none of 50,000 draws is legal; forbid"):
        space.draw(made, 0)


# --- its vectors

WIDE = space.read_space(CONFIGS / "wide-space.json")


def mixed() -> ConfigurationSpace:
    """A space of every kind, with conditions and a forbidden combination."""
    made = space_of(
        Float("learning_rate", (1e-4, 1e-1), log=True),
        Integer("batch_size", (16, 128), log=True),
        Choice("filter_size", [3, 5, 7], weights=[1, 2, 1]),
        CS.OrdinalHyperparameter("momentum", [0.0, 0.5, 0.9]),
        CS.Constant("num_filters", 16),
        CS.NormalFloatHyperparameter("dropout", mu=0.2, sigma=0.1, lower=0, upper=0.5),
        Float("weight_decay", (0, 1e-2)),
    )
    made.add(CS.NotEqualsCondition(made["dropout"], made["filter_size"], 3))
    made.add(CS.EqualsCondition(made["momentum"], made["num_filters"], 16))
    made.add(CS.GreaterThanCondition(made["weight_decay"], made["dropout"], 0.25))
    fast = CS.ForbiddenGreaterThanClause(made["learning_rate"], 1e-2)
    much = CS.ForbiddenEqualsClause(made["momentum"], 0.9)
    made.add(CS.ForbiddenAndConjunction(fast, much))
    return made


SPACES = [SPACE, WIDE, mixed()]
COORDINATES = st.floats(-0.5, 7.5) | st.just(float("nan"))


@given(st.sampled_from(SPACES), SEEDS)
def test_vectors_of_draws(made: ConfigurationSpace, seed: int) -> None:
    """A draw comes back from its vector, which the values of inactive ones do not change."""
    drawn = space.draw(made, seed)
    vector = space.to_vector(made, drawn)
    assert vector.shape == (len(made),)
    assert space.from_vector(made, vector) == drawn
    config = TrainConfig(**drawn)
    for values in (dict(config), config.model_dump()):
        assert np.array_equal(space.to_vector(made, values), vector, equal_nan=True)
    assert space.active(made, config.model_dump()) == drawn
    assert {name for name, one in zip(made, vector, strict=True) if not np.isnan(one)} == {*drawn}


@given(st.data())
def test_vectors_are_stable(data: st.DataObject) -> None:
    """Any vector is a legal configuration or forbidden, and its own vector is as good as it."""
    made = data.draw(st.sampled_from(SPACES))
    size = len(made)
    vector = np.array(data.draw(st.lists(COORDINATES, min_size=size, max_size=size)))
    before = vector.copy()
    values = space.from_vector(made, vector)
    assert np.array_equal(vector, before, equal_nan=True)
    if values is None:
        return
    CS.Configuration(made, values=values)
    check(TrainConfig, TrainConfig().model_dump() | values, source="a vector")
    assert json.loads(json.dumps(values)) == values
    settled = space.to_vector(made, values)
    again = space.from_vector(made, settled)
    assert again == values
    assert np.array_equal(space.to_vector(made, again), settled, equal_nan=True)
    for kind, coordinate in zip(space.kinds(made), settled, strict=True):
        if not np.isnan(coordinate):
            assert 0 <= coordinate <= max(kind - 1, 0 if kind else 1)
            assert not kind or coordinate % 1 == 0


def test_vector_by_hand() -> None:
    """Coordinates are shares of the scale and indices, in the order of the space."""
    made = mixed()
    n_choices = {"filter_size": 3, "momentum": 3, "num_filters": 1}
    assert space.kinds(made) == tuple(n_choices.get(name, 0) for name in made)
    values = {"learning_rate": 1e-3, "batch_size": 16, "filter_size": 3, "momentum": 0.5}
    # The decay is not of the space, but inactive.
    values |= {"num_filters": 16, "dropout": 0.3, "weight_decay": 5.0, "epochs": 12}
    shown = dict(zip(made, space.to_vector(made, values).tolist(), strict=True))
    assert np.isnan([shown.pop("dropout"), shown.pop("weight_decay")]).all()
    expected = {"learning_rate": 1 / 3, "batch_size": 0, "filter_size": 0, "momentum": 1}
    assert shown == pytest.approx(expected | {"num_filters": 0})
    place = {"learning_rate": 9.0, "filter_size": 1.6, "momentum": 0.4, "dropout": 0.2}
    vector = np.array([place.get(name, -1.0) for name in made])
    found = {"learning_rate": 0.1, "batch_size": 16, "filter_size": 7, "momentum": 0.0}
    assert space.from_vector(made, vector) == found | {"num_filters": 16, "dropout": 0.1}
    place["momentum"] = 2.0
    assert space.from_vector(made, np.array([place.get(name, -1.0) for name in made])) is None
    # Coordinates that are missing are the space's defaults.
    default = dict(SPACE.get_default_configuration())
    assert space.from_vector(SPACE, np.full(4, np.nan)) == default


def test_no_vector() -> None:
    """What lies outside the space, or lacks, has no place in it."""
    values = space.draw(SPACE, 0)
    for name, value in (
        *(("filter_size", 4), ("batch_size", 15), ("learning_rate", None)),
        ("num_filters", "many"),
    ):
        others = {key: other for key, other in values.items() if key != name}
        for changed, received in ((others | {name: value}, value), (others, None)):
            with pytest.raises(ValueError, match=f"{name} {received!r} is outside the space"):
                space.to_vector(SPACE, changed)


def test_wide_space(tmp_path: Path) -> None:
    """The wide space says what it varies, and keeps away from what diverges."""
    assert {*WIDE} == {*reading.SEARCHABLE}
    assert explaining.rules(WIDE) == [
        "dropout only if number of filters > 16",
        "never (learning rate > 0.1 and momentum > 0.9)",
    ]
    for one in drawn_from(WIDE, tmp_path):
        assert not (one["learning_rate"] > 0.1 and one["momentum"] > 0.9)
        assert ("dropout" in one) == (one["num_filters"] > 16)


# --- its JSON


def test_round_trip(tmp_path: Path) -> None:
    """The space survives its JSON, also ConfigSpace's own file; it holds plain values alone."""
    values = space.to_dict(SPACE)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert space.from_dict(values) == SPACE
    assert values == space.to_dict(SPACE)
    SPACE.to_json(tmp_path / "space.json")
    assert space.read_space(tmp_path / "space.json") == SPACE


EXERCISE = json.dumps(space.to_dict(SPACE)).encode()
SUCH = "; give one such as {"
NO_JSON = rf"space\.json is not JSON \(.*{SUCH}"
NO_SPACE = rf"space\.json: there are no hyperparameters{SUCH}"
NO_LIST = rf"space\.json: the \w+ are .*, not a list of objects{SUCH}"
YAML = rf"space\.json is YAML, not JSON{SUCH}"
UNTAKEN = r"space\.json: ConfigSpace refuses the [\w ]+ {.*; correct its keys"


def ordinary(**changes: Any) -> bytes:
    """The space of the exercise with changes in its hyperparameter `batch_size`; None drops."""
    values = space.to_dict(SPACE)
    (one,) = (one for one in values["hyperparameters"] if one["name"] == "batch_size")
    one |= changes
    for key in [key for key, value in changes.items() if value is None]:
        del one[key]
    return json.dumps(values).encode()


def ruled(part: str, *rules: Any) -> bytes:
    """The space of the exercise with conditions or forbiddens."""
    return json.dumps(space.to_dict(SPACE) | {part: rules}).encode()


def exercise(old: bytes, new: bytes) -> bytes:
    """The space of the exercise with something else in its text."""
    assert old in EXERCISE
    return EXERCISE.replace(old, new)


BROKEN: list[tuple[bytes | None, str]] = [
    (None, rf"no file .*space\.json.{SUCH}"),
    (b"", NO_JSON),
    (b"\xff\xfe", NO_JSON),
    (b"learning_rate = 0.1", NO_JSON),
    (b"# by hand\n\nlearning_rate: [0.1, 0.01]", YAML),
    (b"conditions: []\nhyperparameters:\n- name: x", YAML),
    (b"learning_rate real [0.0001, 0.1] [0.01] log", YAML.replace("YAML", "PCS")),
    (b"# old\nfilter_size {3, 5} [3]", YAML.replace("YAML", "PCS")),
    (b"[]", rf"space\.json holds a list, not a search space{SUCH}"),
    (b"null", f"holds null, not a search space{SUCH}"),
    (b"{}", NO_SPACE),
    (b'{"learning_rate": [0.0001, 0.1]}', NO_SPACE),
    (b'{"hyperparameters": []}', NO_SPACE),
    (b'{"hyperparameters": null}', NO_SPACE),
    (b'{"hyperparameters": [5]}', NO_LIST),
    (b'{"hyperparameters": {"learning_rate": {}}}', NO_LIST),
    (ruled("conditions", []), NO_LIST),
    (ordinary(type=None), "batch_size has the unknown type null; choose one of beta"),
    (ordinary(type="uniform_integer"), "type \"uniform_integer\"; did you mean 'uniform_int'"),
    (ordinary(lower=None), r"space\.json: batch_size has no 'lower'; add 'lower'"),
    (ordinary(defualt=16), "has 'defualt', which a uniform_int does not have; did you mean"),
    (ordinary(lower="16"), "'lower' of batch_size is \"16\", not a whole number; correct 'lower'"),
    (ordinary(lower=1.5), "'lower' of batch_size is 1.5, not a whole number"),
    (ordinary(upper=10**400), "'upper' of batch_size is 1000.*, not a whole number"),
    (ordinary(upper=16), "'upper' of batch_size is 16, not above lower"),
    (ordinary(log="yes"), "'log' of batch_size is \"yes\", not true or false"),
    (ordinary(lower=0), "'lower' of batch_size is 0, not above 0 in 13 decimals, as log is true"),
    (ordinary(default_value=200), "'default_value' of batch_size is .* from lower to upper"),
    # ConfigSpace rounds to 13 decimals: no learning rate becomes 0.
    (exercise(b"0.0001", b"1e-15"), "is 1e-15, not above 0 in 13 decimals"),
    (exercise(b"[3, 5]", b"[]"), "'choices' of filter_size is .*, not a list of values"),
    (exercise(b"[3, 5]", b"[3, 3]"), "is .3, 3., not a list without repetition; corr"),
    (exercise(b'ts": null', b'ts": [1]'), ", not a number of 0 or more for each choice"),
    (
        exercise(b'"batch_size"', b'"num_filters"'),
        "space.json: 'num_filters' is there 2 times",
    ),
    (exercise(b": 16,", b": NaN,"), "holds infinite numbers or broken characters; look for NaN"),
    (ordinary(meta=1e999), "holds infinite numbers"),
    (ordinary(meta="\ud800"), "or broken characters"),
    (ordinary(type="normal_int", mu=64, sigma=0), "'sigma' of batch_size is 0, not above 0"),
    (
        ordinary(type="beta_int", alpha=0, beta=2),
        "'alpha' of batch_size is 0, not a number of 1 or",
    ),
    (ruled("conditions", {"type": "EQ"}), UNTAKEN),
    (
        ruled("conditions", {"type": "==", "child": "filter_size"}),
        "the condition .* has an unknown type; choose one of AND, EQ",
    ),
    (
        ruled("forbiddens", {"type": "EQUALS", "name": "filters", "value": 8}),
        "forbidden clause has the name \"filters\", which is no .*; did you mean 'num_filters'",
    ),
    (ruled("forbiddens", {"type": "AND", "clauses": 5}), "clauses that are not a list of others"),
    (ruled("forbiddens", {"type": "EQUALS", "name": "filter_size", "value": "3"}), UNTAKEN),
    (b"[" * 100_000, "nested too deep"),
]


def test_no_space(tmp_path: Path) -> None:
    """A file that is no search space is a usage error, which names the file and the trouble."""
    for content, match in BROKEN:
        path = tmp_path / "space.json"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SettingsError, match=match) as caught:
            space.read_space(path)
        assert caught.value.exit_code == 2
    with pytest.raises(SettingsError, match=r"cannot read .* .Is a directory"):
        space.read_space(tmp_path)


UNKNOWN = [
    (
        Integer("num_filter", (8, 64)),
        r"space\.json: a search cannot vary 'num_filter'; .* 'num_filters'",
    ),
    (Integer("epochs", (1, 9)), "cannot vary 'epochs'; the epochs are the budget"),
    (Integer("depth", (1, 9)), "; choose one of batch_size, dropout, filter_size, learning_r"),
    (Float("learning_rate", (0, 0.1)), "learning_rate: 0 is too small"),
    (Float("momentum", (0, 1)), "momentum: 1 is too large; it goes from 0 to below 1"),
    (Float("num_filters", (8, 64)), "num_filters: 8 is not a whole number"),
    (Choice("filter_size", [[3, 5], [3]]), r"filter_size: \[3"),
    (Choice("filter_size", [True, False]), "filter_size: true is not"),
    (CS.Constant("batch_size", None), "batch_size: null is not"),
    (
        CS.NormalFloatHyperparameter("dropout", mu=0.5, sigma=1, lower=0, upper=2),
        "dropout: 2 is too large",
    ),
    (Integer("filter_size", (30, 40)), r"space\.json: filter_size: 3\d is too large; .*1 to 28"),
    (CS.Constant("filter_size", 40), r"space\.json: filter_size: 40 is too large"),
    (Float("filter_size", (3.0, 5.0)), r"space\.json: filter_size: 3 is not a whole number"),
    (Choice("filter_size", ["3", "5"]), r"filter_size: '[35]' is not a whole number"),
    (Integer("batch_size", (-9, -1)), r"batch_size: -\d is too small"),
    # Illegal values that are rarely drawn would end a search after hours.
    (Integer("num_filters", (8, 1025)), r"num_filters: 1025 is too large"),
    (Integer("filter_size", (1, 30), log=True), r"filter_size: (29|30) is too large"),
    (CS.OrdinalHyperparameter("filter_size", [*range(1, 29), 99]), r"filter_size: 99 is too large"),
]


def test_space_of_what_the_cnn_does_not_know(tmp_path: Path) -> None:
    """A space that varies something else, or that reaches beyond the CNN's ranges, is refused."""
    for hyperparameter, match in UNKNOWN:
        path = written(tmp_path, space.to_dict(space_of(hyperparameter)))
        with pytest.raises(SettingsError, match=match) as caught:
            space.read_space(path)
        assert caught.value.exit_code == 2


def test_almost_everything_forbidden(tmp_path: Path) -> None:
    """A space that forbids everything, or nearly, is refused in a line."""
    made = space_of(Integer("batch_size", (1, 1000), default=1), Integer("num_filters", (8, 9)))
    made.add(CS.ForbiddenGreaterThanClause(made["batch_size"], 1))
    values = space.to_dict(made)
    nearly = r"space\.json forbids nearly everything: [0-9] of 1,000 draws are legal; forbid less"
    with pytest.raises(SettingsError, match=nearly):
        space.read_space(written(tmp_path, values))
    values["forbiddens"][0] = {"type": "IN", "name": "num_filters", "values": [8, 9]}
    default = r"values are forbidden by the forbidden clause .*num_filters.*; change a def"
    with pytest.raises(SettingsError, match=default):
        space.read_space(written(tmp_path, values))


def old(*hyperparameters: dict[str, Any], version: float = 0.4, **others: Any) -> dict[str, Any]:
    """A space as ConfigSpace 0.4 to 0.7 wrote it."""
    kept = {"conditions": [], "forbiddens": []} | others
    versions = {"python_module_version": "0.7.1", "json_format_version": version}
    return {"hyperparameters": list(hyperparameters)} | kept | versions


def old_range(name: str, lower: float, upper: float, **others: Any) -> dict[str, Any]:
    """A hyperparameter as ConfigSpace 0.7 wrote it."""
    kind = "uniform_float" if type(lower) is float else "uniform_int"
    bounds = {"log": False, "lower": lower, "upper": upper, "default": upper, "q": None}
    return {"name": name, "type": kind} | bounds | others


def test_old_formats(tmp_path: Path) -> None:
    """What ConfigSpace wrote before 1.0 and means the same is read; nothing of it is dropped."""
    both_of = [
        {"child": "momentum", "parent": "filter_size", "type": "EQ", "value": 5},
        {"child": "momentum", "parent": "num_filters", "type": "GT", "value": 16},
    ]
    neither = [
        {"name": "filter_size", "type": "EQUALS", "value": 3},
        {"name": "num_filters", "type": "IN", "values": [63, 64]},
    ]
    size = {"name": "filter_size", "type": "categorical", "choices": [3, 5], "default": 5}
    values = old(
        old_range("learning_rate", 0.001, 0.1, log=True, default=0.01),
        size | {"probabilities": [0.25, 0.75]},
        {"name": "momentum", "type": "ordinal", "sequence": [0.0, 0.9], "default": 0.9},
        {"name": "weight_decay", "type": "unparametrized", "value": 0.001},
        old_range("num_filters", 8, 64, q=1),
        old_range("batch_size", 8, 128, q=0.5, default=128.0),
        conditions=[{"child": "momentum", "type": "AND", "conditions": both_of}],
        forbiddens=[
            {"left": "num_filters", "right": "batch_size", "type": "RELATION", "lambda": "GREATER"},
            {"name": "filter_size", "type": "AND", "clauses": neither},
        ],
    )
    read = space.read_space(written(tmp_path, values))
    default = {"learning_rate": 0.01, "filter_size": 5, "momentum": 0.9, "weight_decay": 0.001}
    default |= {"num_filters": 64, "batch_size": 128}
    assert dict(read.get_default_configuration()) == default
    probabilities = {one.name: one.probabilities for one in explaining.describe(read)}
    assert probabilities["filter_size"] == (0.25, 0.75)
    assert sorted(explaining.rules(read)) == [
        "momentum only if (filter size = 5 and number of filters > 16)",
        "never (filter size = 3 and number of filters in {63, 64})",
        "never number of filters > batch size",
    ]
    for missing in ("conditions", "forbiddens"):
        del values[missing]
    assert len(space.read_space(written(tmp_path, values))) == 6


ORDINAL = '{{"name": "{}", "type": "ordinal", "sequence": [{}], "default_value": {}}}'


def test_steps_of_old(tmp_path: Path) -> None:
    """A step, which ConfigSpace gave up, is refused with the JSON that works instead of it."""
    normal = {"type": "normal_float", "mu": 0.1, "sigma": 0.1}
    for one, values, default in (
        (old_range("batch_size", 16, 64, q=16), "16, 32, 48, 64", 64),
        (old_range("batch_size", 16, 64, q=16, log=True), "16, 32, 48, 64", 64),
        (old_range("num_filters", 8, 64, q=20.0), "8, 28, 48", 48),
        (old_range("dropout", 0.0, 0.3, q=0.1), "0.0, 0.1, 0.2, 0.3", 0.3),
        (old_range("dropout", 0.0, 0.3, q=1e-300), "", None),
        (old_range("dropout", 0.0, 0.3, q="a"), "", None),
        (old_range("dropout", 0.0, 0.3, **normal, q=0.1), "", None),
    ):
        name = one["name"]
        told = rf"space\.json: {name} has \"q\": .*, a step, which .*; leave it out .*: {{.*}}$"
        with pytest.raises(SettingsError, match=told) as caught:
            space.read_space(written(tmp_path, old(one)))
        if values:
            ordinal = re.findall(r"({.*})$", str(caught.value))[0]
            assert ordinal == ORDINAL.format(name, values, default)
            assert len(space.read_space(written(tmp_path, old(json.loads(ordinal))))) == 1


def test_what_meant_something_else(tmp_path: Path) -> None:
    """What was another distribution, or what a newer format may mean, is refused."""
    normal = {"name": "learning_rate", "type": "normal_float", "mu": 0.1, "sigma": 1}
    bounded = normal | {"log": True, "lower": 0.01, "upper": 1.0, "default": 0.1}
    newer = r"space\.json: its format version is {}; the newest known is 0\.4; write it"
    cases = [
        (old(normal | {"log": False, "lower": None}), "learning_rate has no 'lower'; add 'l"),
        (old(bounded), r"mu and sigma were log.*; give it the type \"uniform_"),
    ]
    for version in (0.5, 1, "new", None):
        values = space.to_dict(SPACE) | {"format_version": version}
        cases.append((values, newer.format(json.dumps(version))))
    for values, match in cases:
        with pytest.raises(SettingsError, match=match):
            space.read_space(written(tmp_path, values))
    assert space.read_space(written(tmp_path, {"hyperparameters": [bounded]}))


WHOLE_FILE = space.to_dict(mixed())
LEAVES = [
    (part, number, key)
    for part in ("hyperparameters", "conditions", "forbiddens")
    for number, one in enumerate(WHOLE_FILE[part])
    for key in one
]
ODD = [[], {}, [1, 1], [[]], [{}], 10**400, 1e308, math.nan, math.inf, "q", "EQ", None, True, False]
NUMBERS = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6)
ANYTHING: st.SearchStrategy[Any] = NUMBERS | st.text() | st.sampled_from(ODD)
# What only who knows Python could understand.
INTERNALS = re.compile(
    r"Error\b|Traceback|__|[a-z]Hyperparameter|ConfigurationSpace|Type\b|<class|object at|hashable|"
    r"\b(dict|tuple|keyword|positional|None|True|False|numpy|np|recursion|decoder|sys)\b"
)


@settings(max_examples=150, deadline=None)
@given(leaf=st.sampled_from(LEAVES), value=ANYTHING, how=st.sampled_from(["set", "drop", "twice"]))
def test_edited_space(
    tmp_path_factory: pytest.TempPathFactory, leaf: Any, value: Any, how: str
) -> None:
    """Whatever somebody makes of the file, it is read, or refused in a line without internals."""
    values = json.loads(json.dumps(WHOLE_FILE))
    part, number, key = leaf
    if how == "set":
        values[part][number][key] = value
    elif how == "drop":
        del values[part][number][key]
    else:
        values[part].append(values[part][number] | {key: value})
    path = written(tmp_path_factory.getbasetemp(), values)
    try:
        drawn = space.draw(space.read_space(path), 4711)
        check(TrainConfig, TrainConfig().model_dump() | drawn, source="a draw")
    except SettingsError as error:
        line = str(error)
        assert "\n" not in line
        # What was received is the person's own.
        line = line.replace(repr(value), "").replace(json.dumps(value)[:200], "")
        assert not INTERNALS.search(line), line


# --- how it is shown


def test_shown_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table says what is active how often, and the lines below it say why."""
    show.space(CONFIGS / "wide-space.json", tmp_path, as_json=False, no_color=True)
    shown = capsys.readouterr().out
    dropout = next(line for line in shown.splitlines() if "dropout" in line)
    assert re.search(r"0 to 0\.5 .* linear .* 6\d\.\d %", dropout)
    assert shown.count("always") == 6
    assert "\ndropout only if number of filters > 16\n" in shown
    assert "\nnever (learning rate > 0.1 and momentum > 0.9)\n" in shown
    show.space(None, tmp_path, as_json=False, no_color=True)
    assert "active" not in capsys.readouterr().out


def test_shown_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Quantiles and shares are those of the draws in which a hyperparameter is active."""
    rare = space_of(
        CS.Constant("batch_size", 64),
        Choice("filter_size", [3, 5], weights=[1, 0]),
        Float("dropout", (0.4, 0.5)),
        CS.NormalFloatHyperparameter("learning_rate", mu=0.1, sigma=0.1, lower=0.01, upper=1),
    )
    rare.add(CS.EqualsCondition(rare["dropout"], rare["filter_size"], 5))
    path = written(tmp_path, space.to_dict(rare))
    show.space(path, tmp_path / "out", as_json=True, no_color=True)
    shown = json.loads(capsys.readouterr().out)
    by_name = {one.pop("name"): one for one in shown["hyperparameters"]}
    expected = {"scale": "linear", "distribution": "uniform", "n_draws": 0, "active": 0.0}
    expected |= {"lower": 0.4, "upper": 0.5}
    octave = {"low": 0.4, "high": 0.5, "expected": None, "drawn": None}
    assert by_name["dropout"] == expected | {"octaves": [octave]}
    assert by_name["filter_size"]["expected"] == [1.0, 0.0]
    assert by_name["filter_size"]["shares"] == [1.0, 0.0]
    assert by_name["learning_rate"]["distribution"] == "normal"
    assert by_name["learning_rate"]["active"] == 1.0
    assert shown["rules"] == ["dropout only if filter size = 5"]
    assert all(Path(path).exists() for path in shown["files"])


def test_the_students_question(capsys: pytest.CaptureFixture[str]) -> None:
    """22 filters and batch size 95: how often they come, among how many other values."""
    show.space(None, None, as_json=True, no_color=True)
    shown = json.loads(capsys.readouterr().out)
    by_name = {one["name"]: one for one in shown["hyperparameters"]}
    filters, batch = by_name["num_filters"], by_name["batch_size"]
    # ConfigSpace cuts [8, 64] into 57 parts of equal width: 22 is the fifteenth of them.
    chance = math.log((57 * 8 + 15 * 56) / (57 * 8 + 14 * 56)) / math.log(8)
    assert filters["example"] == {"value": 22, "n_drawn": pytest.approx(10_000 * chance, abs=60)}
    assert batch["example"] == {"value": 95, "n_drawn": pytest.approx(10_000 / 198.9, abs=30)}
    assert filters["median"] == 22
    assert [one["value"] for one in filters["powers_of_two"]] == [8, 16, 32, 64]
    for one in (*filters["octaves"], *batch["octaves"]):
        assert (one["expected"], one["drawn"]) == (None, pytest.approx(1 / 3, abs=0.02))
    rates = by_name["learning_rate"]["octaves"]
    assert [one["expected"] for one in rates[:9]] == pytest.approx([math.log10(2) / 3] * 9)
    assert sum(one["expected"] for one in rates) == pytest.approx(1)
    assert sum(one["drawn"] for one in rates) == pytest.approx(1)


WHOLE = Hyperparameter("num_filters", "log", 2, 5, (), [2, 3, 3, 5], whole=True)
RATE = Hyperparameter("learning_rate", "log", 1e-4, 0.1, (), [1e-4, 1e-2])
CHOICE = Hyperparameter("filter_size", "choice", None, None, (3, 5), [3, 3, 3, 5])


EXPLAINED: list[tuple[Any, ...]] = [
    (
        WHOLE,
        "2 to 5, logarithmic: 2 to 3 in 75.0 % and 4 to 5 in 25.0 % of the draws.",
        "The median is 3; without log it would be 4.",
        "The powers of two are 2 of 4 values, and 25.0 % of the draws.",
    ),
    (
        RATE,
        "0.0001 to 0.1, logarithmic: each whole doubling is expected in 10.0 % of the draws, and",
        "came in 0.00 % to 50.0 %.",
        "The median is 0.01; without log it would be 0.0501.",
    ),
    (RATE._replace(scale="linear", lower=0.0), "0 to 0.1, linear.", "The median is 0.01."),
    (
        RATE._replace(lower=0.05, distribution="normal", draws=[0.06], forbids=True),
        "0.05 to 0.1, logarithmic, normal.",
        "The median is 0.06.",
        "Forbidden combinations move these shares.",
    ),
    (WHOLE._replace(draws=[]), "2 to 5, logarithmic: never drawn."),
    (CHOICE._replace(draws=[]), "2 choices: 3 with 50.0 % and 5 with 50.0 %."),
    (
        CHOICE._replace(probabilities=(0.7, 0.3), active=0.25),
        "2 choices: 3 with 70.0 % (drawn 75.0 %) and 5 with 30.0 % (drawn 25.0 %).",
        "Active in 25.0 % of the draws; only those count here.",
    ),
]


def test_explained() -> None:
    """Doublings, median, powers of two and shares are told of what was drawn."""
    for one, *sentences in EXPLAINED:
        told = explaining.explain([one], {})
        assert [*told.values()][-1] == " ".join(sentences)
        assert ("log" in told) == (one.scale == "log" and one.distribution == "uniform")


def test_examples() -> None:
    """If nothing is asked for, it is the first draw that is no power of two."""
    batch = WHOLE._replace(name="batch_size", draws=[2, 4])
    assert explaining.examples([WHOLE, batch, RATE, CHOICE]) == {"num_filters": 3}
    told = explaining.explain([WHOLE, batch], {"num_filters": 3, "batch_size": 4})["ordinary"]
    assert told == (
        "3 filters and batch size 4 are ordinary draws, as any whole number of the range may come: "
        "3 filters came 2 times in 4 draws (1 if all values were equally likely) and batch size 4 "
        "came 1 time in 2 draws (0 if all values were equally likely)."
    )
