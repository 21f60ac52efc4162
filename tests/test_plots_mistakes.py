"""The figure of a test: the confusion of digits, and the error of each."""

from __future__ import annotations

import matplotlib as mpl
from made_figures import CAPTION, CONFUSION, axes_of, texts

from mnist_lab import curves, plots
from mnist_lab.curves import Spread


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
            error=Spread(5, 0.0115, 0.0008, 0.011, 0.012), interval=curves.Interval(0.0105, 0.0125)
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
