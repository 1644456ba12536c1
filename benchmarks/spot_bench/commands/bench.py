"""`spot-edge bench` and its subcommands. Each imports numpy and the interpreter only when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spot_bench.commands import speed
from spot_bench.commands.options import (
    PATH,
    RunOptions,
    new_file,
    new_folder,
    new_report,
    run_options,
    run_options_several,
    show,
    write,
)
from spot_bench.run.progress import image_bar, progress_bar
from spot_edge.image.inputs import MOST_FRAMES

if TYPE_CHECKING:
    from spot_bench.data.manifest import Manifest
    from spot_bench.data.predictions import Predictions
    from spot_edge.classifier import Classifier

__all__ = ["RUNTIMES", "bench"]

RUNTIMES = "spot_bench.runtimes"  # entry point group: the package that runs models in other runtimes registers here


@click.group(short_help="Measure accuracy drift, robustness and speed of model files.")
def bench() -> None:
    """Measure model files: accuracy drift, robustness and speed."""


@bench.command(short_help="Compare models with a baseline: accuracy, flips, verdict.")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=PATH)
@click.option("--baseline", required=True, type=PATH, help="Model file to compare with, usually the float32 one.")
@click.option(
    "--unlabelled",
    multiple=True,
    type=PATH,
    help="Folder or manifest of further images; only the criterion on flips uses them. May be repeated.",
)
@click.option(
    "--margins",
    "preset",
    type=click.Choice(["screening", "strict", "any-images"]),
    help="Margins of the verdict [default: the converter's].",
)
@click.option(
    "--fail-on",
    type=click.Choice(["fail", "undecided"]),
    help="Exit with 8 if the verdict on a model is this or worse.",
)
@click.option("--latency", help="Report or history of `bench latency`; adds its times to the page.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@run_options_several
def drift(
    options: RunOptions,
    models: tuple[Path, ...],
    baseline: Path,
    unlabelled: tuple[Path, ...],
    preset: str | None,
    fail_on: str | None,
    latency: str | None,
    resume: bool,
) -> None:
    """Compare the predictions of each MODEL with the baseline's, with 95 % intervals over lesions.

    MODEL and the baseline are model files, or saved predictions (.npz), which are reused. The report says which images
    flip in which model, which subgroups the flips affect, and whether the near-tie note covers them. With
    --out, the folder gets report.json, report.html and the predictions of every model.

    Calibration images are left out, because they set the ranges of int8 files.
    """
    if resume and options.out is None:
        raise click.UsageError("--resume needs the folder of the interrupted run: name it with --out")
    out = None if options.out is None else new_folder(options.out, resume=resume)
    import numpy as np

    from spot_bench.data.predictions import (
        Predictions,
        copy_predictions,
        is_predictions_file,
        load_predictions,
        refuse_other_labels,
        run_model,
    )
    from spot_bench.drift.gate import PRESETS, Margins
    from spot_bench.drift.lines import drift_lines
    from spot_bench.drift.report import drift_report, refuse_verdict
    from spot_bench.speed.history import read_report

    times = None if latency is None else read_report(latency)
    files = (baseline, *models)
    saved = [is_predictions_file(file) for file in files]
    if unlabelled and any(saved):
        raise click.UsageError("--unlabelled needs model files: saved predictions know only the images of --data")
    images, dropped = _drift_images(options, check_files=not all(saved))
    sources = [load_predictions(file) if is_predictions_file(file) else options.classifier(file) for file in files]
    refuse_other_labels(files, [_labels(source) for source in sources])
    more = _unlabelled_images(options, unlabelled, _labels(sources[0])[0])
    found, flipped = [], []
    for number, source in enumerate(sources):
        if isinstance(source, Predictions):
            kept = source.where(np.array([image not in dropped for image in source.images.tolist()], bool))
            found.append(copy_predictions(kept, out, number))
            continue
        with image_bar(Path(source.model.name).name, len(images.items)) as progress:
            found.append(run_model(source, images, progress, out, number, resume=resume))
        if more is not None:
            with image_bar(f"{Path(source.model.name).name}, unlabelled", len(more.items)) as progress:
                flipped.append(run_model(source, more, progress, out, number, resume=resume, name="unlabelled"))
    sizes = [None if is_predictions_file(file) else file.stat().st_size for file in files]
    report = drift_report(
        found[0],
        found[1:],
        images,
        name=" + ".join(path.name for path in (options.data, *(path for path, _ in options.further))),
        split=options.split,
        sizes=sizes,
        latency=times,
        margins=PRESETS[preset] if preset else Margins(),
        unlabelled=flipped or None,
    )
    if out is not None:
        write(report, out / "report.json")
        _write_page(report, images, out / "report.html")
    show(report, drift_lines(report), options.as_json)
    refuse_verdict(report, fail_on)


def _drift_images(options: RunOptions, *, check_files: bool) -> tuple[Manifest, set[str]]:
    """Read all labelled images of a comparison, and the names of the calibration images that were left out."""
    from spot_bench.data.further import joined, read_further, refuse_used, without_calibration
    from spot_bench.data.manifest import read_manifest

    whole = read_manifest(options.data, root=options.root, check_files=check_files)
    first = whole if options.split == "all" else whole.split(options.split)
    kept = without_calibration(first)
    dropped = {first.name(item) for item in first.items} - {kept.name(item) for item in kept.items}
    if dropped:
        click.echo(
            f"{len(dropped)} calibration images are left out, because they set the ranges of int8 files", err=True
        )
    further = [read_further(path, options.split, root=root, check_files=check_files) for path, root in options.further]
    for manifest in further:
        refuse_used(manifest, whole)
    return joined([kept, *further]), dropped


def _unlabelled_images(options: RunOptions, paths: tuple[Path, ...], label: str) -> Manifest | None:
    """Read the images without labels, which get `label` because items need one."""
    from spot_bench.data.further import joined, read_unlabelled, refuse_used
    from spot_bench.data.manifest import read_manifest

    if not paths:
        return None
    manifests = [read_unlabelled(path, label) for path in paths]
    whole = read_manifest(options.data, root=options.root, check_files=False)
    for manifest in manifests:
        refuse_used(manifest, whole)
    return joined(manifests)


def _write_page(report: dict[str, Any], images: Manifest, file: Path) -> None:
    """Write the HTML page, or say what it needs: a Raspberry Pi measures without Jinja2 and matplotlib."""
    from spot_bench.drift.page import write_page
    from spot_edge.errors import install_hint

    try:
        write_page(report, images, file)
    except ImportError as error:
        click.echo(f"No {file.name}: {error.name} is not installed. Install it {install_hint('report')}", err=True)


@bench.command(short_help="Save a model's predictions for every image.")
@click.argument("model", type=PATH)
@click.option("--embeddings", is_flag=True, help="Save the embeddings as well: 5 kB per image.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@click.option("--in-runtime", is_flag=True, help="Run in the runtime that the file was made for, not the device's.")
@click.option("--tflite-runtime", "python", type=PATH, help="Python of an environment with tflite-runtime.")
@click.option("--browser", type=PATH, help="Folder in which 'npm install @litertjs/core' was run.")
@run_options
def predict(
    options: RunOptions,
    model: Path,
    embeddings: bool,
    resume: bool,
    in_runtime: bool,
    python: Path | None,
    browser: Path | None,
) -> None:
    """Save MODEL's predictions for every image as OUT/predictions.npz. `bench drift` reads this file.

    With --in-runtime, MODEL runs in the runtime that it was made for: tflite-micro, LiteRT.js in a browser, or
    tflite-runtime in another environment.
    """
    if options.out is None:
        raise click.UsageError("name a folder with --out")
    if in_runtime:
        if resume or options.runtime or options.threads:
            raise click.UsageError("--in-runtime excludes --resume, --runtime and --threads")
        _predict_in_runtime(options, options.out, model, embeddings, python, browser)
        return
    if python or browser:
        raise click.UsageError("--tflite-runtime and --browser need --in-runtime")
    from spot_edge.files import make_folder

    file = make_folder(options.out) / "predictions.npz" if resume else new_file(options.out, "predictions.npz")
    from spot_bench.data.predictions import predict_into

    images, classifier = options.read(), options.classifier(model)
    with image_bar(Path(classifier.model.name).name, len(images.items)) as progress:
        predictions = predict_into(file, classifier, images, progress, embeddings=embeddings, resume=resume)
    _show_saved(file, predictions, {}, options.as_json)


def _predict_in_runtime(
    options: RunOptions, out: Path, model: Path, embeddings: bool, python: Path | None, browser: Path | None
) -> None:
    from dataclasses import replace
    from importlib.metadata import entry_points

    from spot_bench.data.predictions import save_predictions
    from spot_edge.errors import install_hint

    found = list(entry_points(group=RUNTIMES))
    if not found:
        raise click.UsageError(f"--in-runtime is not installed. Install it {install_hint('convert')}")
    images = options.read()
    try:
        run = found[0].load()(model, images, python=python, browser=browser)
        file = new_file(out, "predictions.npz")
        predictions, proof = run(progress_bar)
    except ImportError as error:
        raise click.UsageError(f"{error.name} is not installed. Install it {install_hint('convert')}") from error
    if not embeddings:
        predictions = replace(predictions, embeddings=None, appearance=None)
    save_predictions(predictions, file)
    _show_saved(file, predictions, proof, options.as_json)


def _show_saved(file: Path, predictions: Predictions, proof: dict[str, Any], as_json: bool) -> None:
    images, skipped = len(predictions.truth), len(predictions.skipped)
    model = predictions.model
    line = f"{file}: {images} images, {skipped} skipped, in {model['runtime']} {model['version']}"
    if proof:
        line += f", {proof['images_proven_equal']} of them checked bit for bit in the runtime itself"
    show(model | {"images": images, "skipped": skipped} | proof, [line], as_json)


@bench.command(short_help="Evaluate one class on an external data set.")
@click.argument("model", type=PATH)
@click.option("--positive", required=True, metavar="LABEL", help="Label of the data set that counts as positive.")
@click.option("--class", "label", required=True, metavar="LABEL", help="The model's class for it.")
@run_options
def external(options: RunOptions, model: Path, positive: str, label: str) -> None:
    """Evaluate MODEL one-vs-rest on an external data set that labels only one of its classes."""
    report_file = new_report(options.out)
    from spot_bench.drift.external import one_vs_rest
    from spot_bench.drift.lines import external_lines

    images, classifier = options.read(), options.classifier(model)
    with image_bar(Path(classifier.model.name).name, len(images.items)) as progress:
        report = one_vs_rest(classifier, images, positive, label, progress)
    report["data"]["split"] = options.split
    write(report, report_file)
    show(report, external_lines(report), options.as_json)


@bench.command(short_help="Count flips under compression, rotation, light, blur and more.")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=PATH)
@click.option("--images", type=click.IntRange(1), help="Use a balanced sample of this many images [default: all].")
@run_options
def robustness(options: RunOptions, models: tuple[Path, ...], images: int | None) -> None:
    """Count how often each MODEL's top class flips under compression, rotation, light, blur, resizing and mirroring."""
    report_file = new_report(options.out)
    from spot_bench.robustness.lines import robustness_lines
    from spot_bench.robustness.measure import SCHEMA, measure_robustness
    from spot_bench.speed.conditions import describe_machine

    manifest, records = options.read(), []
    for classifier in map(options.classifier, models):
        with image_bar(Path(classifier.model.name).name, len(manifest.items)) as progress:
            records.append(measure_robustness(classifier, manifest, progress, sample=images))
    data = _data(options, len(manifest.items)) | {"sample": images}
    report = {"schema": SCHEMA, "machine": describe_machine(), "data": data, "models": records}
    write(report, report_file)
    show(report, robustness_lines(report), options.as_json)


@bench.command(short_help="Measure what the image quality checks refuse.")
@click.argument("model", type=PATH)
@click.option(
    "--images", type=click.IntRange(1), help="Apply defects to a balanced sample of this many [default: all]."
)
@click.option(
    "--other",
    "named",
    multiple=True,
    metavar="NAME=PATH",
    help="Other images to check: a folder, a file, or a CSV manifest. May be repeated.",
)
@run_options
def quality(options: RunOptions, model: Path, images: int | None, named: tuple[str, ...]) -> None:
    """Measure what MODEL's image quality checks refuse: good images, the same with defects, and other images."""
    report_file = new_report(options.out)
    from spot_bench.robustness.lines import quality_lines
    from spot_bench.robustness.quality import SCHEMA, count_images, measure_refusals, others_at
    from spot_bench.speed.conditions import describe_machine

    others = others_at([_pair(each) for each in named])
    manifest, classifier = options.read(), options.classifier(model)
    with progress_bar(model.name, count_images(manifest, others, images)) as step:
        found = measure_refusals(classifier, manifest, others, lambda: step(1), sample=images)
    data = _data(options, len(manifest.items)) | {"sample": images}
    report = {"schema": SCHEMA, "machine": describe_machine(), "data": data, **found}
    write(report, report_file)
    show(report, quality_lines(report), options.as_json)


@bench.command(short_help="Measure whether bursts make predictions more stable.")
@click.argument("model", type=PATH)
@click.option("--burst", type=click.IntRange(2, MOST_FRAMES), default=8, show_default=True, help="Frames per burst.")
@run_options
def burst(options: RunOptions, model: Path, burst: int) -> None:
    """Measure whether a burst makes MODEL's predictions for near ties more stable, in simulated captures."""
    report_file = new_report(options.out)
    from spot_bench.robustness.bursts import SCHEMA, measure_bursts
    from spot_bench.robustness.lines import bursts_lines
    from spot_bench.speed.conditions import describe_machine

    manifest, classifier = options.read(), options.classifier(model)
    with image_bar(Path(classifier.model.name).name, len(manifest.items)) as progress:
        found = measure_bursts(classifier, manifest, progress, frames=burst)
    data = _data(options, len(manifest.items))
    report = {"schema": SCHEMA, "machine": describe_machine(), "data": data, "bursts": found}
    write(report, report_file)
    show(report, bursts_lines(report), options.as_json)


@bench.command(short_help="Draw test images: lesions, or a data set of shapes.")
@click.argument("kind", type=click.Choice(["lesions", "shapes"]))
@click.argument("folder", type=PATH)
@click.option("--count", type=click.IntRange(1), default=80, show_default=True, help="Images; for shapes, per class.")
@click.option("--seed", type=int, default=0, show_default=True, help="A different seed draws different images.")
def draw(kind: str, folder: Path, count: int, seed: int) -> None:
    """Draw images to try things out without a data set: lesions, or class folders of colored shapes."""
    from spot_bench.data.drawn import KINDS, draw_lesion, draw_shapes, encode_jpeg
    from spot_edge.files import make_folder, write_file

    make_folder(folder)
    if kind == "shapes":
        draw_shapes(folder, count, seed)
    else:
        for number in range(count):
            lesion = KINDS[number % len(KINDS)]
            name = f"drawn-{lesion}-{seed + number:03}.jpg"
            write_file(folder / name, encode_jpeg(draw_lesion(seed + number, kind=lesion)))
    click.echo(f"{folder}: drawn")


for command in (speed.latency, speed.compare, speed.overhead, speed.folder, speed.soak):
    bench.add_command(command)


def _data(options: RunOptions, images: int) -> dict[str, Any]:
    return {"name": options.data.name, "split": options.split, "images": images}


def _pair(named: str) -> tuple[str, Path]:
    name, equals, path = named.partition("=")
    if not (name and equals and path):
        raise click.BadParameter(f"{named!r} is not NAME=PATH", param_hint="--other")
    return name, Path(path)


def _labels(source: Predictions | Classifier) -> Sequence[str]:
    from spot_bench.data.predictions import Predictions

    return source.labels if isinstance(source, Predictions) else [label.label for label in source.model.spec.labels]
