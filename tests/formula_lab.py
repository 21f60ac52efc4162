"""`mnist-lab` whose workers compute a formula: whole commands, real processes, in seconds.

FORMULA_VERSIONS is what this machine says that it has installed of everything, FORMULA_STUCK_S how
long a worker may be silent. With FORMULA_DRAWS_NOTHING there are no figures, which take longer than
the rest. Workers elsewhere run this program, too.
"""

import os

import formula

from mnist_lab import forecast, machine
from mnist_lab.cli import entrypoint
from mnist_lab.execute import places
from mnist_lab.study import results, session, workers

if __name__ == "__main__":
    for module in (session, workers):
        vars(module)["open_trainer"] = formula.open_formula
    places.PROGRAM = (__file__,)
    places.HANDED_ON = ("PYTHONPATH", *(name for name in os.environ if name.startswith("FORMULA")))
    if version := os.environ.get("FORMULA_VERSIONS"):
        everything = dict.fromkeys(["python", *machine.PACKAGES], version)
        machine.versions = lambda: everything
    forecast.STUCK_S = float(os.environ.get("FORMULA_STUCK_S", forecast.STUCK_S))
    if os.environ.get("FORMULA_DRAWS_NOTHING"):
        results.draw = lambda *_: []
        session.DRAWING = "mnist_lab"
    entrypoint()
