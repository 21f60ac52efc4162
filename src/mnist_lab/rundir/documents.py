"""`curves.json` and `test.json`: what is made from a run's records, for whoever reads JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mnist_lab.config import Frozen, TrainConfig
from mnist_lab.records import FORMAT_VERSION, Mistake, Trial


class Curves(Frozen):
    """`curves.json`: every trial, with one entry per epoch, in the order of proposal."""

    format_version: Annotated[int, Field(ge=1)] = FORMAT_VERSION
    trials: tuple[Trial, ...]


class TestRepeat(Frozen):
    """One repeat of a test; its interval is Wilson's, for the images.

    `mistakes` are the most confident ones, the most confident first.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    trial: int
    seed: int
    test_error: float
    interval_95: tuple[float, float] | None
    test_loss: float | None
    mistakes: tuple[Mistake, ...] = ()


class TestResult(Frozen):
    """`test.json`: the test error of a configuration, over `n_images` test images in each repeat.

    With one repeat the interval is Wilson's, for the images; with several it is Student's, for the
    mean over seeds. `confusion[true digit][predicted digit]` counts the images of all repeats, and
    `class_errors` has one entry per digit, null without an image.
    """

    __test__ = False

    format_version: Annotated[int, Field(ge=1)] = FORMAT_VERSION
    configuration: TrainConfig
    n_images: int
    test_error: float | None
    test_error_sd: float | None
    interval_95: tuple[float, float] | None
    repeats: tuple[TestRepeat, ...]
    class_errors: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
