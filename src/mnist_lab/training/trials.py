"""What a worker process trains its trials with: the data loaded once, then one trial at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_lab import data
from mnist_lab.records import Checkpoint, Epoch, Result, TestScore
from mnist_lab.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mnist_lab.config import Device, FitOn, Precision, TrainConfig

    Steps = Generator[Checkpoint, None, tuple[Result, bytes | None]]


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
) -> Callable[[TrainConfig, int, Checkpoint | None], Steps]:
    """What a worker process trains its trials with.

    Args:
        source: of the data set, as :func:`mnist_lab.data.load` takes it.
        digests: that the data set must have, so that all workers of a run train on the same one.
        precision: see :class:`Trainer`.
        device: see :class:`Trainer`.
        fit_on: `train+valid` leaves no image for the validation.
        final: score the test images, once, after the last epoch.
        keep_model: return the trained model too.
        shared: a descriptor that this process inherited, of :func:`mnist_lab.data.share`: its
            arrays are trained on, and nothing is loaded.

    Returns:
        A function of (configuration, seed, checkpoint to go on from or None) that yields a
        checkpoint for each epoch, and returns the outcome and the content of a `.keras` file or
        None.

    Raises:
        DataError: the data set cannot be loaded, or is another one.
        DeviceError: the device is not there.
    """
    if shared is not None:
        training, test = data.attach(shared)
    else:
        dataset = data.load(source, expect=digests)
        training, test = dataset.training_on(fit_on), dataset.test
    trainer = Trainer(training, precision=precision, device=device)

    def train(config: TrainConfig, seed: int, start: Checkpoint | None = None) -> Steps:
        epoch = start.epoch if start else None
        if epoch is not None and epoch.diverged:  # interrupted right before its end
            config = config.model_copy(update={"epochs": epoch.epoch})
        for epoch in trainer.fit(config, seed=seed, start=start.state if start else None):
            yield Checkpoint(epoch, trainer.checkpoint())
        if epoch is None:
            raise RuntimeError("a training has at least one epoch")
        outcome = _outcome(epoch, trainer.score(test) if final else None)
        return outcome, trainer.model_bytes() if keep_model else None

    return train


def _outcome(last: Epoch, test: TestScore | None) -> Result:
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
