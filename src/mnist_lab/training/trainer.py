"""A trainer: one data set on one device, one configuration after the other."""

from __future__ import annotations

import io
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsInt

from mnist_lab import model  # first: it imports Keras as it was shipped

# isort: split
import keras
import numpy as np
import tensorflow as tf

from mnist_lab import data
from mnist_lab.config import next_stop
from mnist_lab.errors import SettingsError, no_gpu
from mnist_lab.records import Epoch, Mistake, TestScore
from mnist_lab.training.compiled import EVALUATION_BATCH, compile_evaluation, compile_training

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnist_lab.config import Device, Precision, TrainConfig


# Of 10,000 images a good network misclassifies fewer; a bad one would fill its record.
_MOST_MISTAKES = 100
# Within the first epoch so many of the validation images are enough to tell which training is the
# better one (docs/performance.md), and to go through all takes as long as the training itself.
N_VALID_WITHIN = 2500


class _Images(NamedTuple):
    """A split on the device: pixels `(n, 28, 28)` uint8, labels `(n,)` int32."""

    pixels: tf.Tensor
    labels: tf.Tensor


class _Program(NamedTuple):
    """What is compiled once for all trials of the same shapes and constants, which are its key."""

    key: tuple[float, ...]
    batch_size: int
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    train: Any
    evaluate: Any


class _Sums(NamedTuple):
    """What the epoch that has begun came to so far: images seen, their losses, how many right."""

    n_seen: int = 0
    loss: float = 0.0
    n_right: int = 0


class Trainer:
    """Trains configurations one after the other on one data set, in this process.

    Args:
        training: the data; test images are not in it, by its type.
        precision: `float32`, or `bfloat16` by Keras' `mixed_bfloat16` policy.
        device: `cpu`, or `gpu` for the first GPU that this process sees.

    Raises:
        DeviceError: a GPU is asked for and TensorFlow sees none.
    """

    def __init__(
        self,
        training: data.TrainingData,
        *,
        precision: Precision = "float32",
        device: Device = "cpu",
    ) -> None:
        self._device = use_device(device)
        self._precision = precision
        self._n_train = len(training.train.labels)
        with tf.device(self._device):
            self._train = _on_device(training.train)
            self._valid = _on_device(training.valid) if len(training.valid.labels) else None
        self._program: _Program | None = None

    def fit(self, config: TrainConfig, *, seed: int) -> Iterator[Epoch]:
        """Train `config` from `seed`, yielding each epoch when it is done.

        A loss that is not finite ends the training: of the last epoch the one that is not is null.

        Raises:
            SettingsError: the batch size exceeds the number of training images.
        """
        self.begin(config, seed=seed)
        position = 0.0
        while position < config.epochs:
            position = next_stop(position, [config.epochs])
            epoch = self.advance(position)
            yield epoch
            if epoch.diverged:
                return

    def begin(self, config: TrainConfig, *, seed: int, start: bytes | None = None) -> None:
        """Get ready to train.

        Args:
            config: the configuration; for how many epochs does not matter.
            seed: decides the initial weights, the order of the images and the dropout.
            start: a :meth:`checkpoint` of the same training, to go on from it.

        Raises:
            SettingsError: the batch size exceeds the number of training images.
        """
        if config.batch_size > self._n_train:
            raise SettingsError(
                f"the batch size is at most the number of training images, {self._n_train}",
                received=config.batch_size,
                next_step="give a smaller batch size",
            )
        self._seed, self._sums = seed, _Sums()
        with tf.device(self._device):
            self._program = self._prepare(config, seed)
        if start is not None:
            self._restore(start)

    def advance(self, stop: float) -> Epoch:
        """Train on to the epoch `stop`, and validate.

        Args:
            stop: at most the end of the epoch that has begun. One within an epoch is rounded to a
                whole step of the optimiser, and not to none. However often a training stops within
                an epoch, its numbers at the end of it are the same.

        Raises:
            RuntimeError: nothing has begun.
        """
        begin = time.perf_counter()
        program, before = self._trained(), self._sums
        number = math.ceil(stop)
        n_steps = max(round((stop - number + 1) * self._n_train / program.batch_size), 1)
        end = self._n_train if number == stop else min(n_steps * program.batch_size, self._n_train)
        rng = np.random.default_rng([self._seed, number])
        order = rng.permutation(self._n_train).astype(np.int32)
        dropout = rng.integers(2**31, size=2)
        dropout[1] += before.n_seen // program.batch_size  # one for each step of the epoch so far
        with tf.device(self._device):
            # Not kept in checkpoints: an epoch's dropout, like its order, is the same from wherever
            # the training goes on.
            model.reseed_dropout(program.model, dropout)
            sums = (before.n_seen, np.float32(before.loss), before.n_right)
            sums = program.train(
                *self._train, tf.constant(order), tf.constant(end), tuple(map(tf.constant, sums))
            )
            reached = _Sums(*(one.numpy().item() for one in sums))
            valid_loss = valid_error = n_valid = None
            if self._valid is not None:
                n_all = len(self._valid.labels)
                n = n_all if stop >= 1 else min(N_VALID_WITHIN, n_all)
                n_valid = n if n < n_all else None
                total, n_valid_right, _ = program.evaluate(*self._valid, tf.constant(n))
                valid_loss = _finite(float(total) / n)
                valid_error = _share_wrong(n_valid_right, n)
        self._sums = _Sums() if number == stop else reached
        return Epoch(
            epoch=stop,
            train_loss=_finite(reached.loss / reached.n_seen),
            train_error=_share_wrong(reached.n_right, reached.n_seen),
            valid_loss=valid_loss,
            valid_error=valid_error,
            n_valid=n_valid,
            duration_s=round(time.perf_counter() - begin, 4),
        )

    def checkpoint(self) -> bytes:
        """The training as it stands between two steps: the content of an `.npz` file.

        Raises:
            RuntimeError: nothing has begun.
        """
        program, content = self._trained(), io.BytesIO()
        variables = [*program.model.weights, *program.optimizer.variables]
        arrays = {str(number): variable.numpy() for number, variable in enumerate(variables)}
        np.savez(content, **self._sums._asdict(), **arrays)
        return content.getvalue()

    def _restore(self, checkpoint: bytes) -> None:
        """Put a checkpoint's values into the program."""
        program = self._trained()
        variables = [*program.model.weights, *program.optimizer.variables]
        with np.load(io.BytesIO(checkpoint), allow_pickle=False) as arrays:
            for number, variable in enumerate(variables):
                variable.assign(arrays[str(number)])
            # Older ones are between epochs, and have no sums.
            known = [arrays[name].item() for name in _Sums._fields if name in arrays]
        self._sums = _Sums(*known)

    def score(self, test: data.Split) -> TestScore:
        """Error, loss, confusion matrix and worst mistakes of the current weights on `test`.

        Raises:
            RuntimeError: nothing was trained yet.
        """
        program = self._trained()
        with tf.device(self._device):
            images = _on_device(test)
            loss, _, predicted = program.evaluate(*images, tf.constant(len(test.labels)))
            mistakes = _mistakes(program.model, test, predicted.numpy())
        confusion = np.zeros((data.N_CLASSES, data.N_CLASSES), np.int64)
        np.add.at(confusion, (test.labels, predicted.numpy()), 1)
        n_test = len(test.labels)
        return TestScore(
            test_error=_share_wrong(np.trace(confusion), n_test),
            test_loss=_finite(float(loss) / n_test),
            confusion=tuple(tuple(int(count) for count in row) for row in confusion),
            mistakes=mistakes,
        )

    def weights(self) -> list[NDArray[np.float32]]:
        """The trained weights, in the order of Keras' `get_weights`.

        Raises:
            RuntimeError: nothing was trained yet.
        """
        return self._trained().model.get_weights()  # type: ignore[no-any-return]  # Keras is untyped

    def model_bytes(self) -> bytes:
        """The trained model as the content of a `.keras` file.

        Raises:
            RuntimeError: nothing was trained yet.
        """
        return model.to_bytes(self._trained().model)

    def _trained(self) -> _Program:
        if self._program is None:
            raise RuntimeError("nothing was trained yet")
        return self._program

    def _prepare(self, config: TrainConfig, seed: int) -> _Program:
        """The compiled program for `config`, with fresh weights and a fresh optimiser."""
        shapes = (config.batch_size, config.num_filters, config.filter_size)
        key: tuple[float, ...] = (*shapes, config.momentum, config.dropout, config.weight_decay)
        network = model.build_model(config, seed=seed, precision=self._precision)
        if self._program is None or self._program.key != key:
            # Only one is kept: TensorFlow's graphs would add up over a search.
            self._program = None
            keras.backend.clear_session()
            optimizer = keras.optimizers.SGD(
                config.learning_rate, config.momentum, weight_decay=config.weight_decay
            )
            logits = model.logits_of(network)
            optimizer.build(logits.trainable_variables)
            self._program = _Program(
                key,
                config.batch_size,
                network,
                optimizer,
                compile_training(logits, optimizer, config.batch_size),
                compile_evaluation(logits),
            )
        else:
            self._program.model.set_weights(network.get_weights())
            self._program.optimizer.learning_rate = config.learning_rate
            for velocity in self._program.optimizer.momentums:
                velocity.assign(keras.ops.zeros_like(velocity))
        return self._program


def use_device(device: Device) -> str:
    """Make TensorFlow use `device`, and return its name for :func:`tf.device`.

    A GPU's memory is taken as it is needed, so that others can use it too.

    Raises:
        DeviceError: `gpu`, and TensorFlow sees none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise no_gpu()
    if device == "cpu" or not gpus:
        tf.config.set_visible_devices([], "GPU")
        return "/CPU:0"
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    return "/GPU:0"


def _on_device(split: data.Split) -> _Images:
    return _Images(_tensor(split.images), _tensor(split.labels))


def _tensor(array: NDArray[Any]) -> tf.Tensor:
    """The array on the device; what processes share, and is therefore writable, is not copied."""
    if not array.flags.writeable:
        return tf.constant(array)
    # Only on a GPU does `identity` copy.
    return tf.identity(tf.experimental.dlpack.from_dlpack(array.__dlpack__()))


def _mistakes(
    network: keras.Model, test: data.Split, predicted: NDArray[np.int32]
) -> tuple[Mistake, ...]:
    """The most confident of the mistakes, those first; `predicted` has shape `(n,)`."""
    wrong = np.flatnonzero(predicted != test.labels)
    found = []
    for start in range(0, len(wrong), EVALUATION_BATCH):
        some = wrong[start : start + EVALUATION_BATCH]
        pixels = test.images[some, ..., np.newaxis].astype(np.float32) / 255
        confidences = network(pixels, training=False).numpy()[range(len(some)), predicted[some]]
        found += [
            Mistake(
                image=int(image),
                true=int(test.labels[image]),
                predicted=int(predicted[image]),
                confidence=min(1.0, float(confidence)),
            )
            # What diverged is confident of nothing.
            for image, confidence in zip(some, confidences, strict=True)
            if math.isfinite(confidence)
        ]
    found.sort(key=lambda one: (-one.confidence, one.image))
    return tuple(found[:_MOST_MISTAKES])


def _share_wrong(n_right: SupportsInt, n_images: SupportsInt) -> float:
    """The error as the nearest float to the fraction: 0.0208, not 1 - 0.9792."""
    return (int(n_images) - int(n_right)) / int(n_images)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
