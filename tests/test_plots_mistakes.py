"""The figures of a test: the confusion of digits, the error of each, the mistakes themselves."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from made_figures import CAPTION, CONFUSION, IMAGES, WRONG, axes_of, texts

from mnist_lab import plots
from mnist_lab.analysis.intervals import Interval
from mnist_lab.analysis.outcomes import Spread


def test_confusion() -> None:
    """The title gives the error with its interval; counts and class errors are written.

    With repeats it gives the mean and says that counts are sums. Right answers are grey, so that
    the mistakes stand out.
    """
    figure = plots.confusion(CONFUSION, CAPTION)
    found = texts(figure)
    assert "Test error 1.10 % (95 % interval: 0.60 % to 2.01 %)" in found
    assert (found.count("90"), found.count("1.10 %")) == (10, 10)
    assert {"true digit", "predicted digit", "error of the true digit"} < {*found}
    matrix = ((90, 3), (0, 90))
    often = plots.confusion(CONFUSION._replace(matrix=matrix, class_errors=(0.03, 0.0)), CAPTION)
    assert any("Most often, 0 is taken for 1: 3 times." in text for text in texts(often))
    mesh = axes_of(figure)[0].collections[0]
    mesh.update_scalarmappable()
    shades = mesh.get_facecolor().reshape(10, 10, 4)
    assert {tuple(shades[digit, digit]) for digit in range(10)} == {mpl.colors.to_rgba("#E8E8E8")}
    assert tuple(shades[0, 1]) == mpl.colors.to_rgba("#0072B2")
    error, interval = Spread(5, 0.0115, 0.0008), Interval(0.0105, 0.0125)
    found = texts(plots.confusion(CONFUSION._replace(error=error, interval=interval), CAPTION))
    assert "Test error 1.15 ± 0.08 % (95 % interval of the mean: 1.05 % to 1.25 %)" in found
    assert any("summed over 5 repeats" in text for text in found)


def test_perfect() -> None:
    """No mistake at all, and a class without images, are drawn too."""
    matrix = tuple(tuple(int(p == t < 9) for p in range(10)) for t in range(10))
    numbers = CONFUSION._replace(matrix=matrix, class_errors=(*[0.0] * 9, None))
    assert "no image" in texts(plots.confusion(numbers, CAPTION))


def test_mistakes() -> None:
    """Each image has the true digit, the predicted one and the confidence below it.

    The title says how many there are; with repeats an image says how many of them got it wrong, and
    the title counts images, not mistakes, unless the records hold only some of those.
    """
    alone = plots.mistakes([(one, 1) for one, _ in WRONG[:4]], IMAGES, CONFUSION, CAPTION)
    below = [axes.get_xlabel() for axes in axes_of(alone)]
    assert below == ["0 → 1\n99.9 %", "1 → 2\n98 %", "2 → 3\n96 %", "3 → 4\n94 %"]
    assert "10 test digits misclassified; the 4 most confident" in texts(alone)
    whole = plots.mistakes(WRONG[:10], IMAGES, CONFUSION, CAPTION)
    assert "10 test digits misclassified" in texts(whole)
    numbers = CONFUSION._replace(errors=(0.01, 0.012, 0.011))
    repeated = plots.mistakes(WRONG, IMAGES, numbers, CAPTION)
    below = [axes.get_xlabel() for axes in axes_of(repeated)]
    assert (len(below), below[1], below[29]) == (30, "1 → 2\n2 of 3", "9 → 0\n1 of 3")
    found = texts(repeated)
    assert "40 test digits misclassified by some of 3 networks, none by all" in found
    assert any(text.endswith("Shown: the worst 30.") for text in found)
    one = numbers._replace(matrix=((0, 1), (0, 9)))
    lone = texts(plots.mistakes([(WRONG[0][0], 1)], IMAGES, one, CAPTION))
    assert "1 test digit misclassified by some of 3 networks, none by all" in lone
    few = plots.mistakes(WRONG[:4], IMAGES, numbers, CAPTION)
    found = texts(few)
    assert "The 4 test digits that most of 3 networks get wrong" in found
    assert any("at least how many of 3 networks erred" in text for text in found)


def test_pixels() -> None:
    """The image is that of the record, dark on light, whatever its own range is."""
    images = np.stack([np.full((28, 28), value, np.uint8) for value in range(60)])
    figure = plots.mistakes(WRONG[5:7], images, CONFUSION, CAPTION)
    for axes, value in zip(axes_of(figure), (5, 6), strict=True):
        (image,) = axes.images
        assert (image.get_array() == value).all()
        assert image.get_clim() == (0, 255)
        assert image.cmap(0.0)[:3] == (1.0, 1.0, 1.0)
