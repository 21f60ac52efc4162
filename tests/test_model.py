"""The network: the sheet's, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from mnist_lab.config import TrainConfig
from mnist_lab.model import build_model, initial_weights, to_bytes

if TYPE_CHECKING:
    from mnist_lab.config import Precision

IMAGES = np.random.default_rng(0).random((8, 28, 28, 1), dtype=np.float32)


@pytest.mark.parametrize(("filters", "size"), [(1, 1), (8, 2), (22, 5), (4, 28)])
def test_every_legal_configuration_builds(filters: int, size: int) -> None:
    """Odd and even filters keep the image's size, so the hidden layer sees 7×7 of each."""
    model = build_model(TrainConfig(num_filters=filters, filter_size=size), seed=0)
    assert model.get_layer("flatten").output.shape == (None, 7 * 7 * filters)
    outputs = model(IMAGES).numpy()
    assert outputs.shape == (8, 10)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


def test_pooling_before_relu_is_the_sheets_network() -> None:
    """Max pooling and ReLU commute: the same weights give the same numbers in the sheet's order.

    Two convolutions of 16 filters of 3×3, 128 units, 10 classes: 104,250 parameters.
    """
    model = build_model(TrainConfig(), seed=1)
    assert model.count_params() == 104_250
    sheet = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    sheet.set_weights(model.get_weights())
    np.testing.assert_allclose(model(IMAGES), sheet(IMAGES), atol=1e-6)


def test_weights_come_from_the_seed() -> None:
    """The same seed draws the same weights, another one others, and no two layers share theirs.

    They can be had without the model.
    """
    config = TrainConfig(num_filters=6, filter_size=5)
    first, other = (build_model(config, seed=seed) for seed in (1, 2))
    for mine, same in zip(first.get_weights(), initial_weights(config, seed=1), strict=True):
        np.testing.assert_array_equal(mine, same)
        assert same.dtype == np.float32
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])
    assert not np.allclose(first.get_weights()[0].ravel()[:9], first.get_weights()[2].ravel()[:9])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_dropout_is_for_training_alone(precision: Precision) -> None:
    """A layer after the hidden units drops the share that was asked for, and else does nothing."""
    config = TrainConfig(num_filters=4, dropout=0.1)
    with_it = build_model(config, seed=1, precision=precision)
    without = build_model(TrainConfig(num_filters=4), seed=1, precision=precision)
    names = [layer.name for layer in without.layers]
    assert [layer.name for layer in with_it.layers] == [*names[:-2], "dropout", *names[-2:]]
    for mine, same in zip(with_it.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, same)
    np.testing.assert_array_equal(with_it(IMAGES), without(IMAGES))
    layer, units = with_it.get_layer("dropout"), np.ones((1000, 128), np.float32)
    np.testing.assert_array_equal(layer(units), units)
    dropped = layer(units, training=True).numpy()
    assert (dropped == 0).mean() == pytest.approx(0.1, abs=0.005)
    assert dropped[dropped > 0] == pytest.approx(1 / 0.9)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_saved_model_opens_in_keras(precision: Precision, dropout: float, tmp_path: Path) -> None:
    """A `.keras` file opens without this package and predicts the same, as float32."""
    config = TrainConfig(num_filters=4, dropout=dropout)
    model = build_model(config, seed=1, precision=precision)
    path = tmp_path / "model.keras"
    path.write_bytes(to_bytes(model))
    opened = keras.models.load_model(path)
    np.testing.assert_allclose(opened.predict(IMAGES, verbose=0), model(IMAGES), atol=1e-3)
    assert opened.output.dtype == "float32"
