"""`mnist-lab` whose workers compute a formula: whole commands, real processes, in seconds.

FORMULA_LOST_AFTER_S is how soon silent workers of other machines are given up, in seconds;
FORMULA_VERSIONS what this machine says that it has installed of everything. With
FORMULA_DRAWS_NOTHING there are no figures, which take longer than the rest.
"""

import os

from mnist_lab import machine
from mnist_lab.cli import entrypoint
from mnist_lab.study import results, session

if __name__ == "__main__":
    session.TRAINER = "formula:open_formula"
    if lost_after_s := os.environ.get("FORMULA_LOST_AFTER_S"):
        from mnist_lab.engine import dispatcher

        dispatcher.LOST_AFTER_S = float(lost_after_s)
    if version := os.environ.get("FORMULA_VERSIONS"):
        everything = dict.fromkeys(["python", *machine.PACKAGES], version)
        machine.versions = lambda: everything
    if os.environ.get("FORMULA_DRAWS_NOTHING"):
        results.draw = lambda *_: []
        session.DRAWING = "mnist_lab"
    entrypoint()
