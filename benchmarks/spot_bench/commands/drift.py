"""`spot-edge bench drift`. It imports numpy and the interpreter only when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spot_bench.commands.options import PATH, RunOptions, new_folder, run_options_several, show, write
from spot_bench.run.progress import image_bar

if TYPE_CHECKING:
    from spot_bench.data.manifest import Manifest
    from spot_bench.data.predictions import Predictions
    from spot_edge.classifier import Classifier

__all__ = ["drift"]


@click.command(short_help="Compare models with a baseline: accuracy, flips, verdict.")
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
        refuse_used(manifest, whole, *_sources(options.data))
    return joined([kept, *further]), dropped


def _sources(data: Path) -> tuple[Manifest, ...]:
    """Return the sources of the run directory whose `split.csv` is `data`; none for other data."""
    from spot_bench.run.directory import read_sources

    return read_sources(data.parent) if data.name == "split.csv" else ()


def _unlabelled_images(options: RunOptions, paths: tuple[Path, ...], label: str) -> Manifest | None:
    """Read the images without labels, which get `label` because items need one."""
    from spot_bench.data.further import joined, read_unlabelled, refuse_used
    from spot_bench.data.manifest import read_manifest

    if not paths:
        return None
    manifests = [read_unlabelled(path, label) for path in paths]
    whole = read_manifest(options.data, root=options.root, check_files=False)
    for manifest in manifests:
        refuse_used(manifest, whole, *_sources(options.data))
    return joined(manifests)


def _write_page(report: dict[str, Any], images: Manifest, file: Path) -> None:
    """Write the HTML page, or say what it needs: a Raspberry Pi measures without Jinja2 and matplotlib."""
    from spot_bench.drift.page import write_page
    from spot_edge.errors import install_hint

    try:
        write_page(report, images, file)
    except ImportError as error:
        click.echo(f"No {file.name}: {error.name} is not installed. Install it {install_hint('report')}", err=True)


def _labels(source: Predictions | Classifier) -> Sequence[str]:
    from spot_bench.data.predictions import Predictions

    return source.labels if isinstance(source, Predictions) else [label.label for label in source.model.spec.labels]
