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
    from mnist_lab.config import Precision, TrainConfig

N_HIDDEN = 128
POOL_SIZE = 2
FLATTEN = "flatten"
LOGITS = "logits"
DROPOUT = "dropout"


def build_model(config: TrainConfig, *, seed: int, precision: Precision = "float32") -> keras.Model:
    """The network with freshly drawn weights (Glorot uniform, Keras' default; biases zero).

    The model maps images `(n, 28, 28, 1)`, float32 in [0, 1], to class probabilities `(n, 10)`,
    float32. It needs nothing of this package to be loaded again.

    Args:
        config: `num_filters`, `filter_size` and whether `dropout` is 0 shape the network.
        seed: decides the initial weights, whatever the dropout.
        precision: `bfloat16` computes in bfloat16 and keeps the weights in float32 (Keras' policy
            `mixed_bfloat16`); the softmax is float32 in both cases.
    """
    dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    layers, seeds = keras.layers, iter(np.random.SeedSequence(seed).generate_state(4))

    def kernel() -> keras.initializers.Initializer:
        # Keras keeps seeds in 32 bits, signed on some devices.
        return keras.initializers.GlorotUniform(seed=int(next(seeds)) >> 1)

    images = flow = keras.Input((IMAGE_SIDE, IMAGE_SIDE, 1), name="images")
    for number in (1, 2):
        shape, name = (config.num_filters, config.filter_size), f"convolution_{number}"
        flow = layers.Conv2D(
            *shape, padding="same", kernel_initializer=kernel(), dtype=dtype, name=name
        )(flow)
        flow = layers.MaxPooling2D(POOL_SIZE, dtype=dtype, name=f"pooling_{number}")(flow)
        flow = layers.Activation("relu", dtype=dtype, name=f"relu_{number}")(flow)
    flow = layers.Flatten(dtype=dtype, name=FLATTEN)(flow)
    flow = layers.Dense(
        N_HIDDEN, activation="relu", kernel_initializer=kernel(), dtype=dtype, name="hidden"
    )(flow)
    if config.dropout:
        # In bfloat16 the random numbers are multiples of 1/128, and so would be the share of the
        # dropped units. The trainer sets the seed's state for each epoch: see `reseed_dropout`.
        flow = layers.Dropout(config.dropout, seed=0, dtype="float32", name=DROPOUT)(flow)
    flow = layers.Dense(N_CLASSES, kernel_initializer=kernel(), dtype=dtype, name=LOGITS)(flow)
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(flow)
    return keras.Model(images, probabilities, name="scaled_down_lenet")


def reseed_dropout(model: keras.Model, state: NDArray[np.int64]) -> None:
    """Let the model's next dropout follow from `state` alone, where it has that layer.

    Args:
        model: of :func:`build_model`.
        state: `(2,)`, each at least 0 and below 2**31; each step adds 1 to the second.
    """
    for layer in model.layers:
        if layer.name == DROPOUT:
            layer.seed_generator.state.assign(state)


def logits_of(model: keras.Model) -> keras.Model:
    """The same network, weights shared, ending before the softmax: what the loss is computed on."""
    return keras.Model(model.input, model.get_layer(LOGITS).output)


def to_bytes(model: keras.Model) -> bytes:
    """The content of a `.keras` file, which :func:`keras.models.load_model` opens."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()
