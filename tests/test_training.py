"""Training for real, on the bundled digits; and against Keras' own `fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from mnist_lab import data
from mnist_lab.config import OPTIONAL, TrainConfig, next_stop
from mnist_lab.errors import DataError, DeviceError, SettingsError
from mnist_lab.model import build_model
from mnist_lab.training import open_trainer
from mnist_lab.training.compiled import dropped
from mnist_lab.training.trainer import Trainer, hyperparameters

if TYPE_CHECKING:
    from mnist_lab.records import Checkpoint, Epoch, Result, Step

# A step so small that the weights stay what they were drawn to be.
STANDSTILL = TrainConfig(learning_rate=1e-30, batch_size=100, num_filters=4, epochs=1)
SMALL = TrainConfig(learning_rate=0.05, batch_size=32, num_filters=4, epochs=2)
# A decay so large that a step without it would show.
BEYOND: dict[str, Any] = {"momentum": 0.9, "dropout": 0.25, "weight_decay": 0.01}
UPDATES = pytest.mark.parametrize("update", [{}, BEYOND], ids=["sheet", "beyond"])


@pytest.fixture(scope="module")
def trainer(sample: data.Dataset) -> Trainer:
    """One trainer, which every test may use: a training leaves nothing behind for the next."""
    return Trainer(sample.training)


def floats(split: data.Split) -> NDArray[np.floating[Any]]:
    """The images as the network takes them."""
    return (split.images.astype(np.float32) / 255)[..., np.newaxis]


def numbers(epochs: list[Epoch]) -> list[tuple[float | None, ...]]:
    """What was measured, without the times."""
    return [(e.train_loss, e.train_error, e.valid_loss, e.valid_error) for e in epochs]


@pytest.fixture(scope="module")
def opened(sample: data.Dataset) -> Callable[..., Any]:
    """What opens a trainer of the bundled digits as a worker does."""

    def opened(**more: Any) -> Any:
        arguments = {"digests": sample.info.digests, "precision": "float32", "device": "cpu"}
        return open_trainer(source=data.SAMPLE, **(arguments | more))

    return opened


def fitted(trainer: Trainer, config: TrainConfig, *, seed: int) -> list[Epoch]:
    """The epochs of a training, up to the first whose loss is not finite."""
    trainer.begin(config, seed=seed)
    epochs: list[Epoch] = []
    while not epochs or (epochs[-1].epoch < config.epochs and not epochs[-1].diverged):
        position = epochs[-1].epoch if epochs else 0
        epochs.append(trainer.advance(next_stop(position, [config.epochs])))
    return epochs


def measured(trainer: Trainer, config: TrainConfig = SMALL, seed: int = 1, **update: Any) -> Any:
    """What a training with changes in its configuration measures."""
    return numbers(fitted(trainer, config.model_copy(update=update), seed=seed))


def drained(
    train: Callable[..., Step],
    config: TrainConfig,
    start: Checkpoint | None = None,
    stops: Sequence[float] = (),
) -> tuple[list[Checkpoint], tuple[Result, bytes | None]]:
    """Step after step until the end: the checkpoints that are new, and what came of it.

    Steps end after each epoch, and at the `stops`.
    """
    made = []
    while True:
        step = train(config, 1, start, next_stop(start.epoch.epoch if start else 0, stops))
        if step.checkpoint is not start:
            made.append(step.checkpoint)
        if step.result is not None:
            return made, (step.result, step.model)
        start = step.checkpoint


def test_small_network_learns_the_digits(trainer: Trainer) -> None:
    """A few epochs on 3,572 real digits bring the validation error below 10 %."""
    config = TrainConfig(learning_rate=0.1, batch_size=16, num_filters=8, epochs=4)
    epochs = fitted(trainer, config, seed=1)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4]
    assert epochs[-1].valid_error is not None
    assert epochs[-1].valid_error < 0.10
    losses = [epoch.train_loss for epoch in epochs]
    assert losses == sorted(losses, reverse=True)  # type: ignore[type-var]


def test_epoch_takes_every_image_once(trainer: Trainer, sample: data.Dataset) -> None:
    """With standing weights the epoch's means are those over all images, the last batch too."""
    assert len(sample.training.train) % STANDSTILL.batch_size != 0
    (epoch,) = fitted(trainer, STANDSTILL, seed=3)
    model = build_model(STANDSTILL, seed=3)
    for split, loss, error in (
        (sample.training.train, epoch.train_loss, epoch.train_error),
        (sample.training.valid, epoch.valid_loss, epoch.valid_error),
    ):
        outputs = model.predict(floats(split), batch_size=500, verbose=0)
        picked = outputs[np.arange(len(split)), split.labels]
        assert loss == pytest.approx(-np.log(picked).mean(), rel=1e-5)
        assert error == pytest.approx((outputs.argmax(axis=1) != split.labels).mean(), abs=1e-9)


@pytest.mark.parametrize(
    ("learning_rate", "momentum", "weight_decay"),
    # A pixel that rounding makes the largest of its pool changes the gradient; small steps keep
    # that far below what a wrong momentum or decay would change.
    [(0.05, 0.0, 0.0), (0.001, 0.9, 0.0), (0.001, 0.0, 0.1), (0.001, 0.9, 0.1)],
    ids=["plain", "momentum", "weight decay", "both"],
)
def test_epoch_is_what_keras_does(
    sample: data.Dataset, learning_rate: float, momentum: float, weight_decay: float
) -> None:
    """One epoch gives the weights that `model.fit` gives on the same images in the same order.

    `fit` takes the mean over the last batch, which is not full; weights undo that.
    """
    trainer, seed = Trainer(sample.training), 5
    others = {"momentum": momentum, "weight_decay": weight_decay}
    config = SMALL.model_copy(update={"epochs": 1, "learning_rate": learning_rate, **others})
    measured(trainer, config, seed)
    model = build_model(config, seed=seed)
    optimizer = keras.optimizers.SGD(learning_rate, momentum, weight_decay=weight_decay or None)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    train = sample.training.train
    order = np.random.default_rng([seed, 1]).permutation(len(train))
    n_last = len(train) % config.batch_size
    assert n_last
    weights = np.ones(len(train), np.float32)
    weights[-n_last:] = n_last / config.batch_size
    how: dict[str, Any] = {"batch_size": config.batch_size, "shuffle": False, "verbose": 0}
    model.fit(floats(train)[order], train.labels[order], sample_weight=weights, **how)
    for mine, theirs in zip(trainer.weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-4)


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.proof)]
)
@UPDATES
def test_training_goes_on_from_a_checkpoint_to_the_same_numbers(
    opened: Callable[..., Any], update: dict[str, Any], precision: str
) -> None:
    """Whoever goes on from a checkpoint measures, to the last bit, what the first would have."""
    config = SMALL.model_copy(update={"epochs": 3, **update})
    arguments: dict[str, Any] = {"precision": precision, "final": True, "keep_model": True}
    whole, (outcome, _) = drained(opened(**arguments), config)
    for start in whole:
        rest, (again, model) = drained(opened(**arguments), config, start)
        done = [c.epoch for c in whole if c.epoch.epoch <= start.epoch.epoch]
        done += [c.epoch for c in rest]
        assert numbers(done) == numbers([c.epoch for c in whole])
        assert again == outcome
        assert model is not None


@UPDATES
def test_a_pause_within_an_epoch_changes_nothing(
    opened: Callable[..., Any], update: dict[str, Any]
) -> None:
    """In however many pieces an epoch is trained, and by whom, its numbers are the same."""
    config = SMALL.model_copy(update=update)
    whole, (outcome, _) = drained(opened(final=True), config)
    for stops in ((1 / 16,), (0.001, 1 / 16, 1 / 4, 0.9999), (1.5,), (0.3, 0.7, 1.1)):
        pieces, (again, _) = drained(opened(final=True), config, stops=stops)
        at_whole = [one for one in pieces if one.epoch.epoch in {1, 2}]
        assert numbers([one.epoch for one in at_whole]) == numbers([one.epoch for one in whole])
        assert [one.epoch.n_valid for one in at_whole] == [None, None]
        assert again == outcome
        for start, piece in pairwise(pieces):  # by another worker each
            step = opened()(config, 1, start, next_stop(start.epoch.epoch, stops))
            assert numbers([step.checkpoint.epoch]) == numbers([piece.epoch])


def test_a_part_of_an_epoch(sample: data.Dataset) -> None:
    """It ends on a whole step, at least one, and validates on a fixed part of the images."""
    trainer = Trainer(sample.training)
    n_train = len(sample.training.train.labels)
    for part in (1e-6, 1 / 16, 0.5):
        n_steps = max(round(part * n_train / 32), 1)
        trainer.begin(SMALL, seed=1)
        epoch = trainer.advance(part)
        assert epoch.epoch == part
        trained = epoch.train_error * n_steps * 32
        assert trained == pytest.approx(round(trained), abs=1e-6)
    at_once = trainer.advance(1)
    trainer.begin(SMALL, seed=1)
    assert numbers([trainer.advance(1)]) == numbers([at_once])


def test_within_an_epoch_a_part_of_the_images_validates(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first ones, and the record says how many; after a whole epoch it is all of them."""
    monkeypatch.setattr("mnist_lab.training.trainer.N_VALID_WITHIN", 100)
    trainer.begin(SMALL, seed=1)
    early, late = trainer.advance(0.5), trainer.advance(1)
    assert (early.n_valid, late.n_valid) == (100, None)
    assert early.valid_error is not None
    assert early.valid_error * 100 == pytest.approx(round(early.valid_error * 100))


def test_shared_data_train_to_the_same_numbers(
    sample: data.Dataset, opened: Callable[..., Any]
) -> None:
    """A worker that maps the data of its machine measures what one that loaded them does."""
    loaded, (outcome, _) = drained(opened(final=True), SMALL)
    with data.share(sample.training, sample.test) as file:
        train = opened(final=True, shared=file)
    mapped, (again, _) = drained(train, SMALL)
    assert numbers([c.epoch for c in mapped]) == numbers([c.epoch for c in loaded])
    assert again == outcome


def test_shared_data_are_not_copied(sample: data.Dataset) -> None:
    """On the CPU TensorFlow reads the mapped pixels in place: what changes there it sees."""
    with data.share(sample.training, sample.test) as file:
        training, _ = data.attach(file)
    trainer = Trainer(training)
    (before,) = fitted(trainer, STANDSTILL, seed=1)
    training.train.images[:] = 0
    training.valid.labels[:] = (training.valid.labels + 1) % data.N_CLASSES
    (after,) = fitted(trainer, STANDSTILL, seed=1)
    assert numbers([before])[0][0] != numbers([after])[0][0]
    assert before.valid_error != after.valid_error


@UPDATES
def test_one_program_trains_all_configurations(
    sample: data.Dataset, update: dict[str, Any]
) -> None:
    """Other filters, batches and rates are compiled in nowhere: nothing is traced for them.

    The same gives the same to the last bit, whatever was trained before; other seeds differ.
    TensorFlow keeps what is registered with it for ever, and with it whole graphs; nothing is.
    """
    from tensorflow.python.framework import ops

    registered = ops.gradient_registry._registry
    n_registered = len(registered)
    trainer = Trainer(sample.training)
    alone = measured(trainer, **update)
    others: dict[str, Any] = {name: BEYOND[name] / 2 for name in update}
    others |= {"num_filters": 5, "filter_size": 4, "batch_size": 50, "learning_rate": 0.1}
    assert measured(trainer, **others) != alone
    assert measured(trainer, seed=2, **update) != alone
    trainer.score(sample.test)
    assert measured(trainer, **update) == alone
    (train,) = trainer._training.values()
    for compiled in (train, trainer._evaluate):
        assert compiled.experimental_get_tracing_count() == 1
    assert len(registered) == n_registered


@pytest.mark.proof
@pytest.mark.parametrize("name", OPTIONAL)
def test_trainings_of_other_kinds_know_nothing_of_each_other(trainer: Trainer, name: str) -> None:
    """Each has its own momentum, weight decay and dropout, or none, whichever was first."""
    updates: list[dict[str, Any]] = [{}, {name: BEYOND[name]}, {name: BEYOND[name] / 2}]
    plain, first, second = (measured(trainer, epochs=1, **one) for one in updates)
    assert plain != first != second != plain
    assert measured(trainer, epochs=1, **updates[1]) == first
    assert measured(trainer, epochs=1) == plain


def test_each_step_and_each_epoch_drops_other_units(sample: data.Dataset) -> None:
    """With standing weights only the dropout moves the loss of the same images.

    It drops what Keras' layer drops from the same seed, and its seeds end where Keras' do.
    """
    config = STANDSTILL.model_copy(update={"dropout": 0.5, "epochs": 2})
    trainer = Trainer(sample.training)
    first, second = fitted(trainer, config, seed=3)
    assert first.train_loss != pytest.approx(second.train_loss, rel=1e-4)
    assert first.valid_loss == second.valid_loss

    units = np.ones((1000, 128), np.float32)
    layer = keras.layers.Dropout(0.3)
    layer.build(units.shape)
    for seed in ([1, 2], [2**31 - 1, 2**31 - 3]):
        layer.seed_generator.state.assign(seed)
        given = hyperparameters(config.model_copy(update={"dropout": 0.3}), np.array(seed))
        drawn = [dropped(tf.constant(units), given, tf.constant(step)).numpy() for step in (0, 1)]
        for mine in drawn:
            np.testing.assert_array_equal(mine, layer(units, training=True))
        assert (drawn[0] == drawn[1]).mean() == pytest.approx(0.58, abs=0.01)


@pytest.mark.proof
def test_dropout_makes_training_harder_and_leaves_the_validation_alone(trainer: Trainer) -> None:
    """The first epoch's training loss is higher with it; the digits are still learnt."""
    config = TrainConfig(learning_rate=0.1, batch_size=16, num_filters=8, epochs=4)
    losses = []
    for dropout in (0.0, 0.5, 0.8):
        epochs = fitted(trainer, config.model_copy(update={"dropout": dropout}), seed=1)
        assert epochs[0].train_loss is not None
        losses.append(epochs[0].train_loss)
        assert epochs[-1].valid_error is not None
        assert epochs[-1].valid_error < 0.10
    assert losses == sorted(losses)


def test_mistakes(trainer: Trainer, sample: data.Dataset) -> None:
    """The most confident mistakes are those that the model itself makes, with its confidence."""
    measured(trainer)
    score = trainer.score(sample.test)
    network = build_model(SMALL, seed=1)
    network.set_weights(trainer.weights())
    probabilities = network(floats(sample.test), training=False).numpy()
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != sample.test.labels)
    n_images = len(sample.test.labels)
    assert 0 < len(wrong) == round(score.test_error * n_images)
    assert {one.image for one in score.mistakes} <= {*wrong.tolist()}
    assert len(score.mistakes) == min(len(wrong), 100)
    for one in score.mistakes:
        assert (one.true, one.predicted) == (sample.test.labels[one.image], predicted[one.image])
        assert one.confidence == pytest.approx(probabilities[one.image].max(), abs=1e-4)
    confidences = [one.confidence for one in score.mistakes]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[0] == pytest.approx(probabilities[wrong].max(), abs=1e-4)


def test_mistakes_of_what_diverged(trainer: Trainer, sample: data.Dataset) -> None:
    """Probabilities that are not numbers are no confidence, and stand in no record."""
    measured(trainer, STANDSTILL)
    for weight in trainer._weights:
        weight.assign(np.full_like(weight.numpy(), np.nan))
    assert trainer.score(sample.test).mistakes == ()


def test_scores_and_models_ignore_dropout(
    trainer: Trainer, sample: data.Dataset, tmp_path: Path
) -> None:
    """Scoring twice gives the same, which the saved weights and `model.keras` give without it."""
    measured(trainer, **BEYOND)
    score = trainer.score(sample.test)
    assert trainer.score(sample.test) == score
    plain = build_model(SMALL, seed=1)
    plain.set_weights(trainer.weights())
    (tmp_path / "model.keras").write_bytes(trainer.model_bytes())
    for model in (plain, keras.models.load_model(tmp_path / "model.keras")):
        predicted = model.predict(floats(sample.test), verbose=0).argmax(axis=1)
        assert (predicted != sample.test.labels).mean() == pytest.approx(score.test_error)


def test_divergence_ends_a_training_and_is_a_result(opened: Callable[..., Any]) -> None:
    """A loss that is not finite is null, what it predicts is wrong, and no epoch follows.

    Interrupted between that epoch and the result, a trial ends with that epoch.
    """
    config = SMALL.model_copy(update={"learning_rate": 1e6})
    train = opened()
    (checkpoint,), (outcome, _) = drained(train, config)
    epoch = checkpoint.epoch
    assert (epoch.train_loss, epoch.valid_loss, epoch.valid_error) == (None, None, 1.0)
    assert outcome.diverged
    assert drained(train, config, checkpoint) == ([], (outcome, None))


@pytest.mark.proof
def test_bfloat16_learns_like_float32(trainer: Trainer, sample: data.Dataset) -> None:
    """Keras' mixed policy reaches nearly the same error, and is not the same computation."""
    config = TrainConfig(learning_rate=0.1, batch_size=32, epochs=3)
    for update in ({}, BEYOND | {"learning_rate": 0.02, "weight_decay": 1e-4}):
        exact = measured(trainer, config, **update)
        rounded = measured(Trainer(sample.training, precision="bfloat16"), config, **update)
        assert exact != rounded
        assert rounded[-1][-1] == pytest.approx(exact[-1][-1], abs=0.05)


def test_refused(trainer: Trainer, sample: data.Dataset, opened: Callable[..., Any]) -> None:
    """A batch larger than the data, an absent GPU, the data of another run."""
    with pytest.raises(SettingsError, match=r"size 5,000 is larger than the 3,572 training images"):
        trainer.begin(SMALL.model_copy(update={"batch_size": 5000}), seed=1)
    if not tf.config.list_physical_devices("GPU"):
        with pytest.raises(DeviceError, match="TensorFlow sees no GPU"):
            Trainer(sample.training, device="gpu")
    with pytest.raises(DataError, match="not the data set that the run began with"):
        opened(digests={})


def test_final_training_scores_the_test_images(
    sample: data.Dataset, opened: Callable[..., Any]
) -> None:
    """A test counts each test image once, and its error is the confusion matrix's."""
    config = TrainConfig(learning_rate=0.1, batch_size=16, num_filters=8, epochs=3)
    train = opened(fit_on="train+valid", final=True, keep_model=True)
    checkpoints, (outcome, model) = drained(train, config)
    assert [one.epoch.valid_error for one in checkpoints] == [None] * 3
    assert outcome.loss == checkpoints[-1].epoch.train_error
    assert outcome.reason is not None
    assert outcome.test is not None
    assert "trained on all training images" in outcome.reason
    confusion = np.array(outcome.test.confusion)
    assert confusion.sum(axis=1).tolist() == np.bincount(sample.test.labels).tolist()
    assert outcome.test.test_error == pytest.approx(1 - np.trace(confusion) / confusion.sum())
    assert outcome.test.test_error < 0.15
    assert model is not None
