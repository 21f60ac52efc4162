"""The experiments, one function each: from the arguments to the checked settings of a study."""

from __future__ import annotations

import os
import re
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mnist_lab import machine
from mnist_lab.analysis.outcomes import summary
from mnist_lab.catalogue import EXPERIMENTS
from mnist_lab.config import (
    VARIED,
    StudySettings,
    TrainConfig,
    check,
    read_train_config,
    read_train_configs,
)
from mnist_lab.errors import Interrupted, SettingsError, forget_stop, nearest, no_gpu, stop
from mnist_lab.racing import MOST_ROUNDS
from mnist_lab.rundir import RunDir
from mnist_lab.study.run import load_run
from mnist_lab.study.session import Options, run_study
from mnist_lab.study.workers import check_workers, parse_cluster
from mnist_lab.words import budget_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import FrameType

    from typing_extensions import Unpack

    from mnist_lab.config import FitOn
    from mnist_lab.study.run import Run

_LR, _FILTER, _RANDOM, _HYPERBAND, _BOHB, _RACE, _TEST = (
    EXPERIMENTS[name].defaults
    for name in ("lr-sweep", "filter-sweep", "random-search", "hyperband", "bohb", "race", "test")
)

__all__ = [
    "bohb",
    "filter_sweep",
    "hyperband",
    "lr_sweep",
    "race",
    "random_search",
    "test",
    "train",
]


def lr_sweep(
    values: Sequence[float] = _LR["values"],
    *,
    epochs: float = _LR["epochs"],
    repeats: int = _LR["repeats"],
    **options: Unpack[Options],
) -> Run:
    """Train the base configuration with each learning rate.

    Args:
        values: learning rates, each above 0.
        epochs: of each training.
        repeats: trainings of each value, from different seeds.
        **options: see :class:`Options`.
    """
    return _sweep("lr-sweep", map(float, values), {"epochs": epochs}, repeats, options)


def filter_sweep(
    values: Sequence[int] = _FILTER["values"],
    *,
    learning_rate: float = _FILTER["learning_rate"],
    epochs: float = _FILTER["epochs"],
    repeats: int = _FILTER["repeats"],
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
    return _sweep("filter-sweep", values, base, repeats, options)


def random_search(
    *,
    iters: int = _RANDOM["iters"],
    epochs: float = _RANDOM["epochs"],
    space: str | Path | None = _RANDOM["space"],
    **options: Unpack[Options],
) -> Run:
    """Train configurations drawn from a search space.

    Args:
        iters: the number of configurations; a later call may raise it.
        epochs: of each training.
        space: a file of ConfigSpace's JSON; None is the exercise sheet's space.
        **options: see :class:`Options`.
    """
    return _search("random-search", options, epochs, space, iters=iters)


def hyperband(
    *,
    iters: int = _HYPERBAND["iters"],
    min_epochs: float = _HYPERBAND["min_epochs"],
    max_epochs: float = _HYPERBAND["max_epochs"],
    eta: int = _HYPERBAND["eta"],
    survivors: int = _HYPERBAND["survivors"],
    space: str | Path | None = _HYPERBAND["space"],
    **options: Unpack[Options],
) -> Run:
    """Train configurations drawn from a search space briefly, and continue the best.

    Args:
        iters: the number of brackets; a later call may raise it.
        min_epochs: of the first rung of the first bracket; may be below 1.
        max_epochs: of the last rung, at least `min_epochs`.
        eta: one in `eta` trials continues to the next rung, which has `eta` times the epochs; at
            least 2. The smallest resulting budget is `min_epochs` or the next larger one.
        survivors: the fewest trials of a bracket that reach its last rung. With 1 the brackets are
            Hyperband's own.
        space: a file of ConfigSpace's JSON; None is the exercise sheet's space.
        **options: see :class:`Options`.
    """
    own = {"min_epochs": min_epochs, "eta": eta, "survivors": survivors, "iters": iters}
    return _halving("hyperband", options, max_epochs, space, own)


def bohb(
    *,
    iters: int = _BOHB["iters"],
    min_epochs: float = _BOHB["min_epochs"],
    max_epochs: float = _BOHB["max_epochs"],
    eta: int = _BOHB["eta"],
    survivors: int = _BOHB["survivors"],
    space: str | Path | None = _BOHB["space"],
    **options: Unpack[Options],
) -> Run:
    """Hyperband with configurations proposed by a model of the results so far.

    The results known at each proposal depend on the workers, so another number of workers leads to
    other proposals. Configurations in the journal are proposed again.

    Args:
        iters: as for :func:`hyperband`.
        min_epochs: as for :func:`hyperband`.
        max_epochs: as for :func:`hyperband`.
        eta: as for :func:`hyperband`.
        survivors: as for :func:`hyperband`.
        space: a file of ConfigSpace's JSON; None is the exercise sheet's space.
        **options: see :class:`Options`.
    """
    own = {"min_epochs": min_epochs, "eta": eta, "survivors": survivors, "iters": iters}
    return _halving("bohb", options, max_epochs, space, own)


def race(
    runs: str | Path | Sequence[str | Path] = _RACE["runs"],
    *,
    config: TrainConfig | str | Path | Sequence[TrainConfig | str | Path] = _RACE["config"],
    top: int = _RACE["top"],
    epochs: float | None = _RACE["epochs"],
    max_repeats: int = _RACE["max_repeats"],
    **options: Unpack[Options],
) -> Run:
    """Repeat the best configurations from common seeds, dropping worse ones, until one wins.

    Args:
        runs: run directories of searches and sweeps, none, one or several.
        config: further configurations, or files of them.
        top: how many of the best of each run to include, at least 1.
        epochs: of each training; None: each configuration's own, which is the largest budget of a
            search.
        max_repeats: most trainings of each configuration, up to 40; a later call may raise it.
        **options: see :class:`Options`.
    """
    several = [runs] if isinstance(runs, str | Path) else list(runs)
    given = [config] if isinstance(config, TrainConfig | str | Path) else list(config)
    if top < 1:
        raise SettingsError(f"--top: {top} is too small", next_step="give 1 or more")
    if not 1 <= max_repeats <= MOST_ROUNDS:
        problem = f"--max-repeats: {max_repeats} is not from 1 to {MOST_ROUNDS}"
        raise SettingsError(problem, next_step=f"give 1 to {MOST_ROUNDS}")
    taking_part = [one for run in several for one in _best_of(Path(run), top)]
    for one in given:
        taking_part += [one] if isinstance(one, TrainConfig) else read_train_configs(Path(one))
    if epochs is not None:
        checked = check(TrainConfig, {"epochs": epochs}, source="--epochs")
        taking_part = [one.model_copy(update={"epochs": checked.epochs}) for one in taking_part]
    distinct = tuple(dict.fromkeys(taking_part))
    if len(distinct) < 2:  # noqa: PLR2004 - nobody to beat
        raise SettingsError(
            f"a race needs two different configurations, not {len(distinct)}",
            next_step="name the run directory of a search, or give --config several times",
        )
    return _run("race", distinct[0], options, configurations=distinct, repeats=max_repeats)


def _best_of(path: Path, top: int) -> list[TrainConfig]:
    """The configurations of a run with the lowest errors, longest trained first."""
    run = load_run(path)
    rows = [row for row in summary(run.trials) if row.errors]
    rows.sort(key=lambda row: (-row.configuration.epochs, row.mean))
    if not rows:
        raise SettingsError(
            f"{path} has no trial with a validation error",
            next_step="name a search or sweep with finished trials",
        )
    settings = run.info.settings
    whole = {} if settings.min_epochs is None else {"epochs": settings.base.epochs}
    found = (row.configuration.model_copy(update=whole) for row in rows)
    return list(dict.fromkeys(found))[:top]


def test(
    config: TrainConfig | str | Path,
    *,
    epochs: float | None = _TEST["epochs"],
    repeats: int = _TEST["repeats"],
    fit_on: FitOn = _TEST["fit_on"],
    **options: Unpack[Options],
) -> Run:
    """Retrain a configuration, and score the test images once per repeat.

    Args:
        config: the configuration, or its file, such as the `best.json` of a search. If
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
        config = check(TrainConfig, dict(config) | {"epochs": epochs}, source="--epochs")
    return _run("test", config, options, origin=origin, repeats=repeats, fit_on=fit_on)


def train(config: TrainConfig, **options: Unpack[Options]) -> Run:
    """Train one configuration, and keep the model.

    Args:
        config: the configuration.
        **options: see :class:`Options`.
    """
    return _run("train", config, options)


def _sweep(
    experiment: str, values: Iterable[Any], base: dict[str, Any], repeats: int, options: Options
) -> Run:
    values = tuple(values)
    if not values or len(set(values)) < len(values):
        twice = next((value for value in values if values.count(value) > 1), None)
        raise SettingsError(
            "--values: the list is empty" if twice is None else f"--values: {twice} appears twice",
            next_step="name each once; --repeats trains each several times",
        )
    config = check(TrainConfig, base, source="")
    for value in values:
        check(TrainConfig, base | {VARIED[experiment]: value}, source="--values")
    return _run(experiment, config, options, values=values, repeats=repeats)


def _halving(
    experiment: str,
    options: Options,
    max_epochs: float,
    space: str | Path | None,
    own: dict[str, Any],
) -> Run:
    # Before rungs are counted: from 0 there is no end of them.
    base = check(TrainConfig, {"epochs": max_epochs}, source="--max-epochs")
    check(StudySettings, own | {"experiment": experiment, "base": base}, source="")
    if (smallest := own["min_epochs"]) > max_epochs:
        raise SettingsError(
            f"--min-epochs {budget_text(smallest)} is above --max-epochs {budget_text(max_epochs)}",
            next_step="lower the one or raise the other",
        )
    return _search(experiment, options, max_epochs, space, **own)


def _search(
    experiment: str, options: Options, epochs: float, space: str | Path | None, **own: Any
) -> Run:
    from mnist_lab import space as spaces  # ConfigSpace takes a second to import

    chosen = spaces.default_space() if space is None else spaces.read_space(Path(space))
    config = check(TrainConfig, {"epochs": epochs}, source="--epochs")
    return _run(experiment, config, options, space=spaces.to_dict(chosen), **own)


def _run(
    experiment: str, base: TrainConfig, options: Options, *, origin: str = "", **own: Any
) -> Run:
    """The run of this experiment; `own` are the settings that other experiments do not have."""
    with interruptible():
        if (out := options.get("out")) is not None:
            RunDir(Path(out)).check_is_ours()  # before anything takes long
        for key in options:
            if key not in Options.__annotations__:
                way = nearest(key, Options.__annotations__)
                raise SettingsError(f"{experiment} has no option {key!r}", next_step=way)
        check_workers(options.get("workers"), 0)
        host = options.get("host")
        if host is not None and not machine.is_own_address(host):
            raise SettingsError(
                f"--host: {host} is not an address of this machine",
                next_step="give one that the other machines reach, or leave it out",
            )
        device = options.get("device", "auto")
        is_local = parse_cluster(options.get("cluster"))[0] == "local"
        if is_local:
            n_gpus = 0 if device == "cpu" else machine.usable_gpus()
        else:  # what is there is seen there
            n_gpus = int(device == "gpu")
        if device == "gpu" and n_gpus == 0:
            raise no_gpu()
        keys = {"seed", "precision", "threads_per_worker"}
        own |= {key: value for key, value in options.items() if key in keys}
        if own.get("precision") == "auto":
            has_it = not n_gpus and machine.has_bfloat16()
            own["precision"] = "bfloat16" if has_it else "float32"
        own |= {"experiment": experiment, "base": base, "device": "gpu" if n_gpus else "cpu"}
        settings = check(StudySettings, own, source="")
        return run_study(settings, n_gpus, options, origin=origin)


def _origin(config: Path) -> str:
    """A name for a configuration's origin: the run that found it, else its own file."""
    path = Path(os.path.abspath(config))  # noqa: PTH100 - resolves `..`, but no symbolic link
    name = path.parent.name if path.name == RunDir(path.parent).best.name else path.stem
    return re.sub(r"[^\w.+-]+", "-", name)[:60].strip("-.")


@contextmanager
def interruptible() -> Iterator[None]:
    """Stop the body at the first Ctrl-C, and ignore further ones while it tidies up.

    Otherwise a second one would leave workers behind in a notebook's kernel, which lives on. This
    replaces only Python's own handler, and puts it back; the command line has a handler of its own.
    Signals never arrive in threads other than the main one.

    Raises:
        Interrupted: on Ctrl-C.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    kept = ""
    interrupted = False
    signal.signal(signal.SIGINT, _first)
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as why:
        interrupted, kept = True, str(why)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        forget_stop()
    # Outside, so that the error holds no frames: they would keep what they use open.
    if interrupted:
        raise Interrupted(kept or "interrupted; what is finished is kept, call again to continue")


def _first(_: int, __: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop(KeyboardInterrupt())
