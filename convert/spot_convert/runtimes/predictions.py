"""A file's answers in the runtime that it is meant for: in this process, or in another environment's Python."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from spot_bench.data.manifest import Manifest, read_manifest, write_manifest
from spot_bench.data.predictions import Predictions, load_predictions, predict
from spot_bench.run.progress import Bar
from spot_convert.runtimes.environments import require_environment
from spot_convert.variants.catalog import LITERT, LITERT_JS, TFLITE_MICRO, TFLITE_RUNTIME
from spot_edge import __version__
from spot_edge.classifier import Classifier
from spot_edge.errors import CheckError, DataError, InterpreterError, ModelError
from spot_edge.files import write_file
from spot_edge.model.file import ModelFile
from spot_edge.model.interpreter import find_runtime

__all__ = ["RUNTIMES", "Places", "answers", "runtime_version"]

RUNTIMES = (LITERT, TFLITE_RUNTIME, TFLITE_MICRO, LITERT_JS)
_ERRORS = {kind.exit_code: kind for kind in (ModelError, InterpreterError, DataError)}


@dataclass(frozen=True, slots=True)
class Places:
    """Where that is which this environment has not."""

    python: Path | None = None  # of an environment with tflite-runtime
    browser: Path | None = None  # the folder that LiteRT.js was installed in
    qat: Path | None = None  # the Python of an environment with TF Model Optimization, which trains


def runtime_version(runtime: str, places: Places) -> str:
    """The version of `runtime`; DataError where files cannot be judged in it here."""
    if runtime == TFLITE_RUNTIME:
        return _other_version(places.python)
    if runtime == TFLITE_MICRO:
        from spot_convert.runtimes.micro.kernels import micro_version

        return micro_version()
    if runtime == LITERT_JS:
        from spot_convert.runtimes.browser.chromium import find_chromium, litertjs_version

        found = litertjs_version(places.browser)
        find_chromium()
        return found
    return version(find_runtime(runtime))


def _other_version(python: Path | None) -> str:
    """The version of tflite-runtime in the environment of `python`; DataError where files cannot be judged there."""
    if python is None:
        raise DataError(
            f"files for {TFLITE_RUNTIME} are judged in it: name the Python of an environment with spot-edge-toolkit "
            f"{__version__} and {TFLITE_RUNTIME} with --tflite-runtime"
        )
    return require_environment(python, ("spot_bench.commands.bench", "tflite_runtime"), TFLITE_RUNTIME)


def answers(model: ModelFile, images: Manifest, runtime: str, places: Places, bar: Bar) -> Predictions:
    """What `model` says about every image, embeddings included; those that cannot be judged are left out."""
    if runtime == LITERT:
        with bar(model.name, len(images.items)) as more:
            return predict(Classifier(model, runtime=runtime), images, lambda done, total: more(1), embeddings=True)
    if runtime == TFLITE_MICRO:
        from spot_convert.runtimes.micro.kernels import micro_answers

        with bar(f"{model.name} in {runtime}", len(images.items)) as more:
            return micro_answers(model, images, more)
    if runtime == LITERT_JS:
        from spot_convert.runtimes.browser.interpreter import browser_answers

        assert places.browser is not None
        with bar(f"{model.name} in {runtime}", len(images.items)) as more:
            return browser_answers(model, images, places.browser, more)
    assert places.python is not None
    with bar(f"{model.name} in {runtime}", len(images.items)) as more:
        found = _answers_in_python(model, images, runtime, places.python)
        more(len(images.items))
    return found


def _answers_in_python(model: ModelFile, images: Manifest, runtime: str, python: Path) -> Predictions:
    """The same in the environment of `python`, whose complaints are told as if they were ours."""
    with tempfile.TemporaryDirectory(prefix="spot-edge-") as temporary:
        folder = Path(temporary)
        file, data, out = folder / Path(model.name).name, folder / "images.csv", folder / "out"
        root = images.folder or folder
        write_file(file, model.content)
        write_manifest(images, data, root=root)
        told = ("--data", data, "--root", root, "--split", "all", "--out", out, "--runtime", runtime, "--embeddings")
        command = [str(python), "-m", "spot_edge.cli", "bench", "predict", str(file), *map(str, told)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1].removeprefix("spot-edge: ")
            reason = reason.replace(str(file), model.name).replace(str(data), str(images.origin))
            raise _ERRORS.get(done.returncode, CheckError)(f"{model.name}: cannot be judged in {runtime}: {reason}")
        found = load_predictions(out / "predictions.npz")
        theirs = read_manifest(data, root=root, check_files=False)  # who writes a CSV looks through symbolic links
        names = {theirs.name(their): images.name(our) for their, our in zip(theirs.items, images.items, strict=True)}
        return replace(
            found,
            images=np.array([names[str(name)] for name in found.images]),
            skipped=tuple((names[name], reason) for name, reason in found.skipped),
        )
