"""The experiments: which configurations each one trains."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.config import VARIED, TrainConfig, check, read_train_config
from mnist_lab.errors import SettingsError
from mnist_lab.rundir import RunDir
from mnist_lab.study.session import run_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from mnist_lab.config import FitOn
    from mnist_lab.study.options import Options
    from mnist_lab.study.run import Run

# The values of the exercise sheet.
LEARNING_RATES = (0.1, 0.01, 0.001, 0.0001)
FILTER_SIZES = (1, 3, 5, 7)


def lr_sweep(
    values: Sequence[float] = LEARNING_RATES,
    *,
    epochs: int = 12,
    repeats: int = 1,
    **options: Unpack[Options],
) -> Run:
    """Train the base configuration with each learning rate.

    Args:
        values: learning rates, each above 0.
        epochs: of each training.
        repeats: trainings of each value, from different seeds.
        **options: see :class:`Options`.
    """
    base = {"epochs": epochs}
    return _sweep("lr-sweep", [float(value) for value in values], base, repeats, options)


def filter_sweep(
    values: Sequence[int] = FILTER_SIZES,
    *,
    learning_rate: float = 0.1,
    epochs: int = 12,
    repeats: int = 1,
    **options: Unpack[Options],
) -> Run:
    """Train the base configuration with each filter size.

    Args:
        values: filter sizes in pixels, 1 to 28; even ones are legal with SAME padding.
        learning_rate: of all of them, above 0.
        epochs: of each training.
        repeats: trainings of each value, from different seeds.
        **options: see :class:`Options`.
    """
    base = {"learning_rate": learning_rate, "epochs": epochs}
    return _sweep("filter-sweep", list(values), base, repeats, options)


def random_search(
    *, iters: int, epochs: int = 6, space: str | Path | None = None, **options: Unpack[Options]
) -> Run:
    """Train configurations drawn from a search space.

    Args:
        iters: how many configurations; a later call may raise it.
        epochs: of each training.
        space: a file of ConfigSpace's JSON; None is the exercise sheet's space.
        **options: see :class:`Options`.
    """
    settings = {"base": {"epochs": epochs}, "iters": iters, "space": _space(space)}
    return run_study("random-search", settings, options)


def hyperband(
    *,
    iters: int,
    min_epochs: int = 2,
    max_epochs: int = 18,
    space: str | Path | None = None,
    **options: Unpack[Options],
) -> Run:
    """Train configurations drawn from a search space, and only the best of them for long.

    Args:
        iters: how many brackets; a later call may raise it.
        min_epochs: of the first rung of the first bracket; at least 1.
        max_epochs: of the last rung, at least `min_epochs`. The rungs between are thirds of it.
        space: a file of ConfigSpace's JSON; None is the exercise sheet's space.
        **options: see :class:`Options`.
    """
    return _halving("hyperband", iters, (min_epochs, max_epochs), space, options)


def bohb(
    *,
    iters: int,
    min_epochs: int = 2,
    max_epochs: int = 18,
    space: str | Path | None = None,
    **options: Unpack[Options],
) -> Run:
    """Hyperband whose configurations are proposed by a model of the results so far.

    Which results are known when a configuration is proposed depends on the workers, so other
    numbers of workers propose others. What the journal knows is proposed again.

    Args:
        iters: how many brackets; a later call may raise it.
        min_epochs: as for :func:`hyperband`.
        max_epochs: as for :func:`hyperband`.
        space: a file of ConfigSpace's JSON; None is the exercise sheet's space.
        **options: see :class:`Options`.
    """
    return _halving("bohb", iters, (min_epochs, max_epochs), space, options)


def test(
    config: TrainConfig | str | Path,
    *,
    epochs: int | None = None,
    repeats: int = 1,
    fit_on: FitOn = "train+valid",
    **options: Unpack[Options],
) -> Run:
    """Retrain a configuration, and score the test images once per repeat.

    Args:
        config: the configuration, or a file of it such as the `best.json` of a search. Where
            `results/test` is another test, the folder is named after the file's search.
        epochs: of each training; None: the configuration's.
        repeats: trainings from different seeds.
        fit_on: `train+valid` uses all training images; `train` leaves the validation images out.
        **options: see :class:`Options`.
    """
    origin = ""
    if not isinstance(config, TrainConfig):
        origin = _origin(Path(config))
        config = read_train_config(Path(config))
    if epochs is not None:
        config = check(TrainConfig, config.model_dump() | {"epochs": epochs}, source="--epochs")
    settings = {"base": config.model_dump(), "repeats": repeats, "fit_on": fit_on}
    return run_study("test", settings, options, origin=origin)


def train(config: TrainConfig, **options: Unpack[Options]) -> Run:
    """Train one configuration, and keep the model.

    Args:
        config: the configuration.
        **options: see :class:`Options`.
    """
    return run_study("train", {"base": config.model_dump()}, options)


def _origin(config: Path) -> str:
    """A name for where a configuration is from: the run that found it, else its own file."""
    path = Path(os.path.abspath(config))  # noqa: PTH100 - resolves `..`, but no symbolic link
    name = path.parent.name if path.name == RunDir(path.parent).best.name else path.stem
    return re.sub(r"[^\w.+-]+", "-", name)[:60].strip("-.")


def _halving(
    experiment: str,
    iters: int,
    epochs: tuple[int, int],
    space: str | Path | None,
    options: Options,
) -> Run:
    smallest, largest = epochs
    if smallest > largest:
        raise SettingsError(
            "--min-epochs is at most --max-epochs",
            received=f"{smallest} and {largest}",
            next_step="correct one of them",
        )
    settings = {
        "base": {"epochs": largest},
        "min_epochs": smallest,
        "iters": iters,
        "space": _space(space),
    }
    return run_study(experiment, settings, options)


def _space(path: str | Path | None) -> dict[str, Any]:
    from mnist_lab import space  # ConfigSpace takes a second to import

    return space.to_dict(space.default_space() if path is None else space.read_space(Path(path)))


def _sweep(
    experiment: str, values: list[Any], base: dict[str, Any], repeats: int, options: Options
) -> Run:
    if not values or len(set(values)) < len(values):
        raise SettingsError(
            "a sweep has values, and each once",
            received=values,
            next_step="name each once; --repeats trains each several times",
        )
    for value in values:
        check(TrainConfig, base | {VARIED[experiment]: value}, source="a sweep")
    settings = {"base": base, "values": values, "repeats": repeats}
    return run_study(experiment, settings, options)
