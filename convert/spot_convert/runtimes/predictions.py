"""Predict in the runtime that a file is made for: in this process, in a browser, or in another environment's Python."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from spot_bench.data.manifest import Manifest, read_manifest, write_manifest
from spot_bench.data.predictions import Predictions, load_predictions, predict, refuse_unknown_labels
from spot_bench.run.progress import Bar
from spot_convert.variants.catalog import LITERT, LITERT_JS, TFLITE_MICRO, TFLITE_RUNTIME
from spot_edge import __version__
from spot_edge.classifier import Classifier
from spot_edge.errors import CheckError, DataError, InterpreterError, ModelError
from spot_edge.files import write_file
from spot_edge.model.file import ModelFile, read_model
from spot_edge.model.interpreter import find_runtime

__all__ = [
    "RUNTIMES",
    "Environments",
    "predict_in_runtime",
    "predict_views",
    "predictor_of",
    "require_environment",
    "runtime_version",
]

RUNTIMES = (LITERT, TFLITE_RUNTIME, TFLITE_MICRO, LITERT_JS)
_ERRORS = {kind.exit_code: kind for kind in (ModelError, InterpreterError, DataError)}


@dataclass(frozen=True, slots=True)
class Environments:
    """Where to find what is not installed in this environment."""

    tflite_runtime: Path | None = None  # Python of an environment with tflite-runtime
    browser: Path | None = None  # folder that LiteRT.js was installed in
    qat: Path | None = None  # Python of an environment with TF Model Optimization


def runtime_version(runtime: str, environments: Environments) -> str:
    """Return the version of `runtime`. Raise DataError if files cannot be evaluated in it."""
    if runtime == TFLITE_RUNTIME:
        return _tflite_runtime_version(environments.tflite_runtime)
    if runtime == TFLITE_MICRO:
        from spot_convert.runtimes.micro.kernels import micro_version

        return micro_version()
    if runtime == LITERT_JS:
        from spot_convert.runtimes.browser.chromium import find_chromium, litertjs_version

        found = litertjs_version(environments.browser)
        find_chromium()
        return found
    return version(find_runtime(runtime))


def _tflite_runtime_version(python: Path | None) -> str:
    if python is None:
        raise DataError(
            f"evaluating in {TFLITE_RUNTIME} needs the Python of an environment with spot-edge-toolkit {__version__} "
            f"and {TFLITE_RUNTIME}: name it with --tflite-runtime"
        )
    return require_environment(python, ("spot_bench.commands.bench", "tflite_runtime"), TFLITE_RUNTIME)


def require_environment(python: Path, modules: Sequence[str], package: str) -> str:
    """Return the version of `package` in the environment of `python`.

    Raise DataError if `modules` cannot be imported there, or if spot-edge has another version there.
    """
    wanted = f"an environment with spot-edge-toolkit {__version__} and {package}"
    about = f"import {', '.join(modules)}; from importlib.metadata import version; import spot_edge"
    about += f"; print(spot_edge.__version__, version({package!r}))"
    try:
        done = subprocess.run([python, "-c", about], capture_output=True, text=True, check=False)
    except OSError as error:
        raise DataError(f"{python}: cannot be run: {error.strerror}: name the Python of {wanted}") from None
    found = done.stdout.split()
    if done.returncode or len(found) != 2:
        reason = (done.stderr.strip() or "no output").splitlines()[-1]
        raise DataError(f"{python}: not the Python of {wanted}: {reason}")
    if found[0] != __version__:
        raise DataError(f"{python}: has spot-edge {found[0]}, but this is {__version__}: install {__version__} there")
    return found[1]


def predictor_of(
    path: Path, images: Manifest, *, python: Path | None = None, browser: Path | None = None
) -> Callable[[Bar], tuple[Predictions, dict[str, Any]]]:
    """Return a function that predicts `images` in the runtime that the model file `path` is made for.

    `bench predict --in-runtime` finds this by the entry point group `spot_bench.runtimes`. The function takes a
    progress bar, and returns the predictions with the number of images proven equal in tflite-micro, if it is that.
    Raise ModelError or DataError if the file, its runtime or the labels of the images cannot be used.
    """
    model, environments = read_model(path), Environments(tflite_runtime=python, browser=browser)
    runtime = model.spec.measured_in.runtime
    if runtime not in RUNTIMES:
        raise ModelError(f"{path}: was made for an unknown runtime, {runtime!r}. Known runtimes: {', '.join(RUNTIMES)}")
    runtime_version(runtime, environments)
    refuse_unknown_labels(model, images)

    def predict_all(bar: Bar) -> tuple[Predictions, dict[str, Any]]:
        proof: dict[str, Any] = {}
        if runtime == TFLITE_MICRO:
            from spot_convert.runtimes.micro.kernels import prove_equal_on

            proof = prove_equal_on(model, images)
        return predict_in_runtime(model, images, runtime, environments, bar), proof

    return predict_all


def predict_in_runtime(
    model: ModelFile, images: Manifest, runtime: str, environments: Environments, bar: Bar
) -> Predictions:
    """Predict every image, embeddings included. Unreadable images are left out."""
    if runtime == LITERT:
        with bar(model.name, len(images.items)) as advance:
            return predict(Classifier(model, runtime=runtime), images, lambda done, total: advance(1), embeddings=True)
    if runtime == TFLITE_MICRO:
        from spot_convert.runtimes.micro.kernels import micro_predictions

        with bar(f"{model.name} in {runtime}", len(images.items)) as advance:
            return micro_predictions(model, images, advance)
    if runtime == LITERT_JS:
        from spot_convert.runtimes.browser.interpreter import browser_predictions

        assert environments.browser is not None
        with bar(f"{model.name} in {runtime}", len(images.items)) as advance:
            return browser_predictions(model, images, environments.browser, advance)
    assert environments.tflite_runtime is not None
    with bar(f"{model.name} in {runtime}", len(images.items)) as advance:
        found = _predict_in_python(model, images, runtime, environments.tflite_runtime)
        advance(len(images.items))
    return found


def predict_views(model: ModelFile, images: Manifest, views: int, bar: Bar) -> Predictions:
    """Predict every readable image with the mean over so many views, in the interpreter of this process."""
    classifier = Classifier(model, runtime=LITERT, views=views)
    with bar(f"{model.name}, {views} views", len(images.items)) as advance:
        return predict(classifier, images, lambda done, total: advance(1), complete=False)


def _predict_in_python(model: ModelFile, images: Manifest, runtime: str, python: Path) -> Predictions:
    """Run `bench predict` in the environment of `python`; errors there become errors here."""
    with tempfile.TemporaryDirectory(prefix="spot-edge-") as temporary:
        folder = Path(temporary)
        file, data, out = folder / Path(model.name).name, folder / "images.csv", folder / "out"
        root = images.folder or folder
        write_file(file, model.content)
        write_manifest(images, data, root=root)
        options = ("--data", data, "--root", root, "--split", "all", "--out", out, "--runtime", runtime, "--embeddings")
        command = [str(python), "-m", "spot_edge.cli", "bench", "predict", str(file), *map(str, options)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1].removeprefix("spot-edge: ")
            reason = reason.replace(str(file), model.name).replace(str(data), str(images.origin))
            raise _ERRORS.get(done.returncode, CheckError)(f"{model.name}: cannot be evaluated in {runtime}: {reason}")
        found = load_predictions(out / "predictions.npz")
        theirs = read_manifest(data, root=root, check_files=False)  # writing the CSV resolved symbolic links
        names = {theirs.name(their): images.name(our) for their, our in zip(theirs.items, images.items, strict=True)}
        return replace(
            found,
            images=np.array([names[str(name)] for name in found.images]),
            skipped=tuple((names[name], reason) for name, reason in found.skipped),
        )
