"""`spot-edge bench predict`. It imports numpy and the interpreter only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spot_bench.commands.options import PATH, RunOptions, new_file, run_options, show
from spot_bench.run.progress import image_bar, progress_bar

if TYPE_CHECKING:
    from spot_bench.data.predictions import Predictions

__all__ = ["RUNTIMES", "predict"]

RUNTIMES = "spot_bench.runtimes"  # entry point group: the package that runs models in other runtimes registers here


@click.command(short_help="Save a model's predictions for every image.")
@click.argument("model", type=PATH)
@click.option("--embeddings", is_flag=True, help="Save the embeddings as well: 5 kB per image.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@click.option(
    "--views",
    type=click.Choice(("1", "2", "4", "8")),
    default="1",
    show_default=True,
    help="Average N turned and mirrored views of each image.",
)
@click.option("--in-runtime", is_flag=True, help="Run in the runtime that the file was made for, not the device's.")
@click.option("--tflite-runtime", "python", type=PATH, help="Python of an environment with tflite-runtime.")
@click.option("--browser", type=PATH, help="Folder in which 'npm install @litertjs/core' was run.")
@run_options
def predict(
    options: RunOptions,
    model: Path,
    embeddings: bool,
    resume: bool,
    views: str,
    in_runtime: bool,
    python: Path | None,
    browser: Path | None,
) -> None:
    """Save MODEL's predictions for every image as OUT/predictions.npz. `bench drift` reads this file.

    With --in-runtime, MODEL runs in the runtime that it was made for: tflite-micro, LiteRT.js in a browser, or
    tflite-runtime in another environment.
    """
    if options.out is None:
        raise click.UsageError("name a folder with --out")
    if in_runtime:
        if resume or options.runtime or options.threads or views != "1":
            raise click.UsageError("--in-runtime excludes --resume, --runtime, --threads and --views")
        _predict_in_runtime(options, options.out, model, embeddings, python, browser)
        return
    if python or browser:
        raise click.UsageError("--tflite-runtime and --browser need --in-runtime")
    from spot_edge.files import make_folder

    file = make_folder(options.out) / "predictions.npz" if resume else new_file(options.out, "predictions.npz")
    from spot_bench.data.predictions import predict_into

    images, classifier = options.read(), options.classifier(model, int(views))
    with image_bar(Path(classifier.model.name).name, len(images.items)) as progress:
        predictions = predict_into(file, classifier, images, progress, embeddings=embeddings, resume=resume)
    _show_saved(file, predictions, {}, options.as_json)


def _predict_in_runtime(
    options: RunOptions, out: Path, model: Path, embeddings: bool, python: Path | None, browser: Path | None
) -> None:
    from dataclasses import replace
    from importlib.metadata import entry_points

    from spot_bench.data.predictions import save_predictions
    from spot_edge.errors import install_hint

    found = list(entry_points(group=RUNTIMES))
    if not found:
        raise click.UsageError(f"--in-runtime is not installed. Install it {install_hint('convert')}")
    images = options.read()
    try:
        run = found[0].load()(model, images, python=python, browser=browser)
        file = new_file(out, "predictions.npz")
        predictions, proof = run(progress_bar)
    except ImportError as error:
        raise click.UsageError(f"{error.name} is not installed. Install it {install_hint('convert')}") from error
    if not embeddings:
        predictions = replace(predictions, embeddings=None, appearance=None)
    save_predictions(predictions, file)
    _show_saved(file, predictions, proof, options.as_json)


def _show_saved(file: Path, predictions: Predictions, proof: dict[str, Any], as_json: bool) -> None:
    images, skipped = len(predictions.truth), len(predictions.skipped)
    model = predictions.model
    line = f"{file}: {images} images, {skipped} skipped, in {model['runtime']} {model['version']}"
    if proof:
        line += f", {proof['images_proven_equal']} of them checked bit for bit in the runtime itself"
    show(model | {"images": images, "skipped": skipped} | proof, [line], as_json)
