"""`spot-edge convert`. TensorFlow is imported only when the command runs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from spot_bench.run.progress import progress_bar
from spot_convert.variants.catalog import DEFAULT, ENGINES, VARIANTS, choose_variants
from spot_edge.errors import CheckError, install_hint
from spot_edge.model.views import VIEW_COUNTS

__all__ = ["convert"]

_PATH = click.Path(path_type=Path)


def _list_variants(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        for name, variant in VARIANTS.items():
            click.echo(f"{name:<23} {variant.summary}; by {' or '.join(variant.engines)}, in {variant.runtime}")
        context.exit()


@click.command(short_help="Convert a run directory to model files.")
@click.argument("run", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="Folder for the model files and report.json.")
@click.option("--data", type=_PATH, help="Folder of the run's images [default: the one that the run names].")
@click.option("--variants", default=",".join(DEFAULT), show_default=True, help="Comma-separated; see --list.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_variants, help="List variants.")
@click.option(
    "--margins",
    "preset",
    type=click.Choice(["screening", "strict", "any-images"]),
    help="Margins of the drift gate [default: the recipe's].",
)
@click.option(
    "--gate-data",
    multiple=True,
    metavar="NAME=MANIFEST",
    help="Further labelled images for the drift gate, which nothing was trained or calibrated on. May be repeated.",
)
@click.option(
    "--gate-unlabelled",
    multiple=True,
    metavar="NAME=PATH",
    help="Further images without labels, for the criterion on flips: a folder or a manifest. May be repeated.",
)
@click.option(
    "--views",
    default="",
    metavar="2,4,8",
    help="Also fit temperature and thresholds for the mean over so many views; N views take N times as long.",
)
@click.option("--engine", metavar="|".join(ENGINES), help="Quantizer [default: the better one for each variant].")
@click.option("--tflite-runtime", "python", type=_PATH, help="Python of an environment with tflite-runtime.")
@click.option("--browser", type=_PATH, help="Folder in which 'npm install @litertjs/core' was run.")
@click.option("--qat", type=_PATH, help="Python of an environment with TF Model Optimization, for qat-int8.")
def convert(
    run: Path,
    out: Path,
    data: Path | None,
    variants: str,
    preset: str | None,
    gate_data: tuple[str, ...],
    gate_unlabelled: tuple[str, ...],
    views: str,
    engine: str | None,
    python: Path | None,
    browser: Path | None,
    qat: Path | None,
) -> None:
    """Convert the run directory RUN to model files, check them, and report what quantization cost.

    Files that fail the drift gate go to the subfolder `failed`, and the exit code is 8.
    """
    names = [name.strip() for name in variants.split(",") if name.strip()]
    further, unlabelled = _named(gate_data, "--gate-data"), _named(gate_unlabelled, "--gate-unlabelled")
    counts = _view_counts(views)
    choose_variants(names, engine)  # report typing errors before TensorFlow is imported
    from spot_bench.run.quiet import quiet_start

    os.environ["KERAS_BACKEND"] = "tensorflow"  # whichever backend trained the run: the converters need TensorFlow
    try:
        with quiet_start():
            from spot_convert.pipeline import convert_run
            from spot_convert.runtimes.predictions import Environments
            from spot_convert.variants.results import FAILED, family_table
    except ImportError as error:
        raise click.UsageError(f"{error.name} is not installed. Install it {install_hint('convert')}") from error

    made = convert_run(
        run,
        out,
        data=data,
        variants=names,
        engine=engine,
        environments=Environments(tflite_runtime=python, browser=browser, qat=qat),
        margins=preset,
        gate_data=further,
        gate_unlabelled=unlabelled,
        views=counts,
        log=lambda line: click.echo(line, err=True),
        bar=progress_bar,
    )
    click.echo(family_table(made))
    failed = [converted.model.name for converted in made if converted.failed]
    if failed:
        raise CheckError(
            f"{', '.join(failed)}: failed the drift gate, with a loss beyond the margins; see {out / FAILED}"
        )


def _view_counts(text: str) -> list[int]:
    wanted, known = {count.strip() for count in text.split(",") if count.strip()}, [str(n) for n in VIEW_COUNTS]
    for count in wanted - set(known):
        raise click.BadParameter(f"{count!r}: choose from {', '.join(known)}", param_hint="--views")
    return sorted(map(int, wanted))


def _named(pairs: tuple[str, ...], option: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (name and equals and path) or name in found:
            raise click.BadParameter(f"{pair!r} is not NAME=PATH with a name of its own", param_hint=option)
        found[name] = Path(path)
    return found
