"""Errors, configurations and hyperparameters as a reader writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnist_lab.config import OPTIONAL

if TYPE_CHECKING:
    from mnist_lab.config import TrainConfig


def percent(error: float, sd: float | None = None) -> str:
    """An error in words: `1.21 %`, `12.3 %`, or with its deviation `1.21 ± 0.08 %`."""
    digits = 2 if error < 0.1 else 1  # noqa: PLR2004 - three significant digits either way
    deviation = "" if sd is None else f" ± {100 * sd:.{digits}f}"
    return f"{100 * error:.{digits}f}{deviation} %"


def describe(configuration: TrainConfig, *, without: str | None = None) -> str:
    """A configuration in words; what is not on the exercise sheet only where it is not 0.

    Args:
        configuration: the configuration.
        without: a field that is left out, as it varies.
    """
    filters, size = configuration.num_filters, configuration.filter_size
    epochs = configuration.epochs
    others = ((name, getattr(configuration, name)) for name in OPTIONAL)
    words = {
        "learning_rate": f"learning rate {configuration.learning_rate:.4g}, ",
        "batch_size": f"batch size {configuration.batch_size}, ",
        "num_filters": f"{filters} filter{'s' * (filters > 1)}",
        "filter_size": f" of {size}×{size}",
        "epochs": f", {epochs} epoch{'s' * (epochs > 1)}",
    } | {name: f", {name.replace('_', ' ')} {value:.4g}" for name, value in others if value}
    return "".join(text for name, text in words.items() if name != without)


def in_words(field: str) -> str:
    """A field of the configuration, or a hyperparameter's name, in words."""
    return field.replace("_", " ").replace("num ", "number of ")


def rounded(value: Any) -> str:
    """A value in three significant digits if it is a float, else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def value_text(name: str, value: float) -> str:
    """A value of the field `name` as a reader writes it: a filter size as a square."""
    return f"{value}×{value}" if name == "filter_size" else f"{value:g}"
