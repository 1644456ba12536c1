"""Optimize the network: first the head alone, then more layers. Resumes from a checkpoint."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from spot_train.data.augment import DRAWS, Blend, RandomAugmentation
from spot_train.data.batches import Batches, Examples, batch_size, class_counts, epoch_length
from spot_train.loop.checkpoint import Checkpoint, Epoch, Position
from spot_train.loop.losses import SetCrossentropy, set_accuracy
from spot_train.loop.optimizer import DeferredAverage, make_optimizer, plateau_rate
from spot_train.loop.progress import Progress, StopRequest
from spot_train.network.folding import fold_frozen
from spot_train.network.network import backbone_layers, build_body, freeze_batch_norm, freeze_first
from spot_train.recipes.recipe import Recipe

__all__ = ["EpochRunner", "Interrupted", "Phase", "Validate", "fit", "predict_logits", "set_trainable", "training_body"]

Validate = Callable[[Any], tuple[float, float]]  # from a body of the deployed size to its loss and balanced accuracy


class Interrupted(Exception):
    """Training was stopped by a signal after writing a checkpoint."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A series of epochs with one set of trainable layers and one learning rate."""

    name: str
    number: int
    epochs: int
    learning_rate: float
    sizes: tuple[int, ...]
    pretrain_epochs: int = 0

    def pretraining(self, epoch: int) -> bool:
        """Return whether `epoch` (from 0) uses the sources that only pretrain."""
        return epoch < self.pretrain_epochs

    def steps(self, epoch: int, examples: Examples, batch: int) -> int:
        """Return the number of complete batches of `epoch`."""
        return epoch_length(examples, self.pretraining(epoch)) // batch_size(examples, batch)

    def size(self, epoch: int) -> int:
        """Return the side of the crops in `epoch` (from 0). All sizes get the same number of epochs, in order."""
        return self.sizes[epoch * len(self.sizes) // self.epochs]


def fit(
    recipe: Recipe,
    examples: Examples,
    load_weights: Callable[[Any], None],
    validate: Validate,
    checkpoint: Checkpoint,
    progress: Progress,
    stop: StopRequest,
) -> tuple[Any, list[Epoch]]:
    """Train a body as `recipe` says. Return it in float32 at the deployed size, and the history of epochs.

    `load_weights` loads the pretrained weights into the fresh body. The state is saved in `checkpoint` after every
    epoch and when `stop` is raised, which then raises Interrupted. If `checkpoint` has a state, training resumes.
    """
    train, classes = recipe.train, examples.number_of_classes
    body = training_body(recipe, classes)
    load_weights(body)
    plain = build_body(recipe.network, classes)
    state = checkpoint.position()
    history = list(state.history) if state else []
    for phase in _phases(recipe):
        if state and (state.phase > phase.number or (state.phase == phase.number and state.epoch == phase.epochs)):
            continue
        set_trainable(body, recipe, phase)
        steps = [phase.steps(epoch, examples, train.batch) for epoch in range(phase.epochs)]
        optimizer = make_optimizer(train, sum(steps), steps[0], phase.learning_rate)
        optimizer.build(body.trainable_variables)
        start = Position(phase.number, 0, 0, history)
        if state and state.phase == phase.number:
            checkpoint.restore(body, optimizer)
            start = dataclasses.replace(state, history=history)
        elif state:  # the previous phase was the last one to finish
            checkpoint.restore(body, None)
        state = None
        epochs = EpochRunner(recipe, phase, examples, body, optimizer, progress, stop)
        for done in epochs.run(start):
            position = Position(phase.number, done.epoch, 0, history)
            validated = train.validate_every and (done.epoch % train.validate_every == 0 or done.epoch == phase.epochs)
            if validated:
                with optimizer.averaged(body.trainable_variables):
                    plain.set_weights(body.get_weights())
                loss, balanced = validate(plain)
                done = dataclasses.replace(done, val_loss=loss, val_balanced_accuracy=balanced)
                if train.keep == "best" and all(balanced > (e.val_balanced_accuracy or -1) for e in history):
                    checkpoint.keep_best(plain)
            history.append(done)
            if done.epoch == phase.epochs:
                optimizer.apply_average(body.trainable_variables)
            checkpoint.save(body, optimizer, position)
            progress.epoch(done)
            if stop.raised:
                raise Interrupted
        if epochs.unfinished is not None:
            checkpoint.save(body, optimizer, epochs.unfinished)
            raise Interrupted
    if state:
        checkpoint.restore(body, None)
    plain.set_weights(body.get_weights())
    if train.keep == "best":
        checkpoint.load_best(plain)
    if train.shift_to_balance:
        layer = plain.get_layer("evidence")
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, bias - train.shift_to_balance * _log_prior(examples)])
    return plain, history


def training_body(recipe: Recipe, classes: int) -> Any:
    """Build the body for training: for images of any size, in the recipe's precision."""
    keras.utils.set_random_seed(recipe.train.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.train.precision)
    try:
        return build_body(recipe.network, classes, any_size=True)
    finally:
        keras.config.set_dtype_policy(policy)


def predict_logits(body: Any, pixels: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
    """Return the logits (the mean evidence) of every image. All batches have the same shape, so Keras compiles once."""
    batch = min(batch, len(pixels))
    logits = []
    for start in range(0, len(pixels), batch):
        images = np.asarray(pixels[start : start + batch])
        missing = batch - len(images)
        images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
        evidence = keras.ops.convert_to_numpy(body.predict_on_batch(images)["evidence"])
        logits.append(np.asarray(evidence, np.float32).mean(axis=(1, 2))[: batch - missing])
    return np.concatenate(logits)


def _phases(recipe: Recipe) -> list[Phase]:
    train = recipe.train
    sizes = train.sizes or (recipe.network.size,)
    phases = [
        Phase("head", 0, train.head_epochs, train.head_learning_rate, sizes[:1], train.head_epochs),
        Phase("all", 1, train.epochs, train.learning_rate, sizes, train.pretrain_epochs),
    ]
    return [phase for phase in phases if phase.epochs]


def set_trainable(body: Any, recipe: Recipe, phase: Phase) -> None:
    """Make the layers that learn in `phase` trainable, and freeze the others."""
    for layer in backbone_layers(body):
        layer.trainable = phase.name != "head"
    if phase.name == "head":
        return
    if recipe.train.batch_norm == "frozen":
        freeze_batch_norm(body)
    else:
        for layer in body.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = recipe.train.batch_norm_momentum
    freeze_first(body, recipe.train.frozen_layers)


@dataclass
class EpochRunner:
    """Run the epochs of one phase. `unfinished` is the position in an interrupted epoch."""

    recipe: Recipe
    phase: Phase
    examples: Examples
    body: Any
    optimizer: DeferredAverage
    progress: Progress
    stop: StopRequest
    unfinished: Position | None = None
    model: Any = None  # the compiled model for the current size

    def run(self, start: Position) -> Iterator[Epoch]:
        """Run the epochs from `start` on, and yield each when it is done."""
        built = 0
        position = start
        for epoch in range(start.epoch, self.phase.epochs):
            size = self.phase.size(epoch)
            if size != built:
                self.model, augment = _compiled(self.recipe, self.body, self.optimizer, size, self.examples)
                built = size
            if self.recipe.train.schedule == "plateau":
                of_phase = [e for e in start.history if e.phase == self.phase.name]
                self.optimizer.learning_rate = plateau_rate(of_phase, self.phase.learning_rate, self.recipe.train)
            position = self._epoch(augment, epoch, size, position)
            if position.step:
                self.unfinished = position
                return
            assert position.last is not None
            yield position.last

    def _epoch(self, augment: RandomAugmentation, epoch: int, size: int, position: Position) -> Position:
        first = position.step
        seed = (self.recipe.train.seed, self.phase.number, epoch)
        augment.reseed((*seed, first))
        batches = Batches(self.examples, self.recipe.train, seed, first, self.phase.pretraining(epoch))
        batch = self.recipe.train.batch
        steps = self.phase.steps(epoch, self.examples, batch)
        left = _weighted_steps(self.phase, epoch, self.examples, batch)
        counter = _StepCallback(self.progress, self.stop, self.phase, epoch, first, steps, left, batch)
        rate = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        logs = self.model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[counter]).history
        done = counter.done - first
        share = done / (first + done)
        loss = position.loss * (1 - share) + logs["loss"][0] * share
        accuracy = position.accuracy * (1 - share) + logs["accuracy"][0] * share
        seconds = position.seconds + time.perf_counter() - counter.start
        history = position.history
        if counter.done < steps:
            return Position(self.phase.number, epoch, counter.done, history, loss, accuracy, seconds)
        images = steps * batch_size(self.examples, batch)
        ended = Epoch(
            self.phase.name, epoch + 1, self.phase.epochs, size, rate, loss, accuracy, seconds, images / seconds
        )
        return Position(self.phase.number, epoch + 1, 0, history, last=ended)


def _weighted_steps(phase: Phase, epoch: int, examples: Examples, batch: int) -> float:
    """Return the remaining steps of the phase after `epoch`, converted to steps at this epoch's image size."""
    later = range(epoch + 1, phase.epochs)
    return sum(phase.steps(e, examples, batch) * (phase.size(e) / phase.size(epoch)) ** 2 for e in later)


class _StepCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Count and report steps, and stop between two of them on request."""

    def __init__(
        self,
        progress: Progress,
        stop: StopRequest,
        phase: Phase,
        epoch: int,
        first: int,
        steps: int,
        later: float,
        batch: int,
    ) -> None:
        super().__init__()
        self._progress, self._stop, self._phase, self._epoch = progress, stop, phase, epoch
        self._steps, self._later, self._batch = steps, later, batch
        self.done = first
        self.start = self._warm = time.perf_counter()
        self._warm_at = first

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        now = time.perf_counter()
        if self._warm == self.start:  # the first step compiles
            self._warm, self._warm_at = now, self.done
        else:
            seconds = (now - self._warm) / (self.done - self._warm_at)
            self._progress.step(
                self._phase.name,
                self._epoch + 1,
                self._phase.epochs,
                self.done / self._steps,
                self._batch / seconds,
                (self._steps - self.done + self._later) * seconds,
            )
        if self._stop.raised:
            self.model.stop_training = True


def _compiled(
    recipe: Recipe, body: Any, optimizer: DeferredAverage, size: int, examples: Examples
) -> tuple[Any, RandomAugmentation]:
    """Compile the training model around `body` for one size of crops. The layers that learn must be set before."""
    train, side = recipe.train, recipe.train.stored_size
    augment = RandomAugmentation(recipe.augment, size)
    inputs = [keras.Input((side, side, 3), dtype="uint8")]
    if examples.views is not None:
        inputs.append(keras.Input((DRAWS,), dtype="float32"))
    images = augment(*inputs)
    if examples.views is not None and (train.mixup or train.cutmix):
        inputs.append(keras.Input((6,), dtype="float32"))
        images = Blend(dtype="float32", trainable=False)(images, inputs[-1])
    logits = keras.layers.GlobalAveragePooling2D(dtype="float32")(fold_frozen(body)(images)["evidence"])
    if train.logit_adjustment:
        offset = [float(value) for value in train.logit_adjustment * _log_prior(examples)]
        logits = keras.layers.Rescaling(1.0, offset, dtype="float32")(logits)
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], logits)
    losses = {
        "crossentropy": keras.losses.CategoricalCrossentropy,
        "focal": keras.losses.CategoricalFocalCrossentropy,
    }
    loss: Any = losses[train.loss](from_logits=True, label_smoothing=train.label_smoothing)
    accuracy: Any = "accuracy"
    if examples.sets:
        classes = examples.number_of_classes
        loss = SetCrossentropy(examples.sets, classes, train.label_smoothing)
        accuracy = set_accuracy(examples.sets, classes)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        weighted_metrics=[],
        metrics=[accuracy],
        jit_compile=keras.config.backend() == "jax",
    )
    return model, augment


def _log_prior(examples: Examples) -> NDArray[np.float32]:
    """Return the logarithm of each class's share of the training images."""
    counts = class_counts(examples.classes, examples.number_of_classes, examples.sets, examples.parts)
    counts = np.maximum(counts, 1)
    return np.asarray(np.log(counts / counts.sum()), np.float32)
