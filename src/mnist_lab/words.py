"""Numbers, configurations, lists and commands as a reader writes them."""

from __future__ import annotations

import json
import math
import shlex
from datetime import datetime
from fractions import Fraction
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from mnist_lab.catalogue import EXPERIMENTS
from mnist_lab.config import OPTIONAL, StudySettings, whole
from mnist_lab.errors import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from mnist_lab.config import TrainConfig

_LONGEST_LIST = 6
# Smaller parts of an epoch are decimal numbers.
_FINEST_PART = 64
# Of the search space that needs no file: reading that itself takes ConfigSpace, and a second.
_EXERCISE = "6daf381a01ddcd33"


def percent(error: float, sd: float | None = None) -> str:
    """An error in words: `1.21 %`, `12.3 %`, or with its deviation, `1.21 ± 0.08 %`."""
    digits = 2 if error < 0.1 else 1  # noqa: PLR2004 - three significant digits either way
    deviation = "" if sd is None else f" ± {100 * sd:.{digits}f}"
    return f"{100 * error:.{digits}f}{deviation} %"


def describe(configuration: TrainConfig, *, without: str | None = None) -> str:
    """A configuration in words; momentum, dropout and weight decay only if they are not 0.

    Args:
        configuration: the configuration.
        without: a field to leave out because it varies.
    """
    filters, size = configuration.num_filters, configuration.filter_size
    others = ((name, getattr(configuration, name)) for name in OPTIONAL)
    words = {
        "learning_rate": f"learning rate {configuration.learning_rate:.4g}, ",
        "batch_size": f"batch size {configuration.batch_size}, ",
        "num_filters": f"{filters} filter{'s' * (filters > 1)}",
        "filter_size": f" of {size}×{size}",
        "epochs": f", {epochs_text(configuration.epochs)}",
    } | {name: f", {in_words(name)} {value:.4g}" for name, value in others if value}
    return "".join(text for name, text in words.items() if name != without)


def short(configuration: TrainConfig, fields: Collection[str] = ()) -> str:
    """A configuration in few characters, without epochs: `lr 0.037 · batch 24 · 54 filters 5×5`.

    Args:
        configuration: the configuration.
        fields: those to show; if empty, all that :func:`describe` shows.
    """
    one = configuration
    words = {
        "learning_rate": f"lr {one.learning_rate:.3g}",
        "batch_size": f"batch {one.batch_size}",
        "num_filters": counted(one.num_filters, "filter"),
        "filter_size": f"{one.filter_size}×{one.filter_size}",
        "momentum": f"momentum {one.momentum:.3g}",
        "dropout": f"dropout {one.dropout:.3g}",
        "weight_decay": f"decay {one.weight_decay:.3g}",
    }
    shown = fields or [name for name in words if name not in OPTIONAL or getattr(one, name)]
    if {"num_filters", "filter_size"}.issubset(shown):
        words["num_filters"] += f" {words.pop('filter_size')}"
    texts = [text for name, text in words.items() if name in shown]
    return " · ".join(texts)


def in_words(field: str) -> str:
    """The name of a field or hyperparameter, in words."""
    return field.replace("_", " ").replace("num ", "number of ")


def rounded(value: Any) -> str:
    """A float in three significant digits; any other value unchanged."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def value_text(name: str, value: float) -> str:
    """A value of the field `name` as a reader writes it: a filter size as a square."""
    return f"{value}×{value}" if name == "filter_size" else f"{value:g}"


def points(difference: float) -> str:
    """The size of a difference between errors, in points: `0.35`, `12.4`."""
    size = abs(100 * difference)
    return f"{size:.2f}" if size < 10 else f"{size:.1f}"  # noqa: PLR2004 - as percent


def signed(difference: float) -> str:
    """A difference between errors with its sign, in points: `+0.35`, `-12.4`, `0.00`."""
    shown = points(difference)
    if float(shown) == 0:
        return shown
    return ("+" if difference > 0 else "-") + shown


def between(interval: tuple[float, float]) -> str:
    """An interval of errors: `1.07 to 1.51 %`."""
    low, high = map(percent, interval)
    return f"{low.removesuffix(' %')} to {high}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; a long list is cut, with the number of the rest."""
    shown = list(items)
    if len(shown) > _LONGEST_LIST:
        shown[_LONGEST_LIST - 1 :] = [f"{len(shown) - _LONGEST_LIST + 1} more"]
    return " and ".join([", ".join(shown[:-1])] * (len(shown) > 1) + shown[-1:])


def budget_text(epochs: float) -> str:
    """A number of epochs as a reader writes it: `6`, `1.5`, `1/16`, `0.0988`."""
    part = Fraction(epochs).limit_denominator(_FINEST_PART)
    if epochs < 1 and math.isclose(part, epochs, rel_tol=1e-9):
        return str(part)
    return f"{whole(epochs):,}" if epochs == int(epochs) else f"{epochs:.3g}"


def reached_text(epochs: float, budget: float) -> str:
    """How far a training is: `3/6` epochs, or `1/16 of 1/4` if a number is not whole."""
    between = "/" if epochs == int(epochs) and budget == int(budget) else " of "
    return f"{budget_text(epochs)}{between}{budget_text(budget)}"


def epochs_text(epochs: float, more: str = "") -> str:
    """A number of epochs with the word: `6 epochs`, `1 epoch`, `1/16 epoch`, `0 more epochs`."""
    return f"{budget_text(epochs)} {more}epoch{'s' * (epochs > 1 or not epochs)}"


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `12 epochs`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: `48 s`, `3 min 20 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def roughly(seconds: float) -> str:
    """Estimated seconds without false precision: `48 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:  # noqa: PLR2004 - a minute and a half
        return f"{max(round(seconds), 1)} s"
    if seconds < 5400:  # noqa: PLR2004 - an hour and a half
        return f"{round(seconds / 60)} min"
    return duration(300 * round(seconds / 300))


def clock(when: str) -> str:
    """A time of RFC 3339 by the clock of this machine: `26 Nov 14:05`."""
    return f"{datetime.fromisoformat(when).astimezone():%d %b %H:%M}"


def capital(text: str) -> str:
    """The text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def command(
    settings: StudySettings, out: str, *, data: str | None = None, space: Path | None = None
) -> str:
    """The command that makes or continues a run, as a line for a POSIX shell.

    It is built from the settings only: the recorded command may come from a notebook or a stranger.
    Where the command needs a file, such as a configuration, the line reads it from a pipe.

    Args:
        settings: of the run.
        out: the run directory.
        data: a path, or `sample`; None: found without `--data`.
        space: a file of the search space, if there is one.
    """
    base, fields = settings.base.model_dump(), StudySettings.model_fields
    piped: dict[str, Any] | None = None
    known: dict[str, Any] = {"max_epochs": base["epochs"]} | base
    own = ("min_epochs", "eta", "survivors", "iters", "fit_on")
    known |= {name: getattr(settings, name) for name in own}
    known |= {name: _as_typed(known[name]) for name in ("epochs", "min_epochs", "max_epochs")}
    known["values"] = ",".join(map(repr, settings.values or ()))
    if settings.space is not None and _digest(settings.space) != _EXERCISE:
        known["space"] = space or "/dev/stdin"
        piped = None if space else settings.space
    if settings.experiment == "test":
        del known["epochs"]
        known["config"], piped = "/dev/stdin", settings.base.model_dump(mode="json")
    if settings.configurations:
        del known["epochs"]
        known |= {"config": "/dev/stdin", "max_repeats": settings.repeats}
        piped = {"configurations": settings.model_dump(mode="json")["configurations"]}
    options = {n: known[n] for n in EXPERIMENTS[settings.experiment].defaults if n in known}
    repeats = () if settings.configurations else ("repeats",)
    for name in (*repeats, "seed", "precision", "threads_per_worker"):
        if (value := getattr(settings, name)) != fields[name].default:
            options[name] = value
    options["device"] = settings.device  # `auto` would take a GPU
    if data is not None:
        options["data"] = data
    options["out"] = out
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    line = shlex.join(["mnist-lab", settings.experiment, *map(printable, words)])
    return line if piped is None else f"printf %s {shlex.quote(json.dumps(piped))} | {line}"


def _as_typed(epochs: float | None) -> str | None:
    """A number of epochs as one would type it: `1/16`, not `0.0625`."""
    if epochs is None:
        return None
    part = Fraction(epochs).limit_denominator(_FINEST_PART)
    return min(repr(epochs), str(part) if float(part) == epochs else repr(epochs), key=len)


def quoted(path: Path) -> str:
    """A path as one word for a shell."""
    return shlex.quote(printable(str(path)))


def _digest(space: dict[str, Any]) -> str:
    parts = [space.get(key) for key in ("hyperparameters", "conditions", "forbiddens")]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
