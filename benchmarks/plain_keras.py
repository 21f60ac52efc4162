"""The learning-rate sweep as people write it: one process, `model.fit` with its defaults.

    python benchmarks/plain_keras.py mnist.npz --epochs 12

The peer that benchmarks/lr_sweep.py measures against; nothing of mnist-lab is in it.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import layers


def main() -> None:
    """Train the sheet's network with four learning rates, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()

    data = np.load(arguments.data)
    images = data["x_train"].astype("float32")[..., np.newaxis] / 255
    labels = data["y_train"]
    x_train, y_train, x_valid, y_valid = (
        images[:50000],
        labels[:50000],
        images[50000:],
        labels[50000:],
    )

    for learning_rate in (0.1, 0.01, 0.001, 0.0001):
        model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(16, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(16, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(2),
                layers.Flatten(),
                layers.Dense(128, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile(
            optimizer=keras.optimizers.SGD(learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        history = model.fit(
            x_train,
            y_train,
            batch_size=128,
            epochs=arguments.epochs,
            validation_data=(x_valid, y_valid),
            verbose=0,
        )
        error = 1 - history.history["val_accuracy"][-1]
        print(f"learning rate {learning_rate}: validation error {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
