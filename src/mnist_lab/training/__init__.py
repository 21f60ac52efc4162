"""Fit one configuration, epoch by epoch, as fast as the machine allows; evaluate.

The images stay in memory as bytes, and one compiled call runs up to an epoch over a given order of
them, without Python in the loop. It is compiled once for all configurations, so a short training of
another network costs little extra. Keras draws the weights and holds the trained model. A training
depends only on its configuration and its seed; the order and the dropout of epoch e come from
(seed, e).
"""

from mnist_lab.training.trials import open_trainer

__all__ = ["open_trainer"]
