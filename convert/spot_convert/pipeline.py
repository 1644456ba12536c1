"""Convert a run directory to a family of model files. Read it from top to bottom.

    read the run → prepare images → for each variant: build the body → add the tail → check → predict → fit and compare
    with float32 → seal → write

`variants/catalog.py` lists the variants: add new ones there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Item
from spot_bench.data.predictions import Predictions
from spot_bench.drift.gate import PRESETS
from spot_bench.run.progress import Bar, no_bar
from spot_bench.stats.calibration import softmax
from spot_convert.checks.fitting import GatePredictions, fit, fit_views, images_for_views
from spot_convert.checks.parity import Parity, check_graph, check_outputs, check_size
from spot_convert.engines.folding import fold
from spot_convert.images import (
    MIN_CALIBRATION,
    SEED,
    EvaluationImages,
    GateImages,
    choose_calibration_images,
    gate_images,
    image_tensors,
    training_tensors,
)
from spot_convert.modelfile.assembly import assemble, draft_spec
from spot_convert.quantize.qat import check_trainer
from spot_convert.run import Run, read_run
from spot_convert.runtimes.compatibility import check_operators
from spot_convert.runtimes.predictions import Environments, predict_in_runtime, predict_views, runtime_version
from spot_convert.variants.bodies import build_body
from spot_convert.variants.catalog import DEFAULT, LITERT, QAT, TFLITE_MICRO, VARIANTS, Variant, choose_variants
from spot_convert.variants.results import Converted, refuse_existing, write_family
from spot_edge.model.file import ModelFile
from spot_edge.model.spec import MeasuredIn
from spot_edge.model.views import Views

__all__ = ["convert_run"]

_BASELINE, _BASELINE_ENGINE = "float32", "tensorflow"
_HERE = Environments()
_NONE: Mapping[str, Path] = {}


@dataclass(frozen=True, slots=True)
class Job:
    """What to convert, and with what."""

    run: Run
    engines: dict[str, str]  # of each variant
    runtimes: dict[str, str]  # versions of the runtimes to evaluate in
    environments: Environments
    log: Callable[[str], None]
    bar: Bar
    gate: GateImages  # on which only the drift gate decides
    gate_data: tuple[str, ...]  # names of their data sets
    views: tuple[int, ...]  # to fit temperature and thresholds for

    @property
    def variants(self) -> list[Variant]:
        """The variants to make."""
        return [VARIANTS[name] for name in self.engines]

    def file_name(self, variant: str) -> str:
        """Return the name of a variant's file."""
        return f"{self.run.name}-{variant}.tflite"


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a conversion, prepared as the device prepares them."""

    calibration_items: list[Item]
    calibration: NDArray[np.uint8]
    training: NDArray[np.uint8] | None  # None if no variant is fine-tuned
    evaluation: EvaluationImages
    reduced: EvaluationImages  # for tflite-micro
    keras_scores: NDArray[np.float64]  # of the float network on the calibration images

    def evaluated_in(self, runtime: str) -> EvaluationImages:
        """Return the images that a file is evaluated on: fewer in a slow runtime."""
        return self.reduced if runtime == TFLITE_MICRO else self.evaluation


def convert_run(
    run_path: Path,
    out: Path,
    *,
    data: Path | None = None,
    variants: Sequence[str] = DEFAULT,
    engine: str | None = None,
    environments: Environments = _HERE,
    margins: str | None = None,
    gate_data: Mapping[str, Path] = _NONE,
    gate_unlabelled: Mapping[str, Path] = _NONE,
    views: Sequence[int] = (),
    log: Callable[[str], None],
    bar: Bar = no_bar,
) -> list[Converted]:
    """Convert the run directory `run_path` to `variants`, and write the files with a `report.json` to `out`.

    Nothing is written before every file has passed its checks. Files that fail the drift gate go to the subfolder
    `failed`. `environments` names the runtimes and the trainer that are not installed here. `margins` is a preset that
    replaces the recipe's margins. `gate_data` and `gate_unlabelled` are further images of the gate, by name. `views`
    are numbers of views to fit temperature and thresholds for. Raise DataError if the run, its data or an environment
    cannot be used, and CheckError if a file is broken.
    """
    further = (margins, gate_data, gate_unlabelled, views)
    job = _read(run_path, out, data, variants, engine, environments, further, log, bar)
    images = _prepare_images(job)
    baseline = _convert(_BASELINE, _BASELINE_ENGINE, job, images, None)
    made = [
        baseline if name == _BASELINE else _convert(name, chosen, job, images, baseline.gate)
        for name, chosen in job.engines.items()
    ]
    write_family(out, job.run, made, {"images": len(images.calibration), "seed": SEED})
    return made


def _read(
    run_path: Path,
    out: Path,
    data: Path | None,
    variants: Sequence[str],
    engine: str | None,
    environments: Environments,
    further: tuple[str | None, Mapping[str, Path], Mapping[str, Path], Sequence[int]],
    log: Callable[[str], None],
    bar: Bar,
) -> Job:
    """Read the run. Find out now, before any work, whether something is missing or in the way."""
    engines = choose_variants(list(variants), engine)
    needed = {LITERT, *(VARIANTS[name].runtime for name in engines)}
    runtimes = {runtime: runtime_version(runtime, environments) for runtime in needed}
    if QAT in engines:
        check_trainer(environments.qat)
    run = read_run(run_path, data)
    preset, gate_data, gate_unlabelled, views = further
    if preset is not None:
        own = run.margins
        run = replace(run, margins=replace(PRESETS[preset], data=own.data, unlabelled=own.unlabelled))
    gate = gate_images(run, gate_data, gate_unlabelled)
    if QAT in engines:
        fold(run.body)
    job = Job(run, engines, runtimes, environments, log, bar, gate, (*gate_data, *gate_unlabelled), tuple(views))
    refuse_existing(out, [job.file_name(name) for name in engines])
    return job


def _prepare_images(job: Job) -> Images:
    """Choose and prepare the images, and run the float network on the calibration images for reference."""
    run = job.run
    items = choose_calibration_images(
        run.manifest, MIN_CALIBRATION if any(variant.static for variant in job.variants) else 1
    )
    evaluation = EvaluationImages.of(run.manifest, items, job.gate)
    job.log(f"calibrating and checking with {len(items)} images of the calibration split")
    calibration = image_tensors(items, run.image)
    keras_scores = softmax(_keras_logits(run, calibration))
    fine_tuned = any(variant.fine_tuned for variant in job.variants)
    training = training_tensors(run, job.bar) if fine_tuned else None
    return Images(items, calibration, training, evaluation, evaluation.reduced(), keras_scores)


def _convert(name: str, engine: str, job: Job, images: Images, baseline: GatePredictions | None) -> Converted:
    """Make one variant: from the body to the sealed file."""
    run, variant, file = job.run, VARIANTS[name], job.file_name(name)
    job.log(f"{name}: converting")
    body = build_body(variant, engine, run, images.calibration, images.training, job.environments.qat, job.log, job.bar)
    check_graph(body.flatbuffer, file, integer=variant.integer)
    check_operators(body.flatbuffer, file, variant.runtime)

    spec = draft_spec(run, name, MeasuredIn(variant.runtime, job.runtimes[variant.runtime]))
    draft = assemble(run, spec, body.flatbuffer, file)
    check_size(draft.content, run.body.count_params(), variant.bytes_per_weight, file)

    evaluated = images.evaluated_in(variant.runtime)
    predictions = predict_in_runtime(draft, evaluated.manifest, variant.runtime, job.environments, job.bar)
    parity = _check_parity(predictions, evaluated, images, variant, file)

    fitted = fit(spec, predictions, evaluated, run.margins, baseline, job.gate_data)
    complete = fitted.spec._replace(views=_fit_views(draft, evaluated, job))
    model = assemble(run, complete, body.flatbuffer, file, fitted.members)
    needs = _microcontroller_needs(model, images.calibration, evaluated)
    return Converted.of(model, engine, parity, fitted, needs, body.search)


def _fit_views(draft: ModelFile, evaluated: EvaluationImages, job: Job) -> tuple[Views, ...]:
    """Fit temperature and thresholds for each number of views, on predictions with so many."""
    name, runtime = draft.spec.variant, draft.spec.measured_in.runtime
    if not job.views or name not in job.engines:
        return ()
    if runtime != LITERT:
        job.log(f"{name}: nothing is fitted for several views, because that works only in {LITERT}, not in {runtime}")
        return ()
    unfitted = replace(draft, spec=draft.spec._replace(views=tuple(Views(count, 1.0) for count in job.views)))
    images = images_for_views(evaluated)
    return tuple(
        fit_views(draft.spec, count, predict_views(unfitted, images, count, job.bar), evaluated) for count in job.views
    )


def _check_parity(
    predictions: Predictions, evaluated: EvaluationImages, images: Images, variant: Variant, file: str
) -> Parity:
    """Check that the file computes what the float network computes, up to the variant's bounds."""
    calibration = evaluated.select(predictions, "calibrate")
    check_outputs(calibration, file)
    expected = images.keras_scores[evaluated.predicted(predictions, images.calibration_items)]
    parity = Parity.between(calibration.scores, expected)
    parity.require(file, variant.max_difference, variant.max_shift, variant.min_agreement)
    return parity


def _microcontroller_needs(
    model: ModelFile, calibration: NDArray[np.uint8], evaluated: EvaluationImages
) -> dict[str, Any] | None:
    """Measure what a file for tflite-micro needs there, and count the images it was evaluated on."""
    if model.spec.measured_in.runtime != TFLITE_MICRO:
        return None
    from spot_convert.runtimes.micro.kernels import PROVEN, prove_equal

    counts = {split: len(names) for split, names in evaluated.names.items()}
    return prove_equal(model, calibration[:PROVEN]) | {"images": counts}


def _keras_logits(run: Run, tensors: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows: list[Any] = [
        keras.ops.convert_to_numpy(run.body(tensors[i : i + 16], training=False)["evidence"])
        for i in range(0, len(tensors), 16)
    ]
    return np.asarray(np.concatenate(rows).mean(axis=(1, 2)), np.float32)
