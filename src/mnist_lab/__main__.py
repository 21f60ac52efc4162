"""`python -m mnist_lab` is `mnist-lab`."""

import sys

if not getattr(sys.flags, "safe_path", False):
    # `-m` has put the current folder first, where a random.py may lie; this package is found.
    del sys.path[0]

from mnist_lab.cli import entrypoint

if __name__ == "__main__":
    entrypoint()
