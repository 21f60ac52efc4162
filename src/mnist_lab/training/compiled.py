"""What TensorFlow runs without Python: the steps of an epoch, and an evaluation."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mnist_lab.model import FLATTEN, POOL_SIZE

# Larger batches than in training: only the forward pass, whose buffers still fit into the caches.
EVALUATION_BATCH = 500


def _scaled(pixels: tf.Tensor) -> tf.Tensor:
    """Bytes `(n, 28, 28)` as the network's input: `(n, 28, 28, 1)`, float32 in [0, 1]."""
    return tf.cast(pixels, tf.float32)[..., None] * (1.0 / 255.0)


class _Block(NamedTuple):
    """A convolution with its ReLU and pooling: what their gradients are computed from."""

    inputs: tf.Tensor
    kernel: tf.Tensor
    active: tf.Tensor
    pooled: tf.Tensor


def _through_blocks(network: keras.Model, images: tf.Tensor) -> list[_Block]:
    """Both convolutions of the network, each with what follows it.

    ReLU comes before the pooling here, as oneDNN then computes it with the convolution; the pooled
    numbers are the same.
    """
    blocks: list[_Block] = []
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            inputs = tf.cast(blocks[-1].pooled if blocks else images, layer.compute_dtype)
            kernel, bias = (tf.cast(part, inputs.dtype) for part in (layer.kernel, layer.bias))
            flow = tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")
            active = tf.nn.relu(tf.nn.bias_add(flow, bias))
            pooled = tf.nn.max_pool2d(active, POOL_SIZE, POOL_SIZE, "VALID")
            blocks.append(_Block(inputs, kernel, active, pooled))
    return blocks


def _gradients_of_blocks(blocks: list[_Block], upstream: tf.Tensor) -> list[tf.Tensor]:
    """The gradients of the kernels and biases of the blocks, in the order of the weights.

    `upstream` is that of the last pooled numbers, `(n, height, width, filters)`. Max pooling hands
    each gradient on to one pixel, so ReLU's zeros among the pooled pixels, and their sum, which is
    the bias' gradient, are those of all pixels, from a quarter as many numbers. TensorFlow's own
    differentiation does not see that, and teaching it (`tf.custom_gradient`) would register each
    traced graph for ever.
    """
    gradients: list[tf.Tensor] = []
    window = [1, POOL_SIZE, POOL_SIZE, 1]
    convolution = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    for number, block in reversed(list(enumerate(blocks))):
        upstream = tf.raw_ops.ReluGrad(gradients=upstream, features=block.pooled)
        # As a matrix product: TensorFlow's own sum of bfloat16 is slow.
        rows = tf.reshape(upstream, (-1, upstream.shape[-1]))
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
            input=block.inputs,
            filter_sizes=block.kernel.shape,
            out_backprop=upstream,
            **convolution,
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


def _behind_blocks(network: keras.Model, pooled: tf.Tensor) -> tf.Tensor:
    """The logits `(n, 10)` in training, from the last pooled numbers."""
    flow = pooled
    names = [layer.name for layer in network.layers]
    for layer in network.layers[names.index(FLATTEN) :]:
        flow = layer(flow, training=True)
    return tf.cast(flow, tf.float32)


def _loss_and_right(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cross-entropy per image `(n,)`, how many are right, and the predicted classes `(n,)` int32.

    Logits that are not finite predict nothing, so they are counted as wrong.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
    right = tf.logical_and(tf.equal(predicted, labels), tf.math.is_finite(losses))
    return losses, tf.reduce_sum(tf.cast(right, tf.int32)), predicted


def compile_training(
    logits: keras.Model, optimizer: keras.optimizers.Optimizer, batch_size: int
) -> Any:
    """A compiled function that trains on a part of an epoch, or on the whole of it.

    (pixels, labels, order, end, (seen, sum of losses, right)) -> (seen, sum of losses, right): how
    many images of the epoch were seen, their losses' sum and how many were right, to be handed in
    again where the epoch goes on; zeros at its beginning.

    The steps take `batch_size` images of the order each, up to its place `end`, the last one what
    is left, and every image weighs the same in all of them: a mean over the last 16 of 50,000
    images, as in Keras' `fit`, would be a step with the noise of 16 at the learning rate of a
    batch, right before the validation. A loss that is not finite ends the epoch early. Momentum and
    weight decay are those of the optimiser, as constants.
    """
    weights = logits.trainable_variables

    def step(pixels: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        blocks = _through_blocks(logits, _scaled(pixels))
        pooled = blocks[-1].pooled
        with tf.GradientTape() as tape:
            tape.watch(pooled)
            losses, n_right, _ = _loss_and_right(_behind_blocks(logits, pooled), labels)
            loss = tf.reduce_sum(losses) / batch_size
        upstream, *last = tape.gradient(loss, [pooled, *weights[2 * len(blocks) :]])
        gradients = _gradients_of_blocks(blocks, upstream) + last
        # Not `optimizer.apply`: it adds up gradients over devices with a custom gradient.
        for gradient, weight in zip(gradients, weights, strict=True):
            if optimizer.weight_decay:
                # `apply` does this, `update_step` does not.
                weight.assign_sub(weight * optimizer.weight_decay * optimizer.learning_rate)
            optimizer.update_step(gradient, weight, optimizer.learning_rate)
        return tf.reduce_sum(losses), n_right

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def train(
        pixels: tf.Tensor,
        labels: tf.Tensor,
        order: tf.Tensor,
        end: tf.Tensor,
        before: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        n_in_full_batches = order.shape[0] // batch_size * batch_size

        def one_step(
            start: tf.Tensor, n_seen: tf.Tensor, loss: tf.Tensor, n_right: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
            # One body for all sizes: to trace the last batch on its own would take as long again.
            size = tf.minimum(batch_size, end - start)
            batch = tf.slice(order, [start], [size])
            more_loss, more_right = step(tf.gather(pixels, batch), tf.gather(labels, batch))
            loss, start = loss + more_loss, start + size
            lost = tf.maximum(start, n_in_full_batches)
            return (
                tf.where(tf.math.is_finite(loss), start, lost),
                n_seen + size,
                loss,
                n_right + more_right,
            )

        # One step at a time: with several, TensorFlow may run them out of order.
        _, n_seen, loss, n_right = tf.while_loop(
            lambda start, *_: start < end, one_step, (before[0], *before), parallel_iterations=1
        )
        return n_seen, loss, n_right

    return train


def compile_evaluation(logits: keras.Model) -> Any:
    """A compiled function of the first `n` images.

    (pixels, labels, n) -> (sum of losses, number right, predicted `(n,)`).
    """

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def evaluate(
        pixels: tf.Tensor, labels: tf.Tensor, n: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        def one_batch(
            number: tf.Tensor, loss: tf.Tensor, n_right: tf.Tensor, predicted: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
            start = number * EVALUATION_BATCH
            size = tf.minimum(EVALUATION_BATCH, n - start)
            some_pixels = tf.slice(pixels, [start, 0, 0], [size, -1, -1])
            outputs = tf.cast(logits(_scaled(some_pixels), training=False), tf.float32)
            losses, more_right, classes = _loss_and_right(
                outputs, tf.slice(labels, [start], [size])
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
