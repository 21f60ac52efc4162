"""The settings: what a configuration may hold, and what is said about one that cannot be used."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import configs, study_settings
from pydantic import ValidationError

from mnist_lab import space
from mnist_lab.config import (
    OPTIONAL,
    Bracket,
    StudySettings,
    TrainConfig,
    bracket,
    check,
    forward_multiplications,
    read_settings_file,
    read_train_config,
)
from mnist_lab.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD: dict[str, Any] = {
    "learning_rate": 0.05,
    "batch_size": 95,
    "num_filters": 22,
    "filter_size": 5,
    "epochs": 6,
}
# What no hyperparameter can be, however large the number may get.
NEVER = [0, -1, math.nan, math.inf, -math.inf, "12", True, None, [1], {}, 10**5000]
WHOLE = [1.5, 1.0, 1e30]


def test_base_configuration() -> None:
    """What nobody says otherwise is the exercise sheet's network, trained for 12 epochs."""
    sheet = dict(zip(GOOD, (0.1, 128, 16, 3, 12), strict=True))
    assert TrainConfig().model_dump() == sheet


LEGAL: dict[str, list[float]] = {
    "learning_rate": [1e-300, 1, 0.5, 10.0, 1e300],
    "batch_size": [1, 128, 60_000],
    "num_filters": [1, 1024],
    "filter_size": [1, 2, 28],
    "epochs": [1, 10_000],
    "momentum": [5e-324, 0.9, 1 - 2**-53],
    "dropout": [5e-324, 0.5, 1 - 2**-53],
    "weight_decay": [5e-324, 1e-4, 1e300],
}


def test_legal_values() -> None:
    """The ends of each range are legal, and are kept as they are."""
    for key, values in LEGAL.items():
        for value in values:
            assert check(TrainConfig, GOOD | {key: value}, source="x").model_dump()[key] == value


ILLEGAL = [
    *[(key, value) for key in GOOD for value in NEVER],
    *[(key, value) for key in GOOD if key not in {"learning_rate", "epochs"} for value in WHOLE],
    ("learning_rate", 10**400),
    ("num_filters", 1025),
    ("filter_size", 29),
    *[(key, value) for key in OPTIONAL for value in NEVER if value != 0],
    *[(key, value) for key in ("momentum", "dropout") for value in (1, 1.0, 1.5)],
]


def test_illegal_values() -> None:
    """A value out of range or of another type is refused by key, place and value received."""
    for key, value in ILLEGAL:
        with pytest.raises(SettingsError, match=r"best\.json") as caught:
            check(TrainConfig, GOOD | {key: value}, source="best.json")
        if value != 10**5000:  # which Python refuses before anybody can look at it
            told = repr(value) if isinstance(value, (str, float)) else json.dumps(value)
            told = told.removesuffix(".0")[:200]
            legal = TrainConfig.model_fields[key].description
            line = rf"best\.json: {key}: {re.escape(told)} is .*; {legal}"
            assert re.fullmatch(line, str(caught.value)), str(caught.value)


def test_keys() -> None:
    """An unknown key is refused with the nearest that exists, and one without a default is due."""
    for key, match in {
        "optimizer": r"best\.json has the unknown key 'optimizer'; choose one",
        "filter_sise": "key 'filter_sise'; did you mean 'filter_size'",
        "weight_decai": "key 'weight_decai'; did you mean 'weight_decay'",
    }.items():
        with pytest.raises(SettingsError, match=match):
            check(TrainConfig, GOOD | {key: 3}, source="best.json")
    with pytest.raises(SettingsError, match="the study has no 'base'"):
        check(StudySettings, {"experiment": "train"}, source="the study")
    # No file could hold this one.
    with pytest.raises(SettingsError, match=r"x: epochs: \{1\} is not a number; epochs go"):
        check(TrainConfig, GOOD | {"epochs": {1}}, source="x")


def test_a_configuration_never_changes() -> None:
    """A configuration cannot be assigned to: what was checked stays checked."""
    with pytest.raises(ValidationError, match="frozen"):
        TrainConfig().epochs = 0  # type: ignore[misc]


_shares = st.floats(0, 1, exclude_max=True)


@given(configs, _shares, _shares, st.floats(0, allow_infinity=False))
def test_json_round_trip(
    config: TrainConfig, momentum: float, dropout: float, weight_decay: float
) -> None:
    """Any configuration survives its JSON exactly."""
    others = {"momentum": momentum, "dropout": dropout, "weight_decay": weight_decay}
    config = config.model_copy(update=others)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    assert check(TrainConfig, json.loads(config.model_dump_json()), source="x") == config


@pytest.mark.parametrize("named", [(), *[(key,) for key in OPTIONAL], OPTIONAL], ids=str)
def test_what_is_zero_is_not_written(named: tuple[str, ...]) -> None:
    """A file holds the sheet's five keys, then those of the others that are not 0."""
    config = TrainConfig(**GOOD | dict.fromkeys(named, 0.25))
    written = GOOD | dict.fromkeys(named, 0.25)
    assert config.model_dump() == config.model_dump(mode="json") == written
    assert json.loads(config.model_dump_json()) == written
    settings = StudySettings(experiment="train", base=config)
    assert settings.model_dump()["base"] == written
    assert json.loads(settings.model_dump_json())["base"] == written
    assert check(TrainConfig, GOOD | dict.fromkeys(OPTIONAL, 0), source="x") == TrainConfig(**GOOD)


@pytest.mark.parametrize(
    ("experiment", "values"),
    [("filter-sweep", (1, 3, 5, 7)), ("lr-sweep", (0.1, 1e-4)), ("lr-sweep", (1.0, 2.0))],
)
def test_swept_values_keep_their_type(experiment: str, values: tuple[float, ...]) -> None:
    """Filter sizes stay whole numbers and learning rates stay floats, through run.json too."""
    settings = study_settings(experiment=experiment, base={}, values=values)
    for read in (settings, StudySettings.model_validate_json(settings.model_dump_json())):
        assert read.values == values
        assert list(map(type, read.values or ())) == list(map(type, values))


def test_n_trials() -> None:
    """A study has a training for each value and repeat, or one for each iteration."""
    assert study_settings(repeats=3).n_trials == 6
    assert study_settings(values=None, repeats=5).n_trials == 5
    search = study_settings(experiment="random-search", values=None, iters=50)
    assert search.n_trials == 50


def test_brackets() -> None:
    """Sizes and budgets are HpBandSter's, but for the trials that survive to the last rung."""
    asked: dict[tuple[float, ...], list[Bracket]] = {
        (2, 18, 3, 1): [
            Bracket((9, 3, 1), (2, 6, 18)),
            Bracket((3, 1), (6, 18)),
            Bracket((3,), (18,)),
        ],
        (1 / 8, 8, 8, 2): [
            Bracket((64, 8, 2), (1 / 8, 1, 8)),
            Bracket((8, 2), (1, 8)),
            Bracket((3,), (8,)),
        ],
        # No more survive than there are.
        (1, 4, 2, 9): [Bracket((4, 2, 2), (1, 2, 4)), Bracket((2, 2), (2, 4)), Bracket((3,), (4,))],
    }
    for (smallest, largest, eta, survivors), expected in asked.items():
        made = [bracket(n, smallest, largest, int(eta), int(survivors)) for n in range(4)]
        assert made == [*expected, expected[0]]


def test_forward_multiplications() -> None:
    """The cost of a pass agrees with a count by hand, layer by layer."""
    first = 28 * 28 * 16 * (3 * 3 * 1)
    second = 14 * 14 * 16 * (3 * 3 * 16)
    dense = 7 * 7 * 16 * 128 + 128 * 10
    assert first + second + dense == 666_112 == forward_multiplications(TrainConfig())
    # The student's best: 22 filters of 5x5.
    best = TrainConfig(num_filters=22, filter_size=5)
    assert forward_multiplications(best) == 431_200 + 2_371_600 + 137_984 + 1_280


# --- best.json


def test_read_train_config(tmp_path: Path) -> None:
    """The file that a search leaves is read back."""
    path = tmp_path / "best.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    assert read_train_config(path).model_dump() == GOOD
    path.write_text(json.dumps(GOOD | {"momentum": 0.9, "dropout": 0.0}), encoding="utf-8")
    assert read_train_config(path) == TrainConfig(**GOOD, momentum=0.9)


def changed(**changes: Any) -> bytes:
    """A configuration's file; None takes a key away."""
    values = GOOD | changes
    return json.dumps({key: value for key, value in values.items() if value is not None}).encode()


Table = dict[str, tuple[bytes | None, str]]
UNREADABLE: Table = {
    "missing": (None, "no file .*best.json.; use the"),
    "binary": (b"\x89PNG\r\n\x1a\n\0\0", "best.json is not a text file; use the"),
    "empty": (b"", "best.json is not JSON .Expecting"),
    "not JSON": (b"learning_rate = 0.1", "best.json is not JSON .Expecting"),
    "nested too deep": (b"[" * 100_000, "is not JSON .nested too deep, or with thous"),
    "a huge number": (b"9" * 5000, "not JSON .nested too deep, or with thousands of digits"),
    "a list": (b"[{}]", "holds a list, not a configuration"),
    "null": (b"null", "holds null, not a configuration"),
    "lacking a key": (changed(num_filters=None), "has no 'num_filters'; a configuration has"),
    "an extra key": (changed(lr=0.1), "best.json has the unknown key 'lr'"),
    "out of range": (changed(epochs=0), "epochs: 0 is too small; epochs go from"),
    "NaN": (changed(learning_rate=math.nan), "learning_rate: nan is not a finite number"),
}


def unusable(path: Path, read: Callable[[], Any], table: Table) -> None:
    """A file that holds any of these is a usage error, which names the file and the trouble."""
    for content, match in table.values():
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SettingsError, match=match) as caught:
            read()
        assert caught.value.exit_code == 2


def test_unusable_configuration(tmp_path: Path) -> None:
    """A file that is no configuration, or a run directory in place of its best.json."""
    path = tmp_path / "best.json"
    unusable(path, lambda: read_train_config(path), UNREADABLE)
    with pytest.raises(SettingsError, match=r"directory.*; use the best\.json"):
        read_train_config(tmp_path)


# --- settings files


def test_read_settings_file(tmp_path: Path) -> None:
    """Options are read with their TOML types; dashes and underscores are the same."""
    path = tmp_path / "mine.toml"
    path.write_text('fit-on = "train"\nvalues = [0.1, 1]\ndry_run = true\n', encoding="utf-8")
    assert read_settings_file(path, {"fit_on", "values", "dry_run", "seed"}) == {
        "fit_on": "train",
        "values": ["0.1", "1"],
        "dry_run": True,
    }


SAVED: dict[str, Callable[[str], bytes]] = {
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 little-endian": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "UTF-16 big-endian": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "Windows' lines": lambda text: text.replace("\n", "\r\n").encode(),
    "old Macs' lines": lambda text: text.replace("\n", "\r").encode(),
    "zeros behind": lambda text: text.encode() + bytes(9),
    "Ctrl-Z behind": lambda text: text.encode() + b"\x1a",
}


@pytest.mark.parametrize("how", SAVED)
def test_however_an_editor_saved_it(tmp_path: Path, how: str) -> None:
    """Configurations, settings and spaces are read in whatever encoding they were saved."""
    path, save = tmp_path / "file", SAVED[how]
    path.write_bytes(save(json.dumps(GOOD, indent=1)))
    assert read_train_config(path) == TrainConfig(**GOOD)
    path.write_bytes(save("# Größe\nseed = 1\nout = 'é'\n"))
    assert read_settings_file(path, {"seed", "out"}) == {"seed": "1", "out": "é"}
    path.write_bytes(save(json.dumps(space.to_dict(space.default_space()), indent=1)))
    assert space.read_space(path) == space.default_space()


def test_other_encodings(tmp_path: Path) -> None:
    """Text in an encoding that cannot be known is refused: where, and how to save it."""
    path = tmp_path / "file"
    path.write_bytes("{\n# Größe".encode("cp1252"))  # as latin-1, here
    match = (
        r"file is not in UTF-8: see line 2 "
        r'.byte 0xf6.; save it again with "UTF-8" as its encoding'
    )
    with pytest.raises(SettingsError, match=match):
        read_train_config(path)
    with pytest.raises(SettingsError, match=match):
        read_settings_file(path, {"seed"})
    with pytest.raises(SettingsError, match=match):
        space.read_space(path)


UNUSABLE: Table = {
    "missing": (None, r"no file .*mine\.toml"),
    "binary": (b"\xff\xfe\x00", r"mine\.toml is not a text file"),
    "not TOML": (b'{"seed": 1}', r"mine\.toml is not TOML"),
    "a key twice": (b"seed = 1\nseed = 2", r"mine\.toml is not TOML"),
    "nested too deep": (b"seed = " + b"[" * 50_000, r"mine\.toml is not TOML .nested"),
    "a huge number": (b"seed = " + b"9" * 5000, r"mine\.toml is not TOML .nested"),
    "a typo": (b"sede = 1", r"mine\.toml: there is no option 'sede'; did you mean 'seed'"),
    "a table": (b"[train]\nseed = 1", r"there is no option 'train'; its keys are the options"),
}


def test_unusable_settings_file(tmp_path: Path) -> None:
    """A settings file that cannot be used."""
    path = tmp_path / "mine.toml"
    unusable(path, lambda: read_settings_file(path, {"seed", "epochs"}), UNUSABLE)
