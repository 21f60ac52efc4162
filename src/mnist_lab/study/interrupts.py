"""Ctrl-C, and a notebook's stop button, as an error of one line."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from mnist_lab.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """End what is inside at the first Ctrl-C, and ignore others while it tidies up.

    Else a second one would leave workers behind in a notebook's kernel, which lives on. This is
    where Python's own handler is in place, which is put back. The command line has a handler of its
    own, which is let alone; and in other threads than the main one no signal arrives.

    Raises:
        Interrupted: there was one.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    kept = ""
    interrupted = False
    signal.signal(signal.SIGINT, _first)
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as stop:
        interrupted, kept = True, str(stop)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Outside, so that the error holds no frames: they would keep what they use open.
    if interrupted:
        raise Interrupted(kept or "interrupted; what is finished is kept, call again to continue")


def _first(_: int, __: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
