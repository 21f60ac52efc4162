"""Fit one configuration, epoch by epoch, as fast as the machine allows; evaluate.

The images stay in memory as bytes and one compiled call runs a whole epoch over a given order of
them, with the Keras model and the Keras optimiser inside: Python is not in the loop. A training
depends on its configuration and its seed alone; the order of epoch e comes from (seed, e).
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mnist_lab import data, model
from mnist_lab.errors import DeviceError, SettingsError
from mnist_lab.records import Epoch, Outcome, TestScore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from mnist_lab.config import Device, FitOn, Precision, TrainConfig

# Larger batches than in training: only the forward pass, whose buffers still fit into the caches.
EVALUATION_BATCH = 500


class _Images(NamedTuple):
    """A split on the device: pixels `(n, 28, 28)` uint8, labels `(n,)` int32."""

    pixels: tf.Tensor
    labels: tf.Tensor


class _Program(NamedTuple):
    """What is compiled once for all trials of the same shapes."""

    key: tuple[int, int, int]
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    run_epoch: Any
    evaluate: Any


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

        A loss that is not finite ends the training: the last epoch then has null losses.

        Raises:
            SettingsError: the batch size exceeds the number of training images.
        """
        if config.batch_size > self._n_train:
            raise SettingsError(
                f"the batch size is at most the number of training images, {self._n_train}",
                received=config.batch_size,
                next_step="give a smaller batch size",
            )
        with tf.device(self._device):
            program = self._prepare(config, seed)
        for number in range(1, config.epochs + 1):
            epoch = self._epoch(program, seed, number)
            yield epoch
            if epoch.train_loss is None or (self._valid is not None and epoch.valid_loss is None):
                return

    def score(self, test: data.Split) -> TestScore:
        """Error, loss and confusion matrix of the current weights on `test`.

        Raises:
            RuntimeError: nothing was trained yet.
        """
        program = self._trained()
        with tf.device(self._device):
            images = _on_device(test)
            loss, _, predicted = program.evaluate(images.pixels, images.labels)
        confusion = np.zeros((data.N_CLASSES, data.N_CLASSES), np.int64)
        np.add.at(confusion, (test.labels, predicted.numpy()), 1)
        n_test = len(test.labels)
        return TestScore(
            test_error=1.0 - float(np.trace(confusion)) / n_test,
            test_loss=_finite(float(loss) / n_test),
            confusion=tuple(tuple(int(count) for count in row) for row in confusion),
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
        key = (config.batch_size, config.num_filters, config.filter_size)
        network = model.build_model(config, seed=seed, precision=self._precision)
        if self._program is None or self._program.key != key:
            # Only one is kept: TensorFlow's graphs would add up over a search.
            self._program = None
            keras.backend.clear_session()
            optimizer = keras.optimizers.SGD(config.learning_rate)
            logits = model.logits_of(network)
            optimizer.build(logits.trainable_variables)
            self._program = _Program(
                key,
                network,
                optimizer,
                _compile_epoch(logits, optimizer, config.batch_size),
                _compile_evaluation(logits),
            )
        else:
            self._program.model.set_weights(network.get_weights())
            self._program.optimizer.learning_rate = config.learning_rate
        return self._program

    def _epoch(self, program: _Program, seed: int, number: int) -> Epoch:
        start = time.perf_counter()
        order = np.random.default_rng([seed, number]).permutation(self._n_train).astype(np.int32)
        with tf.device(self._device):
            loss, n_right, n_seen = program.run_epoch(*self._train, tf.constant(order))
            valid_loss = valid_error = None
            if self._valid is not None:
                total, n_valid_right, _ = program.evaluate(*self._valid)
                n_valid = len(self._valid.labels)
                valid_loss = _finite(float(total) / n_valid)
                valid_error = 1.0 - int(n_valid_right) / n_valid
        return Epoch(
            epoch=number,
            train_loss=_finite(float(loss) / int(n_seen)),
            train_error=1.0 - int(n_right) / int(n_seen),
            valid_loss=valid_loss,
            valid_error=valid_error,
            duration_s=round(time.perf_counter() - start, 4),
        )


def open_trainer(
    *,
    source: str,
    digests: dict[str, str],
    precision: Precision,
    device: Device,
    fit_on: FitOn = "train",
    final: bool = False,
    keep_model: bool = False,
) -> Callable[[TrainConfig, int], Generator[Epoch, None, tuple[Outcome, bytes | None]]]:
    """What a worker process trains its trials with.

    Args:
        source: of the data set, as :func:`mnist_lab.data.load` takes it.
        digests: that the data set must have, so that all workers of a run train on the same one.
        precision: see :class:`Trainer`.
        device: see :class:`Trainer`.
        fit_on: `train+valid` leaves no image for the validation.
        final: score the test images, once, after the last epoch.
        keep_model: return the trained model too.

    Returns:
        A function of (configuration, seed) that yields the epochs and returns the outcome and the
        content of a `.keras` file, or None.

    Raises:
        DataError: the data set cannot be loaded, or is another one.
        DeviceError: the device is not there.
    """
    dataset = data.load(source, expect=digests)
    training = dataset.training if fit_on == "train" else dataset.training.joined()
    trainer = Trainer(training, precision=precision, device=device)

    def train(
        config: TrainConfig, seed: int
    ) -> Generator[Epoch, None, tuple[Outcome, bytes | None]]:
        epoch = None
        for epoch in trainer.fit(config, seed=seed):
            yield epoch
        if epoch is None:
            raise SettingsError("a training has at least one epoch", received=config.epochs)
        outcome = _outcome(epoch, trainer.score(dataset.test) if final else None)
        return outcome, trainer.model_bytes() if keep_model else None

    return train


def _outcome(last: Epoch, test: TestScore | None) -> Outcome:
    validated = last.valid_error is not None
    diverged = last.train_loss is None or (validated and last.valid_loss is None)
    reasons = []
    if diverged:
        reasons.append(f"diverged: the loss is not finite in epoch {last.epoch}")
    if not validated:
        reasons.append("no validation: trained on all training images")
    return Outcome(
        loss=last.train_error if last.valid_error is None else last.valid_error,
        diverged=diverged,
        reason="; ".join(reasons) or None,
        test=test,
    )


def use_device(device: Device) -> str:
    """Make TensorFlow use `device`, and return its name for :func:`tf.device`.

    A GPU's memory is taken as it is needed, so that others can use it too.

    Raises:
        DeviceError: `gpu`, and TensorFlow sees none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise DeviceError(
            "--device gpu needs a GPU that TensorFlow sees",
            received="none",
            next_step="give --device cpu, or install tensorflow[and-cuda] and NVIDIA's driver",
        )
    if device == "cpu" or not gpus:
        tf.config.set_visible_devices([], "GPU")
        return "/CPU:0"
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    return "/GPU:0"


def _on_device(split: data.Split) -> _Images:
    return _Images(tf.constant(split.images), tf.constant(split.labels, tf.int32))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _scaled(pixels: tf.Tensor) -> tf.Tensor:
    """Bytes `(n, 28, 28)` as the network's input: `(n, 28, 28, 1)`, float32 in [0, 1]."""
    return tf.cast(pixels, tf.float32)[..., None] * (1.0 / 255.0)


def _loss_and_right(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cross-entropy per image `(n,)`, how many are right, and the predicted classes `(n,)` int32.

    Logits that are not finite predict nothing, so they are counted as wrong.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
    right = tf.logical_and(tf.equal(predicted, labels), tf.math.is_finite(losses))
    return losses, tf.reduce_sum(tf.cast(right, tf.int32)), predicted


def _compile_epoch(
    logits: keras.Model, optimizer: keras.optimizers.Optimizer, batch_size: int
) -> Any:
    """A compiled function: (pixels, labels, order) -> (sum of losses, number right, number seen).

    The steps take `batch_size` images each, the last one what is left; a loss that is not finite
    ends the epoch early.
    """
    weights = logits.trainable_variables

    def step(pixels: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = tf.cast(logits(_scaled(pixels), training=True), tf.float32)
            losses, n_right, _ = _loss_and_right(outputs, labels)
            loss = tf.reduce_mean(losses)
        # Not `optimizer.apply`: it adds up gradients over devices with a custom gradient, which
        # TensorFlow registers for ever, and with it the whole graph of each trial.
        for gradient, weight in zip(tape.gradient(loss, weights), weights, strict=True):
            optimizer.update_step(gradient, weight, optimizer.learning_rate)
        return tf.reduce_sum(losses), n_right

    @tf.function(reduce_retracing=True)
    def run_epoch(
        pixels: tf.Tensor, labels: tf.Tensor, order: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        n_images = order.shape[0]
        n_full = n_images // batch_size * batch_size

        def take(start: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
            batch = tf.slice(order, [start], [size])
            return step(tf.gather(pixels, batch), tf.gather(labels, batch))

        def go_on(start: tf.Tensor, loss: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            return tf.logical_and(start < n_full, tf.math.is_finite(loss))

        def one_step(
            start: tf.Tensor, loss: tf.Tensor, n_right: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            more_loss, more_right = take(start, batch_size)
            return start + batch_size, loss + more_loss, n_right + more_right

        # One step at a time: with several, TensorFlow may run them out of order.
        start, loss, n_right = tf.while_loop(go_on, one_step, (0, 0.0, 0), parallel_iterations=1)
        if n_full < n_images:
            more_loss, more_right = take(n_full, n_images - n_full)
            start = start + (n_images - n_full)
            loss, n_right = loss + more_loss, n_right + more_right
        return loss, n_right, start

    return run_epoch


def _compile_evaluation(logits: keras.Model) -> Any:
    """A compiled function: (pixels, labels) -> (sum of losses, number right, predicted `(n,)`)."""

    @tf.function(reduce_retracing=True)
    def evaluate(pixels: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        n_images = pixels.shape[0]
        n_full = n_images // EVALUATION_BATCH * EVALUATION_BATCH
        predictions = tf.TensorArray(tf.int32, size=n_images // EVALUATION_BATCH)

        def forward(
            some_pixels: tf.Tensor, some_labels: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            outputs = tf.cast(logits(_scaled(some_pixels), training=False), tf.float32)
            losses, n_right, predicted = _loss_and_right(outputs, some_labels)
            return tf.reduce_sum(losses), n_right, predicted

        def one_batch(
            number: tf.Tensor, loss: tf.Tensor, n_right: tf.Tensor, predicted: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
            start = number * EVALUATION_BATCH
            more_loss, more_right, classes = forward(
                tf.slice(pixels, [start, 0, 0], [EVALUATION_BATCH, -1, -1]),
                tf.slice(labels, [start], [EVALUATION_BATCH]),
            )
            return (
                number + 1,
                loss + more_loss,
                n_right + more_right,
                predicted.write(number, classes),
            )

        _, loss, n_right, predictions = tf.while_loop(
            lambda number, *_: number < n_full // EVALUATION_BATCH,
            one_batch,
            (0, 0.0, 0, predictions),
            parallel_iterations=1,
        )
        predicted = tf.reshape(predictions.stack(), [-1])
        if n_full < n_images:
            more_loss, more_right, classes = forward(pixels[n_full:], labels[n_full:])
            loss, n_right = loss + more_loss, n_right + more_right
            predicted = tf.concat([predicted, classes], axis=0)
        return loss, n_right, predicted

    return evaluate
