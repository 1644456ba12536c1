"""Build the wheels and source distributions of both packages into a folder. `make dist` runs this.

Everything comes from the last commit, with its date: the same commit gives the same bytes, whatever else lies in the
working tree. Each wheel is built from its source distribution, so that a source distribution is known to be complete.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECTS = ("edge_runtime", ".")


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=REPOSITORY / "dist")
def dist(out: Path) -> None:
    """Build the distributions of the last commit into the folder --out [default: dist] and check their metadata."""
    if git("status", "--porcelain"):
        click.echo("Note: uncommitted changes are not in the distributions.", err=True)
    for old in [*out.glob("spot_edge*.whl"), *out.glob("spot_edge*.tar.gz")]:
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD"))) as archive:
            archive.extractall(source, filter="data")
        dated = os.environ | {"SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct").decode().strip()}
        for project in PROJECTS:
            run_module("build", "--no-isolation", "--outdir", str(out.resolve()), str(source / project), env=dated)
    built = sorted([*out.glob("spot_edge*.whl"), *out.glob("spot_edge*.tar.gz")])
    run_module("twine", "check", "--strict", *map(str, built), env=os.environ)
    for path in built:
        click.echo(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout


def run_module(name: str, *arguments: str, env: Mapping[str, str]) -> None:
    done = subprocess.run([sys.executable, "-m", name, *arguments], check=False, env=env)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    dist()
