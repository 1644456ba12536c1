"""Compare the speed of the whole training loop with its compiled step: `python -m experiments.loop_speed`.

Both alternate in one process and use the model that `spot-edge train` compiles. The loop reads decoded images from
disk, mixes them and reports progress; the bare step repeats one batch in memory.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import keras
import numpy as np

from spot_bench.stats.intervals import bootstrap
from spot_train.data.batches import Batches, Examples
from spot_train.loop.checkpoint import Position
from spot_train.loop.fit import EpochRunner, Phase, set_trainable, training_body
from spot_train.loop.optimizer import make_optimizer
from spot_train.loop.progress import Progress, StopRequest
from spot_train.recipes.recipe import load_recipe


def measure(recipe_name: str, changes: tuple[str, ...], steps: int, rounds: int) -> tuple[list[float], float]:
    """Return the loop's speed as a share of the bare step's for each round, and the bare step's median images/s."""
    recipe = load_recipe(recipe_name, changes)
    train, classes = recipe.train, 7
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npy"
        side, number = train.stored_size, steps * train.batch
        np.save(path, random.integers(0, 256, (number, side, side, 3), np.uint8))
        labels = random.integers(0, classes, number)
        targets = np.eye(classes, dtype=np.float32)[labels]
        examples = Examples(np.load(path, mmap_mode="r"), labels, targets, np.ones(number, np.float32))
        body = training_body(recipe, classes)
        phase = Phase("all", 1, rounds + 1, train.learning_rate, ((train.sizes or (recipe.network.size,))[-1],))
        set_trainable(body, recipe, phase)
        optimizer = make_optimizer(train, 1000, 100, train.learning_rate)
        optimizer.build(body.trainable_variables)
        runner = EpochRunner(recipe, phase, examples, body, optimizer, Progress(click.echo), StopRequest())
        batch = [keras.ops.convert_to_tensor(part) for part in Batches(examples, train, (0,))[0]]
        shares, speeds = [], []
        for done in runner.run(Position(1, 0, 0, [])):
            start = time.perf_counter()
            for _ in range(steps):
                runner.model.train_on_batch(batch[0], batch[1], sample_weight=batch[2])
            bare = time.perf_counter() - start
            shares.append(bare / done.seconds)
            speeds.append(steps * train.batch / bare)
        return shares[1:], float(np.median(speeds[1:]))  # the first round includes compilation


@click.command()
@click.option("--recipe", default="spot", show_default=True)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
@click.option("--steps", default=12, show_default=True, help="Steps per round.")
@click.option("--rounds", default=7, show_default=True)
def main(recipe: str, changes: tuple[str, ...], steps: int, rounds: int) -> None:
    """Print the loop's speed as a share of the bare compiled step's."""
    shares, speed = measure(recipe, changes, steps, rounds)
    estimate = bootstrap(lambda values: float(np.median(values)), [str(i) for i in range(rounds)], np.array(shares))
    click.echo(
        f"the loop reaches {estimate.value:.2f} of the bare step's speed "
        f"(median of {rounds} rounds of {steps} steps, 95 % interval {estimate.low:.2f} to {estimate.high:.2f}), "
        f"which is {speed:.0f} images/s"
    )


if __name__ == "__main__":
    main()
