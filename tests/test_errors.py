"""The errors: their exit codes, their one line, and the word that was probably meant."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from mnist_lab import errors
from mnist_lab.errors import ExitCode, LabError, nearest

# The numbers are those of the contract, which scripts rely on.
CODES = {
    errors.LabError: 1,
    errors.SettingsError: 2,
    errors.DataError: 2,
    errors.RunDirError: 2,
    errors.WriteError: 1,
    errors.DeviceError: 2,
    errors.StudyError: 1,
    errors.Interrupted: 130,
    errors.Terminated: 143,
    errors.TimeLimit: 75,
}


def test_exit_codes() -> None:
    """Each kind of error there is ends the process with the code of the contract."""
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    kinds = {kind for kind in kinds if issubclass(kind, LabError) and kind.__name__[0] != "_"}
    assert {kind: kind("a rule").exit_code for kind in kinds} == CODES
    assert {*ExitCode} == {0, 3, *CODES.values()}


def test_text() -> None:
    """What is wrong and what to do are a line each, and one line together; a stop is no error."""
    told = LabError("two\nlines", next_step="a\tb\r\n")
    assert (str(told), told.lines()) == ("two lines; a b", ["error: two lines", "hint: a b"])
    assert LabError("a problem").lines() == ["error: a problem"]
    assert errors.Interrupted("stopped here").lines() == ["Stopped here"]
    again = pickle.loads(pickle.dumps(told))  # noqa: S301 - as a worker sends it
    assert (str(again), again.lines()) == (str(told), told.lines())


@given(problem=st.text(), next_step=st.text())
def test_one_line(problem: str, next_step: str) -> None:
    """Whatever goes into an error, each part is one line, and can be read from it."""
    error = LabError(problem, next_step=next_step)
    for line in (str(error), *error.lines()):
        assert len(line.splitlines()) <= 1
    assert (error.problem, error.next_step) == (problem, next_step)


def test_nearest() -> None:
    """The legal word that resembles is offered; all of them, sorted, if none does."""
    none = "choose one of batch_size, epochs"
    hints = {"batch-sise": "did you mean 'batch_size'?", "epoch": "did you mean 'epochs'?"}
    for word, hint in (hints | {"xyz": none, "": none}).items():
        assert nearest(word, {"epochs", "batch_size"}) == hint
