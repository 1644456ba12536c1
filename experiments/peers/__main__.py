"""Run `python -m experiments.peers`: measure, print the targets, write the page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from experiments.peers.compare import compare
from experiments.peers.page import page, problems, target_lines
from experiments.peers.rows import ROWS, python_of
from spot_bench.run.progress import progress_bar
from spot_bench.speed.conditions import Watch, describe_machine
from spot_edge.errors import CheckError, SpotError, one_line
from spot_edge.files import write_file
from spot_edge.machine import Sensors
from spot_edge.model.file import read_model

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--networks", type=_PATH, required=True, help="Folder made by experiments.peers.networks.")
@click.option("--page", "out", type=_PATH, required=True, help="Page to write.")
@click.option("--rounds", type=click.IntRange(6), default=100, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def main(networks: Path, out: Path, rounds: int, threads: int) -> None:
    """Time all peers in turns. The page says how to install a missing peer. A peer that fails is an error."""
    watch = Watch(Sensors())
    watch.start()
    with progress_bar("rounds", rounds) as step:
        entries = compare(
            ROWS,
            networks,
            read_model(),
            python=python_of,
            rounds=rounds,
            threads=threads,
            progress=lambda: step(1),
        )
    others = watch.finish()["other_work"]
    text = page(entries, describe_machine(), others, rounds, threads)
    write_file(out, text.encode())
    click.echo("\n".join(target_lines(entries)))
    click.echo(f"{out}: {len(entries)} rows")
    failed = problems(entries)
    if failed:
        raise CheckError("; ".join(failed))


if __name__ == "__main__":
    try:
        main()
    except SpotError as error:
        click.echo(f"peers: {one_line(str(error))}", err=True)
        sys.exit(error.exit_code)
