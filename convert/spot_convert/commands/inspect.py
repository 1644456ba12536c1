"""`spot-edge inspect`. The schema and the interpreter are imported only when the command runs."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import click

from spot_edge.errors import OutputError, install_hint

__all__ = ["inspect"]

_PATH = click.Path(path_type=Path)


@click.command(short_help="Show what is in a .tflite file.")
@click.argument("file", type=_PATH)
@click.option("--layers", is_flag=True, help="Add a row for every layer, with its weights.")
@click.option("--against", type=_PATH, metavar="FLOAT32", help="With --layers: each layer's error against this file.")
@click.option("--image", "images", type=_PATH, multiple=True, help="Image for --against [default: 8 drawn lesions].")
@click.option("--html", type=_PATH, help="Also write an HTML page, with the layers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(
    file: Path, layers: bool, against: Path | None, images: tuple[Path, ...], html: Path | None, as_json: bool
) -> None:
    """Show what is in any .tflite FILE: how it is quantized, which runtimes run it, its operators and its layers."""
    if against is not None and not layers:
        raise click.UsageError("--against compares layers: add --layers")
    if images and against is None:
        raise click.UsageError("--image is only for --against: name the float32 baseline with --against")
    if html is not None and html.exists():
        raise OutputError(f"{html}: already exists: choose another file")
    if html is not None and not html.absolute().parent.is_dir():
        raise OutputError(f"{html}: cannot be written: no such folder")
    try:
        from spot_convert.inspect.page import page
        from spot_convert.inspect.record import inspect_file
        from spot_convert.inspect.rows import record_lines

        if html is not None:
            import_module("jinja2")  # fails before the inspection, not after
    except ImportError as error:
        raise click.UsageError(f"{error.name} is not installed. Install it {install_hint('convert')}") from error

    record = inspect_file(file, layers=layers or html is not None, against=against, images=images)
    if html is not None:
        from spot_edge.files import write_file

        write_file(html, page(record).encode())
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False, allow_nan=False))
    else:
        click.echo("\n".join(record_lines(record if layers else record | {"layers": None})))
