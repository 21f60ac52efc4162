"""Fit one configuration, epoch by epoch, as fast as the machine allows; evaluate.

The images stay in memory as bytes and one compiled call runs a whole epoch over a given order of
them, with the Keras model and the Keras optimiser inside: Python is not in the loop. A training
depends on its configuration and its seed alone; the order and the dropout of epoch e come from
(seed, e).
"""

from mnist_lab.training.trials import open_trainer

__all__ = ["open_trainer"]
