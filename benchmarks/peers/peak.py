"""What one core reaches at most: the product of two 4096 x 4096 matrices by TensorFlow, one thread.

    python benchmarks/peers/peak.py float32|bfloat16

Prints GFLOP/s of the fastest of five, after one that does not count.
"""

from __future__ import annotations

import os
import sys
import time

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import tensorflow as tf

SIDE = 4096


def main() -> None:
    """Measure and print."""
    left, right = (tf.cast(tf.random.normal((SIDE, SIDE)), sys.argv[1]) for _ in range(2))
    times = []
    for _ in range(6):
        start = time.perf_counter()
        tf.matmul(left, right)[0, 0].numpy()
        times.append(time.perf_counter() - start)
    print(2 * SIDE**3 / min(times[1:]) / 1e9)


if __name__ == "__main__":
    main()
