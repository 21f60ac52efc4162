"""What TensorFlow runs without Python: one epoch of steps, and an evaluation."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

# Larger batches than in training: only the forward pass, whose buffers still fit into the caches.
EVALUATION_BATCH = 500


def _scaled(pixels: tf.Tensor) -> tf.Tensor:
    """Bytes `(n, 28, 28)` as the network's input: `(n, 28, 28, 1)`, float32 in [0, 1]."""
    return tf.cast(pixels, tf.float32)[..., None] * (1.0 / 255.0)


@tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow is untyped
def _relu_in_the_convolution(flow: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """ReLU right behind a convolution, which oneDNN computes with it; its gradient comes later."""
    return tf.nn.relu(flow), lambda upstream: upstream


@tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow is untyped
def _gradients_behind_pooling(_bias: tf.Tensor, pooled: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """`pooled` `(n, height, width, filters)` as it is; with ReLU's gradient, and the bias' sum."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        upstream = tf.raw_ops.ReluGrad(gradients=upstream, features=pooled)
        # As a matrix product: TensorFlow's own sum of bfloat16 is slow.
        rows = tf.reshape(upstream, (-1, upstream.shape[-1]))
        ones = tf.ones((1, tf.shape(rows)[0]), rows.dtype)
        return tf.squeeze(tf.matmul(ones, rows), 0), upstream

    return tf.identity(pooled), gradient


def _training_outputs(network: keras.Model, images: tf.Tensor) -> tf.Tensor:
    """`network(images, training=True)`, with cheaper gradients for what surrounds a pooling.

    Max pooling hands each gradient on to one pixel, so the sum over the pooled pixels, which is the
    bias' gradient, and ReLU's zeros are those over all of them. Both are computed there, on a
    quarter as many numbers, and ReLU itself by the convolution: docs/performance.md has the gain.
    """
    flow = images
    for layer in network.layers[1:]:
        if isinstance(layer, keras.layers.Conv2D):
            flow = tf.cast(flow, layer.compute_dtype)
            kernel, bias = (tf.cast(part, flow.dtype) for part in (layer.kernel, layer.bias))
            flow = tf.nn.conv2d(flow, kernel, strides=1, padding="SAME")
            flow = _relu_in_the_convolution(tf.nn.bias_add(flow, tf.stop_gradient(bias)))
        elif isinstance(layer, keras.layers.MaxPooling2D):
            flow = _gradients_behind_pooling(bias, layer(flow))
        elif not isinstance(layer, keras.layers.Activation):  # ReLU, which is done
            flow = layer(flow, training=True)
    return flow


def _loss_and_right(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cross-entropy per image `(n,)`, how many are right, and the predicted classes `(n,)` int32.

    Logits that are not finite predict nothing, so they are counted as wrong.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
    right = tf.logical_and(tf.equal(predicted, labels), tf.math.is_finite(losses))
    return losses, tf.reduce_sum(tf.cast(right, tf.int32)), predicted


def compile_epoch(
    logits: keras.Model, optimizer: keras.optimizers.Optimizer, batch_size: int
) -> Any:
    """A compiled function: (pixels, labels, order) -> (sum of losses, number right, number seen).

    The steps take `batch_size` images each, the last one what is left, and every image weighs the
    same in all of them: a mean over the last 16 of 50,000 images, as in Keras' `fit`, would be a
    step with the noise of 16 at the learning rate of a batch, right before the validation. A loss
    that is not finite ends the epoch early. Momentum and weight decay are those of the optimiser,
    as constants.
    """
    weights = logits.trainable_variables

    def step(pixels: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = tf.cast(_training_outputs(logits, _scaled(pixels)), tf.float32)
            losses, n_right, _ = _loss_and_right(outputs, labels)
            loss = tf.reduce_sum(losses) / batch_size
        # Not `optimizer.apply`: it adds up gradients over devices with a custom gradient, which
        # TensorFlow registers for ever, and with it the whole graph of each trial.
        for gradient, weight in zip(tape.gradient(loss, weights), weights, strict=True):
            if optimizer.weight_decay:
                # `apply` does this, `update_step` does not.
                weight.assign_sub(weight * optimizer.weight_decay * optimizer.learning_rate)
            optimizer.update_step(gradient, weight, optimizer.learning_rate)
        return tf.reduce_sum(losses), n_right

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def run_epoch(
        pixels: tf.Tensor, labels: tf.Tensor, order: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        n_images = order.shape[0]
        n_full = n_images // batch_size * batch_size

        def take(start: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
            batch = tf.slice(order, [start], [size])
            return step(tf.gather(pixels, batch), tf.gather(labels, batch))

        def go_on(start: tf.Tensor, loss: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            return tf.logical_and(start < n_full, tf.math.is_finite(loss))

        def one_step(
            start: tf.Tensor, loss: tf.Tensor, n_right: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            more_loss, more_right = take(start, batch_size)
            return start + batch_size, loss + more_loss, n_right + more_right

        # One step at a time: with several, TensorFlow may run them out of order.
        start, loss, n_right = tf.while_loop(go_on, one_step, (0, 0.0, 0), parallel_iterations=1)
        if n_full < n_images:
            more_loss, more_right = take(n_full, n_images - n_full)
            start = start + (n_images - n_full)
            loss, n_right = loss + more_loss, n_right + more_right
        return loss, n_right, start

    return run_epoch


def compile_evaluation(logits: keras.Model) -> Any:
    """A compiled function: (pixels, labels) -> (sum of losses, number right, predicted `(n,)`)."""

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def evaluate(pixels: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        n_images = pixels.shape[0]
        n_full = n_images // EVALUATION_BATCH * EVALUATION_BATCH
        predictions = tf.TensorArray(tf.int32, size=n_images // EVALUATION_BATCH)

        def forward(
            some_pixels: tf.Tensor, some_labels: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            outputs = tf.cast(logits(_scaled(some_pixels), training=False), tf.float32)
            losses, n_right, predicted = _loss_and_right(outputs, some_labels)
            return tf.reduce_sum(losses), n_right, predicted

        def one_batch(
            number: tf.Tensor, loss: tf.Tensor, n_right: tf.Tensor, predicted: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
            start = number * EVALUATION_BATCH
            more_loss, more_right, classes = forward(
                tf.slice(pixels, [start, 0, 0], [EVALUATION_BATCH, -1, -1]),
                tf.slice(labels, [start], [EVALUATION_BATCH]),
            )
            return (
                number + 1,
                loss + more_loss,
                n_right + more_right,
                predicted.write(number, classes),
            )

        _, loss, n_right, predictions = tf.while_loop(
            lambda number, *_: number < n_full // EVALUATION_BATCH,
            one_batch,
            (0, 0.0, 0, predictions),
            parallel_iterations=1,
        )
        predicted = tf.reshape(predictions.stack(), [-1])
        if n_full < n_images:
            more_loss, more_right, classes = forward(pixels[n_full:], labels[n_full:])
            loss, n_right = loss + more_loss, n_right + more_right
            predicted = tf.concat([predicted, classes], axis=0)
        return loss, n_right, predicted

    return evaluate
