"""The options that commands share, and the types of their values."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnist_lab.catalogue import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnist_lab.catalogue import Experiment

AnyCommand = TypeVar("AnyCommand", bound="Callable[..., Any]")


def _numbers(kind: type[int | float]) -> Callable[[Any], list[float]]:
    """What reads numbers of this kind, separated by commas, or a settings file's list of them."""

    def numbers(value: Any) -> list[float]:
        try:
            return [kind(word) for word in (value.split(",") if isinstance(value, str) else value)]
        except (TypeError, ValueError):
            what = "whole numbers" if kind is int else "numbers"
            raise click.BadParameter(f"{value!r} is not a list of {what} such as 1,3") from None

    return numbers


class Cluster(click.ParamType["str | dict[str, Any]"]):
    """A place to train; what a batch system needs is in the settings file's table `[cluster]`."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | dict[str, Any]:
        """The place, with what the table says of it."""
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
        """The number, an int where it is whole."""
        try:
            number = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no number of epochs such as 6, 0.125 or 1/8", param, ctx)
        return int(number) if number.denominator == 1 else float(number)


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
# Of the experiments' own options: the type and the help.
_OWN: dict[str, tuple[Any, str]] = {
    "values": (None, "Values."),
    "runs": (PATH, ""),
    "top": (int, "How many of the best of each run take part."),
    "max_repeats": (int, "Trainings of each configuration at most; a later call may raise it."),
    "iters": (int, "Configurations; a later call may raise it."),
    "min_epochs": (Epochs(), "Epochs before the first selection, such as 2 or 1/16."),
    "max_epochs": (Epochs(), "Epochs of the trials that reach the last rung."),
    "eta": (int, "One in this many trials is promoted to the next rung."),
    "epochs": (Epochs(), "Epochs of each training."),
    "repeats": (int, "Trainings of each configuration, from different seeds."),
    "space": (PATH, "Search space in ConfigSpace's JSON. [default: the exercise sheet's]"),
    "config": (PATH, "The configuration: the best.json of a search."),
    "fit_on": (click.Choice(["train+valid", "train"]), "The images to train on."),
    "learning_rate": (float, "Step size."),
    "batch_size": (int, "Images per step."),
    "num_filters": (int, "Filters per convolution."),
    "filter_size": (int, "Side of a filter in pixels."),
    "momentum": (float, "Share of the last step that the next one repeats."),
    "dropout": (float, "Share of the hidden units that a training step leaves out."),
    "weight_decay": (
        float,
        "Share of each weight, times the learning rate, that a step takes off.",
    ),
}
space_option = click.option("--space", type=PATH, help=_OWN["space"][1])
_DATA = click.option(
    "--data",
    metavar="PATH|sample",
    help="MNIST as .npz or a folder of IDX files; sample: the 5,000 digits that come along. "
    "[default: MNIST_LAB_DATA, Keras' cache, the download, the sample]",
)


def _workers(more: str = "") -> Callable[[AnyCommand], AnyCommand]:
    return click.option(
        "--workers",
        type=Workers(),
        default="auto",
        show_default=True,
        help=f"Trainings at the same time; auto: one per free core, or per GPU{more}.",
    )


def _choice(name: str, legal: str, default: str, text: str) -> Callable[[AnyCommand], AnyCommand]:
    kind = click.Choice(legal.split())
    return click.option(name, type=kind, default=default, show_default=True, help=text)


_NICE = click.option("--nice", is_flag=True, help="Let other work on this machine go first.")
_QUIET = click.option("--quiet", is_flag=True, help="Show no progress.")
_NO_COLOR = click.option(
    "--no-color", is_flag=True, help="Print without colours (so does NO_COLOR)."
)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show a traceback with an error."
)

_OUTPUT_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    _NO_COLOR,
    debug_option,
)

_TRAINING_OPTIONS = (
    click.option(
        "--out",
        type=PATH,
        help="Run directory. [default: results/<command>; with other settings than the run there, "
        "results/<command>-2 and so on]",
    ),
    _DATA,
    _choice("--device", "auto cpu gpu", "auto", "Where to train."),
    click.option(
        "--cluster",
        type=Cluster(),
        metavar="PLACE",
        help="Where to train: local; ssh:HOST,HOST; slurm, pbs, lsf, sge or htcondor; or the "
        "address of a Dask scheduler, such as tls://HOST:8786. [default: local, this machine]",
    ),
    _workers("; 0: only coordinate those that join"),
    click.option(
        "--host",
        metavar="ADDRESS",
        help="Address of this machine for workers of others (mnist-lab worker). [default: this "
        "machine alone]",
    ),
    click.option(
        "--threads-per-worker",
        type=int,
        default=1,
        show_default=True,
        help="Threads of each training. More is slower in all, and rounds differently: a run "
        "keeps the number it was started with.",
    ),
    _NICE,
    click.option(
        "--time-limit",
        metavar="DURATION",
        help="Stop after 2h, 90m or 1h30m, with exit code 75; the same command continues.",
    ),
    click.option(
        "--until",
        metavar="HH:MM",
        help="Stop at this time of day, with exit code 75; the same command continues.",
    ),
    _choice(
        "--precision",
        "auto float32 bfloat16",
        "float32",
        "bfloat16 is faster where the processor has it; auto takes it there.",
    ),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="All randomness comes from it."
    ),
    click.option(
        "--settings",
        type=PATH,
        is_eager=True,
        expose_value=False,
        callback=_read_settings,
        help="TOML file of options, such as configs/lr-sweep.toml; an option given here wins.",
    ),
    click.option(
        "--fresh",
        is_flag=True,
        help="Set the run with these settings aside, else the one in "
        "results/<command>, and start anew.",
    ),
    click.option("--retry-failed", is_flag=True, help="Train the failed trials of this run again."),
    click.option("--dry-run", is_flag=True, help="Check, and say what would be trained."),
    _QUIET,
)


def output_options(command: AnyCommand) -> AnyCommand:
    """Add the options about what a command prints."""
    return _add(_OUTPUT_OPTIONS, command)


def training_options(command: AnyCommand) -> AnyCommand:
    """Add the options of every command that trains."""
    return _add((*_TRAINING_OPTIONS, *_OUTPUT_OPTIONS), command)


def worker_options(command: AnyCommand) -> AnyCommand:
    """Add the options of the command that joins a run."""
    return _add((_DATA, _workers(), _NICE, _QUIET, _NO_COLOR, debug_option), command)


def experiment_options(one: Experiment, command: AnyCommand) -> AnyCommand:
    """Add an experiment's own options, with the defaults of the table."""
    made = []
    for name, default in one.defaults.items():
        kind, words = _OWN[name]
        settings: dict[str, Any] = {"type": kind, "help": one.words.get(name, words)}
        if name == "runs":
            made.append(click.argument(name, metavar="[RUN_DIR]...", nargs=-1, type=kind))
            continue
        if default == ():
            settings |= {"multiple": True}
        elif default is REQUIRED:
            settings |= {"required": True}
        elif name == "values":
            kind, shown = _numbers(type(default[0])), ",".join(map(str, default))
            settings |= {"type": kind, "default": shown, "show_default": True}
        else:
            if isinstance(kind, Epochs) and default:
                default = str(Fraction(default))  # noqa: PLW2901 - 1/16, not 0.0625
            settings |= {"default": default, "show_default": default is not None}
        made.append(click.option(f"--{name.replace('_', '-')}", **settings))
    return _add(tuple(made), command)


def _add(
    options: tuple[Callable[[AnyCommand], AnyCommand], ...], command: AnyCommand
) -> AnyCommand:
    for option in reversed(options):
        command = option(command)
    return command
