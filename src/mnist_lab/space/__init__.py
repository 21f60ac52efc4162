"""The search space: what it holds, its JSON, what it samples, its vectors for a model.

`log=True` means that the logarithm of the value is uniform: each doubling is equally likely. It
does not mean powers of two: 22 filters and a batch size of 95 are ordinary draws.

A hyperparameter that its condition leaves out is inactive: a configuration lacks it, and the base
configuration's value holds. One that compares an inactive one takes ConfigSpace's view, as the
programs do that read a search: only "not equal" is true.
"""

from mnist_lab.space import explaining
from mnist_lab.space.reading import check_space, default_space, read_space
from mnist_lab.space.sampling import active, draw, from_dict, from_vector, kinds, to_dict, to_vector

__all__ = [
    "active",
    "check_space",
    "default_space",
    "draw",
    "explaining",
    "from_dict",
    "from_vector",
    "kinds",
    "read_space",
    "to_dict",
    "to_vector",
]
