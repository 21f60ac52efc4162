"""The rules for four arrays to be a data set and, if they are broken, the expression that helps.

An expression in an error turns this very array (`x` or `y`, as saved) into a valid one. If two
would be possible, none is given: scrambled data of the right shape would train without a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.errors import DataError

IMAGE_SIDE = 28  # pixels
N_CLASSES = 10
DARKEST = 128  # the least maximum of pixels that use their 8 bits

_N = -1  # in a shape: any number of images
_PIXELS = IMAGE_SIDE**2
# What makes images (n, 28, 28) of other shapes.
_AXES = (
    ((_N, 28, 28), "x"),
    ((28, 28, _N), "np.moveaxis(x, -1, 0)"),
    ((28, _N, 28), "np.moveaxis(x, 1, 0)"),
    ((_N, 28, 28, 1), "x[..., 0]"),
    ((_N, 1, 28, 28), "x[:, 0]"),
    ((28, 28, 1, _N), "np.moveaxis(x[:, :, 0], -1, 0)"),
    ((_N, _PIXELS), "x.reshape(-1, 28, 28)"),
    ((_N, _PIXELS, 1), "x.reshape(-1, 28, 28)"),
    ((_N, 1, _PIXELS), "x.reshape(-1, 28, 28)"),
    ((_PIXELS, _N), "x.T.reshape(-1, 28, 28)"),
    ((_N, 28, 28, 3), "x.mean(axis=-1)"),
    ((_N, 3, 28, 28), "x.mean(axis=1)"),
    ((28, 28, 3, _N), "np.moveaxis(x.mean(axis=2), -1, 0)"),
    ((_N, 28, 28, 4), "x[..., :3].mean(axis=-1)"),  # the fourth is opacity
    ((_N, 4, 28, 28), "x[:, :3].mean(axis=1)"),
)
# What makes pixels from 0 to 255 of other numbers, a * x + b: as divided by 255, by 256, from -1 to
# 1, from -0.5 to 0.5, standardised by MNIST's mean and deviation, as they are, and of 16 bits.
_SCALES = (
    ("{x} * 255", 255, 0),
    ("{x} * 256", 256, 0),
    ("({x} + 1) * 127.5", 127.5, 127.5),
    ("({x} + 0.5) * 255", 255, 127.5),
    ("({x} * 0.3081 + 0.1307) * 255", 0.3081 * 255, 0.1307 * 255),
    ("{x}", 1, 0),
    ("{x} / 257", 1 / 257, 0),
)
_NEAR = 0.1  # of a whole number: what half precision leaves of a pixel
_N_LOOKED_AT = 1_000_000  # pixels, enough to see whether all are whole numbers


def checked(raw: Mapping[str, NDArray[Any]], source: str) -> dict[str, NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,), all as bytes, by their npz keys; else a DataError."""
    for problem, next_step in _faults(raw):
        raise DataError(f"{source}: {problem}", next_step=next_step)
    return {key: np.ascontiguousarray(array, np.uint8) for key, array in raw.items()}


def _faults(raw: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str]]:
    """The fault of the arrays, and what to do."""
    for one, other in _misplaced(raw):
        problem = f"{one} {raw[one].shape} and {other} {raw[other].shape} do not belong together"
        yield problem, f"swap {one} and {other}"
    for part, word, least in (("train", "training", 12), ("test", "test", 1)):  # two to validate
        x, y = raw[f"x_{part}"], raw[f"y_{part}"]
        n = len(x) if x.ndim else 0
        if x.shape != (n, IMAGE_SIDE, IMAGE_SIDE) or x.dtype != np.uint8:
            problem = f"the {word} images are {x.dtype} {x.shape}, not bytes (uint8) (n, 28, 28)"
            yield problem, _image_advice(x, y)
        if n < least:
            problem = f"there are {n} {word} images, and at least {least} are needed"
            yield problem, "use a larger data set"
        if y.shape != (n,) or y.dtype.kind not in "iu":
            problem = f"the {word} labels are {y.dtype} {y.shape}, not one integer for each of {n}"
            yield f"{problem} images", _label_advice(y, n)
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= N_CLASSES:
            step = _range_advice(low, high, len(np.unique(y)))
            yield f"the {word} labels go from {low} to {high}, not from 0 to {N_CLASSES - 1}", step


def _misplaced(raw: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str]]:
    """The arrays whose names are swapped."""
    for x, y in (("x_train", "y_train"), ("x_test", "y_test")):
        labels, n = raw[y], raw[y].shape[:1]
        is_images = labels.ndim > 1 and 0 < _PIXELS * n[0] <= labels.size
        if is_images and raw[x].size <= N_CLASSES * n[0]:
            yield x, y
    n_all = {key: array.shape[:1] for key, array in raw.items()}
    if n_all["y_train"] == n_all["x_test"] != n_all["x_train"] == n_all["y_test"]:
        yield "y_train", "y_test"  # or the images, which comes to the same


def _image_advice(x: NDArray[Any], labels: NDArray[Any]) -> str:
    """What to do with images of another shape or type."""
    fitting = []
    for pattern, axes in _AXES:
        at = pattern.index(_N)
        if x.shape == (*pattern[:at], *x.shape[at : at + 1], *pattern[at + 1 :]):
            fitting.append((x.shape[at], axes))
    if len(fitting) > 1:  # the labels tell which axis counts the images, unless two are as long
        fitting = [one for one in fitting if labels.shape[:1] == one[:1]]
    if len(fitting) > 1:
        unseen = "it is not clear which axis counts the images"
        return f"{unseen}: save them with the images along the first axis"
    axes = fitting[0][1] if fitting else ""
    if not axes and x.ndim >= 3 and x.shape[:1] == labels.shape[:1]:  # noqa: PLR2004 - images
        axes = _cropped(x)
        if not axes:
            return f"resize each image to {IMAGE_SIDE} by {IMAGE_SIDE} pixels, in grey"
    expression = axes and _bytes_of(x, axes)
    return f"save {expression}" if expression else "save the images as such an array"


def _cropped(x: NDArray[Any]) -> str:
    """The middle of images (n, s, s), as an expression, if there is nothing around it."""
    margin, odd = divmod(x.shape[1] - IMAGE_SIDE, 2)
    if x.ndim != 3 or x.shape[1] != x.shape[2] or margin < 1 or odd:  # noqa: PLR2004 - (n, s, s)
        return ""
    around = np.ones(x.shape[1:], bool)
    around[margin:-margin, margin:-margin] = False
    is_empty = (x[:, around] == x.min()).all()
    return f"x[:, {margin}:-{margin}, {margin}:-{margin}]" if is_empty else ""


def _bytes_of(x: NDArray[Any], axes: str) -> str:
    """The expression that turns `axes`, one for `x`, into bytes; "" if that is ambiguous."""
    is_mean = "mean" in axes
    if x.dtype == np.uint8:
        return f"{axes}.round().astype('uint8')" if is_mean else axes
    if x.dtype.kind not in "biuf" or not x.size:
        return ""
    low, high = float(x.min()), float(x.max())
    if x.dtype == np.int8 and low < 0:
        return "" if is_mean else f"{axes}.view('uint8')"
    sample = x.ravel()[:_N_LOOKED_AT].astype(np.float64)

    def are_bytes(scale: float, offset: float) -> bool:
        pixels = scale * sample + offset
        least, most = scale * low + offset, scale * high + offset
        in_range = least >= -_NEAR and DARKEST <= most <= 255 + _NEAR
        return bool(in_range and np.abs(pixels - pixels.round()).max() < _NEAR)

    fits = [(text, are_bytes(*scale)) for text, *scale in _SCALES] + [
        # No pixels that were bytes: resized ones, say, which fill their range.
        ("{x} * 255", low >= 0 and 0.5 < high <= 1),  # noqa: PLR2004 - ends of ranges
        ("{x}", low >= 0 and DARKEST <= high <= 255),  # noqa: PLR2004
        ("({x} + 1) * 127.5", -1 <= low < -0.9 and 0.9 < high <= 1),  # noqa: PLR2004
    ]
    whole = next((text for text, is_so in fits if is_so), "")
    if whole == "{x}":
        return f"{axes}{'.round()' * (x.dtype.kind == 'f' or is_mean)}.astype('uint8')"
    return whole and f"({whole.format(x=axes)}).round().astype('uint8')"


def _label_advice(y: NDArray[Any], n: int) -> str:
    """What to do with labels of another shape or type."""
    if y.shape not in {(n,), (n, 1), (1, n)}:
        return _one_hot_advice(y, n)
    if y.dtype.kind in "US":
        if not np.char.isdigit(y).all():
            return f"number the classes from 0 to {N_CLASSES - 1}"
    elif y.dtype.kind not in "biuf" or not (y == y.round()).all():
        return "save the number of each image's class"
    flat = "y" if y.ndim == 1 else "y.ravel()"
    return f"save {flat}" if y.dtype.kind in "iu" else f"save {flat}.astype('int64')"


def _one_hot_advice(y: NDArray[Any], n: int) -> str:
    fitting = []
    if y.ndim == 2 and y.dtype.kind in "biuf" and y.size:  # noqa: PLR2004 - images and classes
        for axis in (0, 1):
            is_one = (y == y.max(axis=axis, keepdims=True)).sum(axis=axis) == 1
            if y.shape[1 - axis] == n and y.shape[axis] <= N_CLASSES and is_one.all():
                fitting.append(f"save y.argmax(axis={axis})")
        if n not in y.shape or min(y.shape) > N_CLASSES:
            return f"save one label from 0 to {N_CLASSES - 1} for each image"
    return fitting[0] if len(fitting) == 1 else "save one label for each image"


def _range_advice(low: int, high: int, n_classes: int) -> str:
    if low < 0 and high == N_CLASSES - 1:
        return "leave out what has no class: keep = y >= 0; x, y = x[keep], y[keep]"
    if n_classes > N_CLASSES:
        return f"the network has {N_CLASSES} classes: keep {N_CLASSES} of the {n_classes}"
    if n_classes == N_CLASSES == high - low + 1:
        if low == 1:
            return "save y - 1 if the classes count from 1, or y % 10 if 10 stands for the digit 0"
        return f"save y {'-' if low > 0 else '+'} {abs(low)}"
    return f"number the classes from 0 to {N_CLASSES - 1}, alike in training and test"
