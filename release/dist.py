"""Build the wheels and source distributions of both packages into a folder. `make dist` runs this.

Everything comes from the last commit, with its date: the same commit gives the same bytes, whatever else lies in the
working tree. Each wheel is built from its source distribution, so that a source distribution is known to be complete.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import click

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECTS = ("edge_runtime", ".")


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=REPOSITORY / "dist",
    help="Folder [default: dist].",
)
def dist(out: Path) -> None:
    """Build the distributions of the last commit and check their metadata."""
    if git("status", "--porcelain"):
        click.echo("Note: uncommitted changes are not in the distributions.", err=True)
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD"))) as archive:
            archive.extractall(source, filter="data")
        dated = os.environ | {"SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct").decode().strip()}
        for project in PROJECTS:
            build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out.resolve(), source / project]
            subprocess.run(build, check=True, env=dated, stdout=subprocess.DEVNULL)
    built = sorted(out.iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *built], check=True)
    for path in built:
        click.echo(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    dist()
