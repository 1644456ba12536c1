"""Simulate the drift gate: how often does it pass, fail or stay undecided, if the true loss is known?

    python -m experiments.gate_power --out docs/reports/gate.md

Files lose, and gain, each lesion at random with known shares: a net loss of 0, half the margin, the margin and twice
the margin. Every simulated file gets its verdict from the bounds and the rule of the gate. The page also compares the
rule with two others, and says by exact calculation how many lesions a file without losses needs.
"""

from __future__ import annotations

from pathlib import Path

import click

from experiments.gate_power.page import page
from spot_edge.files import write_file

__all__ = ["main"]


@click.command()
@click.option("--files", type=click.IntRange(1), default=4000, show_default=True, help="Simulated files per row.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Markdown page to write.")
def main(files: int, out: Path) -> None:
    """Simulate the drift gate and write the report."""
    write_file(out, page(files).encode())


if __name__ == "__main__":
    main()
