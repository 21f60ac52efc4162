"""`mnist-lab` whose workers compute a formula: whole commands, real processes, in seconds."""

from mnist_lab.cli import entrypoint
from mnist_lab.study import session

if __name__ == "__main__":
    session.TRAINER = "formula:open_formula"
    entrypoint()
