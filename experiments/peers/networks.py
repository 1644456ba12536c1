"""Make what all peers need, once: the network's files, an image, and the tensors that they must agree on.

`python -m experiments.peers.networks FOLDER`, where TensorFlow is. The weights are those of `models/spot` in every file
but the embedded model's own, which is their int8. The ONNX files are made in the environment of the PyTorch peer.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from experiments.peers.children import child_environment
from experiments.peers.rows import EXPORTER, FLOAT, INT8, REPOSITORY, install, python_of
from spot_bench.data.drawn import KINDS, draw_lesion, encode_jpeg
from spot_edge.files import make_folder, write_file
from spot_edge.image.tensor import decode, to_tensor
from spot_edge.model.file import ModelFile, read_model, seal

__all__ = ["make_inputs"]

PICTURES = 40  # the peers must agree on these, besides the timed one
CALIBRATION = 64
_SMALL_RUN = REPOSITORY / "models" / "spot"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Make what is missing in FOLDER, or everything if the embedded model has changed."""
    model = read_model()
    small = folder / f"{INT8}.tflite"
    if small.exists() and small.read_bytes() != model.content:
        for made in (f"{FLOAT}.tflite", f"{FLOAT}.onnx", f"{INT8}.onnx"):
            (folder / made).unlink(missing_ok=True)
    make_folder(folder)
    write_file(small, model.content)
    make_inputs(folder, model)
    if not (folder / f"{FLOAT}.tflite").exists():
        click.echo("making the float32 model file", err=True)
        write_file(folder / f"{FLOAT}.tflite", _float_file(model))
    weights = folder / "weights.npz"
    write_file(weights, (_SMALL_RUN / "weights-f16.npz").read_bytes())
    if (folder / f"{INT8}.onnx").exists():
        return
    python = python_of(EXPORTER)
    if not python.exists():
        click.echo(f"the ONNX files are not made: {install(EXPORTER)}", err=True)
        return
    click.echo("making the ONNX files", err=True)
    np.save(folder / "calibration.npy", _tensors(model, range(1000, 1000 + CALIBRATION)))
    command = [str(python), "-m", "experiments.peers.export", str(weights), str(model.spec.temperature), str(folder)]
    subprocess.run(command, check=False, env=child_environment())  # a failure leaves rows without a network


def make_inputs(folder: Path, model: ModelFile, pictures: int = PICTURES) -> None:
    """Write `picture.jpg`, and `tensors.npy` of it and of other images."""
    drawn = encode_jpeg(draw_lesion(seed=1))
    own, _ = to_tensor(decode(drawn, "picture.jpg")[0], model.spec.image)
    write_file(folder / "picture.jpg", drawn)
    np.save(folder / "tensors.npy", np.concatenate([own, _tensors(model, range(100, 100 + pictures))]))


def _tensors(model: ModelFile, seeds: range) -> NDArray[np.uint8]:
    drawn = (draw_lesion(seed, kind=KINDS[seed % len(KINDS)]) for seed in seeds)
    return np.concatenate([to_tensor(one, model.spec.image)[0] for one in drawn])


def _float_file(model: ModelFile) -> bytes:
    """Convert the run's network to float32. The accuracy figures in its spec.json are the embedded file's."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    from spot_bench.data.manifest import Manifest
    from spot_bench.drift.gate import Margins
    from spot_convert.engines.tflite_converter import float_body
    from spot_convert.modelfile.assembly import append_tail
    from spot_convert.modelfile.metadata import describe_tensors
    from spot_convert.run import Run
    from spot_train.runs.packed import restore

    with tempfile.TemporaryDirectory() as scratch:
        restore(_SMALL_RUN, Path(scratch, "run"))
        network = keras.saving.load_model(Path(scratch, "run", "model.keras"), compile=False)
    scaling, nothing = network.layers[1], Manifest((), _SMALL_RUN)  # float32 needs no calibration images
    scales = float(scaling.scale), float(scaling.offset)
    run = Run(model.spec.name, network, *scales, model.spec.labels, model.spec.image, nothing, Margins(), {})
    body = float_body(run, np.empty(0, np.uint8))
    spec = model.spec._replace(variant=FLOAT)
    described = describe_tensors(spec.name, spec.notice, spec.licence, 0, 1)
    return seal(append_tail(body, len(spec.labels), spec.temperature, described), spec)


if __name__ == "__main__":
    main()
