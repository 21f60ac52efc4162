"""The compiled TensorFlow functions: the steps of an epoch, and an evaluation.

Each process traces and optimises them once for all configurations: the number and size of the
filters, the batch size and the rates are only known at run time. Compiling for each configuration
took up to twice as long as a sixteenth of an epoch (benchmarks/short.py). The code is the network
of :mod:`mnist_lab.model` and Keras' optimiser written out, and gives their numbers (the tests
compare both with Keras' `fit`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from mnist_lab.data import N_CLASSES
from mnist_lab.model import N_HIDDEN, POOL_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

# Larger batches than in training: only the forward pass, whose buffers still fit into the caches.
EVALUATION_BATCH = 500

# Kernel and bias of each layer in turn. None differs from one configuration to the next.
_SHAPES = (
    (None, None, 1, None),
    (None,),
    (None, None, None, None),
    (None,),
    (None, N_HIDDEN),
    (N_HIDDEN,),
    (N_HIDDEN, N_CLASSES),
    (N_CLASSES,),
)
N_WEIGHTS = len(_SHAPES)
# Keras takes the seed of its dropout modulo this number.
_N_SEEDS = tf.int32.max - 1


class Kind(NamedTuple):
    """What a step does in addition to plain gradient descent."""

    momentum: bool
    weight_decay: bool
    dropout: bool


class Hyperparameters(NamedTuple):
    """The hyperparameters of an epoch's steps: float32, except the batch size and the seed."""

    batch_size: tf.Tensor
    """int32"""
    learning_rate: tf.Tensor
    momentum: tf.Tensor
    weight_decay: tf.Tensor
    dropout: tf.Tensor
    """The share of the hidden units that is dropped."""
    kept: tf.Tensor
    """What the others are multiplied by: `1 / (1 - dropout)`."""
    seed: tf.Tensor
    """The seed of the first step's dropout, `(2,)` int64; each step adds 1 to its second number."""


class Images(NamedTuple):
    """A split on the device: pixels `(n, 28, 28)` uint8, labels `(n,)` int32."""

    pixels: tf.Tensor
    labels: tf.Tensor


class Sums(NamedTuple):
    """The sums of an epoch's steps so far: images seen, their losses, the number correct."""

    n_seen: tf.Tensor
    loss: tf.Tensor
    n_right: tf.Tensor


class _Block(NamedTuple):
    """A convolution with its ReLU and pooling: the tensors for computing their gradients."""

    inputs: tf.Tensor
    kernel: tf.Tensor
    active: tf.Tensor
    pooled: tf.Tensor


def variables() -> list[tf.Variable]:
    """The weights of the network for any configuration, or a velocity for each; still empty."""
    return [
        tf.Variable(tf.zeros([side or 0 for side in shape]), shape=tf.TensorShape(shape))
        for shape in _SHAPES
    ]


def _through_blocks(weights: list[tf.Variable], pixels: tf.Tensor, dtype: tf.DType) -> list[_Block]:
    """Both convolutions of the network, each with its ReLU and pooling, on bytes `(n, 28, 28)`.

    ReLU comes before the pooling here because oneDNN then computes it with the convolution; the
    pooled numbers are the same.
    """
    images = tf.cast(pixels, tf.float32)[..., None] * (1.0 / 255.0)
    blocks: list[_Block] = []
    for layer in (weights[0:2], weights[2:4]):
        inputs = tf.cast(blocks[-1].pooled if blocks else images, dtype)
        kernel, bias = (tf.cast(part, dtype) for part in layer)
        flow = tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")
        active = tf.nn.relu(tf.nn.bias_add(flow, bias))
        pooled = tf.nn.max_pool2d(active, POOL_SIZE, POOL_SIZE, "VALID")
        blocks.append(_Block(inputs, kernel, active, pooled))
    return blocks


def _gradients_of_blocks(blocks: list[_Block], upstream: tf.Tensor) -> list[tf.Tensor]:
    """The gradients of the kernels and biases of the blocks, in the order of the weights.

    `upstream` is the gradient of the last pooled numbers, `(n, height, width, filters)`. Max
    pooling passes each gradient to one pixel. So ReLU's zeros among the pooled pixels, and their
    sum, the bias' gradient, are those of all pixels, from a quarter as many numbers. TensorFlow's
    own differentiation misses that, and teaching it (`tf.custom_gradient`) would register each
    traced graph for ever.
    """
    gradients: list[tf.Tensor] = []
    window = [1, POOL_SIZE, POOL_SIZE, 1]
    convolution = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    for number, block in reversed(list(enumerate(blocks))):
        upstream = tf.raw_ops.ReluGrad(gradients=upstream, features=block.pooled)
        # As a matrix product: TensorFlow's own sum of bfloat16 is slow.
        kernel_shape = tf.shape(block.kernel)
        rows = tf.reshape(upstream, (-1, kernel_shape[-1]))
        bias = tf.squeeze(tf.matmul(tf.ones((1, tf.shape(rows)[0]), rows.dtype), rows), 0)
        upstream = tf.raw_ops.MaxPoolGrad(
            orig_input=block.active,
            orig_output=block.pooled,
            grad=upstream,
            ksize=window,
            strides=window,
            padding="VALID",
        )
        kernel = tf.raw_ops.Conv2DBackpropFilter(
            input=block.inputs, filter_sizes=kernel_shape, out_backprop=upstream, **convolution
        )
        gradients = [tf.cast(kernel, tf.float32), tf.cast(bias, tf.float32), *gradients]
        if number:  # the images need none
            upstream = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(block.inputs),
                filter=block.kernel,
                out_backprop=upstream,
                **convolution,
            )
    return gradients


def _behind_blocks(
    weights: list[tf.Variable],
    pooled: tf.Tensor,
    dtype: tf.DType,
    drop: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tf.Tensor:
    """The logits `(n, 10)`, from the last pooled numbers."""
    hidden, hidden_bias, last, last_bias = (tf.cast(part, dtype) for part in weights[4:])
    flow = tf.reshape(pooled, (-1, tf.shape(hidden)[0]))
    flow = tf.nn.relu(tf.nn.bias_add(tf.matmul(flow, hidden), hidden_bias))
    if drop:
        flow = drop(flow)
    return tf.cast(tf.nn.bias_add(tf.matmul(flow, last), last_bias), tf.float32)


def dropped(units: tf.Tensor, hyperparameters: Hyperparameters, number: tf.Tensor) -> tf.Tensor:
    """The hidden units `(n, 128)` after dropout in the epoch's step of that number, as in Keras.

    In float32, because bfloat16 random numbers are multiples of 1/128, and so would be the share of
    the dropped units.
    """
    seed = (hyperparameters.seed + tf.stack([0, tf.cast(number, tf.int64)])) % _N_SEEDS
    numbers = tf.random.stateless_uniform(tf.shape(units), tf.cast(seed, tf.int32))
    kept = tf.cast(units, tf.float32) * hyperparameters.kept
    return tf.cast(tf.where(numbers >= hyperparameters.dropout, kept, 0.0), units.dtype)


def _loss_and_right(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cross-entropy per image `(n,)`, the number correct, and the predicted classes `(n,)` int32.

    Logits that are not finite predict nothing, so they count as wrong.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
    right = tf.logical_and(tf.equal(predicted, labels), tf.math.is_finite(losses))
    return losses, tf.reduce_sum(tf.cast(right, tf.int32)), predicted


def compile_training(
    weights: list[tf.Variable], velocities: list[tf.Variable], dtype: tf.DType, kind: Kind
) -> Any:
    """A compiled function that trains on an epoch or a part of it.

    (:class:`Images`, order `(n,)` int32, end, :class:`Hyperparameters`, :class:`Sums`) -> `Sums`,
    to be passed in again when the epoch continues; zeros at its beginning.

    Each step takes a batch of the order, up to its place `end`; the last one takes the rest. Every
    image weighs the same in all of them: a mean over the last 16 of 50,000 images, as in Keras'
    `fit`, would be a step with the noise of 16 at the learning rate of a batch, right before the
    validation. A loss that is not finite ends the epoch early. Gradient descent, momentum and
    weight decay are those of Keras' `SGD`, operation by operation.
    """

    def step(
        batch: Images, hyperparameters: Hyperparameters, number: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def drop(units: tf.Tensor) -> tf.Tensor:
            return dropped(units, hyperparameters, number)

        blocks = _through_blocks(weights, batch.pixels, dtype)
        pooled = blocks[-1].pooled
        with tf.GradientTape() as tape:
            tape.watch(pooled)
            logits = _behind_blocks(weights, pooled, dtype, drop if kind.dropout else None)
            losses, n_right, _ = _loss_and_right(logits, batch.labels)
            loss = tf.reduce_sum(losses) / tf.cast(hyperparameters.batch_size, tf.float32)
        upstream, *last = tape.gradient(loss, [pooled, *weights[2 * len(blocks) :]])
        gradients = _gradients_of_blocks(blocks, upstream) + last
        rate = hyperparameters.learning_rate
        for gradient, weight, velocity in zip(gradients, weights, velocities, strict=True):
            if kind.weight_decay:
                weight.assign_sub(weight * hyperparameters.weight_decay * rate)
            if kind.momentum:
                velocity.assign(velocity * hyperparameters.momentum - gradient * rate)
                weight.assign_add(velocity)
            else:
                weight.assign_sub(gradient * rate)
        return tf.reduce_sum(losses), n_right

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def train(
        images: Images,
        order: tf.Tensor,
        end: tf.Tensor,
        hyperparameters: Hyperparameters,
        before: Sums,
    ) -> Sums:
        batch_size = hyperparameters.batch_size
        n_in_full_batches = order.shape[0] // batch_size * batch_size

        def one_step(start: tf.Tensor, sums: Sums) -> tuple[tf.Tensor, Sums]:
            # One body for all sizes: to trace the last batch on its own would take as long again.
            size = tf.minimum(batch_size, end - start)
            places = tf.slice(order, [start], [size])
            batch = Images(tf.gather(images.pixels, places), tf.gather(images.labels, places))
            more_loss, more_right = step(batch, hyperparameters, start // batch_size)
            sums = Sums(sums.n_seen + size, sums.loss + more_loss, sums.n_right + more_right)
            start += size
            lost = tf.maximum(start, n_in_full_batches)
            return tf.where(tf.math.is_finite(sums.loss), start, lost), sums

        # One step at a time: with several, TensorFlow may run them out of order.
        _, sums = tf.while_loop(
            lambda start, _: start < end, one_step, (before.n_seen, before), parallel_iterations=1
        )
        return sums  # type: ignore[no-any-return]  # TensorFlow is untyped

    return train


def compile_evaluation(weights: list[tf.Variable], dtype: tf.DType) -> Any:
    """A compiled function that evaluates the first `n` images.

    (:class:`Images`, n) -> (sum of losses, number correct, predicted `(n,)`).
    """

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def evaluate(images: Images, n: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        def one_batch(
            number: tf.Tensor, loss: tf.Tensor, n_right: tf.Tensor, predicted: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
            start = number * EVALUATION_BATCH
            size = tf.minimum(EVALUATION_BATCH, n - start)
            pixels = tf.slice(images.pixels, [start, 0, 0], [size, -1, -1])
            pooled = _through_blocks(weights, pixels, dtype)[-1].pooled
            losses, more_right, classes = _loss_and_right(
                _behind_blocks(weights, pooled, dtype), tf.slice(images.labels, [start], [size])
            )
            return (
                number + 1,
                loss + tf.reduce_sum(losses),
                n_right + more_right,
                predicted.write(number, classes),
            )

        n_batches = (n + EVALUATION_BATCH - 1) // EVALUATION_BATCH
        predictions = tf.TensorArray(tf.int32, size=n_batches, infer_shape=False)
        _, loss, n_right, predictions = tf.while_loop(
            lambda number, *_: number < n_batches,
            one_batch,
            (0, 0.0, 0, predictions),
            parallel_iterations=1,
        )
        return loss, n_right, predictions.concat()

    return evaluate
