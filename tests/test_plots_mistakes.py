"""The figures of a test: the confusion of digits, the error of each, the mistakes themselves."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from made_figures import CAPTION, CONFUSION, IMAGES, WRONG, assert_nothing_overlaps, axes_of, texts

from mnist_lab import plots
from mnist_lab.analysis.intervals import Interval
from mnist_lab.analysis.outcomes import Spread


class TestConfusion:
    """The figure of a test."""

    def test_one_repeat(self) -> None:
        """The title gives the error with its interval; counts and class errors are written."""
        found = texts(plots.confusion(CONFUSION, CAPTION))
        assert "Test error 1.10 % (95 % interval: 0.60 % to 2.01 %)" in found
        assert (found.count("90"), found.count("1.10 %")) == (10, 10)
        assert {"true digit", "predicted digit", "error of the true digit"} < {*found}

    def test_repeats(self) -> None:
        """With repeats the title gives the mean and says that counts are sums."""
        numbers = CONFUSION._replace(
            error=Spread(5, 0.0115, 0.0008, 0.011, 0.012), interval=Interval(0.0105, 0.0125)
        )
        found = texts(plots.confusion(numbers, CAPTION))
        title = "Test error 1.15 ± 0.08 % (95 % interval of the mean: 1.05 % to 1.25 %)"
        assert title in found
        assert any("summed over 5 repeats" in text for text in found)

    def test_muted_diagonal(self) -> None:
        """Right answers are grey, so that the mistakes stand out."""
        mesh = axes_of(plots.confusion(CONFUSION, CAPTION))[0].collections[0]
        mesh.update_scalarmappable()
        shades = mesh.get_facecolor().reshape(10, 10, 4)
        assert {tuple(shades[digit, digit]) for digit in range(10)} == {
            mpl.colors.to_rgba("#E8E8E8")
        }
        assert tuple(shades[0, 1]) == mpl.colors.to_rgba("#D55E00")

    def test_perfect(self) -> None:
        """No mistake at all, and a class without images, are drawn too."""
        matrix = tuple(tuple(int(p == t < 9) for p in range(10)) for t in range(10))
        numbers = CONFUSION._replace(matrix=matrix, class_errors=(*[0.0] * 9, None))
        assert "no image" in texts(plots.confusion(numbers, CAPTION))


class TestMistakes:
    """The figure of the misclassified digits."""

    def test_one_repeat(self) -> None:
        """Each image has the true digit, the predicted one and the confidence below it."""
        wrong = [one._replace(n_repeats=1) for one in WRONG[:4]]
        figure = plots.mistakes(wrong, IMAGES, CONFUSION, CAPTION)
        below = [axes.get_xlabel() for axes in axes_of(figure)]
        assert below == ["0 → 1\n99.9 %", "1 → 2\n98 %", "2 → 3\n96 %", "3 → 4\n94 %"]
        assert "Misclassified test digits: 4, the most confident of 10" in texts(figure)

    def test_all_of_them(self) -> None:
        """Where there is room for all mistakes, the title says that they are all."""
        figure = plots.mistakes(WRONG[:10], IMAGES, CONFUSION, CAPTION)
        assert "Misclassified test digits: 10, all of them" in texts(figure)

    def test_repeats(self) -> None:
        """With repeats an image says how many of them got it wrong."""
        numbers = CONFUSION._replace(errors=(0.01, 0.012, 0.011))
        figure = plots.mistakes(WRONG, IMAGES, numbers, CAPTION)
        below = [axes.get_xlabel() for axes in axes_of(figure)]
        assert len(below) == 30
        assert below[1] == "1 → 2\n98 %, n=2"
        assert below[29] == "9 → 0\n42 %, n=1"
        assert "Misclassified test digits: 30, of 10 mistakes in 3 repeats" in texts(figure)

    def test_pixels(self) -> None:
        """The image is that of the record, dark on light, whatever its own range is."""
        images = np.stack([np.full((28, 28), value, np.uint8) for value in range(60)])
        figure = plots.mistakes(WRONG[5:7], images, CONFUSION, CAPTION)
        for axes, value in zip(axes_of(figure), (5, 6), strict=True):
            (image,) = axes.images
            assert (image.get_array() == value).all()
            assert image.get_clim() == (0, 255)
            assert image.cmap(0.0)[:3] == (1.0, 1.0, 1.0)

    @pytest.mark.parametrize("n_wrong", [1, 4, 11, 30, 40])
    def test_nothing_overlaps(self, n_wrong: int) -> None:
        """All words have a place of their own, with the widest of them."""
        numbers = CONFUSION._replace(errors=(0.01,) * 12)
        wrong = [one._replace(n_repeats=12, confidence=1.0) for one in WRONG[:n_wrong]]
        assert_nothing_overlaps(plots.mistakes(wrong, IMAGES, numbers, CAPTION))
