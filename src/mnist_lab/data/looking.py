"""Check a data set before training: refuse what is clearly wrong, mention what is odd.

The thresholds mark what cannot be chance, not what is unusual: FashionMNIST has a few images twice,
and a small set lacks a class here and there. It all takes 0.1 s for 70,000 images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mnist_lab.data.arrays import DARKEST, IMAGE_SIDE, N_CLASSES
from mnist_lab.errors import DataError

if TYPE_CHECKING:
    from mnist_lab.data.dataset import Split

_BRIGHTER = 64  # between the means of two parts: 255 - mean has another sign
_EMPTY = 5  # pixels that differ from the corner's: no digit is drawn with fewer
_UNEQUAL = 10  # times as many images in one class as in another
_SURE = 20  # images expected where there is none: by chance e^-20
_FEW = 0.01  # of the images: so many are odd without a word
_SHUFFLED = "i = np.random.default_rng(0).permutation(len(y)); x, y = x[i], y[i]"
_SHUFFLE = f"shuffle both before you save them: {_SHUFFLED}"


class _Part:
    """One split of a data set, and its counts."""

    def __init__(self, word: str, split: Split) -> None:
        self.word, self.images, self.labels, self.n = word, split.images, split.labels, len(split)
        self.counts = np.bincount(self.labels, minlength=N_CLASSES)
        self.mean = float(self.images.mean())
        pixels = self.images.reshape(self.n, -1)
        # How many pixels differ from the first; half the time of np.count_nonzero.
        drawn = (pixels != pixels[:, :1]).view(np.uint8).sum(axis=1, dtype=np.uint16)
        self.n_blank = np.count_nonzero(drawn < _EMPTY)
        # Of each image's bytes; 64 bits, so that no chance makes two alike.
        rows = pixels.view(f"V{pixels.shape[1]}").ravel().tolist()
        self.hashes = np.fromiter(map(hash, rows), np.int64, self.n)


def look(train: Split, valid: Split, test: Split, source: str) -> tuple[str, ...]:
    """The oddities of a data set, one line each; a DataError if it is clearly wrong."""
    parts = _Part("training", train), _Part("validating", valid), _Part("test", test)
    for problem, next_step in _faults(*parts):
        raise DataError(f"{source}: {problem}", next_step=next_step)
    return (*_odd_labels(*parts), *_odd_pixels(*parts), *_odd_copies(*parts))


def _faults(train: _Part, valid: _Part, test: _Part) -> Iterator[tuple[str, str]]:
    """What is clearly wrong, and what to do."""
    labels = np.concatenate([train.labels, valid.labels])
    n_classes = len(np.unique(labels))
    if n_classes == 1:
        problem = f"all training images are of class {labels[0]}"
        yield problem, "save labels of several classes"
    n_changes = np.count_nonzero(labels[1:] != labels[:-1])
    if n_changes == n_classes - 1 and len(labels) >= 2 * n_classes:  # else it may be chance
        yield "the training images are sorted by class, and the last sixth validates", _SHUFFLE
    for part in (train, valid, test):
        if 2 * (n_unknown := part.counts[train.counts == 0].sum()) > part.n:
            step = "save test images of the same classes" if part is test else _SHUFFLE
            problem = f"{n_unknown:,} of {part.n:,} {part.word} images are of classes without"
            yield f"{problem} training images", step
        if 2 * part.n_blank > part.n:
            step = "save them again; multiply values from 0 to 1 by 255 before they become bytes"
            yield f"{part.n_blank:,} of {part.n:,} {part.word} images are blank or nearly so", step
        if part.n > 1 and (part.hashes == part.hashes[0]).all():
            yield f"all {part.n:,} {part.word} images are the same", "save them again"


def _odd_labels(train: _Part, *others: _Part) -> Iterator[str]:
    counts = train.counts
    if missing := np.flatnonzero(counts == 0).tolist():
        yield f"no training image is of {_classes(missing)}"
    most, least = counts.argmax(), np.where(counts, counts, counts.max()).argmin()
    if counts[most] > _UNEQUAL * (counts[least] + 2):  # two: chance in a small set
        told = f"{counts[most]:,} training images are of class {most}"
        yield f"the classes are unequal: {told}, {counts[least]:,} of class {least}"
    shares = counts / counts.sum()
    for part in others:
        theirs = part.counts / part.n
        off = np.abs(shares - theirs)
        # Half the sum: the share that would have to change class. What is added is chance: twice
        # what a sample of n from ten equal classes is off on average.
        if off.sum() / 2 > 0.2 + (3 / part.n) ** 0.5:
            at = int(off.argmax())
            its = f"{100 * theirs[at]:.0f} % of the {part.word} images are of class {at}"
            yield f"{its}, and {100 * shares[at]:.0f} % of the training images: were they shuffled?"
        elif lacking := np.flatnonzero((part.counts == 0) & (shares * part.n >= _SURE)).tolist():
            yield f"no {part.word} image is of {_classes(lacking)}, unlike training images"


def _odd_pixels(train: _Part, valid: _Part, test: _Part) -> Iterator[str]:
    highs = {part.word: int(part.images.max()) for part in (train, valid, test)}
    dark = {word: high for word, high in highs.items() if high < DARKEST}
    if len(dark) == len(highs):  # one line for all
        dark = {"": max(dark.values())}
    for word, high in dark.items():
        where = f" of the {word} images" if word else ""
        hint = "; multiply values from 0 to 1 by 255 before they become bytes" if high <= 1 else ""
        yield f"no pixel{where} is brighter than {high}, of 255{hint}"
    for part in (valid, test):
        if abs(part.mean - train.mean) > _BRIGHTER:
            told = f"the mean brightness of the {part.word} images is {part.mean:.0f}, that of the"
            yield f"{told} training images {train.mean:.0f}: is one of them inverted or scaled?"
    for part in (train, valid, test):
        if part.n_blank:
            yield f"{part.n_blank:,} of {part.n:,} {part.word} images are blank or nearly so"
    for n, word in ((train.n + valid.n, "training"), (test.n, "test")):
        if n == IMAGE_SIDE:
            told = f"the {word} images are an array {(n,) * 3}"
            yield f"{told}: its first axis is assumed to count them"


def _odd_copies(train: _Part, *others: _Part) -> Iterator[str]:
    for part in others:
        n_same = np.count_nonzero(np.isin(part.hashes, train.hashes))
        if n_same > _FEW * part.n:
            yield f"{n_same:,} of {part.n:,} {part.word} images are among the training images too"
    parts = (train, *others)
    # An image's hash with its label in the lowest four bits: sorted, labels of an image are beside.
    pairs = np.unique(np.concatenate([part.hashes & ~15 | part.labels for part in parts]))
    n_torn = np.count_nonzero(np.diff(pairs >> 4) == 0)
    if n_torn > _FEW * len(pairs):
        yield f"{n_torn:,} images appear again with another label"


def _classes(numbers: Sequence[int]) -> str:
    return f"class{'es' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
