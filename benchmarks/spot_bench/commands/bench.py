"""`spot-edge bench` and most of its subcommands. Each imports numpy and the interpreter only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spot_bench.commands import speed
from spot_bench.commands.drift import drift
from spot_bench.commands.options import PATH, RunOptions, new_report, run_options, show, write
from spot_bench.commands.predict import predict
from spot_bench.run.progress import image_bar, progress_bar
from spot_edge.image.inputs import MOST_FRAMES

__all__ = ["bench"]


@click.group(short_help="Measure accuracy drift, robustness and speed of model files.")
def bench() -> None:
    """Measure model files: accuracy drift, robustness and speed."""


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


for command in (drift, predict, speed.latency, speed.compare, speed.overhead, speed.folder, speed.soak):
    bench.add_command(command)


def _data(options: RunOptions, images: int) -> dict[str, Any]:
    return {"name": options.data.name, "split": options.split, "images": images}


def _pair(named: str) -> tuple[str, Path]:
    name, equals, path = named.partition("=")
    if not (name and equals and path):
        raise click.BadParameter(f"{named!r} is not NAME=PATH", param_hint="--other")
    return name, Path(path)
