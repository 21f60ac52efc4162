"""The errors: their exit codes, their one line, and the word that was probably meant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mnist_lab import errors
from mnist_lab.errors import ExitCode, LabError, nearest

# The numbers are those of the contract, which scripts rely on.
CODES = {
    errors.LabError: 1,
    errors.SettingsError: 2,
    errors.DataError: 2,
    errors.RunDirError: 1,
    errors.DeviceError: 1,
    errors.StudyError: 1,
    errors.Interrupted: 130,
    errors.Terminated: 143,
    errors.TimeLimit: 75,
}


def test_exit_codes() -> None:
    """Each kind of error there is ends the process with the code of the contract."""
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    kinds = {kind for kind in kinds if issubclass(kind, LabError)}
    assert {kind: kind("a rule").exit_code for kind in kinds} == CODES
    assert {*ExitCode} == {0, 3, *CODES.values()}


def test_text() -> None:
    """The text is the rule, the value received and the next step, as far as there are any."""
    for error, text in {
        LabError("the rule"): "the rule",
        LabError("the rule", received="'x'"): "the rule: got 'x'",
        LabError("the rule", received=0): "the rule: got 0",
        LabError("the rule", received=""): "the rule: got",
        LabError("the rule", next_step="do this"): "the rule; do this",
        LabError("the rule", received=-1, next_step="do this"): "the rule: got -1; do this",
        LabError("two\nlines", received="a\tb\r\n"): "two lines: got a b",
    }.items():
        assert str(error) == text


@given(rule=st.text(), received=st.none() | st.text(), next_step=st.text())
def test_one_line(rule: str, received: str | None, next_step: str) -> None:
    """Whatever goes into an error, it is one line, and its parts can be read from it."""
    error = LabError(rule, received=received, next_step=next_step)
    assert len(str(error).splitlines()) <= 1
    assert (error.rule, error.received, error.next_step) == (rule, received, next_step)


def test_nearest() -> None:
    """The legal word that resembles is offered; all of them, sorted, if none does."""
    none = "choose one of batch_size, epochs"
    hints = {"batch-sise": "did you mean 'batch_size'?", "epoch": "did you mean 'epochs'?"}
    for word, hint in (hints | {"xyz": none, "": none}).items():
        assert nearest(word, {"epochs", "batch_size"}) == hint
