"""`spot-edge train`. Keras is imported only when the command runs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

__all__ = ["need_keras", "say_result", "train"]

_EXTRAS = {"tensorflow": "train", "jax": "train-jax", "torch": "train-torch"}


def _list_recipes(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from spot_train.recipes.recipe import known_recipes, load_recipe

    for name in known_recipes():
        click.echo(f"{name:17} {load_recipe(name).description}")
    context.exit()


@click.command()
@click.argument("recipe")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="CSV manifest or folder of class folders.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the run.")
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="FILE|imagenet|none",
    help="Weights to start from: a .weights.h5 file, a run's model.keras, Keras' download, or nothing.",
)
@click.option("--cache", type=click.Path(path_type=Path), help="Keep decoded pictures in this folder [they go].")
@click.option("--resume", is_flag=True, help="Go on with the unfinished training of this run.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe: train.epochs=3.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_recipes, help="Known recipes.")
def train(
    recipe: str, data: Path, out: Path, weights: str, cache: Path | None, resume: bool, changes: tuple[str, ...]
) -> None:
    """Train a network by RECIPE and leave a run directory.

    RECIPE is a name that --list knows, or a TOML file of yours. Ctrl-C leaves a checkpoint that --resume goes on
    from; a training that was killed goes on from its last finished epoch.
    """
    from spot_train.recipes.recipe import load_recipe  # before Keras, so that a typo costs no seconds

    loaded = load_recipe(recipe, changes)
    need_keras()
    from spot_train.loop.fit import Interrupted
    from spot_train.loop.session import train_run, unfinished_folder

    def say(line: str) -> None:
        click.echo(line, err=True)

    try:
        metrics = train_run(loaded, data, out, weights=weights, cache=cache, resume=resume, say=say)
    except Interrupted:
        kept = unfinished_folder(out)
        say(f"interrupted; {kept} is kept: go on with --resume" if kept.exists() else "interrupted before any step")
        raise SystemExit(130) from None
    say_result(out, metrics)


def say_result(out: Path, metrics: dict[str, Any]) -> None:
    balanced = metrics["balanced_accuracy"]
    click.echo(
        f"{out}: balanced accuracy on validation {balanced['value']:.3f} "
        f"(95 % interval {balanced['low']:.3f} to {balanced['high']:.3f}, {metrics['images']} images)"
    )


def need_keras() -> None:
    """Import Keras and its backend, or say in one line what to install."""
    from spot_bench.run.quiet import quiet_start

    try:
        with quiet_start():
            import keras

            keras.ops.zeros(())  # looks for a GPU, which is loud where there is none
    except ImportError as error:
        raise click.UsageError(_missing(error.name or str(error))) from error
    except ValueError as error:  # Keras' answer to a KERAS_BACKEND that it does not know
        raise click.UsageError(f"{error}: KERAS_BACKEND is one of {', '.join(_EXTRAS)}") from error


def _missing(module: str) -> str:
    if module not in _EXTRAS:
        return f"{module} is not installed here: pip install 'spot-edge-toolkit[train]' (or [train-jax], [train-torch])"
    line = (
        f"Keras is to run on {module}, which is not installed here: pip install 'spot-edge-toolkit[{_EXTRAS[module]}]'"
    )
    there = [backend for backend in _EXTRAS if find_spec(backend)]
    return line + (f", or set KERAS_BACKEND={there[0]}, which is" if there else "")
