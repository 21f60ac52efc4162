"""A run's JSON documents: `run.json`, `curves.json` and `test.json`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mnist_lab.config import Frozen, Plain, StudySettings, Text, TrainConfig
from mnist_lab.errors import SettingsError
from mnist_lab.records import FORMAT_VERSION, DatasetInfo, Mistake, Seconds, Time, Trial

Version = Annotated[int, Field(ge=1)]
# `stopped` wrote its end itself: at a time limit, on Ctrl-C, after an error. A run that is killed
# stays `running` on the disk; whoever finds no writer calls it `interrupted`.
RunState = Literal["running", "complete", "stopped", "interrupted", "failed"]


class Identity(Frozen):
    """The identity of a run's trainings; two runs with the same `id` have the same trainings.

    `id` is random, and empty in runs of format version 1; `digests` are those of the data set.
    """

    id: Text
    settings: StudySettings
    digests: dict[Text, Text]

    def differences(self, later: Identity, there: str, now: str) -> list[str]:
        """The differences, in words; `there` and `now` name the two sides.

        `iters`, and the `repeats` of a race, may have grown.
        """
        before, after = self.settings.model_dump(), later.settings.model_dump()
        # A search space is longer than a line, so is a whole configuration.
        spaces = before.pop("space"), after.pop("space")
        before |= before.pop("base")
        after |= after.pop("base")
        races = before.pop("configurations", None), after.pop("configurations", None)
        grows = "repeats" if races[0] else "iters"
        numbers = before[grows], after[grows]
        if None not in numbers and numbers[0] < numbers[1]:
            before[grows] = after[grows]
        different = [
            f"{key} {_typed(before.get(key))} {there}, {_typed(after.get(key))} {now}"
            for key in before | after
            if before.get(key) != after.get(key)
        ]
        if spaces[0] != spaces[1]:
            different.append("another search space")
        if races[0] != races[1]:
            different.append("other configurations")
        if self.digests != later.digests:
            different.append("another data set")
        return different


class RunInfo(Frozen):
    """`run.json`: the settings, versions, data and machine of a run, and its state.

    `versions` maps package to version, `machine` describes the computer that started the run;
    `started`, `continued` (when the last session began) and `ended` are RFC 3339. `spent_s` adds up
    the seconds of all sessions; one that was killed counts up to its last event. `n_events` counts
    the events in the journal of a complete run. Runs of format version 1 have neither `id` nor
    `n_events`.
    """

    format_version: Version = FORMAT_VERSION
    id: Text = ""
    settings: StudySettings
    data: DatasetInfo
    versions: dict[Text, Text]
    machine: Plain
    # As it was typed, for the record: who continues is told the command that the settings make.
    command: Text
    state: RunState
    started: Time
    continued: Time | None = None
    ended: Time | None = None
    spent_s: Seconds = 0.0
    n_events: int | None = None

    @property
    def identity(self) -> Identity:
        """The identity of its trainings."""
        return Identity(id=self.id, settings=self.settings, digests=self.data.digests)


def _typed(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def differences(info: RunInfo, settings: StudySettings, digests: dict[str, str]) -> list[str]:
    """How `settings` and data differ from the run's, in words; what may grow is no difference."""
    now = Identity(id=info.id, settings=settings, digests=digests)
    return info.identity.differences(now, "there", "now")


def check_agreement(info: RunInfo, settings: StudySettings, digests: dict[str, str]) -> None:
    """Raise a SettingsError if there are :func:`differences`."""
    if not (different := differences(info, settings, digests)):
        return
    before, after = info.settings.iters, settings.iters
    if before and after and after < before and len(different) == 1:
        problem = f"this run already has {before} iteration{'s' * (before > 1)}"
        next_step = "--iters can only grow; --fresh or --out starts anew"
    else:
        problem = f"this run has other settings: {'; '.join(different)}"
        next_step = "--out starts a run in another folder; --fresh sets this one aside"
    raise SettingsError(problem, next_step=next_step)


class Curves(Frozen):
    """`curves.json`: every trial, with one entry per epoch, in the order of proposal."""

    format_version: Version = FORMAT_VERSION
    trials: tuple[Trial, ...]


class TestRepeat(Frozen):
    """One repeat of a test; its interval is Wilson's, for the images.

    `mistakes` are the most confident ones, most confident first.
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

    With one repeat the interval is Wilson's, for the images; with three or more that differ it is
    Student's, for the mean over seeds; else null. `confusion[true digit][predicted digit]` counts
    the images of all repeats, and `class_errors` has one entry per digit, null without an image.
    """

    __test__ = False

    format_version: Version = FORMAT_VERSION
    configuration: TrainConfig
    n_images: int
    test_error: float | None
    test_error_sd: float | None
    interval_95: tuple[float, float] | None
    repeats: tuple[TestRepeat, ...]
    class_errors: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
