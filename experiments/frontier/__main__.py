"""Measure what a narrower network and a smaller image save: `python -m experiments.frontier`.

Builds untrained MobileNetV2s in float32 and int8 as `frontier.toml` lists them: weights matter for neither. The files
stay in a folder, so that building can be interrupted and continued. Then all of them run in turns on one picture.
Writes the page `frontier.md` and its chart. Accuracy stands only beside members that were trained.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np

from experiments.frontier.page import chart, page, trained_accuracy
from spot_bench.data.drawn import KINDS, draw_lesion
from spot_bench.data.manifest import Manifest
from spot_bench.drift.gate import Margins
from spot_bench.run.progress import progress_bar
from spot_bench.speed.conditions import describe_machine
from spot_bench.stats.intervals import Estimate, ratio_of_medians
from spot_convert.engines.tflite_converter import BODIES
from spot_convert.modelfile.assembly import append_tail
from spot_convert.modelfile.metadata import describe_tensors
from spot_convert.run import Run
from spot_edge.files import make_folder, write_file
from spot_edge.image.tensor import to_tensor
from spot_edge.model.file import ModelFile, read_model, seal
from spot_edge.model.interpreter import Interpreter
from spot_edge.model.spec import ImageSpec, Label, MeasuredIn, ModelSpec
from spot_train.network.network import build_body
from spot_train.recipes.recipe import Network

__all__ = ["build_file"]

VARIANTS = ("float32", "int8")
CLASSES = 7
CALIBRATION = 16  # drawn lesions
_RUNTIME = "ai-edge-litert"


@dataclass(frozen=True, slots=True)
class Member:
    """One file, and what was measured of it."""

    width: float
    side: int
    variant: str
    bytes: int
    macs: int
    milliseconds: float  # the median
    ratio: Estimate  # of the median to the largest float32 file's
    accuracy: dict[str, Any] | None  # balanced accuracy, for trained networks


@click.command()
@click.option(
    "--plan", type=click.Path(path_type=Path), default=Path(__file__).with_name("frontier.toml"), show_default=True
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the model files, which are kept."
)
@click.option(
    "--page", "folder", type=click.Path(path_type=Path), required=True, help="Folder for the page and its chart."
)
@click.option("--threads", type=int, default=1, show_default=True)
def main(plan: Path, out: Path, folder: Path, threads: int) -> None:
    """Build, time and draw the files of a plan."""
    wanted = tomllib.loads(plan.read_text(encoding="utf-8"))
    networks = [Network(width=width, size=side) for width in wanted["widths"] for side in wanted["sides"]]
    make_folder(out)
    files = {}
    for network in networks:
        for variant in VARIANTS:
            file = out / f"w{round(100 * network.width)}-s{network.size}-{variant}.tflite"
            if not file.exists():
                click.echo(f"building {file.name}", err=True)
                write_file(file, build_file(network, variant))
            files[network, variant] = read_model(file)
    times = _in_turns(list(files.values()), wanted["rounds"], threads)
    largest = max(networks, key=_weight), "float32"
    reference = times[list(files).index(largest)]
    members = [
        Member(
            network.width,
            network.size,
            variant,
            len(files[network, variant].content),
            _macs(network),
            float(np.median(own)),
            ratio_of_medians(own, reference),
            trained_accuracy(wanted.get("trained", []), network.width, network.size, variant),
        )
        for (network, variant), own in zip(files, times, strict=True)
    ]
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine(),
        "runtime": f"{_RUNTIME} {version(_RUNTIME)}",
        "rounds": wanted["rounds"],
        "threads": threads,
    }
    make_folder(folder)
    write_file(folder / "frontier.svg", chart(members).encode())
    write_file(folder / "frontier.md", page(members, about).encode())
    click.echo(f"{folder / 'frontier.md'}: {len(members)} files")


def _weight(network: Network) -> tuple[float, int]:
    return network.width, network.size


def build_file(network: Network, variant: str) -> bytes:
    """Make a model file of an untrained network with the converter's own functions."""
    keras.utils.set_random_seed(0)
    body, labels = build_body(network, CLASSES), tuple(Label(f"c{n}", f"class {n}") for n in range(CLASSES))
    spec = ModelSpec(
        name="untrained",
        variant=variant,
        labels=labels,
        image=ImageSpec(network.size),
        measured_in=MeasuredIn(_RUNTIME, version(_RUNTIME)),
        temperature=1.0,
        training={},
    )
    scaling, nothing = body.layers[1], Manifest((), Path("drawn"))
    run = Run(spec.name, body, float(scaling.scale), float(scaling.offset), labels, spec.image, nothing, Margins(), {})
    pictures = (draw_lesion(seed, kind=KINDS[seed % len(KINDS)]) for seed in range(CALIBRATION))
    tensors = np.concatenate([to_tensor(drawn, spec.image)[0] for drawn in pictures])
    flatbuffer = BODIES[variant](run, tensors)
    return seal(append_tail(flatbuffer, CLASSES, 1.0, describe_tensors(spec.name, "", "", 0, 1)), spec)


def _in_turns(models: list[ModelFile], rounds: int, threads: int) -> list[np.ndarray]:
    """Milliseconds of each network, once per round, so that a change in machine speed affects all of them."""
    interpreters = [Interpreter(model, runtime=_RUNTIME, threads=threads) for model in models]
    drawn = draw_lesion(seed=1)
    tensors = [to_tensor(drawn, model.spec.image)[0] for model in models]
    times = np.zeros((len(models), rounds))
    random = np.random.default_rng(0)
    with progress_bar("rounds", rounds) as step:
        for number in range(-5, rounds):  # five to warm up
            for index in random.permutation(len(models)):
                start = time.perf_counter()
                interpreters[index].invoke(tensors[index])
                if number >= 0:
                    times[index, number] = 1e3 * (time.perf_counter() - start)
            step(int(number >= 0))
    return list(times)


def _macs(network: Network) -> int:
    """The multiply-accumulates of the convolutions per image."""
    return sum(_layer_macs(build_body(network, CLASSES).layers))


def _layer_macs(layers: Sequence[Any]) -> Iterator[int]:
    for layer in layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            _, rows, columns, _ = layer.output.shape
            yield rows * columns * int(np.prod(layer.get_weights()[0].shape))


if __name__ == "__main__":
    main()
