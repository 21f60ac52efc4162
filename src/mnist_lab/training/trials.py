"""The training in a worker: the data are loaded once, then trials train one step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_lab import data
from mnist_lab.records import Checkpoint, Epoch, Result, Step, TestScore

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnist_lab.config import Device, FitOn, Precision, TrainConfig


def open_trainer(
    *,
    source: str,
    digests: dict[str, str],
    precision: Precision,
    device: Device,
    fit_on: FitOn = "train",
    final: bool = False,
    keep_model: bool = False,
    shared: int | None = None,
) -> Callable[[TrainConfig, int, Checkpoint | None, float], Step]:
    """The function with which a worker process trains its trials.

    Args:
        source: of the data set, for :func:`mnist_lab.data.load`.
        digests: required of the data set, so that all workers of a run train on the same one.
        precision: see :class:`~mnist_lab.training.trainer.Trainer`.
        device: see :class:`~mnist_lab.training.trainer.Trainer`.
        fit_on: `train+valid` leaves no image for the validation.
        final: score the test images, once, after the last epoch.
        keep_model: also return the trained model.
        shared: an inherited descriptor of :func:`mnist_lab.data.share`: its arrays are used, and
            nothing is loaded.

    Returns:
        A pure function of (configuration, seed, checkpoint to resume from or None, epoch to stop
        at). It trains at most to the end of the current epoch and, at the end of the training,
        adds the outcome. If only the outcome is missing, it trains nothing.

    Raises:
        DataError: the data set cannot be loaded, or is another one.
        DeviceError: the device is not there.
    """
    from mnist_lab.training.trainer import Trainer  # TensorFlow, in workers only

    if shared is not None:
        training, test = data.attach(shared)
    else:
        dataset = data.load(source, expect=digests)
        training, test = dataset.training_on(fit_on), dataset.test
    trainer = Trainer(training, precision=precision, device=device)
    place: tuple[TrainConfig, int, float] | None = None

    def train(config: TrainConfig, seed: int, start: Checkpoint | None, stop: float) -> Step:
        nonlocal place
        checkpoint = start
        # One that diverged was interrupted right before its end.
        is_over = start is not None and (start.epoch.diverged or start.epoch.epoch >= config.epochs)
        training = config.model_copy(update={"epochs": 1})  # the same, however long
        if start is None or place != (training, seed, start.epoch.epoch):
            trainer.begin(config, seed=seed, start=start.state if start else None)
        if checkpoint is None or not is_over:
            epoch = trainer.advance(stop)
            checkpoint = Checkpoint(epoch, trainer.checkpoint())
        epoch = checkpoint.epoch
        place = training, seed, epoch.epoch
        if epoch.epoch < config.epochs and not epoch.diverged:
            return Step(checkpoint)
        result = _result(epoch, trainer.score(test) if final else None)
        return Step(checkpoint, result, trainer.model_bytes() if keep_model else None)

    return train


def _result(last: Epoch, test: TestScore | None) -> Result:
    reasons = []
    if last.diverged:
        reasons.append(f"diverged: the loss is not finite in epoch {last.epoch}")
    if last.valid_error is None:
        reasons.append("no validation: trained on all training images")
    return Result(
        loss=last.train_error if last.valid_error is None else last.valid_error,
        diverged=last.diverged,
        reason="; ".join(reasons) or None,
        test=test,
    )
