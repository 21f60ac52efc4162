"""The subcommands: each turns its words into one call and its result into words.

Heavy imports stand inside the commands that need them: `--help` and `status` answer at once.
"""

from __future__ import annotations

import resource
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from mnist_lab import __version__
from mnist_lab.catalogue import EXPERIMENTS, function_name
from mnist_lab.cli.options import (
    PATH,
    debug_option,
    experiment_options,
    output_options,
    space_option,
    worker_options,
)
from mnist_lab.errors import LabError

if TYPE_CHECKING:
    from mnist_lab.catalogue import Experiment

# The least of memory addresses that a command which shows or draws can work with.
LEAST_GIB = 0.25

_EXPERIMENTS, _SEARCHES, _RESULTS, _SETUP = map(
    cloup.Section, ("Experiments", "Searches", "Results", "Setup")
)
_RUN_DIR = cloup.argument("run_dir", type=PATH, help="A run, such as results/random-search.")
_ANY_RUN = cloup.argument(
    "run_dir", type=PATH, required=False, help="Such as results/random-search. [default: all runs]"
)


@cloup.group(
    sections=[_EXPERIMENTS, _SEARCHES, _RESULTS, _SETUP],
    options_metavar="",
    subcommand_metavar="COMMAND [OPTIONS]",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "formatter_settings": cloup.HelpFormatter.settings(max_width=100, col1_max_width=26),
    },
)
@cloup.version_option(__version__, prog_name="mnist-lab")
def mnist_lab() -> None:
    """Train, compare and tune a small CNN on MNIST.

    \b
    Four questions, four commands:
      mnist-lab lr-sweep        Which learning rate?
      mnist-lab filter-sweep    Which filter size, and what does it cost?
      mnist-lab hyperband       Which configuration?
      mnist-lab test --config results/hyperband/best.json
                                How good is it really?

    \b
    Try it in 20 seconds: mnist-lab lr-sweep --data sample --epochs 2
    Interrupted? Run the same command again; it continues.
    More about a command: mnist-lab COMMAND --help
    """
    # With less, NumPy's and SciPy's libraries end the process, or never stop asking for more.
    limit_gib = resource.getrlimit(resource.RLIMIT_AS)[0] / 2**30  # below 0 without a limit
    if 0 <= limit_gib < LEAST_GIB:
        raise LabError(
            f"a limit of {limit_gib:.2f} GiB of addresses is too low; {LEAST_GIB} GiB are needed",
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
            options["config"] = check(TrainConfig, values, source="")
        shown = show.plan if options["dry_run"] else show.outcome
        shown(getattr(study, function_name(name))(**options), **output)

    section = _SEARCHES if one.is_search else _EXPERIMENTS
    command = experiment_options(one, train)
    mnist_lab.command(name, section=section, help=cleandoc(one.help))(command)


for _name, _experiment in EXPERIMENTS.items():
    _add_experiment(_name, _experiment)


@mnist_lab.command("doctor", section=_SETUP)
@output_options
def doctor(**output: Any) -> None:
    """Check whether this machine is ready to train.

    \b
    mnist-lab doctor
    """
    from mnist_lab.cli import show

    show.doctor(**output)


@mnist_lab.command("space", section=_SETUP)
@space_option
@cloup.option(
    "--out",
    type=PATH,
    metavar="FOLDER",
    help="Folder for the figure. [default: results/space; with --json no figure]",
)
@output_options
def space(space: Path | None, out: Path | None, **output: Any) -> None:
    """Show what the search space samples, and why.

    \b
    mnist-lab space
    mnist-lab space --space configs/wide-space.json
    """
    from mnist_lab.cli import show

    if out is None and not output["as_json"]:
        out = Path("results/space")
    show.space(space, out, **output)


@mnist_lab.command("worker", section=_SETUP)
@cloup.argument("run_dir", type=PATH, required=False)
@cloup.option("--join", "at", metavar="HOST:PORT", help="Where the run listens; needs --token.")
@cloup.option(
    "--token",
    type=PATH,
    metavar="FILE",
    help="A copy of the run's .token.json, if this machine cannot see the folder.",
)
@cloup.option(
    "--name",
    metavar="NAME",
    help="First part of the workers' names. [default: this machine's name]",
)
@worker_options
def worker(run_dir: Path | None, **options: Any) -> None:
    """Join a run, from this machine or another, until it ends.

    \b
    mnist-lab worker results/hyperband
    mnist-lab worker --join 192.168.0.7:41234 --token token.json

    Any number of machines may join and leave at any time. Start the run with --host and an address
    that they reach.
    """
    from mnist_lab import study
    from mnist_lab.cli import show

    watch = show.watcher(no_color=options.pop("no_color"), quiet=options.pop("quiet"))
    study.join(run_dir, watch=watch, **options)


@mnist_lab.command("status", section=_RESULTS)
@_ANY_RUN
@output_options
def status(run_dir: Path | None, **output: Any) -> None:
    """Show progress and the best so far, of one run or of all.

    \b
    mnist-lab status                             all runs below results
    mnist-lab status results/random-search
    mnist-lab status results/random-search --json
    """
    from mnist_lab.cli import show

    show.status(run_dir, **output)


@mnist_lab.command("report", section=_RESULTS)
@cloup.argument("run_dirs", type=PATH, nargs=-1, required=True)
@cloup.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file. [default: report.html in the run directory; of several, beside the first]",
)
@output_options
def report(run_dirs: tuple[Path, ...], out: Path | None, **output: Any) -> None:
    """Write one HTML page about a run, or compare several.

    \b
    mnist-lab report results/random-search
    mnist-lab report results/hyperband results/bohb

    The page needs no network. It can be read on a phone and printed.
    """
    from mnist_lab import study
    from mnist_lab.cli import show

    watch = show.watcher(no_color=output["no_color"], quiet=False)
    show.report(run_dirs, study.report(run_dirs, out, watch.note), **output)


@mnist_lab.command("dashboard", section=_RESULTS)
@cloup.argument(
    "folder", type=PATH, required=False, help="Whose runs are shown. [default: results]"
)
@cloup.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address of this machine to listen at. At any but the default, others can read along.",
)
@cloup.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port to listen at. [default: a free one]",
)
@cloup.option("--no-open", is_flag=True, help="Open no browser.")
@debug_option
def dashboard(folder: Path | None, **options: Any) -> None:
    """Show all runs in the browser, live while they train.

    \b
    mnist-lab dashboard
    mnist-lab dashboard results/reference --port 8765 --no-open

    It only reads. The address that it prints holds a secret: anyone who has it can look.
    Ctrl-C ends the dashboard; the runs go on.
    """
    from mnist_lab.cli import show

    show.dashboard(folder, **options)


@mnist_lab.command("plot", section=_RESULTS)
@_RUN_DIR
@output_options
def plot(run_dir: Path, **output: Any) -> None:
    """Draw the figures of a run again, from its records.

    \b
    mnist-lab plot results/random-search
    """
    from mnist_lab import study
    from mnist_lab.cli import show

    watch = show.watcher(no_color=output["no_color"], quiet=False)
    show.files(study.load_run(run_dir).draw(watch.note), **output)


@mnist_lab.command("export", section=_RESULTS)
@_RUN_DIR
@cloup.option(
    "--to",
    type=click.Choice(["course", "csv", "tensorboard", "optuna", "markdown", "latex"]),
    required=True,
    multiple=True,
    help="course: the JSON files of the course's script; csv: tables of trials and epochs; "
    "tensorboard: a log folder; optuna: a storage for Optuna and optuna-dashboard; markdown, "
    "latex: the table of results with a caption. Repeat it for several.",
)
@cloup.option(
    "--out",
    type=PATH,
    metavar="FOLDER",
    help="Folder for the files; of several --to, OUT/<to>. [default: RUN_DIR/export/<to>]",
)
@output_options
def export(run_dir: Path, to: tuple[Any, ...], out: Path | None, **output: Any) -> None:
    """Write a run as files of other programs.

    \b
    mnist-lab export results/random-search --to csv
    mnist-lab export results/lr-sweep --to course --to latex
    """
    from mnist_lab.cli import show

    show.export(run_dir, to, out, **output)


@mnist_lab.command("schema", section=_SETUP)
@cloup.argument("file", required=False)
@debug_option
def schema(file: str | None) -> None:
    """Print the JSON schema of a run's files.

    \b
    mnist-lab schema run.json
    mnist-lab schema > schemas.json
    """
    from mnist_lab.cli import show

    show.schema(file)


@mnist_lab.command("completion", section=_SETUP)
@cloup.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@debug_option
def completion(shell: str) -> None:
    """Print the script that completes commands in your shell.

    \b
    mnist-lab completion bash >> ~/.bashrc
    mnist-lab completion zsh >> ~/.zshrc
    mnist-lab completion fish > ~/.config/fish/completions/mnist-lab.fish
    """
    from click import shell_completion

    script = shell_completion.get_completion_class(shell)
    assert script is not None  # noqa: S101 - the choices are click's own
    click.echo(script(mnist_lab, {}, "mnist-lab", "_MNIST_LAB_COMPLETE").source())
