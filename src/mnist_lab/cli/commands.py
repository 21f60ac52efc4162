"""The subcommands: each turns its words into one call and its result into words.

What only some commands need is imported inside them: `--help` and `status` answer at once.
"""

from __future__ import annotations

import resource
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_lab import __version__
from mnist_lab.catalogue import EXPERIMENTS, function_name
from mnist_lab.cli.options import (
    PATH,
    debug_option,
    experiment_options,
    output_options,
    space_option,
    training_options,
    worker_options,
)
from mnist_lab.errors import LabError

if TYPE_CHECKING:
    from mnist_lab.catalogue import Experiment

# The least of memory addresses that a command which shows or draws can work with.
LEAST_GIB = 0.25

_RUN_DIR = click.argument("run_dir", type=PATH)


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


def _add_experiment(name: str, one: Experiment) -> None:
    def train(**options: Any) -> None:
        from mnist_lab import study
        from mnist_lab.cli import show
        from mnist_lab.config import TrainConfig, check

        output = {key: options.pop(key) for key in ("as_json", "no_color")}
        quiet = options.pop("quiet")
        options["watch"] = show.watcher(no_color=output["no_color"], quiet=quiet)
        if options["out"] is None:
            del options["out"]
        if name == "train":
            values = {key: options.pop(key) for key in one.defaults}
            options["config"] = check(TrainConfig, values, source="the command")
        shown = show.plan if options["dry_run"] else show.outcome
        shown(getattr(study, function_name(name))(**options), **output)

    command = experiment_options(one, training_options(train))
    mnist_lab.command(name, help=cleandoc(one.help))(command)


for _name, _experiment in EXPERIMENTS.items():
    _add_experiment(_name, _experiment)


@mnist_lab.command("worker")
@click.argument("run_dir", type=click.Path(path_type=Path), required=False)
@click.option("--join", "at", metavar="HOST:PORT", help="Where the run listens; with --token.")
@click.option(
    "--token",
    type=click.Path(path_type=Path),
    help="A copy of the run's .token.json, where this machine does not see the folder.",
)
@click.option("--name", help="What the workers' names begin with. [default: this machine's name]")
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
    show.files(study.load_run(run_dir).draw(watch.note), **output)


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
    type=PATH,
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
@click.argument("run_dirs", type=PATH, nargs=-1, required=True)
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
@space_option
@click.option(
    "--out",
    type=PATH,
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
