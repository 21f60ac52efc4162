"""`python -m mnist_lab` is `mnist-lab`."""

from mnist_lab.cli import entrypoint

if __name__ == "__main__":
    entrypoint()
