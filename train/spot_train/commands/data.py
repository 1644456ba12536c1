"""`spot-edge data`: check, split and fetch data sets. What is heavy is imported only when one of them runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spot_edge.errors import DataError, OutputError

if TYPE_CHECKING:
    from spot_bench.data.manifest import Manifest

__all__ = ["data"]

_PATH = click.Path(path_type=Path)
_ROOT = click.option("--root", type=_PATH, help="Folder that the manifest's image paths are relative to [its own].")


@click.group()
def data() -> None:
    """Check, split and fetch data sets: CSV manifests, or folders of class folders."""


@data.command()
@click.argument("path", type=_PATH)
@click.option("--labels", "label_set", metavar="SET", help="Label set to hold it against: a name, or a .toml file.")
@click.option(
    "--near",
    type=click.IntRange(0, 128),
    default=30,
    show_default=True,
    help="Bits of 256 that may differ in the hashes of two pictures that look nearly the same.",
)
@_ROOT
@click.option("--json", "as_json", is_flag=True, help="All findings and counts as one JSON object.")
def check(path: Path, label_set: str | None, near: int, root: Path | None, as_json: bool) -> None:
    """List all that is wrong with the data set at PATH before hours are spent on it.

    Errors are what training would trip or cheat over: the command then ends with exit code 7. Warnings are worth
    a look. Every picture is decoded, exactly as a device would decode it.
    """
    _need_imagehash()
    from spot_bench.run.progress import progress_bar
    from spot_edge.errors import one_line
    from spot_train.data.check import check as check_data
    from spot_train.data.findings import balance_lines, counted, finding_lines
    from spot_train.data.images import Picture, read_pictures
    from spot_train.labels.labelset import load_label_set

    def read(manifest: Manifest) -> list[Picture]:
        with progress_bar("images", len(manifest.items)) as step:
            return read_pictures(manifest, step)

    labels = load_label_set(label_set) if label_set else None
    report = check_data(path, labels, root=root, near=near, read=read)
    errors, warnings = counted(report.errors, "error"), len(report.findings) - report.errors
    if as_json:
        click.echo(json.dumps(report.as_dict(), ensure_ascii=False, allow_nan=False))
    else:
        for line in (*balance_lines(report.balance), "", *finding_lines(report.findings)):
            click.echo(one_line(line))
        click.echo(f"{errors}, {counted(warnings, 'warning')}")
    if report.errors:
        raise DataError(f"{path}: cannot be used as it is: {errors}")


@data.command()
@click.argument("path", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="New CSV manifest.")
@click.option("--fractions", metavar="PART=SHARE,...", help="Parts of one [train=.65,val=.1,calibrate=.05,test=.2].")
@click.option("--seed", type=int, default=0, show_default=True, help="Other seeds give other splits.")
@_ROOT
def split(path: Path, out: Path, fractions: str | None, seed: int, root: Path | None) -> None:
    """Split the data set at PATH into parts: by group, each label in the same shares, and the same every time."""
    from spot_bench.data.manifest import read_manifest, write_manifest
    from spot_bench.data.splits import FRACTIONS
    from spot_bench.data.splits import split as split_manifest
    from spot_edge.errors import one_line
    from spot_train.data.findings import balance_lines, balance_of

    shares = FRACTIONS if fractions is None else _fractions(fractions)
    if out.exists():
        raise OutputError(f"{out}: exists already: name another file with --out")
    manifest = read_manifest(path, root=root)
    if manifest.parts:
        click.echo(f"note: the split that {path} has is not kept", err=True)
    done = split_manifest(manifest, shares, seed)
    write_manifest(done, out)
    for line in balance_lines(balance_of(done)):
        click.echo(one_line(line))


@data.command()
@click.argument("name")
@click.option("--out", type=_PATH, required=True, help="Folder for the images and their manifest.")
@click.option(
    "--sources", type=_PATH, help="Where data sets come from, as TOML: a mirror of yours [the official ones]."
)
def fetch(name: str, out: Path, sources: Path | None) -> None:
    """Download the data set NAME (ham10000, isic2017 or isic2019), check it, unpack it and write its manifest.

    After an interruption the same command goes on where it ended.
    """
    from spot_train.data.fetch import fetch as fetch_data
    from spot_train.data.sources import load_source

    source = load_source(name, sources)
    manifest = fetch_data(source, out, say=lambda line: click.echo(line, err=True))
    click.echo(f"{manifest}: written")


def _fractions(text: str) -> dict[str, float]:
    shares = {}
    for entry in text.split(","):
        part, _, share = (piece.strip() for piece in entry.partition("="))
        if part in shares:
            raise click.BadParameter(f"{part} is given twice", param_hint="--fractions")
        try:
            shares[part] = float(share)
        except ValueError:
            raise click.BadParameter(
                f"{entry!r} is not PART=SHARE, such as train=.65", param_hint="--fractions"
            ) from None
    return shares


def _need_imagehash() -> None:
    try:
        import imagehash  # noqa: F401
    except ImportError as error:
        raise click.UsageError("ImageHash is not installed here: pip install 'spot-edge-toolkit[train]'") from error
