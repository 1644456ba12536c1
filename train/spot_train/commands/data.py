"""`spot-edge data`: check, split and fetch data sets. Heavy imports wait until a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spot_edge.errors import DataError, OutputError, install_hint

if TYPE_CHECKING:
    from spot_bench.data.manifest import Manifest

__all__ = ["data"]

_PATH = click.Path(path_type=Path)
_ROOT = click.option("--root", type=_PATH, help="Folder of the image paths [default: the manifest's folder].")


@click.group(short_help="Check, split and fetch data sets.")
def data() -> None:
    """Check, split and fetch data sets.

    A data set is a CSV manifest (image,label and optionally group,split) or a folder with one subfolder per class.
    """


@data.command(short_help="Find the problems of a data set before training.")
@click.argument("path", type=_PATH)
@click.option("--labels", "label_set", metavar="SET", help="Label set to check against: a name or a .toml file.")
@click.option(
    "--near",
    type=click.IntRange(0, 128),
    default=30,
    show_default=True,
    help="Largest difference of two near-duplicates' perceptual hashes, in bits of 256.",
)
@click.option(
    "--source",
    "sources",
    type=_PATH,
    multiple=True,
    help="Look for leaks between PATH and this further training manifest. Repeatable.",
)
@click.option(
    "--held-out",
    type=_PATH,
    multiple=True,
    help="Look for leaks into this manifest, which never trains. Repeatable.",
)
@click.option("--cache", type=_PATH, help="Keep the hashes of the images here for the next check.")
@_ROOT
@click.option("--json", "as_json", is_flag=True, help="Print all findings and counts as one JSON object.")
def check(
    path: Path,
    label_set: str | None,
    near: int,
    sources: tuple[Path, ...],
    held_out: tuple[Path, ...],
    cache: Path | None,
    root: Path | None,
    as_json: bool,
) -> None:
    """Find the problems of the data set at PATH before you train.

    Errors would break training or make its metrics wrong; they end with exit code 7. Warnings deserve a look. Every
    image is decoded exactly as on a device.
    """
    _require_imagehash()
    from spot_bench.run.progress import progress_bar
    from spot_edge.errors import one_line
    from spot_train.data.check import check as check_data
    from spot_train.data.findings import balance_lines, counted, finding_lines
    from spot_train.data.images import ImageRecord, read_images
    from spot_train.labels.labelset import load_label_set

    def read(manifest: Manifest) -> list[ImageRecord]:
        with progress_bar("images", len(manifest.items)) as step:
            return read_images(manifest, step, cache)

    labels = load_label_set(label_set) if label_set else None
    report = check_data(path, labels, root=root, near=near, sources=sources, held_out=held_out, read=read)
    errors, warnings = counted(report.errors, "error"), len(report.findings) - report.errors
    if as_json:
        click.echo(json.dumps(report.as_dict(), ensure_ascii=False, allow_nan=False))
    else:
        for line in (*balance_lines(report.balance), "", *finding_lines(report.findings)):
            click.echo(one_line(line))
        click.echo(f"{errors}, {counted(warnings, 'warning')}")
    if report.errors:
        raise DataError(f"{path}: {errors}: fix them before training")


@data.command(short_help="Split a data set by group.")
@click.argument("path", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="CSV manifest to write.")
@click.option(
    "--fractions", metavar="SPLIT=SHARE,...", help="Shares [default: train=.65,val=.1,calibrate=.05,test=.2]."
)
@click.option("--seed", type=int, default=0, show_default=True, help="A different seed gives a different split.")
@_ROOT
def split(path: Path, out: Path, fractions: str | None, seed: int, root: Path | None) -> None:
    """Split the data set at PATH into train, val, calibrate and test.

    A group (a lesion or patient) never crosses splits. Every label is divided in the same shares. The same seed gives
    the same split.
    """
    from spot_bench.data.manifest import read_manifest, write_manifest
    from spot_bench.data.splits import FRACTIONS
    from spot_bench.data.splits import split as split_manifest
    from spot_edge.errors import one_line
    from spot_train.data.findings import balance_lines, balance_of

    shares = FRACTIONS if fractions is None else _fractions(fractions)
    if out.exists():
        raise OutputError(f"{out}: already exists. Name another file with --out")
    manifest = read_manifest(path, root=root)
    if manifest.splits:
        click.echo(f"note: the split of {path} is replaced", err=True)
    done = split_manifest(manifest, shares, seed)
    write_manifest(done, out)
    for line in balance_lines(balance_of(done)):
        click.echo(one_line(line))


@data.command(short_help="Download a public data set.")
@click.argument("name")
@click.option("--out", type=_PATH, required=True, help="Folder for the images and the manifest.")
@click.option("--sources", type=_PATH, help="TOML file of addresses, such as a mirror [default: the official ones].")
def fetch(name: str, out: Path, sources: Path | None) -> None:
    """Download the data set NAME, verify and unpack it, and write its manifest.

    NAME is ham10000, isic2017 or isic2019. After an interruption, the same command resumes.
    """
    from spot_train.data.fetch import fetch as fetch_data
    from spot_train.data.sources import load_source

    source = load_source(name, sources)
    manifest = fetch_data(source, out, log=lambda line: click.echo(line, err=True))
    click.echo(f"{manifest}: written")


def _fractions(text: str) -> dict[str, float]:
    shares = {}
    for entry in text.split(","):
        name, _, share = (piece.strip() for piece in entry.partition("="))
        if name in shares:
            raise click.BadParameter(f"{name} is given twice", param_hint="--fractions")
        try:
            shares[name] = float(share)
        except ValueError:
            raise click.BadParameter(
                f"{entry!r} is not SPLIT=SHARE, such as train=.65", param_hint="--fractions"
            ) from None
    return shares


def _require_imagehash() -> None:
    try:
        import imagehash  # noqa: F401
    except ImportError as error:
        raise click.UsageError(f"ImageHash is not installed. Install it {install_hint('train')}") from error
