"""Build the wheels and source distributions of both packages into a folder. `make dist` runs this.

Everything comes from the last commit, with its date, so the same commit always gives the same bytes. Changes in the
working tree do not matter. Each wheel is built from its source distribution, which proves that one complete.
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
from collections.abc import Mapping
from pathlib import Path

import click

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECTS = ("edge_runtime", ".")


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=REPOSITORY / "dist")
def dist(out: Path) -> None:
    """Build the distributions of the last commit into the folder OUT [default: dist].

    Builds twice and fails if the bytes differ, then checks the metadata with twine.
    """
    if git("status", "--porcelain"):
        click.echo("Note: uncommitted changes are not in the distributions.", err=True)
    with tempfile.TemporaryDirectory() as folder:
        commit = git("rev-parse", "HEAD").decode().strip()
        first, second = (build(commit, Path(folder) / name) for name in ("first", "second"))
        differing = [
            one.name for one, other in zip(first, second, strict=True) if one.read_bytes() != other.read_bytes()
        ]
        if differing:
            sys.exit(f"dist: two builds of the same commit differ in {', '.join(differing)}")
        run_module("twine", "check", "--strict", *map(str, first))
        out.mkdir(parents=True, exist_ok=True)
        for old in [*out.glob("spot_edge*.whl"), *out.glob("spot_edge*.tar.gz")]:
            old.unlink()
        for path in first:
            shutil.move(path, out)
            click.echo(f"{hashlib.sha256((out / path.name).read_bytes()).hexdigest()}  {path.name}")


def build(commit: str, folder: Path) -> list[Path]:
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit))) as archive:
        archive.extractall(folder / "source", filter="data")
    dated = os.environ | {"SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct", commit).decode().strip()}
    for project in PROJECTS:
        options = ("--outdir", str(folder / "built"), str(folder / "source" / project))
        run_module("build", "--quiet", "--no-isolation", *options, env=dated)
    return sorted((folder / "built").iterdir())


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout


def run_module(name: str, *arguments: str, env: Mapping[str, str] = os.environ) -> None:
    done = subprocess.run([sys.executable, "-m", name, *arguments], check=False, env=env)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    dist()
