"""The sheet's network and its training, as Keras' documentation writes them.

Three peers differ only in who calls this. Choices: NumPy arrays in memory, the batch size as given,
validation after each epoch, no progress bar; everything else is Keras' default.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

if TYPE_CHECKING:
    from contract import Answer, Arrays, Configuration


def build(configuration: Configuration) -> Any:
    """The compiled model."""
    filters, size = configuration["num_filters"], configuration["filter_size"]
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(filters, size, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(filters, size, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(configuration["learning_rate"]),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def train(configuration: Configuration, epochs: int, seed: int, arrays: Arrays) -> Answer:
    """Train one configuration."""
    start = time.perf_counter()
    keras.utils.set_random_seed(seed)
    x_train, y_train, x_valid, y_valid = arrays
    history = build(configuration).fit(
        x_train,
        y_train,
        batch_size=configuration["batch_size"],
        epochs=epochs,
        validation_data=(x_valid, y_valid),
        verbose=0,
    )
    return {
        "valid_error": 1 - history.history["val_accuracy"][-1],
        "seconds": time.perf_counter() - start,
    }
