"""The search space: its contents, its JSON, its draws, its vectors for a model.

`log=True` means that the logarithm of the value is uniform: each doubling is equally likely. It
does not mean powers of two: 22 filters and a batch size of 95 are ordinary draws.

A hyperparameter is inactive if its condition is not met: a configuration lacks it, and the base
configuration's value is used. A condition on an inactive one follows ConfigSpace, as do the
programs that read a search: only "not equal" is true.
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
