"""`spot-edge convert`. TensorFlow is imported only when the command runs."""

from __future__ import annotations

import os
from pathlib import Path

import click

__all__ = ["convert"]

_NAMES = ("float32", "int8")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the model files and report.json."
)
@click.option("--data", type=click.Path(path_type=Path), help="Folder the run's images lie in [as the run says].")
@click.option("--variants", default=",".join(_NAMES), show_default=True, help="Comma-separated.")
def convert(run: Path, out: Path, data: Path | None, variants: str) -> None:
    """Turn the run directory RUN into verified model files."""
    from spot_bench.quiet import quiet_start

    # What a run was trained under is no matter here; the converter is TensorFlow's.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        with quiet_start():
            from spot_convert.family import convert_run
    except ImportError as error:
        raise click.UsageError(
            f"{error.name} is not installed here: pip install 'spot-edge-toolkit[convert]'"
        ) from error
    from spot_convert.table import family_table

    names = [name.strip() for name in variants.split(",") if name.strip()]
    made = convert_run(run, out, data=data, variants=names, say=lambda line: click.echo(line, err=True))
    click.echo(family_table(made))
