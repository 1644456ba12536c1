"""A run becomes a family of model files: body, tail, checks, temperature and operating points of each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from spot_bench.calibration import fit_temperature, operating_points, realised_point, softmax
from spot_bench.predict import Predictions, predict
from spot_convert.calibration import FEWEST, calibration_tensors, choose
from spot_convert.checks import Parity, check_graph, check_outputs, check_size, run_file
from spot_convert.description import describe_tensors
from spot_convert.engine import float_body, input_zero, int8_body
from spot_convert.run import Run, read_run
from spot_convert.tail import append_tail
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError, OutputError
from spot_edge.files import make_folder, write_whole
from spot_edge.modelfile import ModelFile, seal, verify
from spot_edge.modelspec import MeasuredIn, ModelSpec, OperatingPoint

__all__ = ["VARIANTS", "Converted", "convert_run"]

RUNTIME = "ai-edge-litert"


@dataclass(frozen=True, slots=True)
class Variant:
    """How a variant is made, and what it must keep to."""

    integer: bool
    bytes_each: int  # a weight
    largest: float  # |score - Keras' score| on the calibration pictures, at most
    moved: float  # share of the score that may move to other classes, on average
    agreement: float  # share of calibration pictures that must keep their first rank


VARIANTS = {
    "float32": Variant(integer=False, bytes_each=4, largest=1e-4, moved=1e-4, agreement=0.99),
    "int8": Variant(integer=True, bytes_each=1, largest=1.0, moved=0.2, agreement=0.75),
}


@dataclass(frozen=True, slots=True)
class Converted:
    """One finished file and what its checks measured."""

    path: Path
    model: ModelFile
    parity: Parity
    validation: Predictions

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "file": self.path.name,
            "variant": self.model.spec.variant,
            "id": self.model.id,
            "bytes": len(self.model.content),
            "temperature": self.model.spec.temperature,
            "parity_with_keras": dataclasses.asdict(self.parity),
        }


def convert_run(
    run_path: Path,
    out: Path,
    *,
    data: Path | None = None,
    variants: Sequence[str] = tuple(VARIANTS),
    say: Callable[[str], None],
) -> list[Converted]:
    """Make `variants` of the run in the folder `run_path`, and leave those files in `out` with a `report.json`.

    Nothing is written before every file has passed its checks. Raises DataError for a run or data that cannot be used
    and CheckError, naming the file, for one that is not what it should be.
    """
    unknown = [variant for variant in variants if variant not in VARIANTS]
    if unknown:
        raise DataError(f"unknown variant {unknown[0]!r}: known are {', '.join(VARIANTS)}")
    run = read_run(run_path, data)
    paths = {variant: out / f"{run.name}-{variant}.tflite" for variant in variants}
    present = [path for path in (*paths.values(), out / "report.json") if path.exists()]
    if present:
        raise OutputError(f"{present[0]}: exists already: name another folder")
    run.manifest.part("val")  # refused now rather than after minutes
    chosen = choose(run.manifest, FEWEST if any(VARIANTS[variant].integer for variant in variants) else 1)
    say(f"calibrating and checking with {len(chosen)} images of the calibrate part")
    tensors = calibration_tensors(chosen, run.image)
    logits = _keras_logits(run, tensors)
    made = []
    for variant in variants:
        say(f"{variant}: converting")
        made.append(_make(run, variant, paths[variant], tensors, logits, say))
    make_folder(out)
    for converted in made:
        write_whole(converted.path, converted.model.content)
    report = {
        "schema": 1,
        "run": run.name,
        "environment": {name: version(name) for name in ("tensorflow", "keras", RUNTIME, "numpy", "pillow")},
        "calibration_images": len(chosen),
        "files": [converted.as_dict() for converted in made],
    }
    write_whole(out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    return made


def _make(
    run: Run,
    name: str,
    path: Path,
    tensors: NDArray[np.uint8],
    keras_logits: NDArray[np.float32],
    say: Callable[[str], None],
) -> Converted:
    """One variant: its body once, then its tail twice: before and after the temperature is fitted on this file."""
    variant = VARIANTS[name]
    body = int8_body(run, tensors) if variant.integer else float_body(run)
    check_graph(body, path.name, integer=variant.integer)
    spec = _spec(run, name)
    draft = verify(seal(_with_tail(run, spec, body), spec), path.name)
    say(f"{name}: checking")
    outputs = run_file(draft, tensors, RUNTIME)
    check_outputs(outputs, path.name)
    parity = Parity.between(outputs["scores"], softmax(keras_logits))
    parity.require(path.name, variant.largest, variant.moved, variant.agreement)
    check_size(draft.content, run.body.count_params(), variant.bytes_each, path.name)
    say(f"{name}: measuring on the validation part")
    validation = predict(Classifier(draft, runtime=RUNTIME), run.manifest.part("val"))
    temperature = float(np.float32(fit_temperature(validation.logits, validation.truth)))
    scores = softmax(validation.logits, temperature).astype(np.float32)
    malignant = [label.malignant for label in run.labels]
    points = operating_points(malignant, scores, validation.truth, validation.groups, measured_on="validation")
    if points and "test" in run.manifest.parts:
        say(f"{name}: measuring the operating points on the test part")
        points = _realised(points, draft, run, temperature)
    spec = dataclasses.replace(spec, temperature=temperature, operating_points=points)
    final = verify(seal(_with_tail(run, spec, body), spec), path.name)
    return Converted(path, final, parity, dataclasses.replace(validation, scores=scores, operating_points=points))


def _realised(
    chosen: Sequence[OperatingPoint], draft: ModelFile, run: Run, temperature: float
) -> tuple[OperatingPoint, ...]:
    """The operating points chosen on validation with what they do on the test part, which took part in no choice."""
    test = predict(Classifier(draft, runtime=RUNTIME), run.manifest.part("test"))
    scores = softmax(test.logits, temperature).astype(np.float32)
    malignant = [label.malignant for label in run.labels]
    return tuple(
        realised_point(point.name, point.threshold, malignant, scores, test.truth, test.groups, measured_on="test")
        for point in chosen
    )


def _spec(run: Run, variant: str) -> ModelSpec:
    """What the file says about itself before anything was fitted on it."""
    kept = ("data", "recipe_sha256", "split_sha256")
    return ModelSpec(
        name=run.name,
        variant=variant,
        labels=run.labels,
        image=run.image,
        measured_in=MeasuredIn(RUNTIME, version(RUNTIME)),
        temperature=1.0,
        training={key: run.provenance[key] for key in kept if run.provenance[key]},
        licence=run.provenance.get("licence", ""),
        notice=run.provenance.get("notice", ""),
    )


def _with_tail(run: Run, spec: ModelSpec, body: bytes) -> bytes:
    """`body` with the tail and the TFLite Metadata that `spec` asks for."""
    # The int8 input's quantization is the pixel scaling, and metadata tells clients to undo it: they feed grey levels.
    mean, std = (input_zero(run), 1 / run.pixel_scale) if VARIANTS[spec.variant].integer else (0, 1)
    description = describe_tensors(f"{spec.name} {spec.variant}", spec.notice, spec.licence, mean, std)
    return append_tail(body, len(spec.labels), spec.temperature, description)


def _keras_logits(run: Run, tensors: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows = [
        keras.ops.convert_to_numpy(run.body(tensors[i : i + 16], training=False)["evidence"])
        for i in range(0, len(tensors), 16)
    ]
    return np.asarray(np.concatenate(rows).mean(axis=(1, 2)), np.float32)
