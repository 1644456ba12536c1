"""Run `python -m experiments.variants`: read the reports, write the page and its chart."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from experiments.variants.chart import chart
from experiments.variants.page import page
from experiments.variants.reports import read_family
from spot_edge.errors import SpotError, one_line
from spot_edge.files import make_folder, write_file

__all__ = ["main"]


@click.command()
@click.argument("families", metavar="WIDTH=FOLDER...", nargs=-1, required=True)
@click.option(
    "--page", "out", type=click.Path(path_type=Path), required=True, help="Folder for the page and its chart."
)
def main(families: tuple[str, ...], out: Path) -> None:
    """Write variants.md and variants.svg from the reports in each FOLDER, the widest network first."""
    found = [read_family(*_pair(named)) for named in families]
    text, drawn = page(found), chart(found)  # both before anything is written
    make_folder(out)
    write_file(out / "variants.md", text.encode())
    if drawn is not None:
        write_file(out / "variants.svg", drawn.encode())
    rows = sum(len(family.rows) for family in found)
    click.echo(f"{out / 'variants.md'}: {rows} variants of {len(found)} widths")


def _pair(named: str) -> tuple[str, Path]:
    width, equals, folder = named.partition("=")
    if not (width and equals and folder):
        raise click.BadParameter(f"{named!r} is not WIDTH=FOLDER")
    return width, Path(folder)


if __name__ == "__main__":
    try:
        main()
    except SpotError as error:
        click.echo(f"variants: {one_line(str(error))}", err=True)
        sys.exit(error.exit_code)
