"""`spot-edge convert` and `spot-edge answers`. TensorFlow is imported only when the first runs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import click

from spot_bench.commands.options import PATH, Images, images_alone, new_file, show
from spot_bench.run.progress import progress_bar
from spot_convert.variants.catalog import DEFAULT, ENGINES, TFLITE_MICRO, VARIANTS, choose_variants
from spot_edge.errors import CheckError, ModelError

__all__ = ["answers", "convert"]

_TFLITE_RUNTIME = click.option(
    "--tflite-runtime", "python", type=PATH, help="Python of an environment with tflite-runtime."
)
_BROWSER = click.option("--browser", type=PATH, help="Folder in which 'npm install @litertjs/core' was run.")


def _show_variants(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        for name, variant in VARIANTS.items():
            click.echo(f"{name:<23} {variant.about}; by {' or '.join(variant.engines)}, in {variant.runtime}")
        context.exit()


@click.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder for the model files and report.json.")
@click.option("--data", type=PATH, help="Folder the run's images lie in [as the run says].")
@click.option("--variants", default=",".join(DEFAULT), show_default=True, help="Comma-separated; --list shows all.")
@click.option("--engine", metavar="|".join(ENGINES), help="Who quantizes [the better one for each variant].")
@_TFLITE_RUNTIME
@_BROWSER
@click.option("--qat", type=PATH, help="Python of an environment with TF Model Optimization, for qat-int8.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_show_variants, help="The variants.")
def convert(
    run: Path,
    out: Path,
    data: Path | None,
    variants: str,
    engine: str | None,
    python: Path | None,
    browser: Path | None,
    qat: Path | None,
) -> None:
    """Turn the run directory RUN into verified model files, and say what quantizing did to them."""
    names = [name.strip() for name in variants.split(",") if name.strip()]
    choose_variants(names, engine)  # refused now rather than after TensorFlow was loaded
    from spot_bench.run.quiet import quiet_start

    # What a run was trained under is no matter here; the converter is TensorFlow's.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        with quiet_start():
            from spot_convert.runtimes.predictions import Places
            from spot_convert.variants.family import FAILED, convert_run
    except ImportError as error:
        raise _not_installed(error) from error
    from spot_convert.variants.table import family_table

    made = convert_run(
        run, out, data=data, variants=names, engine=engine, places=Places(python, browser, qat), bar=progress_bar,
        say=lambda line: click.echo(line, err=True),
    )  # fmt: skip
    click.echo(family_table(made))
    failed = [converted.model.name for converted in made if converted.failed]
    if failed:
        raise CheckError(f"{', '.join(failed)}: worse than float32 beyond the margins: kept apart in {out / FAILED}")


@click.command()
@click.argument("model", type=PATH)
@_TFLITE_RUNTIME
@_BROWSER
@images_alone
def answers(which: Images, model: Path, python: Path | None, browser: Path | None) -> None:
    """MODEL's answers to every image in the runtime that it was made for, kept as OUT/predictions.npz.

    As `bench predict`, but also where that runtime is none of the device's: tflite-micro, LiteRT.js in a browser, or
    tflite-runtime in another environment. `bench drift` and `bench harm` take the file.
    """
    if which.out is None:
        raise click.UsageError("say where to with --out FOLDER")
    from spot_bench.data.predictions import refuse_unknown_labels, save_predictions
    from spot_convert.runtimes.predictions import RUNTIMES, Places, runtime_version
    from spot_convert.runtimes.predictions import answers as answers_in
    from spot_edge.model.file import read_model

    found, places = read_model(model), Places(python, browser)
    runtime = found.spec.measured_in.runtime
    if runtime not in RUNTIMES:
        raise ModelError(f"{model}: was made for {runtime!r}: known are {', '.join(RUNTIMES)}")
    try:
        runtime_version(runtime, places)  # or it is not here
    except ImportError as error:
        raise _not_installed(error) from error
    images = which.read()
    refuse_unknown_labels(found, images)
    file = new_file(which.out, "predictions.npz")
    proof: dict[str, Any] = {}
    if runtime == TFLITE_MICRO:
        from spot_convert.runtimes.micro.kernels import prove_equal_on

        proof = prove_equal_on(found, images)
    given = answers_in(found, images, runtime, places, progress_bar)
    save_predictions(dataclasses.replace(given, embeddings=None, looks=None), file)
    about = given.model | {"images": len(given.truth), "skipped": len(given.skipped)} | proof
    said = f"{file}: {len(given.truth)} images, {len(given.skipped)} skipped, in {runtime} {given.model['version']}"
    if proof:
        said += f", {proof['pictures_proven_equal']} of them in tflite-micro itself and bit for bit the same"
    show(about, [said], which.as_json)


def _not_installed(error: ImportError) -> click.UsageError:
    return click.UsageError(f"{error.name} is not installed here: pip install 'spot-edge-toolkit[convert]'")
