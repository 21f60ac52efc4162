"""The Keras CNN of one configuration: the exercise sheet's scaled-down LeNet.

Two convolutions (stride 1, padding SAME), each followed by 2x2 max pooling of stride 2 and ReLU, a
fully connected layer of 128 units with ReLU, and a 10-way softmax. Max pooling and ReLU commute, so
pooling first gives the same numbers with a quarter of the ReLU work (training has a third way, see
`training.compiled`). Beyond the sheet, dropout may follow the 128 units.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnist_lab import processes
from mnist_lab.data import IMAGE_SIDE, N_CLASSES

with processes.keras_as_shipped():
    import keras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnist_lab.config import Precision, TrainConfig

N_HIDDEN = 128
POOL_SIZE = 2


def build_model(config: TrainConfig, *, seed: int, precision: Precision = "float32") -> keras.Model:
    """The network with freshly drawn weights (Glorot uniform, Keras' default; biases zero).

    The model maps images `(n, 28, 28, 1)`, float32 in [0, 1], to class probabilities `(n, 10)`,
    float32. It needs nothing of this package to be loaded again.

    Args:
        config: `num_filters`, `filter_size` and whether `dropout` is 0 shape the network.
        seed: determines the initial weights, whatever the dropout.
        precision: `bfloat16` computes in bfloat16 and keeps the weights in float32 (Keras' policy
            `mixed_bfloat16`); the softmax is float32 in both cases.
    """
    dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    layers, kernels = keras.layers, _initial_kernels(seed)
    images = flow = keras.Input((IMAGE_SIDE, IMAGE_SIDE, 1), name="images")
    for number in (1, 2):
        shape, name = (config.num_filters, config.filter_size), f"convolution_{number}"
        flow = layers.Conv2D(
            *shape, padding="same", kernel_initializer=next(kernels), dtype=dtype, name=name
        )(flow)
        flow = layers.MaxPooling2D(POOL_SIZE, dtype=dtype, name=f"pooling_{number}")(flow)
        flow = layers.Activation("relu", dtype=dtype, name=f"relu_{number}")(flow)
    flow = layers.Flatten(dtype=dtype, name="flatten")(flow)
    flow = layers.Dense(
        N_HIDDEN, activation="relu", kernel_initializer=next(kernels), dtype=dtype, name="hidden"
    )(flow)
    if config.dropout:
        # In bfloat16 the random numbers are multiples of 1/128, and so would be the share of the
        # dropped units.
        flow = layers.Dropout(config.dropout, seed=0, dtype="float32", name="dropout")(flow)
    flow = layers.Dense(N_CLASSES, kernel_initializer=next(kernels), dtype=dtype, name="logits")(
        flow
    )
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(flow)
    return keras.Model(images, probabilities, name="scaled_down_lenet")


def initial_weights(config: TrainConfig, *, seed: int) -> list[NDArray[np.float32]]:
    """The weights that :func:`build_model` draws, in Keras' order, without building the model.

    Args:
        config: `num_filters` and `filter_size` shape the network.
        seed: see :func:`build_model`.
    """
    filters, size, kernels = config.num_filters, config.filter_size, _initial_kernels(seed)
    n_flat = (IMAGE_SIDE // POOL_SIZE**2) ** 2 * filters
    weights: list[NDArray[np.float32]] = []
    for shape in (
        (size, size, 1, filters),
        (size, size, filters, filters),
        (n_flat, N_HIDDEN),
        (N_HIDDEN, N_CLASSES),
    ):
        weights += [next(kernels)(shape).numpy(), np.zeros(shape[-1], np.float32)]
    return weights


def to_bytes(model: keras.Model) -> bytes:
    """The content of a `.keras` file for :func:`keras.models.load_model`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def _initial_kernels(seed: int) -> Iterator[keras.initializers.Initializer]:
    """What draws the kernel of each layer in turn."""
    for state in np.random.SeedSequence(seed).generate_state(4):
        # Keras keeps seeds in 32 bits, signed on some devices.
        yield keras.initializers.GlorotUniform(seed=int(state) >> 1)
