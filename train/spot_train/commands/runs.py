"""`spot-edge runs`: pack, restore, average and shift run directories. Keras is imported only when a command runs."""

from __future__ import annotations

from pathlib import Path

import click

from spot_train.commands.train import print_result, require_keras

__all__ = ["runs"]


@click.group(short_help="Pack, restore, average and shift run directories.")
def runs() -> None:
    """Pack, restore, average and shift run directories."""


@runs.command("average", short_help="Average the weights of several runs.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The data set of the runs.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory to create.")
def average(runs: tuple[Path, ...], data: Path, out: Path) -> None:
    """Average the weights of several runs into a new run.

    The runs must start from the same pretrained weights and use the same split.
    """
    require_keras()
    from spot_train.runs.average import average_runs

    print_result(out, average_runs(runs, data, out, lambda line: click.echo(line, err=True)))


@runs.command("shift", short_help="Make the top class favor rare classes.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--by", type=click.FloatRange(0, 5), help="Factor of log(class share), subtracted from the logits.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the run's images [default: as in run.json].")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory to create.")
def shift(run: Path, by: float | None, data: Path | None, out: Path | None) -> None:
    """Shift the top class of RUN toward rare classes: it finds more of them, but overall accuracy falls.

    Without --by and --out, print how several factors compare with no shift on the validation images, with 95 %
    intervals. These figures are optimistic, because you choose the factor on the same images.
    """
    if (by is None) != (out is None):
        raise click.UsageError("--by and --out belong together")
    require_keras()
    from spot_train.runs.shift import change_lines, compare_factors, shift_run

    def log(line: str) -> None:
        click.echo(line, err=True)

    if by is None or out is None:
        lines = change_lines(compare_factors(run, data, log))
        log("percentage points compared with no shift; optimistic, because you choose the factor on the same images")
        for line in lines:
            click.echo(line)
    else:
        print_result(out, shift_run(run, by, data, out, log))


@runs.command("pack", short_help="Make a run small enough to commit.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to create.")
def pack(run: Path, out: Path) -> None:
    """Make RUN small enough for a repository: store its weights as float16."""
    require_keras()
    from spot_train.runs.packed import pack as pack_run

    pack_run(run, out)
    click.echo(f"{out}: {sum(f.stat().st_size for f in out.iterdir()) / 1e6:.1f} MB")


@runs.command("restore", short_help="Rebuild a packed run.")
@click.argument("packed", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory to create.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the split's image paths.")
def restore(packed: Path, out: Path, data: Path | None) -> None:
    """Rebuild a run directory from the folder PACKED that `runs pack` made."""
    require_keras()
    from spot_train.runs.packed import restore as restore_run

    restore_run(packed, out, data)
    click.echo(f"{out}: restored")
