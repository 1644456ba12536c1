"""Measure the flash and arena that smaller networks need in tflite-micro: `python -m experiments.micro_arena`.

The networks differ in width and image size. They are untrained int8 files, because neither size depends on the weights.
The table goes to docs/reports/quantization.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from experiments.frontier.__main__ import build_file
from spot_bench.report.tables import align
from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_convert.runtimes.micro.kernels import micro_needs, micro_version, try_isolated
from spot_convert.runtimes.micro.trial import MicroTrial, try_in_micro
from spot_edge.files import make_folder, write_file
from spot_edge.isolated import call_isolated
from spot_edge.model.file import ModelFile, read_model
from spot_train.recipes.recipe import Network

WIDTHS, SIDES = (1.0, 0.35), (192, 160, 128, 96)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the model files.")
def main(out: Path) -> None:
    """Build the networks and measure what each needs. Files that exist in the folder are reused."""
    make_folder(out)
    rows = [
        ["width", "size", "flash kB", "arena kB", "activations kB", "arena for scores alone kB", "fits boards with"]
    ]
    for width in WIDTHS:
        for side in SIDES:
            file = out / f"w{round(100 * width)}-s{side}-int8.tflite"
            if not file.exists():
                click.echo(f"building {file.name}", err=True)
                write_file(file, build_file(Network(width=width, size=side), "int8"))
            rows.append([f"{width:g}", str(side), *_cells(read_model(file))])
    click.echo(f"tflite-micro {micro_version()}, kB of 1,000 bytes")
    click.echo("\n".join(align(rows)))


def _cells(model: ModelFile) -> Iterator[str]:
    needs = micro_needs(model, try_isolated(model, np.zeros((0,), np.uint8)))
    bare: MicroTrial = call_isolated(600, try_in_micro, _scores_alone(model))
    for size in (needs["flash_bytes"], needs["arena_bytes"], needs["head_bytes"], bare.arena):
        yield f"{size / 1e3:.0f}"
    yield next((f"{name} kB" for name in (320, 512, 1024, 2048, 4096) if needs["arena_bytes"] <= 1024 * name), "no")


def _scores_alone(model: ModelFile) -> bytes:
    """Return the same network with an int8 input and scores alone, without evidence, embedding and uint8 input."""
    graph = Graph(unpack(model.content))
    first = graph.graph.operators[0]
    graph.graph.inputs = first.outputs
    graph.graph.operators = graph.graph.operators[1:]
    signature = graph.model.signatureDefs[0]
    signature.inputs[0].tensorIndex = int(first.outputs[0])
    signature.outputs = [entry for entry in signature.outputs if entry.name == b"scores"]
    scores = signature.outputs[0].tensorIndex
    graph.graph.outputs = np.array([scores], np.int32)
    needed = {scores}
    kept = []
    for operator in reversed(graph.graph.operators):
        if needed & set(operator.outputs.tolist()):
            needed |= set(operator.inputs.tolist())
            kept.append(operator)
    graph.graph.operators = kept[::-1]
    return pack(graph.model)


if __name__ == "__main__":
    main()
