"""`spot-edge inspect`. The schema and the interpreter are imported when it runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from spot_edge.errors import OutputError

__all__ = ["inspect"]

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=_PATH)
@click.option("--layers", is_flag=True, help="One row for each operator that computes, with its weights.")
@click.option("--against", type=_PATH, metavar="FLOAT", help="With --layers: the error against this float twin.")
@click.option("--image", "images", type=_PATH, multiple=True, help="With --against: pictures [8 drawn lesions].")
@click.option("--html", type=_PATH, help="Also write a page, with the layers.")
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
def inspect(
    file: Path, layers: bool, against: Path | None, images: tuple[Path, ...], html: Path | None, as_json: bool
) -> None:
    """Show what is in any .tflite FILE: its kind of quantization, what runs it, its operators and layers."""
    if against is not None and not layers:
        raise click.UsageError("--against compares layers: give --layers too")
    if images and against is None:
        raise click.UsageError("--image is what --against compares on: name the float twin")
    if html is not None and html.exists():
        raise OutputError(f"{html}: exists already: name another file")
    if html is not None and not html.absolute().parent.is_dir():
        raise OutputError(f"{html}: cannot be written: no such folder")
    try:
        from spot_convert.inspect.page import page
        from spot_convert.inspect.report import inspect_file
        from spot_convert.inspect.rows import record_lines
    except ImportError as error:
        raise click.UsageError(
            f"{error.name} is not installed here: pip install 'spot-edge-toolkit[convert]'"
        ) from error

    record = inspect_file(file, layers=layers or html is not None, against=against, images=images)
    if html is not None:
        from spot_edge.files import write_file

        write_file(html, page(record).encode())
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False, allow_nan=False))
    else:
        click.echo("\n".join(record_lines(record if layers else record | {"layers": None})))
