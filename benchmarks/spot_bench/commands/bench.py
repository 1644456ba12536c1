"""`spot-edge bench` and its subcommands. Numpy and interpreter come with the one that runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spot_bench.commands import speed as latency_cli
from spot_bench.commands import speed as soak_cli
from spot_bench.commands.options import (
    JSON,
    PATH,
    Over,
    bar_of,
    counting,
    new_file,
    new_folder,
    new_report,
    over_images,
    show,
    write,
)
from spot_edge.image.inputs import MOST_FRAMES

if TYPE_CHECKING:
    from spot_bench.data.predictions import Predictions
    from spot_edge.classifier import Classifier

__all__ = ["bench"]


@click.group()
def bench() -> None:
    """Measure model files: accuracy and drift, speed, and our own cost."""


@bench.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=PATH)
@click.option("--baseline", required=True, type=PATH, help="Model file to compare with, such as the float32 one.")
@click.option(
    "--fail-on",
    type=click.Choice(["fail", "undecided"]),
    help="End with exit code 8 where a model's verdict is this, or worse.",
)
@click.option("--latency", help="Report or history of `bench latency`, whose times join the page.")
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted.")
@over_images
def drift(
    over: Over, models: tuple[Path, ...], baseline: Path, fail_on: str | None, latency: str | None, resume: bool
) -> None:
    """How far each MODEL's answers are from the baseline's, with 95 % intervals over lesions.

    MODEL and the baseline are model files, or predictions that were kept (.npz): those are not run again. With --out
    the folder gets report.json, report.html and the predictions of every model, each answer as it comes.
    """
    if resume and over.out is None:
        raise click.UsageError("--resume goes on in the folder of --out: name it")
    out = None if over.out is None else new_folder(over.out, resume=resume)
    from spot_bench.data.predictions import (
        Predictions,
        is_predictions_file,
        copy_predictions,
        load_predictions,
        refuse_other_labels,
        run_model,
    )
    from spot_bench.drift.lines import drift_lines
    from spot_bench.drift.report import drift_report, refuse_verdict
    from spot_bench.speed.history import read_report

    times = None if latency is None else read_report(latency)
    files = (baseline, *models)
    images = over.read(check_files=not all(map(is_predictions_file, files)))
    sources = [load_predictions(file) if is_predictions_file(file) else over.classifier(file) for file in files]
    refuse_other_labels(files, [_labels(source) for source in sources])
    found = []
    for number, source in enumerate(sources):
        if isinstance(source, Predictions):
            found.append(copy_predictions(source, out, number))
            continue
        with bar_of(images, source.model.name) as bar:
            found.append(run_model(source, images, counting(bar), out, number, resume=resume))
    sizes = [None if is_predictions_file(file) else file.stat().st_size for file in files]
    report = drift_report(found[0], found[1:], images, name=over.data.name, part=over.part, sizes=sizes, latency=times)
    if out is not None:
        from spot_bench.drift.page import write_page

        write_page(report, images, out / "report.html")
        write(report, out / "report.json")
    blocks = (line for comparison in report["comparisons"] for line in [*drift_lines(comparison), ""])
    show(report, blocks, over.as_json)
    refuse_verdict(report, fail_on)


@bench.command()
@click.argument("model", type=PATH)
@click.option("--embeddings", is_flag=True, help="Keep the embeddings too: 5 kB an image.")
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted.")
@over_images
def predict(over: Over, model: Path, embeddings: bool, resume: bool) -> None:
    """MODEL's answers to every image, kept as OUT/predictions.npz: statistics need no second run."""
    if over.out is None:
        raise click.UsageError("say where to with --out FOLDER")
    from spot_edge.files import make_folder

    file = make_folder(over.out) / "predictions.npz" if resume else new_file(over.out, "predictions.npz")
    from spot_bench.data.predictions import predict_into

    images, classifier = over.read(), over.classifier(model)
    with bar_of(images, classifier.model.name) as bar:
        answers = predict_into(file, classifier, images, counting(bar), embeddings=embeddings, resume=resume)
    about = answers.model | {"images": len(answers.truth), "skipped": len(answers.skipped)}
    show(about, [f"{file}: {len(answers.truth)} images, {len(answers.skipped)} skipped"], over.as_json)


@bench.command()
@click.argument("answers", metavar="PREDICTIONS...", nargs=-1, required=True, type=PATH)
@click.option("--data", type=PATH, help="CSV manifest that states age, sex or site of the images [classes alone].")
@click.option("--out", type=PATH, help="Folder for the report file.")
@JSON
def harm(answers: tuple[Path, ...], data: Path | None, out: Path | None, as_json: bool) -> None:
    """Which answers compressing changes, whether every file changes the same, and on whom that falls.

    PREDICTIONS are kept by `bench drift`, `bench predict` or `spot-edge answers`: those of the float32 file and of what
    was made of it, on the same images. Nothing is run again.
    """
    report_file = new_report(out)
    from spot_bench.data.manifest import read_manifest
    from spot_bench.data.predictions import load_predictions
    from spot_bench.drift.harm import harm_report, pick_baseline
    from spot_bench.drift.lines import harm_lines

    baseline, others = pick_baseline([load_predictions(file) for file in answers])
    images = None if data is None else read_manifest(data, check_files=False)
    report = harm_report(baseline, others, images, name="" if data is None else data.name)
    write(report, report_file)
    show(report, harm_lines(report), as_json)


@bench.command()
@click.argument("model", type=PATH)
@click.option("--positive", required=True, metavar="LABEL", help="The data's label to be found.")
@click.option("--class", "label", required=True, metavar="LABEL", help="The model's class for it.")
@over_images
def outside(over: Over, model: Path, positive: str, label: str) -> None:
    """MODEL on images from elsewhere that know one of its classes only: that one against all the rest."""
    report_file = new_report(over.out)
    from spot_bench.drift.external import one_class
    from spot_bench.drift.lines import outside_lines

    images, classifier = over.read(), over.classifier(model)
    with bar_of(images, classifier.model.name) as bar:
        report = one_class(classifier, images, positive, label, lambda done, _: bar.update(1))
    report["data"]["part"] = over.part
    write(report, report_file)
    show(report, outside_lines(report), over.as_json)


@bench.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=PATH)
@click.option("--images", type=click.IntRange(1), help="A sample of so many, the classes in turns [every image].")
@over_images
def robustness(over: Over, models: tuple[Path, ...], images: int | None) -> None:
    """Whether each MODEL answers alike under compression, turns, light, blur, another resizing and mirroring."""
    report_file = new_report(over.out)
    from spot_bench.robustness.lines import robustness_lines
    from spot_bench.robustness.measure import SCHEMA, measure_robustness
    from spot_bench.speed.conditions import describe_machine

    manifest, records = over.read(), []
    for classifier in map(over.classifier, models):
        with bar_of(manifest, classifier.model.name) as bar:
            records.append(measure_robustness(classifier, manifest, counting(bar), sample=images))
    data = {"name": over.data.name, "part": over.part, "images": len(manifest.items), "sample": images}
    report = {"schema": SCHEMA, "machine": describe_machine(), "data": data, "models": records}
    write(report, report_file)
    show(report, robustness_lines(report), over.as_json)


@bench.command()
@click.argument("model", type=PATH)
@click.option("--images", type=click.IntRange(1), help="Defects on so many images alone, the classes in turns [all].")
@click.option(
    "--other",
    "named",
    multiple=True,
    metavar="NAME=PATH",
    help="Other pictures to be judged too: a folder, a file, or a CSV manifest. Several times for several.",
)
@over_images
def quality(over: Over, model: Path, images: int | None, named: tuple[str, ...]) -> None:
    """What MODEL's limits of capture quality refuse: good images, the same with defects, and other pictures."""
    report_file = new_report(over.out)
    from spot_bench.robustness.lines import refusal_lines
    from spot_bench.robustness.quality import SCHEMA, measure_refusals, others_at, passes
    from spot_bench.speed.conditions import describe_machine

    others = others_at([_pair(each) for each in named])
    manifest, classifier = over.read(), over.classifier(model)
    total = passes(manifest, others, images)
    with click.progressbar(length=total, label=model.name, file=sys.stderr, show_pos=True) as bar:
        found = measure_refusals(classifier, manifest, others, lambda: bar.update(1), sample=images)
    data = {"name": over.data.name, "part": over.part, "images": len(manifest.items), "sample": images}
    report = {"schema": SCHEMA, "machine": describe_machine(), "data": data, **found}
    write(report, report_file)
    show(report, refusal_lines(report), over.as_json)


@bench.command()
@click.argument("model", type=PATH)
@click.option("--burst", type=click.IntRange(2, MOST_FRAMES), default=8, show_default=True, help="Frames of a burst.")
@over_images
def burst(over: Over, model: Path, burst: int) -> None:
    """Whether a burst steadies MODEL's answers to lesions that it is in two minds about, in simulated captures."""
    report_file = new_report(over.out)
    from spot_bench.robustness.bursts import SCHEMA, measure_bursts
    from spot_bench.robustness.lines import bursts_lines
    from spot_bench.speed.conditions import describe_machine

    manifest, classifier = over.read(), over.classifier(model)
    with bar_of(manifest, classifier.model.name) as bar:
        found = measure_bursts(classifier, manifest, counting(bar), frames=burst)
    data = {"name": over.data.name, "part": over.part, "images": len(manifest.items)}
    report = {"schema": SCHEMA, "machine": describe_machine(), "data": data, "bursts": found}
    write(report, report_file)
    show(report, bursts_lines(report), over.as_json)


bench.add_command(latency_cli.latency)
bench.add_command(latency_cli.compare)
bench.add_command(soak_cli.soak)


@bench.command()
@click.option("--model", type=PATH, help="Model file [the embedded model].")
@JSON
def overhead(model: Path | None, as_json: bool) -> None:
    """What our own code costs on top of Pillow and the interpreter: per call, per large still, and per process."""
    from spot_bench.drift.lines import overhead_lines
    from spot_bench.speed.overhead import measure_overhead

    report = measure_overhead(model)
    show(report, overhead_lines(report), as_json)


@bench.command()
@click.argument("pictures", metavar="FOLDER", type=PATH)
@click.option("--model", type=PATH, help="Model file [the embedded model].")
@click.option("--turns", type=click.IntRange(2), default=10, show_default=True, help="Runs of each, in turns.")
@JSON
def folder(pictures: Path, model: Path | None, turns: int, as_json: bool) -> None:
    """How much faster `classify FOLDER` is on all processors than with one picture after the other on one thread."""
    from spot_bench.drift.lines import folder_lines
    from spot_bench.speed.folder import measure_folder

    with click.progressbar(length=turns, label="turns", file=sys.stderr, show_pos=True) as bar:
        report = measure_folder(pictures, model, turns=turns, done=lambda: bar.update(1))
    show(report, folder_lines(report), as_json)


@bench.command()
@click.argument("what", type=click.Choice(["lesions", "shapes"]))
@click.argument("folder", type=PATH)
@click.option("--count", type=click.IntRange(1), default=80, show_default=True, help="Pictures, of shapes: a class.")
@click.option("--seed", type=int, default=0, show_default=True, help="Other seeds draw other pictures.")
def draw(what: str, folder: Path, count: int, seed: int) -> None:
    """Draw pictures to try things out with: lesions, or class folders of coloured shapes. No data set is needed."""
    from spot_bench.data.drawn import KINDS, draw_lesion, draw_shapes, encode_jpeg
    from spot_edge.files import make_folder, write_file

    make_folder(folder)
    if what == "shapes":
        draw_shapes(folder, count, seed)
    else:
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            name = f"drawn-{kind}-{seed + number:03}.jpg"
            write_file(folder / name, encode_jpeg(draw_lesion(seed + number, kind=kind)))
    click.echo(f"{folder}: drawn")


def _pair(named: str) -> tuple[str, Path]:
    name, equals, path = named.partition("=")
    if not (name and equals and path):
        raise click.BadParameter(f"{named!r}: NAME=PATH", param_hint="--other")
    return name, Path(path)


def _labels(source: Predictions | Classifier) -> Sequence[str]:
    from spot_bench.data.predictions import Predictions

    return source.labels if isinstance(source, Predictions) else [label.label for label in source.model.spec.labels]
