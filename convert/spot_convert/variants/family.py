"""A run becomes a family of model files: each made, run, fitted and judged before it gets a name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from spot_bench.run.progress import Bar, no_bar
from spot_bench.stats.calibration import softmax
from spot_convert.checks.parity import Parity, check_answers, check_graph, check_size
from spot_convert.checks.fitting import Converted, fitted_spec
from spot_convert.engines import litert_quantizer as litert_engine
from spot_convert.engines import tflite_converter as tensorflow_engine
from spot_convert.engines.folding import fold
from spot_convert.engines.litert_quantizer import mixed_body
from spot_convert.modelfile.metadata import describe_tensors
from spot_convert.modelfile.tail import append_tail
from spot_convert.quantize.mixing import Choice
from spot_convert.quantize.qat import check_trainer
from spot_convert.quantize.training_images import training_tensors
from spot_convert.run import Run, read_run
from spot_convert.runtimes.compatibility import unsupported
from spot_convert.runtimes.predictions import Places, answers, runtime_version
from spot_convert.variants.catalog import (
    DEFAULT,
    LITERT,
    QAT,
    TFLITE_MICRO,
    TFLITE_RUNTIME,
    VARIANTS,
    Variant,
    choose_variants,
)
from spot_convert.variants.fine_tuned import trained_body
from spot_convert.variants.images import FEWEST, SEED, Pictures, calibration_tensors, choose
from spot_edge.errors import CheckError, OutputError
from spot_edge.files import make_folder, write_file
from spot_edge.model.file import ModelFile, seal, verify
from spot_edge.model.spec import MeasuredIn, ModelSpec

__all__ = ["FAILED", "convert_run"]

FAILED = "failed"  # the folder, beside the good files, of those that the drift gate refused
_BODIES = {"tensorflow": tensorflow_engine.BODIES, "litert": litert_engine.BODIES}
_HERE = Places()
_PACKAGES = ("tensorflow", "keras", "litert-quantizer", LITERT, "numpy", "pillow")


def convert_run(
    run_path: Path,
    out: Path,
    *,
    data: Path | None = None,
    variants: Sequence[str] = DEFAULT,
    engine: str | None = None,
    places: Places = _HERE,
    say: Callable[[str], None],
    bar: Bar = no_bar,
) -> list[Converted]:
    """Make `variants` of the run in the folder `run_path`, and leave them in `out` with a `report.json`.

    Nothing is written before every file has passed its checks. A file that the drift gate refuses goes into the
    folder FAILED of `out`. `places` says where the runtimes and the trainer are that this environment has not.
    Raises DataError for a run, data or an environment that cannot be used, and CheckError, naming the file, for one
    that is broken.
    """
    engines = choose_variants(list(variants), engine)
    wanted = {LITERT, *(VARIANTS[name].runtime for name in engines)}
    runtimes = {runtime: runtime_version(runtime, places) for runtime in wanted}
    trainer = check_trainer(places.qat) if QAT in engines else None
    run = read_run(run_path, data)
    if trainer is not None:
        fold(run.body)  # refused now rather than after pictures were prepared
    _refuse_existing(out, [_file_name(run, name) for name in engines])
    chosen = choose(run.manifest, FEWEST if any(VARIANTS[name].static for name in engines) else 1)
    pictures = Pictures.of(run.manifest, chosen)
    few = pictures.fewer()
    say(f"calibrating and checking with {len(chosen)} images of the calibrate part")
    tensors = calibration_tensors(chosen, run.image)
    reference = softmax(_keras_logits(run, tensors))
    lessons = training_tensors(run, bar) if any(VARIANTS[name].trains for name in engines) else None

    def make(name: str, engine: str, baseline: Converted | None) -> Converted:
        variant, file = VARIANTS[name], _file_name(run, name)
        say(f"{name}: converting")
        search: list[Choice] = []
        if lessons is not None and variant.trains:
            body = trained_body(variant.body, run, tensors, lessons, trainer, bar, _BODIES[engine]["int8"])
        elif variant.mixes:
            body, search = mixed_body(variant.body, run, tensors, say)
        else:
            body = _BODIES[engine][variant.body](run, tensors)
        _check_body(body, file, variant)
        spec = _spec(run, name, MeasuredIn(variant.runtime, runtimes[variant.runtime]))
        draft = verify(seal(_with_tail(run, spec, body), spec), file)
        check_size(draft.content, run.body.count_params(), variant.bytes_each, file)
        seen = few if variant.runtime == TFLITE_MICRO else pictures
        found = answers(draft, seen.manifest, variant.runtime, places, bar)
        calibrated = seen.only(found, "calibrate")
        check_answers(calibrated, file)
        parity = Parity.between(calibrated.scores, reference[seen.kept(found, chosen)])
        parity.require(file, variant.largest, variant.moved, variant.agreement)
        fitted = fitted_spec(spec, found, seen, run.margins, baseline)
        model = verify(seal(_with_tail(run, fitted.spec, body), fitted.spec, fitted.members), file)
        return Converted.of(model, engine, parity, fitted, _needs(model, tensors, seen), search)

    baseline = make("float32", "tensorflow", None)
    made = [
        baseline if name == "float32" else make(name, chosen_engine, baseline)
        for name, chosen_engine in engines.items()
    ]
    _write(out, run, made, {"images": len(chosen), "seed": SEED})
    return made


def _write(out: Path, run: Run, made: list[Converted], calibration: dict[str, int]) -> None:
    make_folder(out)
    for converted in made:
        folder = make_folder(out / FAILED) if converted.failed else out
        write_file(folder / converted.model.name, converted.model.content)
    report = {
        "schema": 1,
        "run": run.name,
        "environment": {name: version(name) for name in _PACKAGES},
        "calibration": calibration,
        "margins": dataclasses.asdict(run.margins),
        "retraining": dataclasses.asdict(run.retraining),
        "budget": dataclasses.asdict(run.budget),
        "files": [converted.as_dict() for converted in made],
    }
    write_file(out / "report.json", (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())


def _needs(model: ModelFile, tensors: NDArray[np.uint8], seen: Pictures) -> dict[str, Any] | None:
    """What a microcontroller must have for a file that is meant for one, and how many pictures that file answered."""
    if model.spec.measured_in.runtime != TFLITE_MICRO:
        return None
    from spot_convert.runtimes.micro.kernels import PROVEN, prove_equal

    return prove_equal(model, tensors[:PROVEN]) | {"pictures": {part: len(own) for part, own in seen.parts.items()}}


def _refuse_existing(out: Path, files: list[str]) -> None:
    places = [out / "report.json", *(folder / file for folder in (out, out / FAILED) for file in files)]
    present = [path for path in places if path.exists()]
    if present:
        raise OutputError(f"{present[0]}: exists already: name another folder")


def _file_name(run: Run, variant: str) -> str:
    return f"{run.name}-{variant}.tflite"


def _check_body(body: bytes, name: str, variant: Variant) -> None:
    check_graph(body, name, integer=variant.integer)
    if variant.runtime == TFLITE_RUNTIME and (lacking := unsupported(body)):
        raise CheckError(f"{name}: {TFLITE_RUNTIME} cannot run {', '.join(lacking)}")


def _spec(run: Run, variant: str, measured_in: MeasuredIn) -> ModelSpec:
    """What the file says about itself before anything was fitted on it."""
    kept = ("data", "recipe_sha256", "split_sha256")
    return ModelSpec(
        name=run.name,
        variant=variant,
        labels=run.labels,
        image=run.image,
        measured_in=measured_in,
        temperature=1.0,
        training={key: run.provenance[key] for key in kept if run.provenance[key]},
        licence=run.provenance.get("licence", ""),
        notice=run.provenance.get("notice", ""),
    )


def _with_tail(run: Run, spec: ModelSpec, body: bytes) -> bytes:
    """`body` with the tail and the TFLite Metadata that `spec` asks for."""
    # The input's quantization is then the pixel scaling, and metadata tells clients to undo it: they feed grey levels.
    zero = tensorflow_engine.input_zero(run)
    mean, std = (zero, 1 / run.pixel_scale) if VARIANTS[spec.variant].static else (0, 1)
    description = describe_tensors(f"{spec.name} {spec.variant}", spec.notice, spec.licence, mean, std)
    return append_tail(body, len(spec.labels), spec.temperature, description)


def _keras_logits(run: Run, tensors: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows: list[Any] = [
        keras.ops.convert_to_numpy(run.body(tensors[i : i + 16], training=False)["evidence"])
        for i in range(0, len(tensors), 16)
    ]
    return np.asarray(np.concatenate(rows).mean(axis=(1, 2)), np.float32)
