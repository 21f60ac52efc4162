"""Which learning rate, which filter size, which configuration, and how good is it really?

The command line is `mnist-lab`; a notebook calls the same studies as functions of this package::

    import mnist_lab

    run = mnist_lab.lr_sweep([0.1, 0.01], epochs=3, data="sample")
    run  # a table and the figures
    run.to_pandas()

They are in :mod:`mnist_lab.study`, which is loaded when the first of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnist_lab.catalogue import EXPERIMENTS, function_name

if TYPE_CHECKING:
    from mnist_lab.config import TrainConfig
    from mnist_lab.study import Options, Run, load_run, watch
    from mnist_lab.study.experiments import *  # noqa: F403 - the functions of the experiments

__version__ = "0.2.0"

__all__ = ["Options", "Run", "TrainConfig", "__version__", "load_run", "watch"]
__all__ += [function_name(name) for name in EXPERIMENTS]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mnist_lab import config, study  # NumPy and pydantic, which --help does without

    return getattr(config if name == "TrainConfig" else study, name)


def __dir__() -> list[str]:
    return __all__
