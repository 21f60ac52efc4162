"""Arrays of other shapes and types: what they are told to become is right, or nothing is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import Arrays, assert_holds, make_arrays, write_npz

from mnist_lab import data
from mnist_lab.errors import DataError

Change = Callable[[Any], Any]


def refused(tmp_path: Path, arrays: Arrays) -> str:
    """The next step of the error that refuses these arrays."""
    with pytest.raises(DataError) as raised:
        data.load(str(write_npz(tmp_path / "a.npz", arrays)))
    assert raised.value.exit_code == 2
    return raised.value.next_step


IMAGES: dict[str, Change] = {
    "flat": lambda x: x.reshape(-1, 784),
    "flat, images last": lambda x: x.reshape(-1, 784).T,
    "flat with a channel": lambda x: x.reshape(-1, 784, 1),
    "images last": lambda x: np.moveaxis(x, 0, -1),
    "images in the middle": lambda x: np.moveaxis(x, 0, 1),
    "images last, with a channel": lambda x: np.moveaxis(x, 0, -1)[:, :, None],
    "channel last": lambda x: x[..., None],
    "channel first": lambda x: x[:, None],
    "colour last": lambda x: np.stack([x] * 3, axis=-1),
    "colour first": lambda x: np.stack([x] * 3, axis=1),
    "colour with opacity": lambda x: np.stack([x, x, x, np.full_like(x, 255)], axis=-1),
    "colour, images last": lambda x: np.stack([np.moveaxis(x, 0, -1)] * 3, axis=2),
    "with a margin": lambda x: np.pad(x, ((0, 0), (2, 2), (2, 2))),
    "0 to 1": lambda x: (x / 255).astype("f4"),
    "0 to 1, divided by 256": lambda x: x / 256,
    "0 to 1, in half precision": lambda x: (x / 255).astype("f2"),
    "0 to 255": lambda x: x.astype("f4"),
    "-1 to 1": lambda x: x / 127.5 - 1,
    "-0.5 to 0.5": lambda x: x / 255 - 0.5,
    "standardised": lambda x: ((x / 255 - 0.1307) / 0.3081).astype("f4"),
    "integers": lambda x: x.astype(int),
    "16 bits": lambda x: x.astype("u2") * 257,
    "signed bytes": lambda x: x.view("i1"),
    "flat, 0 to 1": lambda x: (x / 255).reshape(-1, 784),
    "images last, 0 to 1": lambda x: np.moveaxis(x, 0, -1) / 255,
    "colour first, 0 to 1": lambda x: np.stack([x] * 3, axis=1) / 255,
    "channel first, -1 to 1": lambda x: x[:, None] / 127.5 - 1,
}
LABELS: dict[str, Change] = {
    "one-hot": lambda y: np.eye(10)[y],
    "one-hot, images last": lambda y: np.eye(10)[y].T,
    "a column": lambda y: y[:, None],
    "a row": lambda y: y[None],
    "floats": lambda y: y * 1.0,
    "floats in a column": lambda y: y[:, None] * 1.0,
    "digits as words": lambda y: y.astype(str),
    "objects": lambda y: y.astype(object),
    "from 1": lambda y: y + 1,
    "from -1": lambda y: y.astype(int) - 1,
    "characters": lambda y: y + 48,
}
CASES = [("x_train", name, change) for name, change in IMAGES.items()]
CASES += [("y_train", name, change) for name, change in LABELS.items()]


@pytest.mark.parametrize(("key", "name", "change"), CASES, ids=[case[1] for case in CASES])
def test_advice_is_right(tmp_path: Path, key: str, name: str, change: Change) -> None:
    """The expression in the error, applied to the array as it is, makes what was meant."""
    arrays = make_arrays(30)
    arrays["x_train"][0, 0, :2] = 0, 255
    given = change(arrays[key])
    step = refused(tmp_path, arrays | {key: given})
    expression = step.removeprefix("save ").partition(" if ")[0]
    mended = eval(expression, {key[0]: given, "np": np})  # noqa: S307 - as its reader would
    np.testing.assert_array_equal(mended, arrays[key], name)
    assert_holds(data.load(str(write_npz(tmp_path / "b.npz", arrays | {key: mended}))), arrays)


def test_other_ten_labels(tmp_path: Path) -> None:
    """Labels from 1 to 10 may count from 1, or have MATLAB's 10 for the digit 0: both are told."""
    arrays = make_arrays()
    given = np.where(arrays["y_train"] == 0, 10, arrays["y_train"])
    expression = refused(tmp_path, arrays | {"y_train": given}).split(", or ")[1].split(" if ")[0]
    np.testing.assert_array_equal(eval(expression, {"y": given}), arrays["y_train"])  # noqa: S307


AXIS = "it is not clear which axis counts the images"
OPEN: list[tuple[int, Callable[[Arrays], Arrays], str]] = [
    (28, lambda a: {"x_train": a["x_train"] / 255}, AXIS),
    (784, lambda a: {"x_train": a["x_train"].reshape(784, 784)}, AXIS),
    (24, lambda _: {"x_train": np.full((24, 32, 32), np.arange(32), "u1")}, "resize each image"),
    (24, lambda a: {"x_train": a["x_train"][:, 1:]}, "resize each image"),
    (24, lambda _: {"x_train": np.ones((24, 32, 32, 3))}, "resize each"),
    (24, lambda _: {"x_train": np.ones((24, 1024))}, "such an array"),
    (24, lambda a: {"x_train": a["x_train"] * np.nan}, "such an array"),
    (24, lambda a: {"x_train": a["x_train"] // 16 * 1.0}, "such an array"),
    (24, lambda a: {"x_train": a["x_train"] * 3.3}, "such an array"),
    (24, lambda _: {"y_train": np.ones((24, 10))}, "one label for each image"),
    (24, lambda _: {"y_train": np.array(["shoe"] * 24)}, "number the classes"),
    (24, lambda a: {"y_train": a["y_train"] / 3}, "number of each image's class"),
    (
        60,
        lambda _: {"y_train": np.arange(60) % 26 + 1},
        "the network has 10 classes: keep 10 of the 26",
    ),
    (
        60,
        lambda _: {"y_train": np.eye(26)[np.arange(60) % 26]},
        "one label from 0 to 9 for each image",
    ),
    (
        24,
        lambda a: {"y_train": np.where(np.arange(24) == 3, -1, a["y_train"].astype(int))},
        "keep = y >= 0; x, y = x[keep], y[keep]",
    ),
    (24, lambda a: {"y_train": a["y_train"] * 10}, "number the classes"),
    (24, lambda a: {"x_train": a["y_train"], "y_train": a["x_train"]}, "swap x_train and y_train"),
    (
        24,
        lambda a: {"x_test": a["y_test"], "y_test": a["x_test"].reshape(6, 784)},
        "swap x_test and y_test",
    ),
    (24, lambda a: {"y_train": a["y_test"], "y_test": a["y_train"]}, "swap y_train and y_test"),
]


@pytest.mark.parametrize(("n", "change", "step"), OPEN)
def test_what_stays_open(
    tmp_path: Path, n: int, change: Callable[[Arrays], Arrays], step: str
) -> None:
    """Where no expression is certain to be right, none is given."""
    arrays = make_arrays(n)
    told = refused(tmp_path, arrays | change(arrays))
    assert step in told
    assert "save x" not in told
    assert "save np." not in told
