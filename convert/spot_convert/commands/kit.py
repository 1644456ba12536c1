"""`spot-edge kit export` and `spot-edge kit check`. Heavy imports happen inside the command that runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from spot_edge.errors import CheckError, install_hint

__all__ = ["kit"]

_PATH = click.Path(path_type=Path)


@click.group(short_help="Export a conformance kit for apps, and check an app with it.")
def kit() -> None:
    """Export a conformance kit for app developers, and check an app's results against it."""


@kit.command("export", short_help="Write a conformance kit for a model.")
@click.argument("model", required=False, type=_PATH)
@click.option("--out", required=True, type=_PATH, help="Folder for the kit: a new or an empty one.")
def export_kit(model: Path | None, out: Path) -> None:
    """Write a conformance kit for MODEL [default: the embedded model]: images, and the scores to expect for them."""
    try:
        from spot_convert.kit.export import export_kit as export
    except ImportError as error:
        raise click.UsageError(f"{error.name} is not installed. Install it {install_hint('convert')}") from error
    from spot_edge.model.file import read_model

    made = export(read_model(model), out)
    files = [path for path in made.rglob("*") if path.is_file()]
    images = sum(path.parent.name in ("vectors", "stills") for path in files)
    size = sum(path.stat().st_size for path in files) / 1e6
    click.echo(f"{made}: a model, {images} test images and their scores ({len(files)} files, {size:.1f} MB)")
    click.echo(f"Start with {made / 'README.md'}.")


@kit.command("check", short_help="Check an app's results against a kit.")
@click.argument("kit", metavar="KIT", type=_PATH)
@click.argument("results", metavar="RESULTS.json", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_kit(kit: Path, results: Path, as_json: bool) -> None:
    """Check whether the scores that an app wrote to RESULTS.json match KIT, and if not, name the likely mistake."""
    from spot_convert.kit.check import check
    from spot_convert.kit.results import read_results
    from spot_convert.kit.vectors import read_kit
    from spot_convert.kit.verdict import as_dict, in_short, lines

    known = read_kit(kit)
    verdict = check(known, read_results(results, known))
    if as_json:
        click.echo(json.dumps(as_dict(verdict, known), ensure_ascii=False, allow_nan=False))
    else:
        click.echo("\n".join(lines(verdict, known)))
    if not verdict.conforms:
        raise CheckError(f"{results}: does not conform to the kit: {in_short(verdict)}")
