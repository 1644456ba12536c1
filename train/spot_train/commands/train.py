"""`spot-edge train`. Keras is imported only when the command runs."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from spot_edge.errors import install_hint

__all__ = ["print_result", "require_keras", "train"]

_PATH = click.Path(path_type=Path)
_EXTRAS = {"tensorflow": "train", "jax": "train-jax", "torch": "train-torch"}


def _list_recipes(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from spot_train.recipes.recipe import known_recipes, load_recipe

    for name in known_recipes():
        click.echo(f"{name:17} {load_recipe(name).description}")
    context.exit()


@click.command(short_help="Train a network and write a run directory.")
@click.argument("recipe")
@click.option(
    "--data",
    type=_PATH,
    required=True,
    help="CSV manifest, or folder of class folders.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME=MANIFEST",
    help="The images of a source of the recipe. Repeatable.",
)
@click.option("--out", type=_PATH, required=True, help="Run directory to create.")
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="FILE|imagenet|none",
    help="Pretrained weights: a .weights.h5 or model.keras file, Keras' ImageNet weights, or none.",
)
@click.option("--cache", type=_PATH, help="Cache decoded images here [default: a temporary folder].")
@click.option("--resume", is_flag=True, help="Resume the interrupted training of this run.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the recipe, for example train.epochs=3. Repeatable.",
)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_recipes, help="List the recipes and exit."
)
def train(
    recipe: str,
    data: Path,
    sources: tuple[str, ...],
    out: Path,
    weights: str,
    cache: Path | None,
    resume: bool,
    changes: tuple[str, ...],
) -> None:
    """Train a network from RECIPE, and write a run directory.

    RECIPE is a name from --list, or your own TOML file. Ctrl-C saves a checkpoint, and --resume continues from it.
    After a crash, --resume continues from the last finished epoch.
    """
    from spot_train.recipes.recipe import load_recipe  # before the slow import of Keras, so that a typo fails at once

    loaded = load_recipe(recipe, changes)
    named = _sources(sources)
    require_keras()
    from spot_train.loop.fit import Interrupted
    from spot_train.loop.session import train_run, unfinished_folder

    def log(line: str) -> None:
        click.echo(line, err=True)

    try:
        metrics = train_run(loaded, data, out, weights=weights, sources=named, cache=cache, resume=resume, log=log)
    except Interrupted:
        kept = unfinished_folder(out)
        log(
            f"interrupted; resume with --resume ({kept} holds the state)"
            if kept.exists()
            else "interrupted before training"
        )
        raise SystemExit(130) from None
    print_result(out, metrics)


def _sources(arguments: tuple[str, ...]) -> dict[str, Path]:
    named = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or not name or not path:
            raise click.BadParameter(f"{argument!r} is not NAME=MANIFEST", param_hint="--source")
        if name in named:
            raise click.BadParameter(f"{name} is given twice", param_hint="--source")
        named[name] = Path(path)
    return named


def print_result(out: Path, metrics: dict[str, Any]) -> None:
    """Print the balanced accuracy of a finished run."""
    balanced = metrics["balanced_accuracy"]
    click.echo(
        f"{out}: balanced accuracy on validation {balanced['value']:.3f} "
        f"(95 % interval {balanced['low']:.3f} to {balanced['high']:.3f}, {metrics['images']} images)"
    )


def require_keras() -> None:
    """Import Keras and its backend; if one is missing, the usage error says what to install."""
    from spot_bench.run.quiet import quiet_start

    try:
        with quiet_start():
            import keras

            import_module("matplotlib")  # draws the charts of a run, the first one after an epoch
            keras.ops.zeros(())  # makes the backend look for a GPU, which prints warnings if there is none
    except ImportError as error:
        raise click.UsageError(_missing(error.name or str(error))) from error
    except ValueError as error:  # Keras does not know this KERAS_BACKEND
        raise click.UsageError(f"{error}: KERAS_BACKEND must be one of {', '.join(_EXTRAS)}") from error


def _missing(module: str) -> str:
    if module not in _EXTRAS:
        return f"{module} is not installed. Install it {install_hint('train')} (or train-jax, train-torch)"
    line = f"the Keras backend {module} is not installed. Install it {install_hint(_EXTRAS[module])}"
    available = [backend for backend in _EXTRAS if find_spec(backend)]
    return line + (f", or set KERAS_BACKEND={available[0]}, which is installed" if available else "")
