"""A trainer: one data set on one device, one configuration after the other."""

from __future__ import annotations

import io
import math
import time
from typing import TYPE_CHECKING, Any, SupportsInt

from mnist_lab import model  # first: it imports Keras as it was shipped

# isort: split
import numpy as np
import tensorflow as tf

from mnist_lab import data
from mnist_lab.errors import SettingsError, no_gpu
from mnist_lab.records import Epoch, Mistake, TestScore
from mnist_lab.training.compiled import (
    EVALUATION_BATCH,
    N_WEIGHTS,
    Hyperparameters,
    Images,
    Kind,
    Sums,
    compile_evaluation,
    compile_training,
    variables,
)

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from mnist_lab.config import Device, Precision, TrainConfig


# Of 10,000 images a good network misclassifies fewer; a bad one would fill its record.
_MOST_MISTAKES = 100
# Within the first epoch so many of the validation images are enough to tell which training is the
# better one (docs/performance.md), and to go through all takes as long as the training itself.
N_VALID_WITHIN = 2500


class Trainer:
    """Trains configurations one after another on one data set, in this process.

    Each training starts with :meth:`begin`; the other methods are about the last that did.

    Args:
        training: the data; its type has no test images.
        precision: `float32`, or `bfloat16` by Keras' `mixed_bfloat16` policy.
        device: `cpu`, or `gpu` for the first GPU that this process sees.

    Raises:
        DeviceError: a GPU is requested and TensorFlow sees none.
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
            self._weights, self._velocities = variables(), variables()
            self._no_sums = Sums(*map(tf.constant, (0, 0.0, 0)))
        self._dtype = tf.dtypes.as_dtype(precision)
        self._evaluate = compile_evaluation(self._weights, self._dtype)
        self._training: dict[Kind, Any] = {}  # what was compiled

    def begin(self, config: TrainConfig, *, seed: int, start: bytes | None = None) -> None:
        """Get ready to train.

        Args:
            config: the configuration; its number of epochs does not matter.
            seed: determines the initial weights, the order of the images and the dropout.
            start: a :meth:`checkpoint` of the same training to resume from.

        Raises:
            SettingsError: the batch size exceeds the number of training images.
        """
        if config.batch_size > self._n_train:
            raise SettingsError(
                f"batch size {config.batch_size:,} is larger than the {self._n_train:,} training "
                "images",
                next_step="use smaller batches",
            )
        self._config, self._seed = config, seed
        weights = model.initial_weights(config, seed=seed)
        velocities, sums = [np.zeros_like(weight) for weight in weights], self._no_sums
        if start is not None:
            with np.load(io.BytesIO(start), allow_pickle=False) as arrays:
                numbered = [arrays[name] for name in arrays.files if name.isdecimal()]
                if "n_seen" in arrays:  # older ones are between epochs, and have no sums
                    sums = Sums(
                        *(
                            tf.constant(arrays[name], zero.dtype)
                            for name, zero in self._no_sums._asdict().items()
                        )
                    )
            weights = numbered[:N_WEIGHTS]
            if config.momentum:  # older ones have two other numbers in between
                velocities = numbered[-N_WEIGHTS:]
        self._sums = sums
        values = zip(self._weights + self._velocities, weights + velocities, strict=True)
        with tf.device(self._device):
            for variable, value in values:
                variable.assign(value)

    def advance(self, stop: float) -> Epoch:
        """Continue to the epoch `stop`, and validate.

        Args:
            stop: at most the end of the current epoch. A stop within an epoch is rounded to whole
                steps of the optimiser, at least one. However often a training stops within an
                epoch, its numbers at the end of it are the same.
        """
        begin = time.perf_counter()
        config = self._config
        number = math.ceil(stop)
        n_steps = max(round((stop - number + 1) * self._n_train / config.batch_size), 1)
        end = self._n_train if number == stop else min(n_steps * config.batch_size, self._n_train)
        rng = np.random.default_rng([self._seed, number])
        order = rng.permutation(self._n_train).astype(np.int32)
        # Not kept in checkpoints: an epoch's dropout, like its order, is the same from wherever the
        # training goes on.
        seed = rng.integers(2**31, size=2)
        with tf.device(self._device):
            sums = self._compiled(config)(
                self._train,
                tf.constant(order),
                tf.constant(end),
                hyperparameters(config, seed),
                self._sums,
            )
            n_seen = int(sums.n_seen)
            valid_loss = valid_error = n_valid = None
            if self._valid is not None:
                n_all = len(self._valid.labels)
                n = n_all if stop >= 1 else min(N_VALID_WITHIN, n_all)
                n_valid = n if n < n_all else None
                total, n_valid_right, _ = self._evaluate(self._valid, tf.constant(n))
                valid_loss = _finite(float(total) / n)
                valid_error = _share_wrong(n_valid_right, n)
        self._sums = self._no_sums if number == stop else sums
        return Epoch(
            epoch=stop,
            train_loss=_finite(float(sums.loss) / n_seen),
            train_error=_share_wrong(sums.n_right, n_seen),
            valid_loss=valid_loss,
            valid_error=valid_error,
            n_valid=n_valid,
            duration_s=round(time.perf_counter() - begin, 4),
        )

    def checkpoint(self) -> bytes:
        """The state of the training between two steps: the content of an `.npz` file."""
        content = io.BytesIO()
        variables = self._weights + (self._velocities if self._config.momentum else [])
        arrays = {str(number): variable.numpy() for number, variable in enumerate(variables)}
        np.savez(
            content, **{name: sum_.numpy() for name, sum_ in self._sums._asdict().items()}, **arrays
        )
        return content.getvalue()

    def score(self, test: data.Split) -> TestScore:
        """Error, loss, confusion matrix and worst mistakes of the current weights on `test`."""
        network = self._model()
        with tf.device(self._device):
            images = _on_device(test)
            loss, _, predicted = self._evaluate(images, tf.constant(len(test.labels)))
            mistakes = _mistakes(network, test, predicted.numpy())
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
        """The trained weights, in the order of Keras' `get_weights`."""
        return [weight.numpy() for weight in self._weights]

    def model_bytes(self) -> bytes:
        """The trained model as the content of a `.keras` file."""
        return model.to_bytes(self._model())

    def _model(self) -> keras.Model:
        """The trained model in Keras."""
        network = model.build_model(self._config, seed=self._seed, precision=self._precision)
        network.set_weights(self.weights())
        return network

    def _compiled(self, config: TrainConfig) -> Any:
        """The function that trains a configuration of this kind."""
        kind = Kind(*(bool(getattr(config, name)) for name in Kind._fields))
        if kind not in self._training:
            self._training[kind] = compile_training(
                self._weights, self._velocities, self._dtype, kind
            )
        return self._training[kind]


def use_device(device: Device) -> str:
    """Make TensorFlow use `device`, and return its name for :func:`tf.device`.

    A GPU's memory is allocated on demand, so that others can use it too.

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


def hyperparameters(config: TrainConfig, seed: NDArray[np.int64]) -> Hyperparameters:
    """The hyperparameters of an epoch's steps; `seed` is that of its dropout."""
    return Hyperparameters(
        batch_size=tf.constant(config.batch_size),
        learning_rate=tf.constant(config.learning_rate, tf.float32),
        momentum=tf.constant(config.momentum, tf.float32),
        weight_decay=tf.constant(config.weight_decay, tf.float32),
        dropout=tf.constant(config.dropout, tf.float32),
        kept=tf.constant(1 / (1 - config.dropout), tf.float32),
        seed=tf.constant(seed),
    )


def _on_device(split: data.Split) -> Images:
    return Images(_tensor(split.images), _tensor(split.labels))


def _tensor(array: NDArray[Any]) -> tf.Tensor:
    """The array on the device; arrays that processes share, which are writable, are not copied."""
    if not array.flags.writeable:
        return tf.constant(array)
    # Only on a GPU does `identity` copy.
    return tf.identity(tf.experimental.dlpack.from_dlpack(array.__dlpack__()))


def _mistakes(
    network: keras.Model, test: data.Split, predicted: NDArray[np.int32]
) -> tuple[Mistake, ...]:
    """The most confident mistakes, most confident first; `predicted` has shape `(n,)`."""
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


def _share_wrong(n_right: SupportsInt, n_images: int) -> float:
    """The error as the nearest float to the fraction: 0.0208, not 1 - 0.9792."""
    return (n_images - int(n_right)) / n_images


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
