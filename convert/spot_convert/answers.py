"""A file's answers in the runtime that it is meant for: in this process, or in another environment's Python."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from spot_bench.manifest import Manifest, write_manifest
from spot_bench.predict import Predictions, load_predictions, predict
from spot_convert.environments import require_environment
from spot_convert.variants import LITERT, TFLITE_RUNTIME
from spot_edge import __version__
from spot_edge.classifier import Classifier
from spot_edge.errors import CheckError, DataError
from spot_edge.files import write_whole
from spot_edge.modelfile import ModelFile

__all__ = ["Bar", "answers", "no_bar", "other_version"]

Bar: TypeAlias = Callable[
    [str, int], AbstractContextManager[Callable[[int], None]]
]  # title and length to "so many more"


@contextmanager
def no_bar(title: str, length: int) -> Iterator[Callable[[int], None]]:
    """Progress that nobody watches."""
    yield lambda more: None


def other_version(python: Path | None) -> str:
    """The version of tflite-runtime in the environment of `python`; DataError where files cannot be judged there."""
    if python is None:
        raise DataError(
            f"files for {TFLITE_RUNTIME} are judged in it: name the Python of an environment with spot-edge-toolkit "
            f"{__version__} and {TFLITE_RUNTIME} with --tflite-runtime"
        )
    return require_environment(python, ("spot_bench.cli", "tflite_runtime"), TFLITE_RUNTIME)


def answers(model: ModelFile, images: Manifest, runtime: str, python: Path | None, bar: Bar) -> Predictions:
    """What `model` says about every image, embeddings included; those that cannot be judged are left out.

    `python` is that of the environment that has `runtime`, where this one has not.
    """
    if runtime == LITERT:
        with bar(model.name, len(images.items)) as more:
            return predict(Classifier(model, runtime=runtime), images, lambda done, total: more(1), embeddings=True)
    with tempfile.TemporaryDirectory(prefix="spot-edge-") as temporary:
        folder = Path(temporary)
        file, data, out = folder / Path(model.name).name, folder / "images.csv", folder / "out"
        root = images.folder or folder
        write_whole(file, model.content)
        write_manifest(images, data, root=root)
        told = ("--data", data, "--root", root, "--part", "all", "--out", out, "--runtime", runtime, "--embeddings")
        with bar(f"{model.name} in {runtime}", len(images.items)) as more:
            done = subprocess.run(
                [python, "-m", "spot_edge.cli", "bench", "predict", file, *told],  # type: ignore[list-item]
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            more(len(images.items))
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise CheckError(f"{model.name}: cannot be judged in {runtime}: {reason}")
        return load_predictions(out / "predictions.npz")
