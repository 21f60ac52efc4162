"""Which learning rate, which filter size, which configuration, and how good is it really?

The experiments are in :mod:`mnist_lab.study`; the command line is `mnist-lab`.
"""

__version__ = "0.1.0"
