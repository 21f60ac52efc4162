"""Each experiment as one call: what to propose, where to record it, what to draw from it.

The command line and notebooks call these functions. All take the same :class:`Options`, raise a
:class:`~mnist_lab.errors.LabError` that says what to do, and return a :class:`Run`. The same call
again continues an interrupted run, and returns at once when all is done.
"""

from mnist_lab.study import experiments
from mnist_lab.study.experiments import *  # noqa: F403 - the functions of the experiments
from mnist_lab.study.run import Run, load_run, report, watch
from mnist_lab.study.session import Options
from mnist_lab.study.workers import join

__all__ = ["Options", "Run", "join", "load_run", "report", "watch"]
__all__ += experiments.__all__
