"""The options that commands share, and the types of their values."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import cloup

from mnist_lab.catalogue import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnist_lab.catalogue import Experiment

AnyCommand = TypeVar("AnyCommand", bound="Callable[..., Any]")


_DECIMAL_COMMA = re.compile(r"(?<![\d.])0,\d+(?![\d.])")


def _numbers(kind: type[int | float]) -> Callable[[Any], list[float]]:
    """A reader of numbers of this kind, separated by commas, or of a settings file's list."""

    def numbers(value: Any) -> list[float]:
        if kind is float and isinstance(value, str) and _DECIMAL_COMMA.search(value):
            raise click.BadParameter(
                f"{value!r} has decimal commas; write points, and commas between the numbers, "
                "such as 0.1,0.01"
            )
        try:
            return [kind(word) for word in (value.split(",") if isinstance(value, str) else value)]
        except (TypeError, ValueError):
            what = "whole numbers" if kind is int else "numbers"
            raise click.BadParameter(f"{value!r} is not a list of {what}, such as 1,3") from None

    return numbers


class Cluster(click.ParamType["str | dict[str, Any]"]):
    """A place to train; a batch system's options are in the settings file's table `[cluster]`."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | dict[str, Any]:
        """The place, with its options from the table."""
        del param
        table = ((ctx and ctx.default_map) or {}).get("cluster")
        place: str | dict[str, Any] = value
        if isinstance(table, dict) and value != table:
            # What the table says is for its own place alone.
            kinds = {str(one).partition(":")[0] for one in (value, table.get("place", value))}
            place = table | {"place": value} if len(kinds) == 1 else value
        return place


class Epochs(click.ParamType[float]):
    """A number of epochs, as a decimal number or a fraction."""

    name = "epochs"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number, an int if it is whole."""
        text = str(value)
        try:
            # Not of the text alone: 1e999999999 would be written out.
            number = Fraction(text if "/" in text else repr(float(text)))
            return int(number) if number.denominator == 1 else float(number)
        except (ValueError, ZeroDivisionError, OverflowError):
            self.fail(f"{value!r} is not a number of epochs, such as 6, 0.125 or 1/8", param, ctx)


class Workers(click.ParamType["int | None"]):
    """A number of workers, or the word `auto`, which is None."""

    name = "auto|N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """The number, or None for `auto`."""
        if value == "auto":
            return None
        try:
            return int(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither auto nor a whole number", param, ctx)


def _read_settings(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is not None:
        from mnist_lab.config import read_settings_file  # pydantic, which --help does without

        legal = {param.name for param in ctx.command.params if param.expose_value}
        ctx.default_map = read_settings_file(path, legal)


PATH: Any = click.Path(path_type=Path)
# Of the experiments' own options: the type, how its value is written, and the help.
_OWN: dict[str, tuple[Any, str, str]] = {
    "values": (None, "A,B,...", "Values to compare."),
    "runs": (PATH, "", ""),
    "top": (int, "N", "How many of the best of each run to include."),
    "max_repeats": (int, "N", "Most trainings of each configuration; can be raised later."),
    "iters": (int, "N", "Configurations to train; can be raised later."),
    "min_epochs": (Epochs(), "EPOCHS", "Epochs before the first selection, such as 2 or 1/16."),
    "max_epochs": (Epochs(), "EPOCHS", "Epochs of the trials that survive all selections."),
    "eta": (int, "N", "At each selection, continue the best one in N."),
    "survivors": (int, "N", "Fewest trials of a bracket that reach its last rung."),
    "epochs": (Epochs(), "EPOCHS", "Epochs of each training."),
    "repeats": (int, "N", "Trainings of each configuration, from different seeds."),
    "space": (PATH, "FILE", "Search space in ConfigSpace's JSON. [default: the exercise sheet's]"),
    "config": (PATH, "FILE", "The configuration: the best.json of a search."),
    "fit_on": (click.Choice(["train+valid", "train"]), "", "The images to train on."),
    "learning_rate": (float, "X", "Learning rate of SGD."),
    "batch_size": (int, "N", "Images in each step."),
    "num_filters": (int, "N", "Filters in each convolution."),
    "filter_size": (int, "N", "Side of a filter in pixels."),
    "momentum": (float, "X", "SGD momentum, from 0 to below 1."),
    "dropout": (float, "X", "Dropout rate, from 0 to below 1."),
    "weight_decay": (float, "X", "Decoupled weight decay, 0 or more."),
}
# Those of them that say how long a study takes.
_LENGTH = (
    "iters",
    "min_epochs",
    "max_epochs",
    "eta",
    "survivors",
    "epochs",
    "repeats",
    "max_repeats",
)


def _flag(name: str, text: str, **how: Any) -> Callable[[AnyCommand], AnyCommand]:
    return cloup.option(name, is_flag=True, help=text, **how)


def _choice(name: str, legal: str, default: str, text: str) -> Callable[[AnyCommand], AnyCommand]:
    kind = click.Choice(legal.split())
    return cloup.option(name, type=kind, default=default, show_default=True, help=text)


def _workers(more: str = "") -> Callable[[AnyCommand], AnyCommand]:
    return cloup.option(
        "--workers",
        type=Workers(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help=f"Trainings at the same time; auto: one per free core, or per GPU{more}.",
    )


space_option = cloup.option("--space", type=PATH, metavar="FILE", help=_OWN["space"][2])
_DATA = cloup.option(
    "--data",
    metavar="PATH|sample",
    help="MNIST as .npz or a folder of IDX files; sample: the 5,000 digits included. [default: "
    "MNIST_LAB_DATA, else Keras' cache, else the download, else the sample]",
)
_SEED = cloup.option(
    "--seed", type=int, metavar="N", default=0, show_default=True, help="Random seed."
)
_NICE = _flag("--nice", "Let other programs on this machine go first.")
_QUIET = _flag("--quiet", "Show no progress.")
_NO_COLOR = _flag("--no-color", "Print without colours, as with NO_COLOR.")
debug_option = _flag("--debug", "Show a traceback with an error.", expose_value=False)

_OUTPUT = (
    cloup.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    _NO_COLOR,
    debug_option,
)
_LIMITS = (
    cloup.option(
        "--time-limit",
        metavar="DURATION",
        help="Stop after 2h, 90m or 1h30m, with exit code 75; the same command continues.",
    ),
    cloup.option("--until", metavar="HH:MM", help="Stop at this time of day."),
)
_WHERE = (
    _workers("; 0: train nothing here, wait for other workers"),
    _choice("--device", "auto cpu gpu", "auto", "Where to train."),
    _choice(
        "--precision",
        "auto float32 bfloat16",
        "float32",
        "bfloat16 is faster on some processors; auto uses it on those.",
    ),
    cloup.option(
        "--threads-per-worker",
        type=int,
        metavar="N",
        default=1,
        show_default=True,
        help="Threads of each training; fixed for a run. More are slower overall and change the "
        "last digits.",
    ),
    _NICE,
    cloup.option(
        "--cluster",
        type=Cluster(),
        metavar="PLACE",
        help="local; ssh:HOST,HOST; slurm, pbs, lsf, sge or htcondor; or the address of a Dask "
        "scheduler, such as tls://HOST:8786. [default: local]",
    ),
    cloup.option(
        "--host",
        metavar="ADDRESS",
        help="Address at which other machines may join. [default: none]",
    ),
)
_RUN = (
    cloup.option(
        "--out",
        type=PATH,
        metavar="FOLDER",
        help="Run directory. [default: results/<command>; if taken by another run, "
        "results/<command>-2 and so on]",
    ),
    _flag("--dry-run", "Check everything and show what would be trained."),
    _flag("--fresh", "Set the earlier run with these settings aside and start anew."),
    _flag("--retry-failed", "Train the failed trials of this run again."),
    cloup.option(
        "--settings",
        type=PATH,
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_read_settings,
        help="Read options from a TOML file; typed options win.",
    ),
    _QUIET,
    *_OUTPUT,
)


def output_options(command: AnyCommand) -> AnyCommand:
    """Add the options for a command's output."""
    return _add(_OUTPUT, command)


def worker_options(command: AnyCommand) -> AnyCommand:
    """Add the options of the command that joins a run."""
    return _add((_DATA, _workers(), _NICE, _QUIET, _NO_COLOR, debug_option), command)


def experiment_options(one: Experiment, command: AnyCommand) -> AnyCommand:
    """Add the options of a command that trains, in groups, with the defaults of the table."""
    made = {name: _own(one, name, default) for name, default in one.defaults.items()}
    arguments = [made.pop("runs")] if "runs" in made else []
    length = [made.pop(name) for name in _LENGTH if name in made]
    groups = {
        "What to train": (*made.values(), _DATA, _SEED),
        "How long": (*length, *_LIMITS),
        "Where and how fast": _WHERE,
        "The run and its output": _RUN,
    }
    parts = [cloup.option_group(title, *options) for title, options in groups.items()]
    return _add((*arguments, *parts), command)


def _own(one: Experiment, name: str, default: Any) -> Callable[[AnyCommand], AnyCommand]:
    kind, form, words = _OWN[name]
    if name == "runs":
        return cloup.argument(name, metavar="[RUN_DIR]...", nargs=-1, type=kind)
    settings: dict[str, Any] = {"type": kind, "help": one.words.get(name, words)}
    if form:
        settings |= {"metavar": form}
    if default == ():
        settings |= {"multiple": True}
    elif default is REQUIRED:
        settings |= {"required": True}
    elif name == "values":
        kind, shown = _numbers(type(default[0])), ",".join(map(str, default))
        settings |= {"type": kind, "default": shown, "show_default": True}
    else:
        if isinstance(kind, Epochs) and default:
            default = str(Fraction(default))  # 1/16, not 0.0625
        settings |= {"default": default, "show_default": default is not None}
    return cloup.option(f"--{name.replace('_', '-')}", **settings)


def _add(
    options: tuple[Callable[[AnyCommand], AnyCommand], ...], command: AnyCommand
) -> AnyCommand:
    for option in reversed(options):
        command = option(command)
    return command
