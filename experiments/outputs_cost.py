"""Measure what evidence, embedding and the float tail cost in bytes and time: `python -m experiments.outputs_cost`.

The comparison is the same network with scores as its only output, from the same converter. Calibration uses drawn
lesions, because neither size nor time depends on the images. Both files take turns in one process.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click
import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from spot_bench.data.drawn import KINDS, draw_lesion
from spot_bench.stats.intervals import bootstrap
from spot_convert.engines.tflite_converter import BODIES
from spot_convert.modelfile.assembly import append_tail
from spot_convert.modelfile.graph import pack, unpack
from spot_convert.run import read_run
from spot_edge.image.tensor import to_tensor

VARIANTS = ("float32", "int8")
_BLOCK = 5  # consecutive runs of one file, so that its data fill the caches


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of the run's images [default: the one that the run names]."
)
@click.option("--rounds", default=300, show_default=True)
def main(run: Path, data: Path | None, rounds: int) -> None:
    """Convert RUN with and without evidence, embedding and tail, and time both files."""
    ours = read_run(run, data)
    evidence = ours.body.output["evidence"]
    scores = keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(evidence))
    plain = replace(ours, body=keras.Model(ours.body.input, scores))
    drawn = (draw_lesion(seed, kind=KINDS[seed % len(KINDS)]) for seed in range(16))
    tensors = np.concatenate([to_tensor(picture, ours.image)[0] for picture in drawn])
    for variant in VARIANTS:
        complete = append_tail(BODIES[variant](ours, tensors), len(ours.labels), 1.0, b"")
        alone = pack(unpack(BODIES[variant](plain, tensors)))  # packed by the same code
        times = _alternate([complete, alone], tensors[:1], rounds)
        ratio = bootstrap(lambda a, b: float(np.median(a) / np.median(b)), range(rounds), *times)
        click.echo(
            f"{variant}: {len(complete) - len(alone):+,} bytes; {np.median(times[0]):.2f} ms, "
            f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) times the network with scores alone"
        )


def _alternate(files: list[bytes], tensor: np.ndarray, rounds: int) -> list[np.ndarray]:
    """Return milliseconds per file and round, each the fastest of a block of runs. The order alternates."""
    engines = [Interpreter(model_content=content, num_threads=1) for content in files]
    for engine in engines:
        engine.allocate_tensors()
        engine.set_tensor(engine.get_input_details()[0]["index"], tensor)
    times = np.zeros((len(files), rounds))
    for number in range(-5, rounds):  # five rounds to warm up
        for index in (0, 1) if number % 2 else (1, 0):
            spent = []
            for _ in range(_BLOCK):
                start = time.perf_counter()
                engines[index].invoke()
                spent.append(1e3 * (time.perf_counter() - start))
            if number >= 0:
                times[index, number] = min(spent)
    return list(times)


if __name__ == "__main__":
    main()
