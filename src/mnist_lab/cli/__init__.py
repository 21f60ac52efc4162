"""Words to one call; results and errors to words and an exit code."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import traceback
from typing import IO, TYPE_CHECKING, NoReturn

import click

from mnist_lab.cli.commands import mnist_lab
from mnist_lab.errors import ExitCode, Interrupted, LabError, Terminated, nearest, printable_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


def entrypoint() -> NoReturn:
    """The console script."""
    # Importing makes many objects and no garbage: looking for it takes a tenth of `status`.
    gc.set_threshold(100_000)
    # NumPy's algebra would start a thread for each core, each with memory of its own: we need none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed (`>&-`): else a file of a run gets its number
            setattr(sys, name, _nowhere(mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold what cannot be printed
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it ignored
            signal.signal(number, _terminate)
    signal.signal(signal.SIGINT, _interrupt)
    code = main(sys.argv[1:])
    _tell("")
    gc.freeze()  # at its end Python would look for garbage once more, for a quarter of a second
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run the words after `mnist-lab`; each error becomes one line, and the exit code."""
    debug = "--debug" in arguments
    try:
        mnist_lab.main(args=list(arguments), prog_name="mnist-lab", standalone_mode=False)
    except LabError as error:
        return _fail(error, debug=debug)
    except click.ClickException as error:
        return _fail_usage(error)
    except (click.Abort, KeyboardInterrupt):
        return _fail(Interrupted("interrupted", next_step=_CONTINUE), debug=False)
    except BrokenPipeError:
        # The reader of our output is gone; Python would complain once more when it flushes.
        sys.stdout = None
        return ExitCode.DONE
    except Exception as problem:  # noqa: BLE001 - the boundary: what is unforeseen is our defect
        return _fail_unforeseen(problem, debug=debug)
    return ExitCode.DONE


_CONTINUE = "what is finished is kept, give the same command to continue"


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    # The next Ctrl-C does not wait: what is finished is on the disk, and workers end with us.
    signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    raise KeyboardInterrupt


def _terminate(number: int, _: FrameType | None) -> NoReturn:
    raise Terminated(f"terminated by {signal.Signals(number).name}", next_step=_CONTINUE)


def _nowhere(mode: str = "w") -> IO[str]:
    return open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123 - till the end


def _fail_unforeseen(problem: Exception, *, debug: bool) -> int:
    if isinstance(problem, OSError):
        try:
            sys.stdout.write("\n")
            sys.stdout.flush()
        except OSError:
            sys.stdout = None  # Python would complain once more when it flushes
            unwritten = LabError(
                "standard output can be written",
                received=problem.strerror,
                next_step="make room; what was trained is kept, the same command shows it",
            )
            return _fail(unwritten, debug=debug)
    from mnist_lab import machine  # what no other failure needs

    if (shortage := machine.shortage(problem)) is not None:
        return _fail(shortage, debug=debug)
    defect = "mnist-lab: this is a defect of mnist-lab; please report the lines above"
    _tell(f"{traceback.format_exc()}{defect}\n")
    return ExitCode.DEFECT


def _tell(text: str) -> None:
    """Write to standard error, without obeying it; where nothing is taken the exit code must do."""
    try:
        sys.stderr.write(printable_lines(text))
        sys.stderr.flush()
    except OSError:
        sys.stderr = _nowhere()


def _fail(error: LabError, *, debug: bool) -> int:
    _tell(f"{traceback.format_exc() if debug else ''}mnist-lab: {error}\n")
    return error.exit_code


def _fail_usage(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _tell(f"{error.format_message()}\n")  # the help, in many lines
        return ExitCode.USAGE
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "mnist-lab"
    message = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.NoSuchOption) and context is not None:
        options = [name for param in context.command.params for name in param.opts]
        message = f"no such option: {error.option_name}; {nearest(error.option_name, options)}"
    _tell(f"mnist-lab: {message}; see {command} --help\n")
    return ExitCode.USAGE
