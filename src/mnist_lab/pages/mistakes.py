"""What a test got wrong: its confusion matrix, and the misclassified images as pictures."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from mnist_lab.analysis.confusion import confusion, wrong_images
from mnist_lab.views import error_cell
from mnist_lab.words import counted, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mnist_lab.records import DatasetInfo, TestScore, Trial

# Above this share of the largest count, words are white.
_DARK = 0.6
# What is almost certain is not called certain.
_SUREST = 0.999


def matrix(trials: Sequence[Trial], data: DatasetInfo) -> dict[str, Any] | None:
    """The confusion matrix of a test, a row for each true class; None before a result.

    The `share` of a cell is that of the largest count of mistakes, from 0 to 1.
    """
    scores = _scores(trials)
    if not scores:
        return None
    numbers = confusion(scores)
    most = max((count for count, *_ in numbers.wrong), default=0) or 1
    rows = []
    for true, counts in enumerate(numbers.matrix):
        cells = []
        for predicted, count in enumerate(counts):
            share = round(count / most, 3)
            look = "right" if true == predicted else "dark" if share > _DARK else "light"
            cells.append(
                {"count": count, "pair": f"{true}-{predicted}", "share": share, "look": look}
            )
        error = error_cell(numbers.class_errors[true]).text
        rows.append({"name": data.class_names[true], "cells": cells, "error": error})
    return {
        "noun": data.noun,
        "names": data.class_names[: len(rows)],
        "rows": rows,
        "n": len(scores),
        "n_images": numbers.n_images,
    }


def gallery(
    trials: Sequence[Trial], data: DatasetInfo, images: Mapping[int, NDArray[np.uint8]]
) -> dict[str, Any] | None:
    """The misclassified test images, those that most repeats agree on first; None without any.

    Args:
        trials: of a test.
        data: what they are scored on.
        images: shape `(28, 28)`, 0 to 255, by their place among the test images; some may be
            missing.
    """
    scores = _scores(trials)
    wrong, n = wrong_images(scores), len(scores)
    if not wrong:
        return None
    shown = [
        {
            "pair": f"{one.true}-{one.predicted}",
            "source": _png(images[one.image]) if one.image in images else "",
            "image": one.image,
            "words": f"{data.class_names[one.true]} → {data.class_names[one.predicted]}",
            "note": f"{times} of {n}" if n > 1 else percent(min(one.confidence, _SUREST)),
        }
        for one, times in wrong
    ]
    about = f"{counted(len(wrong), 'image')}. Below each: true → predicted {data.noun}, and "
    if n > 1:
        all_of_them = sum(times == n for _, times in wrong)
        about += f"how many of {n} networks erred; all did in {all_of_them or 'none'}."
    else:
        about += "the network's confidence."
    # Records hold the most confident mistakes of each repeat.
    if sum(times for _, times in wrong) < confusion(scores).n_wrong:
        about += " The records hold the most confident mistakes alone."
    if not images:
        about += " The images are not on this machine."
    return {"about": about, "images": shown}


def _scores(trials: Sequence[Trial]) -> list[TestScore]:
    return [trial.test for trial in trials if trial.test is not None]


def _png(image: NDArray[np.uint8]) -> str:
    """An image, as dark strokes on white, in the address of an `img` element."""
    from PIL import Image  # only a test has images

    file = io.BytesIO()
    Image.fromarray(255 - image).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
