"""A look at the data before training: what cannot be meant, what is odd, and what is neither."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import Arrays, sample_arrays, write_npz

from mnist_lab import data
from mnist_lab.data.looking import look
from mnist_lab.errors import DataError

Change = Callable[[Arrays], Arrays]


@pytest.fixture(scope="module")
def digits() -> Arrays:
    """The bundled digits."""
    return sample_arrays()


def load(folder: Path, arrays: Arrays) -> data.Dataset:
    """The arrays by way of a file."""
    return data.load(str(write_npz(folder / "a.npz", arrays)))


def looked(x: Any, y: Any, *parts: Any) -> tuple[str, ...]:
    """What is odd about parts of images and labels, by number or slice."""
    train, valid, test = (data.Split(images=x[part], labels=y[part]) for part in parts)
    return look(train, valid, test, "")


def order(order_of: Callable[[Any], Any]) -> Change:
    """The training images in an order, or a choice of them, that follows from their labels."""
    return lambda a: {key: a[key][order_of(a["y_train"])] for key in ("x_train", "y_train")}


def both(change: Callable[[Any], Any]) -> Change:
    """The training and the test images changed."""
    return lambda a: {key: change(a[key]) for key in ("x_train", "x_test")}


REFUSED: list[tuple[Change, str]] = [
    (order(lambda y: y.argsort(kind="stable")), "images are sorted by class"),
    (order(lambda y: y.argsort()[::-1]), "sorted by class"),
    (
        order(lambda y: np.r_[np.flatnonzero(y < 5), np.flatnonzero(y == 7)]),
        "[0-9]+ validating images are of classes without training images.*permutation",
    ),
    (order(lambda y: y == 3), "all training images are of class 3"),
    (lambda a: {"y_train": a["y_train"] * 0}, "all training images are of class 0"),
    (lambda a: {"x_train": a["x_train"] * 0}, "3,572 of 3,572 training images are blank"),
    (
        lambda a: {"x_test": np.broadcast_to(a["x_test"][:, 14:15, 14:15], (714, 28, 28))},
        "714 of 714 test images are blank",
    ),
    (lambda a: {"x_test": a["x_test"][[0] * 714]}, "all 714 test images are the same"),
    (
        lambda a: {"x_train": (a["x_train"] / 255).astype("u1")},
        "training images are blank or nearly so.*; multiply",
    ),
    (
        order(lambda y: y < 4),
        "4[0-9]+ of 714 test images are of classes without",
    ),
]


@pytest.mark.parametrize(("change", "match"), REFUSED)
def test_refused(tmp_path: Path, digits: Arrays, change: Change, match: str) -> None:
    """What cannot be meant is refused before anything trains."""
    with pytest.raises(DataError, match=match):
        load(tmp_path, digits | change(digits))


def test_advice_for_sorted_data(tmp_path: Path, digits: Arrays) -> None:
    """The line that the refusal of sorted data gives makes data that are taken without a word."""
    arrays = {**digits, **order(np.argsort)(digits)}
    with pytest.raises(DataError) as raised:
        load(tmp_path, arrays)
    names: dict[str, Any] = {"np": np, "x": arrays["x_train"], "y": arrays["y_train"]}
    exec(raised.value.next_step.partition(": ")[2], names)  # noqa: S102 - as its reader would
    mended = arrays | {"x_train": names["x"], "y_train": names["y"]}
    assert load(tmp_path, mended).info.warnings == ()


ODD: list[tuple[Change, str]] = [
    (order(lambda y: y != 8), "no training image is of class 8"),
    (
        order(lambda y: (y != 8) | (np.arange(4286) % 300 == 8)),
        "the classes are unequal: 35. training images are of class .*, .* of class 8",
    ),
    (
        lambda a: {key: a[key][a["y_test"] != 2] for key in ("x_test", "y_test")},
        "no test image is of class 2, unlike training images",
    ),
    (
        order(lambda y: (y + 10 * (np.arange(4286) // 2143)).argsort()),
        "% of the validating images are of class .* of the training images: were they shuffled",
    ),
    (
        lambda a: {"y_test": a["y_test"] * 0},
        "100 % of the test images are of class 0, and 10 % of the training images",
    ),
    (both(lambda x: x // 128), "no pixel is brighter than 1, of 255; multiply"),
    (both(lambda x: x // 16), "no pixel is brighter than 15, of 255$"),
    (lambda a: {"x_test": a["x_test"] // 3}, "no pixel of the test images is brighter than 85"),
    (
        lambda a: {"x_test": 255 - a["x_test"]},
        "brightness of the test images is 2.., that of the training images 3.: is one of them inv",
    ),
    (
        lambda a: {"x_train": a["x_train"] * (np.arange(4286) > 9)[:, None, None].astype("u1")},
        "10 of 3,572 training images are blank or nearly so",
    ),
    (
        order(lambda y: np.arange(len(y)) % 3572),
        "714 of 714 validating images are among the training images too",
    ),
    (
        lambda a: {"x_test": a["x_train"][:500], "y_test": a["y_train"][:500]},
        "500 of 500 test images are among the training images too",
    ),
    (
        lambda a: {"x_test": a["x_train"][:714], "y_test": 9 - a["y_train"][:714]},
        "714 images appear again with another label",
    ),
    (
        lambda a: {"x_test": a["x_test"][:28], "y_test": a["y_test"][:28]},
        r"the test images are an array \(28, 28, 28\): its first axis is",
    ),
]


@pytest.mark.parametrize(("change", "match"), ODD)
def test_odd(tmp_path: Path, digits: Arrays, change: Change, match: str) -> None:
    """What is odd is told in one line, which the record of the data keeps."""
    warnings = load(tmp_path, digits | change(digits)).info.warnings
    assert any(re.search(match, line) for line in warnings), warnings
    assert all("\n" not in line for line in warnings)


def test_no_false_alarm(digits: Arrays) -> None:
    """The sample and random choices of it, down to 200, are taken without a word."""
    assert data.load("sample").info.warnings == ()
    x = np.concatenate([digits["x_train"], digits["x_test"]])
    y = np.concatenate([digits["y_train"], digits["y_test"]])
    rng = np.random.default_rng(0)
    for n in [200] * 20 + [1000] * 5:
        train = rng.permutation(4286)[:n]
        assert looked(x, y, train[n // 6 :], train[: n // 6], slice(4286, 4286 + n // 6)) == ()


def test_speed(digits: Arrays) -> None:
    """The look takes some 0.1 s of one core for 70,000 images."""
    copies = np.arange(70_000) % 4286
    images, labels = digits["x_train"][copies], digits["y_train"][copies]
    begin = time.process_time()
    looked(images, labels, slice(50_000), slice(50_000, 60_000), slice(60_000, None))
    assert time.process_time() - begin < 1
