"""`spot-edge runs`: pack, restore and average run directories. Keras is imported only when a command runs."""

from __future__ import annotations

from pathlib import Path

import click

from spot_train.commands.train import need_keras, say_result

__all__ = ["runs"]


@click.group()
def runs() -> None:
    """Pack, restore and average run directories."""


@runs.command("average")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The data that the runs were trained on.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the run.")
def average(runs: tuple[Path, ...], data: Path, out: Path) -> None:
    """Average the weights of several runs with the same pretrained weights and split."""
    need_keras()
    from spot_train.runs.average import average_runs

    say_result(out, average_runs(runs, data, out, lambda line: click.echo(line, err=True)))


@runs.command("pack")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the small run.")
def pack(run: Path, out: Path) -> None:
    """Make RUN small enough to be kept in a repository: its weights as float16."""
    need_keras()
    from spot_train.runs.packed import pack as pack_run

    pack_run(run, out)
    click.echo(f"{out}: {sum(f.stat().st_size for f in out.iterdir()) / 1e6:.1f} MB")


@runs.command("restore")
@click.argument("small", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the run.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder that the split's image paths are relative to.")
def restore(small: Path, out: Path, data: Path | None) -> None:
    """Rebuild a run directory from the small one that 'runs pack' made."""
    need_keras()
    from spot_train.runs.packed import restore as restore_run

    restore_run(small, out, data)
    click.echo(f"{out}: restored")
