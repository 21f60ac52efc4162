"""The subcommands: each turns its words into one call and its result into words.

What only some commands need is imported inside them: `--help` and `status` answer at once.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from mnist_lab import __version__
from mnist_lab.cli.options import (
    AnyCommand,
    Values,
    debug_option,
    epochs_option,
    output_options,
    repeats_option,
    training_options,
    worker_options,
)
from mnist_lab.errors import LabError

if TYPE_CHECKING:
    from mnist_lab.study import Options

# The least of memory addresses that a command which shows or draws can work with.
LEAST_GIB = 0.25

_RUN_DIR = click.argument("run_dir", type=click.Path(path_type=Path))
_SPACE = click.option(
    "--space",
    type=click.Path(path_type=Path),
    help="Search space in ConfigSpace's JSON. [default: the exercise sheet's]",
)
_LEARNING_RATE = click.option(
    "--learning-rate", type=float, default=0.1, show_default=True, help="Step size."
)


def _halving_options(command: AnyCommand) -> AnyCommand:
    """Add the options of the searches with several budgets."""
    for option in (
        training_options,
        _SPACE,
        click.option(
            "--max-epochs", type=int, default=18, show_default=True, help="Of the last rung."
        ),
        click.option(
            "--min-epochs", type=int, default=2, show_default=True, help="Of the first rung."
        ),
        click.option(
            "--iters", type=int, required=True, help="Brackets; a later call may raise it."
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mnist-lab")
def mnist_lab() -> None:
    """Experiments with a small CNN on MNIST.

    \b
    mnist-lab lr-sweep                    which learning rate?
    mnist-lab filter-sweep                which filter size?
    mnist-lab random-search --iters 50    which configuration?
    mnist-lab test --config results/random-search/best.json
                                          how good is it really?

    The same command again continues a run that was interrupted.
    """
    # With less, NumPy's and SciPy's libraries end the process, or never stop asking for more.
    limit_gib = resource.getrlimit(resource.RLIMIT_AS)[0] / 2**30  # below 0 without a limit
    if 0 <= limit_gib < LEAST_GIB:
        raise LabError(
            f"a command reserves at least {LEAST_GIB} GiB of addresses",
            received=f"a limit of {limit_gib:.2f} GiB",
            next_step="raise it: ulimit -v unlimited",
        )


@mnist_lab.command("lr-sweep")
@click.option(
    "--values",
    type=Values(float),
    default="0.1,0.01,0.001,0.0001",
    show_default=True,
    help="Learning rates.",
)
@epochs_option(12)
@repeats_option
@training_options
def lr_sweep(values: list[float], epochs: int, repeats: int, **options: Any) -> None:
    """Train with several learning rates and compare.

    \b
    mnist-lab lr-sweep
    mnist-lab lr-sweep --values 0.1,0.03 --repeats 5
    mnist-lab lr-sweep --data sample --epochs 2     a look at what it does
    """
    from mnist_lab import study

    run, show = _study_and_show(options)
    show(study.lr_sweep(values, epochs=epochs, repeats=repeats, **run))


@mnist_lab.command("filter-sweep")
@click.option(
    "--values", type=Values(int), default="1,3,5,7", show_default=True, help="Filter sizes."
)
@_LEARNING_RATE
@epochs_option(12)
@repeats_option
@training_options
def filter_sweep(
    values: list[int], learning_rate: float, epochs: int, repeats: int, **options: Any
) -> None:
    """Train with several filter sizes and compare error and time.

    \b
    mnist-lab filter-sweep
    mnist-lab filter-sweep --values 3,5 --repeats 5
    mnist-lab filter-sweep --learning-rate 0.001 --out results/filter-sweep-0.001
    """
    from mnist_lab import study

    run, show = _study_and_show(options)
    show(
        study.filter_sweep(
            values, learning_rate=learning_rate, epochs=epochs, repeats=repeats, **run
        )
    )


@mnist_lab.command("random-search")
@click.option("--iters", type=int, required=True, help="Configurations; a later call may raise it.")
@epochs_option(6)
@_SPACE
@training_options
def random_search(iters: int, epochs: int, space: Path | None, **options: Any) -> None:
    """Train configurations drawn at random from a search space.

    \b
    mnist-lab random-search --iters 50
    mnist-lab random-search --iters 80              continues the 50
    mnist-lab random-search --iters 50 --space configs/wide-space.json
    """
    from mnist_lab import study

    run, show = _study_and_show(options)
    show(study.random_search(iters=iters, epochs=epochs, space=space, **run))


@mnist_lab.command("hyperband")
@_halving_options
def hyperband(iters: int, space: Path | None, **options: Any) -> None:
    """Train many configurations shortly, and only the best for long.

    \b
    mnist-lab hyperband --iters 7
    mnist-lab hyperband --iters 7 --dry-run         what it would train

    An iteration is a bracket: of 9 configurations trained for 2 epochs the best 3 go on to 6, and
    the best of those to 18; a trial that goes on continues from its checkpoint. The next brackets
    start with 3 at 6 epochs, then with 3 at 18, then with 9 at 2 again. So --iters 3 makes 15
    configurations, 20 trainings and 126 epochs; --dry-run tells the numbers of others.
    """
    _halving("hyperband", iters, space, options)


@mnist_lab.command("bohb")
@_halving_options
def bohb(iters: int, space: Path | None, **options: Any) -> None:
    """Hyperband, with configurations proposed by a model of the results.

    \b
    mnist-lab bohb --iters 7
    mnist-lab bohb --iters 7 --space configs/wide-space.json

    The brackets are those of `mnist-lab hyperband`. A third of the configurations stay random, and
    all of them until 10 results of one budget are known (with four hyperparameters).
    """
    _halving("bohb", iters, space, options)


@mnist_lab.command("test")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    required=True,
    help="The configuration: the best.json of a search.",
)
@click.option("--epochs", type=int, help="Epochs of each training. [default: the configuration's]")
@click.option(
    "--fit-on",
    type=click.Choice(["train+valid", "train"]),
    default="train+valid",
    show_default=True,
    help="The images to train on.",
)
@repeats_option
@training_options
def test(config: Path, epochs: int | None, fit_on: Any, repeats: int, **options: Any) -> None:
    """Retrain a configuration and score the test images, once per repeat.

    \b
    mnist-lab test --config results/random-search/best.json
    mnist-lab test --config best.json --epochs 20 --repeats 10
    """
    from mnist_lab import study

    run, show = _study_and_show(options)
    show(study.test(config, epochs=epochs, repeats=repeats, fit_on=fit_on, **run))


@mnist_lab.command("train")
@_LEARNING_RATE
@click.option("--batch-size", type=int, default=128, show_default=True, help="Images per step.")
@click.option(
    "--num-filters", type=int, default=16, show_default=True, help="Filters per convolution."
)
@click.option(
    "--filter-size", type=int, default=3, show_default=True, help="Side of a filter in pixels."
)
@click.option(
    "--momentum",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of the last step that the next one repeats.",
)
@click.option(
    "--dropout",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of the hidden units that a training step leaves out.",
)
@click.option(
    "--weight-decay",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of each weight, times the learning rate, that a step takes off.",
)
@epochs_option(12)
@training_options
def train(**options: Any) -> None:
    """Train one configuration and keep the model.

    \b
    mnist-lab train
    mnist-lab train --learning-rate 0.05 --momentum 0.9 --epochs 20
    """
    from mnist_lab import study
    from mnist_lab.config import TrainConfig, check

    values = {name: options.pop(name) for name in TrainConfig.model_fields}
    run, show = _study_and_show(options)
    show(study.train(check(TrainConfig, values, source="the command"), **run))


@mnist_lab.command("worker")
@click.argument("run_dir", type=click.Path(path_type=Path), required=False)
@click.option("--join", "at", metavar="HOST:PORT", help="Where the run listens; with --token.")
@click.option(
    "--token",
    type=click.Path(path_type=Path),
    help="A copy of the run's .token.json, where this machine does not see the folder.",
)
@worker_options
def worker(run_dir: Path | None, **options: Any) -> None:
    """Join a run, from this machine or another, until it ends.

    \b
    mnist-lab worker results/hyperband
    mnist-lab worker --join 192.168.0.7:41234 --token token.json

    Any number of machines may join and leave at any time. The run must have been started with
    --host and an address that they reach.
    """
    from mnist_lab import study
    from mnist_lab.cli import show

    watch = show.watcher(no_color=options.pop("no_color"), quiet=options.pop("quiet"))
    study.join(run_dir, watch=watch, **options)


@mnist_lab.command("status")
@_RUN_DIR
@output_options
def status(run_dir: Path, **output: Any) -> None:
    """Tell what is done, running, failed and left, and the best so far.

    \b
    mnist-lab status results/random-search
    mnist-lab status results/random-search --json
    """
    from mnist_lab.cli import show

    show.status(run_dir, **output)


@mnist_lab.command("plot")
@_RUN_DIR
@output_options
def plot(run_dir: Path, **output: Any) -> None:
    """Draw the figures again, from the records alone.

    \b
    mnist-lab plot results/random-search
    """
    from mnist_lab import study
    from mnist_lab.cli import show

    watch = show.watcher(no_color=output["no_color"], quiet=False)
    show.files(study.draw(study.load_run(run_dir), watch.note), **output)


@mnist_lab.command("export")
@_RUN_DIR
@click.option(
    "--to",
    type=click.Choice(["course", "csv", "tensorboard"]),
    required=True,
    multiple=True,
    help="course: the JSON files of the course's script; csv: tables of trials and epochs; "
    "tensorboard: a log folder. May be given several times.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the files; of several --to, OUT/<to>. [default: RUN_DIR/export/<to>]",
)
@output_options
def export(run_dir: Path, to: tuple[Any, ...], out: Path | None, **output: Any) -> None:
    """Write a run in the files of other programs.

    \b
    mnist-lab export results/random-search --to csv
    mnist-lab export results/lr-sweep --to course --to csv
    """
    from mnist_lab import export as exports
    from mnist_lab.cli import show

    show.files(exports.write(run_dir, *to, out=out), **output)


@mnist_lab.command("schema")
@click.argument("file", required=False)
@debug_option
def schema(file: str | None) -> None:
    """Print the JSON schema of a run's FILE, or of all files by their names.

    \b
    mnist-lab schema run.json
    mnist-lab schema > schemas.json
    """
    from mnist_lab.cli import show

    show.schema(file)


@mnist_lab.command("report")
@click.argument("run_dirs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file. [default: report.html in the run directory; of several, beside the first]",
)
@output_options
def report(run_dirs: tuple[Path, ...], out: Path | None, **output: Any) -> None:
    """Write one HTML page about a run, or about several and how they compare.

    \b
    mnist-lab report results/random-search
    mnist-lab report results/hyperband results/bohb

    The page holds everything it needs: it opens without a network, on a phone, and prints.
    """
    from mnist_lab import study
    from mnist_lab.cli import show

    watch = show.watcher(no_color=output["no_color"], quiet=False)
    show.report(run_dirs, study.report(run_dirs, out, watch.note), **output)


@mnist_lab.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@debug_option
def completion(shell: str) -> None:
    """Print the script with which SHELL completes commands and options.

    \b
    mnist-lab completion bash >> ~/.bashrc
    mnist-lab completion zsh >> ~/.zshrc
    mnist-lab completion fish > ~/.config/fish/completions/mnist-lab.fish
    """
    from click import shell_completion

    script = shell_completion.get_completion_class(shell)
    assert script is not None  # noqa: S101 - the choices are click's own
    click.echo(script(mnist_lab, {}, "mnist-lab", "_MNIST_LAB_COMPLETE").source())


@mnist_lab.command("space")
@_SPACE
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the figure. [default: results/space; with --json no figure]",
)
@output_options
def space(space: Path | None, out: Path | None, **output: Any) -> None:
    """Show how the search space samples, in words, numbers and a figure.

    \b
    mnist-lab space
    mnist-lab space --space configs/wide-space.json
    """
    from mnist_lab.cli import show

    if out is None and not output["as_json"]:
        out = Path("results/space")
    show.space(space, out, **output)


@mnist_lab.command("doctor")
@output_options
def doctor(**output: Any) -> None:
    """Tell what this machine offers and what is missing.

    \b
    mnist-lab doctor
    """
    from mnist_lab.cli import show

    show.doctor(**output)


def _halving(experiment: str, iters: int, space: Path | None, options: dict[str, Any]) -> None:
    from mnist_lab import study

    epochs = {name: options.pop(name) for name in ("min_epochs", "max_epochs")}
    run, show = _study_and_show(options)
    show(getattr(study, experiment)(iters=iters, space=space, **epochs, **run))


def _study_and_show(options: dict[str, Any]) -> tuple[Options, Any]:
    """The options of a study, and the function that shows its result."""
    from functools import partial

    from mnist_lab.cli import show

    output = {name: options.pop(name) for name in ("as_json", "no_color")}
    quiet = options.pop("quiet")
    if options["out"] is None:
        del options["out"]
    options["watch"] = show.watcher(no_color=output["no_color"], quiet=quiet)
    if options["dry_run"]:
        return cast("Options", options), partial(show.plan, **output)
    return cast("Options", options), partial(show.outcome, **output)
