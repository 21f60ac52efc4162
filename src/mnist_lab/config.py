"""The settings of a training and of a study; reading them from TOML and JSON, refusing the rest.

A value that crosses a file is a frozen pydantic model. Errors are in our own words and name the
option, or the key and the file.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import tomllib
from itertools import count
from operator import not_
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

# Looking for plugins reads the metadata of every installed package: a tenth of `status`'s time.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from mnist_lab.catalogue import BASE, EXPERIMENTS
from mnist_lab.errors import SettingsError, nearest, printable, similar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import Self

    from pydantic_core import ErrorDetails

    Experiment = str
else:
    Experiment = Literal[tuple(EXPERIMENTS)]
Precision = Literal["float32", "bfloat16"]
Device = Literal["auto", "cpu", "gpu"]
FitOn = Literal["train+valid", "train"]


# Not on the exercise sheet: a configuration names these only where they are not 0.
OPTIONAL = ("momentum", "dropout", "weight_decay")
# The hyperparameter that a sweep varies.
VARIED = {name: one.varies for name, one in EXPERIMENTS.items() if one.varies}


class Frozen(BaseModel):
    """A value that is checked once, on creation, and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# Far beyond what anybody trains, and small enough to be counted out: a file may be anybody's.
MOST_TRIALS = 100_000
MOST_EPOCHS = 1_000_000


def _plain(value: Any) -> Any:
    """The value with printable texts; every number in it must be finite."""
    if isinstance(value, dict):
        return {printable(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number")
    return printable(value) if isinstance(value, str) else value


def whole(number: float) -> float:
    """The number, as an int if it is whole: 6.0 as 6."""
    return int(number) if number == int(number) else number


# Texts of files that anybody may have written, as they can be shown.
Text = Annotated[str, AfterValidator(printable)]
Plain = Annotated[dict[str, Any], AfterValidator(_plain)]
LearningRate = Annotated[float, Field(gt=0, description="learning rates are above 0")]
_BATCHES = "batch sizes are 1 to 1,000,000"
BatchSize = Annotated[int, Field(ge=1, le=10**6, description=_BATCHES)]
NumFilters = Annotated[int, Field(ge=1, le=1024, description="numbers of filters are 1 to 1,024")]
# 28 is the side of the image: a larger filter would only see padding. Even sizes are legal: SAME
# padding then puts the odd row and column at the bottom and the right.
FilterSize = Annotated[int, Field(ge=1, le=28, description="filter sizes are 1 to 28")]
Epochs = Annotated[
    float,
    Field(ge=1e-6, le=MOST_EPOCHS, description=f"epochs go from 0.000001 to {MOST_EPOCHS:,}"),
    AfterValidator(whole),
    # Else the 6 would be written as 6.0, which older programs refuse.
    PlainSerializer(whole, return_type=Any),
]
# At 1 old gradients would never fade, and no unit would be left.
Share = Annotated[float, Field(ge=0, lt=1, description="it goes from 0 to below 1")]
WeightDecay = Annotated[float, Field(ge=0, description="weight decay is 0 or more")]
Seed = Annotated[int, Field(ge=0, lt=2**63, description="seeds go from 0 to 2^63 - 1")]


class TrainConfig(Frozen):
    """The configuration of one training: the hyperparameters and the number of epochs.

    The defaults are the exercise sheet's network; with them it has 104,250 parameters.

    With gradient g, a step on the weights w is Keras' SGD with its decoupled weight decay:
    w -= w * weight_decay * learning_rate; v = momentum * v - learning_rate * g; w += v. The
    velocity v starts at 0. `dropout` is the share of the 128 hidden units that are dropped for each
    image of a training step; the others are scaled by 1 / (1 - dropout). Validation and test use
    all units.
    """

    learning_rate: LearningRate = BASE["learning_rate"]
    batch_size: BatchSize = BASE["batch_size"]
    num_filters: NumFilters = BASE["num_filters"]
    filter_size: FilterSize = BASE["filter_size"]
    epochs: Epochs = BASE["epochs"]
    # Left out where 0: the sheet's configurations keep the five keys that other programs read.
    momentum: Share = Field(default=BASE["momentum"], exclude_if=not_)
    dropout: Share = Field(default=BASE["dropout"], exclude_if=not_)
    weight_decay: WeightDecay = Field(default=BASE["weight_decay"], exclude_if=not_)


def forward_multiplications(config: TrainConfig) -> int:
    """Multiplications of one forward pass of one image; the cost of training grows with it."""
    filters, area = config.num_filters, config.filter_size**2
    return 28**2 * area * filters + 14**2 * area * filters**2 + 7**2 * filters * 128 + 128 * 10


class Bracket(NamedTuple):
    """Successive halving: `n_configs` train at each rung up to `epochs`, 9, 3, 1 up to 2, 6, 18."""

    n_configs: tuple[int, ...]
    epochs: tuple[float, ...]

    @property
    def n_epochs(self) -> float:
        """The epochs of all trainings; promoted ones resume where they stopped."""
        steps = zip(self.n_configs, self.epochs, (0, *self.epochs[:-1]), strict=True)
        return whole(sum(n * (after - before) for n, after, before in steps))


def next_stop(position: float, budgets: Iterable[float]) -> float:
    """The next validation of a training at this epoch: a whole epoch, or a budget."""
    return min([math.floor(position) + 1, *(one for one in budgets if one > position)])


def count_rungs(min_epochs: float, max_epochs: float, eta: int) -> int:
    """The rungs of the longest bracket; after that many brackets they repeat."""
    too_much = max_epochs * (1 + 1e-9)  # 8.1 is 81 times 0.1, whatever floats say
    return next(n for n in count(1) if min_epochs * eta**n > too_much)


def bracket(
    number: int, min_epochs: float, max_epochs: float, eta: int, survivors: int = 1
) -> Bracket:
    """Bracket `number`, from 0, of a search with these budgets, which promotes 1 in `eta`.

    The numbers are HpBandSter's (Li et al., 2018), except that the last rung trains at least
    `survivors` trials; budgets of an epoch or more are rounded to whole epochs.
    """
    n_rungs = count_rungs(min_epochs, max_epochs, eta)
    last = n_rungs - 1 - number % n_rungs
    first = n_rungs // (last + 1) * eta**last
    budgets = [max_epochs / eta ** (last - rung) for rung in range(last + 1)]
    n_configs = [max(first // eta**rung, 1) for rung in range(last + 1)]
    if last:
        n_configs[-1] = max(n_configs[-1], min(survivors, n_configs[-2]))
    return Bracket(
        tuple(n_configs),
        (*(budget if budget < 1 else round(budget) for budget in budgets[:-1]), max_epochs),
    )


def describe_brackets(brackets: Sequence[Bracket]) -> str:
    """The totals of several brackets, in words."""
    numbers = {
        "bracket": len(brackets),
        "configuration": sum(one.n_configs[0] for one in brackets),
        "training": sum(sum(one.n_configs) for one in brackets),
        "epoch": round(sum(one.n_epochs for one in brackets)),
    }
    words = [f"{n} {what}{'s' * (n != 1)}" for what, n in numbers.items()]
    return f"{words[0]}: {', '.join(words[1:])}"


class Hyperparameter(NamedTuple):
    """One hyperparameter of a search space, and its draws.

    `scale` is log or linear, with `lower` and `upper`, or choice, with `choices` and, if they
    differ, their `probabilities`. `distribution`, on its scale, is uniform, normal or beta; `whole`
    means whole numbers. `forbids` says that a forbidden combination names it. `draws` are those in
    which it is active; `active` is their share.
    """

    name: str
    scale: str
    lower: float | None
    upper: float | None
    choices: tuple[Any, ...]
    draws: Sequence[Any] = ()
    probabilities: tuple[float, ...] = ()
    distribution: str = "uniform"
    forbids: bool = False
    whole: bool = False
    active: float = 1.0

    @classmethod
    def from_json(cls, one: dict[str, Any]) -> Self:
        """A hyperparameter in ConfigSpace's JSON, without draws."""
        name, (distribution, _, number) = one["name"], one["type"].partition("_")
        if number:
            scale, lower, upper = "log" if one.get("log") else "linear", one["lower"], one["upper"]
            is_whole = number == "int"
            return cls(name, scale, lower, upper, (), distribution=distribution, whole=is_whole)
        choices = one.get("choices") or one.get("sequence") or [one["value"]]
        weights = one.get("weights") or ()
        shares = tuple(weight / sum(weights) for weight in weights)
        return cls(name, "choice", None, None, tuple(choices), probabilities=shares)

    @property
    def expected_shares(self) -> tuple[float, ...]:
        """The probability of each choice, before conditions and forbidden combinations."""
        return self.probabilities or (1 / len(self.choices),) * len(self.choices)


def place_between(low: float, high: float, value: float, *, log: bool) -> float:
    """The place of a value from 0 (`low`) to 1 (`high`); on a `log` scale `low` must be above 0."""
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


class StudySettings(Frozen):
    """Everything that decides the results of a study, and nothing else.

    A run directory continues only if these agree with `run.json` (`iters`, and a race's `repeats`,
    may grow). Workers, output folder and verbosity are absent because they change no number.
    """

    experiment: Experiment
    # The configuration that is trained, or that the varied hyperparameter is put into.
    base: TrainConfig
    # Sweeps: the values of the one hyperparameter that varies.
    values: tuple[int | float, ...] | None = None
    # Of a race: the most that there may be.
    repeats: Annotated[
        int, Field(ge=1, le=MOST_TRIALS, description=f"repeats go from 1 to {MOST_TRIALS:,}")
    ] = 1
    # A race: who takes part. Left out of files where there is none.
    configurations: tuple[TrainConfig, ...] | None = Field(default=None, exclude_if=not_)
    # Searches: how many configurations, or brackets where there are budgets, and the ConfigSpace
    # search space as its own JSON.
    iters: Annotated[int, Field(ge=1, le=MOST_TRIALS)] | None = Field(
        default=None, description=f"iterations go from 1 to {MOST_TRIALS:,}"
    )
    # Hyperband and BOHB: the budgets of the first and the last rung; the last is the base's too.
    min_epochs: Epochs | None = None
    # One in so many goes on to the next rung. Runs from before it could be chosen have 3.
    eta: Annotated[int, Field(ge=2, le=100, description="eta goes from 2 to 100")] = 3
    # At least so many of a bracket reach its last rung. Hyperband's own brackets have 1.
    survivors: Annotated[
        int, Field(ge=1, le=MOST_TRIALS, description=f"survivors go from 1 to {MOST_TRIALS:,}")
    ] = 1
    space: Plain | None = None
    # Test: what the final training sees.
    fit_on: FitOn = "train"
    seed: Seed = 0
    precision: Precision = "float32"
    device: Literal["cpu", "gpu"] = "cpu"
    # Sums over several threads round differently, so this decides the last digits.
    threads_per_worker: Annotated[
        int, Field(ge=1, le=1024, description="threads go from 1 to 1,024")
    ] = 1

    @model_validator(mode="after")
    def _is_a_study(self) -> Self:
        if (varied := VARIED.get(self.experiment)) is not None:
            for value in self.values or ():
                try:
                    TrainConfig.model_validate({varied: value})
                except ValidationError as problem:
                    raise ValueError(_fault(problem.errors()[0], TrainConfig)) from None
        configurations = self.configurations or ()
        if (self.experiment == "race") != (len(set(configurations)) > 1):
            raise ValueError("a race, and nothing else, has two or more configurations")
        if self.n_trials > MOST_TRIALS:
            raise ValueError(f"{self.n_trials:,} trials are too many: the limit is {MOST_TRIALS:,}")
        return self

    @property
    def brackets(self) -> list[Bracket]:
        """The brackets of Hyperband and BOHB; none for the others."""
        if self.min_epochs is None:
            return []
        budgets = self.min_epochs, self.base.epochs, self.eta
        n_rungs = count_rungs(*budgets)
        turn = [bracket(number, *budgets, self.survivors) for number in range(n_rungs)]
        return [turn[number % n_rungs] for number in range(self.iters or 0)]

    @property
    def n_trials(self) -> int:
        """How many trials the study has; for a race, if none were dropped."""
        if brackets := self.brackets:
            return sum(one.n_configs[0] for one in brackets)
        return self.iters or len(self.configurations or self.values or (None,)) * self.repeats

    @property
    def n_trainings(self) -> int:
        """How many trainings there are: one for each budget of a trial."""
        return sum(sum(one.n_configs) for one in self.brackets) or self.n_trials

    @property
    def n_epochs(self) -> float:
        """The epochs of all trainings."""
        if self.configurations:
            return whole(sum(one.epochs for one in self.configurations) * self.repeats)
        of_brackets = sum(one.n_epochs for one in self.brackets)
        return whole(of_brackets or self.n_trials * self.base.epochs)


AnyFrozen = TypeVar("AnyFrozen", bound=Frozen)


def check(model: type[AnyFrozen], values: dict[str, Any], *, source: str) -> AnyFrozen:
    """Check `values` and return them as a `model`.

    Args:
        model: the type to make.
        values: by key.
        source: their origin: a file, an option such as `--values`, or "" if each key is an option.

    Raises:
        SettingsError: a key or a value is wrong; the first problem is named.
    """
    try:
        return model.model_validate(values)
    except ValidationError as problem:
        raise _settings_error(problem.errors()[0], model, source) from None


_BEST = "use the best.json that a search writes, such as mnist-lab hyperband"


def read_train_config(path: Path) -> TrainConfig:
    """The configuration in a file such as `best.json`; a SettingsError if it is unusable."""
    return _as_config(_read_config(path), path)


def read_train_configs(path: Path) -> tuple[TrainConfig, ...]:
    """One configuration, or several in a file with a list of `configurations`."""
    values = _read_config(path)
    several = values.get("configurations")
    if not isinstance(several, list) or not all(isinstance(one, dict) for one in several):
        return (_as_config(values, path),)
    return tuple(_as_config(one, path) for one in several)


def _read_config(path: Path) -> dict[str, Any]:
    return read_json(path, "a configuration", _BEST)


def _as_config(values: dict[str, Any], path: Path) -> TrainConfig:
    required = [key for key in TrainConfig.model_fields if key not in OPTIONAL]
    if key := next((key for key in required if key not in values), None):
        if isinstance(settings := values.get("settings"), dict):
            way = "use the best.json beside it" if settings.get("space") else _BEST
            raise SettingsError(f"{path} describes a whole run", next_step=way)
        way = f"a configuration has {', '.join(required)}"
        raise SettingsError(f"{path} has no {key!r}", next_step=way)
    return check(TrainConfig, values, source=str(path))


def read_settings_file(path: Path, legal: set[str]) -> dict[str, Any]:
    """The options in a TOML file, with underscores; a SettingsError if one is not `legal`."""
    values = _read(path, tomllib.loads, "TOML", "configs/lr-sweep.toml is an example")
    options = {key.replace("-", "_"): value for key, value in values.items()}
    if unknown := [key for key in options if key not in legal]:
        way = similar(unknown[0], legal) or "its keys are the options that --help shows"
        raise SettingsError(f"{path}: there is no option {unknown[0]!r}", next_step=way)
    return {key: _as_typed(value) for key, value in options.items()}


def _as_typed(value: Any) -> Any:
    """A TOML value as typed on a command line, which then refuses 1.5 epochs."""
    if isinstance(value, list):
        return [_as_typed(one) for one in value]
    if isinstance(value, dict):
        return value
    return value if isinstance(value, bool) else str(value)


def read_json(
    path: Path, what: str, next_step: str, parse: Callable[[str], Any] = json.loads
) -> dict[str, Any]:
    """The JSON object in a file that the user named; a SettingsError if it is not `what`."""
    values = _read(path, parse, "JSON", next_step)
    if not isinstance(values, dict):
        kind = "a list" if isinstance(values, list) else json.dumps(values)[:40]
        raise SettingsError(f"{path} holds {kind}, not {what}", next_step=next_step)
    return values


def as_text(content: bytes) -> str:
    """The text in a file as editors save it: UTF-8, UTF-16 or UTF-32, with any line ends.

    A byte order mark may precede it; zeros or the Ctrl-Z of old editors may follow. Anything else
    is a UnicodeDecodeError.
    """
    text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
    return io.StringIO(text.rstrip("\0\x1a"), newline=None).read()


def _read(path: Path, parse: Callable[[str], Any], language: str, next_step: str) -> Any:
    """The value in a file; errors say what is wrong and where to get a good one."""
    content = b""
    try:
        content = path.read_bytes()
        return parse(as_text(content))
    except OSError as problem:
        fault = f"cannot read {path} ({problem.strerror})"
        if isinstance(problem, FileNotFoundError):
            fault = f"no file {str(path)!r}"
    except UnicodeDecodeError as problem:
        fault = f"{path} is not a text file"
        if not re.search(rb"[\0-\x08\x0e-\x1f]", content.rstrip(b"\x1a")):
            line, byte = content.count(10, 0, problem.start) + 1, content[problem.start]
            fault = f"{path} is not in UTF-8: see line {line} (byte 0x{byte:02x})"
            next_step = 'save it again with "UTF-8" as its encoding'
    except (ValueError, RecursionError) as problem:
        # Python's own words are of use only where they say what is expected in which line.
        vague = type(problem) in {ValueError, RecursionError}
        reason = "nested too deep, or with thousands of digits in a number" if vague else problem
        fault = f"{path} is not {language} ({reason})"
    raise SettingsError(fault, next_step=next_step)


def _settings_error(detail: ErrorDetails, model: type[Frozen], source: str) -> SettingsError:
    path = ".".join(str(part) for part in detail["loc"])
    if not path:
        way = "lower --iters, or compare fewer values or repeats"
        return SettingsError(in_our_words(detail), next_step=way)
    if detail["type"] == "missing":
        return SettingsError(f"{source} has no {path!r}")
    if detail["type"] == "extra_forbidden":
        way = nearest(path, model.model_fields)
        return SettingsError(f"{source} has the unknown key {path!r}", next_step=way)
    if source.startswith("--"):
        place = source
    elif source:
        place = f"{source}: {path}"
    else:
        place = f"--{path.rpartition('.')[2].replace('_', '-')}"
    return SettingsError(f"{place}: {_fault(detail, model)}")


def _fault(detail: ErrorDetails, model: type[Frozen]) -> str:
    """The fault of a value, and the legal values."""
    key, *inner = map(str, detail["loc"])
    fields = TrainConfig.model_fields if key == "base" and inner else model.model_fields
    field = fields.get(inner[0] if key == "base" and inner else key)
    legal = field and field.description
    return in_our_words(detail) + (f"; {legal}" if legal else "")


_MOST_SHOWN = 10**9  # larger floats are shown as such: 1e+300
# What is wrong with a value, by the name that pydantic has for it.
_FAULTS = {
    "greater_than": "{} is too small",
    "greater_than_equal": "{} is too small",
    "less_than": "{} is too large",
    "less_than_equal": "{} is too large",
    "int_type": "{} is not a whole number",
    "int_from_float": "{} is not a whole number",
    "float_type": "{} is not a number",
    "finite_number": "{} is not a finite number",
    "string_type": "{} is not a text",
    "bool_type": "{} is neither true nor false",
    "missing": "it is missing",
    "extra_forbidden": "it is unknown",
    "json_invalid": "it is not JSON",
}


def in_our_words(detail: ErrorDetails) -> str:
    """The fault that pydantic found in a value, without its place."""
    if detail["type"] == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    value = detail["input"]
    if isinstance(value, float) and value.is_integer() and abs(value) < _MOST_SHOWN:
        value = int(value)
    is_json = value is None or isinstance(value, (bool, list, dict))
    try:
        shown = json.dumps(value) if is_json else repr(value)
    except (TypeError, ValueError) as problem:  # what no file can hold, such as a set in a list
        shown = str(problem)
    if expected := detail.get("ctx", {}).get("expected"):
        return f"{shown[:200]} is not {expected}"
    return _FAULTS.get(detail["type"], "{} has the wrong type").format(shown[:200])
