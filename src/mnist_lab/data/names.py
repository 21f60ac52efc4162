"""What data sets and their classes are called, as far as a path tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnist_lab.records import DIGITS

if TYPE_CHECKING:
    from pathlib import Path

_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
# Data sets in MNIST's format, by the words of their names, in any spelling.
_KNOWN = {
    ("fashion", "mnist"): ("FashionMNIST", tuple(_CLOTHES.split(","))),
    ("kmnist",): ("KMNIST", _KANA),
    ("kuzushiji", "mnist"): ("KMNIST", _KANA),
    ("not", "mnist"): ("notMNIST", tuple("ABCDEFGHIJ")),
    ("qmnist",): ("QMNIST", DIGITS),
    ("emnist", "digits"): ("EMNIST digits", DIGITS),
    ("emnist", "mnist"): ("EMNIST's MNIST", DIGITS),
    ("emnist", "letters"): ("EMNIST letters", ()),
    ("emnist", "balanced"): ("EMNIST balanced", ()),
}
# Names of folders that say nothing about what is in them.
_NO_NAMES = {"archive", "data", "dataset", "datasets", "files", "gzip", "idx", "processed", "raw"}


def names(path: Path, prefix: str = "") -> tuple[str, tuple[str, ...]]:
    """What the data set in a file or a folder is called, and its classes, none if not known.

    Its files' names may have a prefix, as in `emnist-letters-train-images...`.
    """
    telling = (part for part in reversed(path.parts) if part.lower() not in _NO_NAMES)
    name = prefix or next(telling, path.name).removesuffix(".npz")
    for words, (title, classes) in _KNOWN.items():
        if match := re.search(f"(?<![a-z]){'[-_ .]*'.join(words)}(?![a-z])", name.lower()):
            return (title if match.group() == name.lower() else name), classes
    return (f"{name} (not as published)" if name.lower() == "mnist" else name), ()
