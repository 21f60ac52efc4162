"""Turn words into one call; turn results and errors into words and an exit code."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import traceback
from typing import IO, TYPE_CHECKING, NoReturn

import click

from mnist_lab.catalogue import EXPERIMENTS
from mnist_lab.cli.commands import mnist_lab
from mnist_lab.errors import (
    ExitCode,
    Interrupted,
    LabError,
    SettingsError,
    Terminated,
    printable_lines,
    similar,
    stop,
)

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
    """Run the words after `mnist-lab`; each error becomes `error:`, `hint:` and the exit code."""
    debug = "--debug" in arguments
    try:
        mnist_lab.main(args=list(arguments), prog_name="mnist-lab", standalone_mode=False)
    except LabError as error:
        return _fail(error, debug=debug)
    except click.ClickException as error:
        return _fail_usage(error, arguments, debug=debug)
    except (click.Abort, KeyboardInterrupt):
        return _fail(Interrupted("interrupted", next_step=_CONTINUE), debug=False)
    except BrokenPipeError:
        # The reader of our output is gone; Python would complain once more when it flushes.
        sys.stdout = None
        return ExitCode.DONE
    except Exception as problem:  # noqa: BLE001 - the boundary: what is unforeseen is our defect
        return _fail_unforeseen(problem, debug=debug)
    return ExitCode.DONE


_CONTINUE = "what is finished is kept; run the same command again to continue"


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    # The next Ctrl-C does not wait: what is finished is on the disk, and workers end with us.
    signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    stop(KeyboardInterrupt())


def _terminate(number: int, _: FrameType | None) -> NoReturn:
    stop(Terminated(f"terminated by {signal.Signals(number).name}", next_step=_CONTINUE))


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
                f"cannot write to standard output ({problem.strerror})",
                next_step="make room; what was trained is kept, and the same command shows it",
            )
            return _fail(unwritten, debug=debug)
    from mnist_lab import machine  # what no other failure needs

    if (shortage := machine.shortage(problem)) is not None:
        return _fail(shortage, debug=debug)
    defect = "error: this is a defect of mnist-lab\nhint: please report the lines above"
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
    trace = traceback.format_exc() if debug else ""
    _tell(trace + "\n".join([*error.lines(), ""]))
    return error.exit_code


# All options begin with dashes: other words agree in less, such as --rates and --repeats.
_CLOSE = 0.76


def _fail_usage(error: click.ClickException, arguments: Sequence[str], *, debug: bool) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _tell(f"{error.format_message()}\n")  # the help, in many lines
        return ExitCode.USAGE
    return _fail(_in_our_words(error, arguments), debug=debug)


def _in_our_words(error: click.ClickException, arguments: Sequence[str]) -> SettingsError:
    """What click found wrong with the command line, and what to type instead."""
    context = getattr(error, "ctx", None)
    command = next((word for word in arguments if word in mnist_lab.commands), "")
    name, see = command or "mnist-lab", f"see mnist-lab {command} --help".replace("  ", " ")
    if isinstance(error, click.NoSuchCommand):
        return SettingsError(
            f"there is no command {error.command_name!r}",
            next_step=similar(error.command_name, mnist_lab.commands) or see,
        )
    if isinstance(error, click.NoSuchOption):
        option, experiment = error.option_name, EXPERIMENTS.get(name)
        varied = experiment and experiment.varies
        if varied and option == f"--{varied.replace('_', '-')}":
            way = f"--values {_value(option, arguments)}"
        else:
            params = context.command.params if context else []
            options = [one for param in params for one in param.opts]
            way = similar(option, options, least=_CLOSE) or see
        return SettingsError(f"{name} has no {option}", next_step=way)
    if isinstance(error, click.BadParameter) and error.param is not None:
        param = error.param
        typed = param.opts[0]
        if isinstance(param, click.Argument) and context is not None:
            typed = param.make_metavar(context)
        if isinstance(error, click.MissingParameter):
            text = getattr(param, "help", None) or see
            return SettingsError(f"{name} needs {typed}", next_step=_sentence(text))
        return SettingsError(f"{typed}: {_sentence(error.message)}")
    if isinstance(error, click.BadOptionUsage):
        takes = "needs a" if "requires" in error.message else "takes no"
        return SettingsError(f"{error.option_name} {takes} value", next_step=see)
    return SettingsError(_sentence(error.format_message()).removeprefix("got "), next_step=see)


def _value(option: str, arguments: Sequence[str]) -> str:
    """What was typed for an option."""
    for word, following in zip(arguments, (*arguments[1:], ""), strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
    return ""


def _sentence(text: str) -> str:
    """A sentence as part of a line."""
    text = " ".join(text.split()).rstrip(".")
    return f"{text[:1].lower()}{text[1:]}"
