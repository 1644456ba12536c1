"""`spot-edge convert`. TensorFlow is imported only when the command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from spot_convert.variants import DEFAULT, ENGINES, VARIANTS, choose_variants
from spot_edge.errors import CheckError

__all__ = ["convert"]

_PATH = click.Path(path_type=Path)


def _show_variants(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        for name, variant in VARIANTS.items():
            click.echo(f"{name:<23} {variant.about}; by {' or '.join(variant.engines)}, in {variant.runtime}")
        context.exit()


@click.command()
@click.argument("run", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="Folder for the model files and report.json.")
@click.option("--data", type=_PATH, help="Folder the run's images lie in [as the run says].")
@click.option("--variants", default=",".join(DEFAULT), show_default=True, help="Comma-separated; --list shows all.")
@click.option("--engine", metavar="|".join(ENGINES), help="Who quantizes [the better one for each variant].")
@click.option("--tflite-runtime", "python", type=_PATH, help="Python of an environment with tflite-runtime.")
@click.option("--browser", type=_PATH, help="Folder in which 'npm install @litertjs/core' was run.")
@click.option("--qat", type=_PATH, help="Python of an environment with TF Model Optimization, for qat-int8.")
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
    from spot_bench.quiet import quiet_start

    # What a run was trained under is no matter here; the converter is TensorFlow's.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        with quiet_start():
            from spot_convert.answers import Places
            from spot_convert.family import FAILED, convert_run
    except ImportError as error:
        raise click.UsageError(
            f"{error.name} is not installed here: pip install 'spot-edge-toolkit[convert]'"
        ) from error
    from spot_convert.table import family_table

    made = convert_run(
        run, out, data=data, variants=names, engine=engine, places=Places(python, browser, qat), bar=_bar,
        say=lambda line: click.echo(line, err=True),
    )  # fmt: skip
    click.echo(family_table(made))
    failed = [converted.model.name for converted in made if converted.failed]
    if failed:
        raise CheckError(f"{', '.join(failed)}: worse than float32 beyond the margins: kept apart in {out / FAILED}")


@contextmanager
def _bar(title: str, length: int) -> Iterator[Callable[[int], None]]:
    with click.progressbar(length=length, label=title, file=sys.stderr, show_pos=True) as bar:
        yield bar.update
