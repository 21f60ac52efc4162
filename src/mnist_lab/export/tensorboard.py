"""A log folder for TensorBoard: a run for each trial, with its scalars and hyperparameters.

Only TensorBoard's own package makes these files; its `EventFileWriter` would load TensorFlow where
that is installed, so the events are put into records here.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mnist_lab.errors import not_installed
from mnist_lab.records import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo

# TensorBoard reads files whose names hold `tfevents`, and shows each folder as a run.
_FILE = "events.out.tfevents.mnist-lab"
_EPOCH_TAGS = ("train_loss", "train_error", "valid_loss", "valid_error")
# The columns of results in the HParams table, as far as they were measured.
_METRICS = ("valid_error", "test_error", "train_error")


def files(info: RunInfo, trials: Sequence[Trial]) -> dict[str, bytes]:
    """The event files of the study and of the trials that made an epoch.

    Raises:
        LabError: TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise not_installed("--to tensorboard", "tensorboard")
    shown = [trial for trial in trials if trial.epochs]
    # Those that are not on the exercise sheet only where they are not 0.
    names = list(dict.fromkeys(name for one in shown for name in one.configuration.model_dump()))
    measured = {_name(trial): list(_scalars(trial)) for trial in shown}
    tags = {tag for scalars in measured.values() for tag, *_ in scalars}
    written = {_FILE: _records(_study(info, names, [tag for tag in _METRICS if tag in tags]))}
    for trial in shown:
        events = _training(trial, names, measured[_name(trial)])
        written[f"{_name(trial)}/{_FILE}"] = _records(events)
    return written


def _name(trial: Trial) -> str:
    """What TensorBoard shows a trial as, in the order of their numbers."""
    return f"trial-{trial.trial:05}"


def _scalars(trial: Trial) -> Iterator[tuple[str, int, float, float]]:
    """What was measured of a trial: tag, step, time in seconds since 1970, value."""
    at = timestamp(trial.started)
    # A step is a whole number, and a record may be of a part of an epoch.
    for step, epoch in enumerate(trial.epochs, start=1):
        at += epoch.duration_s
        for tag in _EPOCH_TAGS:
            if (value := getattr(epoch, tag)) is not None:
                yield tag, step, at, value
    if trial.test is not None:
        yield "test_error", len(trial.epochs), at, trial.test.test_error


def _study(info: RunInfo, names: Sequence[str], metrics: Sequence[str]) -> Iterator[Any]:
    """What is common: the columns of the HParams table, and which data it is about."""
    from tensorboard.plugins.hparams import summary_v2 as hparams
    from tensorboard.plugins.text.summary_v2 import text_pb

    at = timestamp(info.started)
    columns = [hparams.HParam(name) for name in names]
    results = [hparams.Metric(tag, display_name=tag.replace("_", " ")) for tag in metrics]
    yield _event(at, 0, hparams.hparams_config_pb(columns, results, time_created_secs=at))
    about = f"{info.settings.experiment} on {info.data.name}"
    yield _event(at, 0, text_pb("study", ": ".join((about, *info.data.notes))))


def _training(
    trial: Trial, names: Sequence[str], scalars: Iterable[tuple[str, int, float, float]]
) -> Iterator[Any]:
    """A trial: its hyperparameters, what was measured, its end."""
    from tensorboard.plugins.hparams import summary_v2 as hparams
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    began = timestamp(trial.started)
    values = {name: getattr(trial.configuration, name) for name in names}
    yield _event(began, 0, hparams.hparams_pb(values, _name(trial), start_time_secs=began))
    for tag, step, at, value in scalars:
        yield _event(at, step, scalar_pb(tag, value))
    if trial.ended is not None:
        yield _event(timestamp(trial.ended), 0, _session_end(trial))


def _session_end(trial: Trial) -> Any:
    """How a trial ended, as the HParams table shows it."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    ending = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.STATUS_FAILURE if trial.state == "failed" else api_pb2.STATUS_SUCCESS,
        end_time_secs=timestamp(trial.ended),
    )
    about = metadata.create_summary_metadata(
        plugin_data_pb2.HParamsPluginData(session_end_info=ending)
    )
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR
    )
    return Summary(value=[value])


def _event(at: float, step: int, summary: Any) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=at, step=step, summary=summary)


def _records(events: Iterable[Any]) -> bytes:
    """The content of an event file."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in (Event(wall_time=0.0, file_version="brain.Event:2"), *events):
        writer.write(event.SerializeToString())
    return content.getvalue()
