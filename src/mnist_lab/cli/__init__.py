"""Words to one call; results and errors to words and an exit code."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from mnist_lab.cli.commands import mnist_lab
from mnist_lab.errors import ExitCode, Interrupted, LabError, Terminated, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


def entrypoint() -> NoReturn:
    """The console script."""
    # Importing makes many objects and no garbage: looking for it takes a tenth of `status`.
    gc.set_threshold(100_000)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold what cannot be printed
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    signal.signal(signal.SIGINT, _interrupt)
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command; every error becomes one line on standard error, and the exit code.

    Args:
        arguments: the words after `mnist-lab`.
    """
    try:
        mnist_lab.main(args=list(arguments), prog_name="mnist-lab", standalone_mode=False)
    except LabError as error:
        return _fail(error, debug="--debug" in arguments)
    except click.ClickException as error:
        return _fail_usage(error)
    except (click.Abort, KeyboardInterrupt):
        return _fail(Interrupted("interrupted", next_step=_CONTINUE), debug=False)
    except BrokenPipeError:
        # The reader of our output is gone; Python would complain once more when it flushes.
        sys.stdout = None
        return ExitCode.DONE
    except Exception:  # noqa: BLE001 - the boundary: what is unforeseen is our defect
        _print_traceback()
        sys.stderr.write(
            "mnist-lab: this is a defect of mnist-lab; please report the lines above\n"
        )
        return ExitCode.DEFECT
    return ExitCode.DONE


_CONTINUE = "what is finished is kept, give the same command to continue"


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    # The next Ctrl-C does not wait: what is finished is on the disk, and workers end with us.
    signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    raise KeyboardInterrupt


def _terminate(number: int, _: FrameType | None) -> NoReturn:
    raise Terminated(f"terminated by {signal.Signals(number).name}", next_step=_CONTINUE)


def _fail(error: LabError, *, debug: bool) -> int:
    if debug:
        _print_traceback()
    sys.stderr.write(f"mnist-lab: {error}\n")
    return error.exit_code


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def _fail_usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "mnist-lab"
    message = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.NoSuchOption) and context is not None:
        options = [name for param in context.command.params for name in param.opts]
        message = f"no such option: {error.option_name}; {nearest(error.option_name, options)}"
    sys.stderr.write(f"mnist-lab: {message}; see {command} --help\n")
    return ExitCode.USAGE
