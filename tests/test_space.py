"""The search space: what it draws, what log means, its JSON, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    Float,
    Integer,
    OrdinalHyperparameter,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lab import space
from mnist_lab.config import TrainConfig, check
from mnist_lab.errors import SettingsError
from mnist_lab.space import Hyperparameter

if TYPE_CHECKING:
    from pathlib import Path

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
    """The default is the exercise sheet's space."""
    assert set(space.describe(SPACE)) == {
        Hyperparameter("learning_rate", "log", 1e-4, 1e-1, ()),
        Hyperparameter("batch_size", "log", 16, 128, ()),
        Hyperparameter("num_filters", "log", 8, 64, ()),
        Hyperparameter("filter_size", "choice", None, None, (3, 5)),
    }


@given(SEEDS)
def test_draws_lie_in_bounds(seed: int) -> None:
    """Every draw lies in the space and is a configuration that the CNN takes."""
    drawn = space.draw(SPACE, seed)
    assert set(drawn) == {*RANGES, "filter_size"}
    for name, (low, high) in RANGES.items():
        assert low <= drawn[name] <= high
    assert drawn["filter_size"] in {3, 5}
    check(TrainConfig, TrainConfig().model_dump() | drawn, source="a draw")


@given(SEEDS)
def test_draws_are_native(seed: int) -> None:
    """Draws are Python's own numbers: Pyro4 refuses NumPy's, and HpBandSter then hangs."""
    kinds = {name: type(value) for name, value in space.draw(SPACE, seed).items()}
    assert kinds == dict.fromkeys(RANGES, int) | {"learning_rate": float, "filter_size": int}


@given(seed=SEEDS, others=st.lists(SEEDS, max_size=3))
def test_a_draw_depends_on_its_seed_alone(seed: int, others: list[int]) -> None:
    """Whatever was drawn before, and from whichever copy of the space, the draw is the same."""
    fresh = space.from_dict(space.to_dict(space.default_space()))
    for other in others:
        space.draw(SPACE, other)
    assert space.draw(SPACE, seed) == space.draw(fresh, seed)


def test_other_seeds_draw_otherwise() -> None:
    """A hundred seeds draw a hundred different configurations."""
    assert len({json.dumps(space.draw(SPACE, seed)) for seed in range(100)}) == 100


@pytest.fixture(scope="module")
def many() -> dict[str, list[Any]]:
    """Five thousand draws from the default space."""
    return space.draws(SPACE, 5000)


def shares(values: list[float], bounds: list[float]) -> list[float]:
    """The share of the values between each bound and the next."""
    return [
        sum(low <= value < high for value in values) / len(values) for low, high in pairwise(bounds)
    ]


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("learning_rate", [1e-4, 1e-3, 1e-2, 1e-1]),
        ("batch_size", [16, 32, 64, 129]),
        ("num_filters", [8, 16, 32, 65]),
        ("filter_size", [3, 5, 6]),
    ],
)
def test_log_makes_each_doubling_equally_likely(
    many: dict[str, list[Any]], name: str, bounds: list[float]
) -> None:
    """On a log scale each octave (or decade) gets the same share, and so does each choice."""
    n_parts = len(bounds) - 1
    assert shares(many[name], bounds) == pytest.approx([1 / n_parts] * n_parts, abs=0.03)


def test_log_is_not_powers_of_two(many: dict[str, list[Any]]) -> None:
    """Draws on a log scale take every whole number, such as the student's 95 and 22."""
    assert set(many["batch_size"]) == set(range(16, 129))
    assert set(many["num_filters"]) == set(range(8, 65))


def test_linear_makes_each_unit_equally_likely() -> None:
    """Without log an octave gets twice the share of the one below."""
    linear = space_of(Integer("batch_size", (16, 127)))
    drawn = space.draws(linear, 5000)["batch_size"]
    assert shares(drawn, [16, 32, 64, 128]) == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=0.03)


def test_draws_of_a_condition() -> None:
    """A value that its condition leaves out is missing, and the others are all there."""
    conditional = space_of(
        CategoricalHyperparameter("filter_size", [3, 5]), Integer("num_filters", (8, 64))
    )
    conditional.add(EqualsCondition(conditional["num_filters"], conditional["filter_size"], 3))
    drawn = space.draws(conditional, 200, seed=1)
    assert len(drawn["filter_size"]) == 200
    assert len(drawn["num_filters"]) == drawn["filter_size"].count(3)
    assert 0 < len(drawn["num_filters"]) < 200


def test_describe_other_kinds() -> None:
    """Constants, ordinals and linear ranges are told in the same words."""
    other = space_of(
        Constant("filter_size", 3),
        OrdinalHyperparameter("batch_size", [32, 64, 128]),
        Float("learning_rate", (0.01, 0.1)),
    )
    assert {one.name: one[1:] for one in space.describe(other)} == {
        "filter_size": ("choice", None, None, (3,)),
        "batch_size": ("choice", None, None, (32, 64, 128)),
        "learning_rate": ("linear", 0.01, 0.1, ()),
    }


# --- its JSON


def test_dict_round_trip() -> None:
    """The space survives its JSON, which holds plain values alone, and is left as it was."""
    values = space.to_dict(SPACE)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert space.from_dict(values) == SPACE
    assert values == space.to_dict(SPACE)


def test_read_space(tmp_path: Path) -> None:
    """A file that ConfigSpace wrote is read back."""
    path = tmp_path / "space.json"
    SPACE.to_json(path)
    assert space.read_space(path) == SPACE


HUGE = json.dumps(space.to_dict(SPACE)).replace(": 16,", ": 1e139,").encode()
NO_FILE = r"a search space is a readable file: got .*space\.json .No such file.*; give --space"
NO_SPACE = r"a search space is ConfigSpace's own JSON: got .*space\.json .*; write it with"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, NO_FILE),
        (b"", NO_SPACE),
        (b"\xff\xfe", NO_SPACE),
        (b"learning_rate: [0.1, 0.01]", NO_SPACE),
        (b"[]", NO_SPACE),
        (b"null", NO_SPACE),
        (b"{}", NO_SPACE),
        (b'{"learning_rate": [0.0001, 0.1]}', NO_SPACE),
        (b'{"hyperparameters": [{"name": "learning_rate"}]}', NO_SPACE),
        (b"[" * 100_000, NO_SPACE),
        (HUGE, NO_SPACE),
    ],
)
def test_no_space(tmp_path: Path, content: bytes | None, match: str) -> None:
    """A file that is no search space is a usage error, which names the file and the trouble."""
    path = tmp_path / "space.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=match) as caught:
        space.read_space(path)
    assert caught.value.exit_code == 2


def test_folder_as_space(tmp_path: Path) -> None:
    """A folder in place of the file is named."""
    with pytest.raises(SettingsError, match=r"a readable file: got .* .Is a directory"):
        space.read_space(tmp_path)


@pytest.mark.parametrize(
    ("hyperparameter", "match"),
    [
        (
            Integer("num_filter", (8, 64)),
            r"varies learning_rate, .*: got 'num_filter' in .*space\.json; .* 'num_filters'",
        ),
        (Integer("epochs", (1, 9)), "got 'epochs' in"),
        (Integer("filter_size", (30, 40)), r"space\.json, filter_size is .*1 to 28: got 3\d"),
        (Constant("filter_size", 40), r"space\.json, filter_size is .*1 to 28: got 40"),
        (Float("filter_size", (3.0, 5.0)), r"space\.json, filter_size is a whole number"),
        (CategoricalHyperparameter("filter_size", ["3", "5"]), r"filter_size is .*: got '[35]'"),
        (Integer("batch_size", (-9, -1)), r"batch_size is .*at least 1: got -\d"),
        # Illegal values that are rarely drawn would end a search after hours.
        (Integer("num_filters", (8, 1025)), r"num_filters is a whole number, 1 to 1024: got 1025"),
        (Integer("filter_size", (1, 30), log=True), r"filter_size is .*1 to 28: got (29|30)"),
        (OrdinalHyperparameter("filter_size", [*range(1, 29), 99]), r"1 to 28: got 99"),
    ],
)
def test_space_of_what_the_cnn_does_not_know(
    tmp_path: Path, hyperparameter: Any, match: str
) -> None:
    """A space that varies something else, or that reaches beyond the CNN's ranges, is refused."""
    path = written(tmp_path, space.to_dict(space_of(hyperparameter)))
    with pytest.raises(SettingsError, match=match) as caught:
        space.read_space(path)
    assert caught.value.exit_code == 2


LEAVES = [
    (number, key)
    for number, one in enumerate(space.to_dict(SPACE)["hyperparameters"])
    for key in one
]
NUMBERS = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6)
ANYTHING: st.SearchStrategy[Any] = st.none() | st.booleans() | NUMBERS | st.text() | st.just([])


@settings(max_examples=60)
@given(leaf=st.sampled_from(LEAVES), value=ANYTHING)
def test_edited_space(tmp_path_factory: pytest.TempPathFactory, leaf: Any, value: Any) -> None:
    """Whatever somebody writes into the file, it is read or refused as settings are."""
    values = space.to_dict(SPACE)
    values["hyperparameters"][leaf[0]][leaf[1]] = value
    path = written(tmp_path_factory.getbasetemp(), values)
    with suppress(SettingsError):
        drawn = space.draw(space.read_space(path), 4711)
        check(TrainConfig, TrainConfig().model_dump() | drawn, source="a draw")
