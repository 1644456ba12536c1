"""`spot-edge bench` and its subcommands. Numpy and interpreter come with the one that runs."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spot_bench import latency_cli, soak_cli
from spot_edge.errors import OutputError
from spot_edge.inputs import MOST_FRAMES

if TYPE_CHECKING:
    from spot_bench.manifest import Manifest
    from spot_bench.predict import Predictions
    from spot_edge.classifier import Classifier

__all__ = ["bench"]

_THREADS = click.option("--threads", type=click.IntRange(1, 64), help="Threads [as many as processors, at most 4].")
_RUNTIME = click.option("--runtime", help="Interpreter package [the first that is installed].")
_JSON = click.option("--json", "as_json", is_flag=True, help="The whole report as one JSON object.")
_PATH = click.Path(path_type=Path)


@click.group()
def bench() -> None:
    """Measure model files: accuracy and drift, speed, and our own cost."""


@dataclass(frozen=True, slots=True)
class _Over:
    """What every command that runs models over a data set is told."""

    data: Path
    root: Path | None
    part: str
    out: Path | None
    threads: int | None
    runtime: str | None
    as_json: bool

    def images(self, *, check_files: bool = True) -> Manifest:
        """The images of the part that was asked for; whether they are there need not be checked."""
        from spot_bench.manifest import read_manifest

        manifest = read_manifest(self.data, root=self.root, check_files=check_files)
        return manifest if self.part == "all" else manifest.part(self.part)

    def classifier(self, model: Path) -> Classifier:
        from spot_edge.classifier import Classifier

        return Classifier.load(model, runtime=self.runtime, threads=self.threads)


def _over_data(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say which images, with which interpreter and where to: handed to `command` as one `_Over`."""

    @functools.wraps(command)
    def gathered(**options: Any) -> None:
        names = [field.name for field in dataclasses.fields(_Over)]
        command(_Over(**{name: options.pop(name) for name in names}), **options)

    options = [
        click.option("--data", required=True, type=_PATH, help="CSV manifest or folder of class folders."),
        click.option("--root", type=_PATH, help="Folder that the manifest's image paths are relative to [its own]."),
        click.option("--part", default="test", show_default=True, help="Part of the data; 'all' for every image."),
        click.option("--out", type=_PATH, help="Folder for the report file."),
        _THREADS,
        _RUNTIME,
        _JSON,
    ]
    for option in reversed(options):
        gathered = option(gathered)
    return gathered


@bench.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=_PATH)
@click.option("--baseline", required=True, type=_PATH, help="Model file to compare with, such as the float32 one.")
@click.option(
    "--fail-on",
    type=click.Choice(["fails", "cannot-tell"]),
    help="End with exit code 8 where a model's verdict is this, or worse.",
)
@click.option("--latency", help="Report or history of `bench latency`, whose times join the page.")
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted.")
@_over_data
def drift(
    over: _Over, models: tuple[Path, ...], baseline: Path, fail_on: str | None, latency: str | None, resume: bool
) -> None:
    """How far each MODEL's answers are from the baseline's, with 95 % intervals over lesions.

    MODEL and the baseline are model files, or predictions that were kept (.npz): those are not run again. With --out
    the folder gets report.json, report.html and the predictions of every model, each answer as it comes.
    """
    if resume and over.out is None:
        raise click.UsageError("--resume goes on in the folder of --out: name it")
    out = None if over.out is None else _new_folder(over.out, resume=resume)
    from spot_bench.answers import is_kept, keep_answers, refuse_other_labels, run_model
    from spot_bench.history import read_report
    from spot_bench.predict import Predictions, load_predictions
    from spot_bench.report import drift_report, refuse_verdict
    from spot_bench.terminal import drift_lines

    times = None if latency is None else read_report(latency)
    files = (baseline, *models)
    images = over.images(check_files=not all(map(is_kept, files)))
    sources = [load_predictions(file) if is_kept(file) else over.classifier(file) for file in files]
    refuse_other_labels(files, [_labels(source) for source in sources])
    found = []
    for number, source in enumerate(sources):
        if isinstance(source, Predictions):
            found.append(keep_answers(source, out, number))
            continue
        with _bar(images, source.model.name) as bar:
            found.append(run_model(source, images, _counting(bar), out, number, resume=resume))
    sizes = [None if is_kept(file) else file.stat().st_size for file in files]
    report = drift_report(found[0], found[1:], images, name=over.data.name, part=over.part, sizes=sizes, latency=times)
    if out is not None:
        from spot_bench.page import write_page

        write_page(report, images, out / "report.html")
        _write(report, out / "report.json")
    blocks = (line for comparison in report["comparisons"] for line in [*drift_lines(comparison), ""])
    _show(report, blocks, over.as_json)
    refuse_verdict(report, fail_on)


@bench.command()
@click.argument("model", type=_PATH)
@click.option("--embeddings", is_flag=True, help="Keep the embeddings too: 5 kB an image.")
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted.")
@_over_data
def predict(over: _Over, model: Path, embeddings: bool, resume: bool) -> None:
    """MODEL's answers to every image, kept as OUT/predictions.npz: statistics need no second run."""
    if over.out is None:
        raise click.UsageError("say where to with --out FOLDER")
    from spot_edge.files import make_folder

    file = make_folder(over.out) / "predictions.npz" if resume else _new_file(over.out, "predictions.npz")
    from spot_bench.predict import predict_into

    images, classifier = over.images(), over.classifier(model)
    with _bar(images, classifier.model.name) as bar:
        answers = predict_into(file, classifier, images, _counting(bar), embeddings=embeddings, resume=resume)
    about = answers.model | {"images": len(answers.truth), "skipped": len(answers.skipped)}
    _show(about, [f"{file}: {len(answers.truth)} images, {len(answers.skipped)} skipped"], over.as_json)


@bench.command()
@click.argument("answers", metavar="PREDICTIONS...", nargs=-1, required=True, type=_PATH)
@click.option("--data", type=_PATH, help="CSV manifest that states age, sex or site of the images [classes alone].")
@click.option("--out", type=_PATH, help="Folder for the report file.")
@_JSON
def harm(answers: tuple[Path, ...], data: Path | None, out: Path | None, as_json: bool) -> None:
    """Which answers compressing changes, whether every file changes the same, and on whom that falls.

    PREDICTIONS are kept by `bench drift` or `bench predict`: those of the float32 file and of what was made of it, on
    the same images. Nothing is run again.
    """
    report_file = _new_report(out)
    from spot_bench.harm import harm_report, pick_baseline
    from spot_bench.harm_lines import harm_lines
    from spot_bench.manifest import read_manifest
    from spot_bench.predict import load_predictions

    baseline, others = pick_baseline([load_predictions(file) for file in answers])
    images = None if data is None else read_manifest(data, check_files=False)
    report = harm_report(baseline, others, images, name="" if data is None else data.name)
    _write(report, report_file)
    _show(report, harm_lines(report), as_json)


@bench.command()
@click.argument("model", type=_PATH)
@click.option("--positive", required=True, metavar="LABEL", help="The data's label to be found.")
@click.option("--class", "label", required=True, metavar="LABEL", help="The model's class for it.")
@_over_data
def outside(over: _Over, model: Path, positive: str, label: str) -> None:
    """MODEL on images from elsewhere that know one of its classes only: that one against all the rest."""
    report_file = _new_report(over.out)
    from spot_bench.outside import one_class
    from spot_bench.terminal import outside_lines

    images, classifier = over.images(), over.classifier(model)
    with _bar(images, classifier.model.name) as bar:
        report = one_class(classifier, images, positive, label, lambda done, _: bar.update(1))
    report["data"]["part"] = over.part
    _write(report, report_file)
    _show(report, outside_lines(report), over.as_json)


@bench.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=_PATH)
@click.option("--images", type=click.IntRange(1), help="A sample of so many, the classes in turns [every image].")
@_over_data
def robustness(over: _Over, models: tuple[Path, ...], images: int | None) -> None:
    """Whether each MODEL answers alike under compression, turns, light, blur, another resizing and mirroring."""
    report_file = _new_report(over.out)
    from spot_bench.machine import describe_machine
    from spot_bench.robustness import SCHEMA, measure_robustness
    from spot_bench.robustness_lines import robustness_lines

    manifest, records = over.images(), []
    for classifier in map(over.classifier, models):
        with _bar(manifest, classifier.model.name) as bar:
            records.append(measure_robustness(classifier, manifest, _counting(bar), sample=images))
    data = {"name": over.data.name, "part": over.part, "images": len(manifest.items), "sample": images}
    report = {"schema": SCHEMA, "machine": describe_machine(), "data": data, "models": records}
    _write(report, report_file)
    _show(report, robustness_lines(report), over.as_json)


@bench.command()
@click.argument("model", type=_PATH)
@click.option("--images", type=click.IntRange(1), help="Defects on so many images alone, the classes in turns [all].")
@click.option(
    "--other",
    "named",
    multiple=True,
    metavar="NAME=PATH",
    help="Other pictures to be judged too: a folder, a file, or a CSV manifest. Several times for several.",
)
@_over_data
def quality(over: _Over, model: Path, images: int | None, named: tuple[str, ...]) -> None:
    """What MODEL's limits of capture quality refuse: good images, the same with defects, and other pictures."""
    report_file = _new_report(over.out)
    from spot_bench.machine import describe_machine
    from spot_bench.refusal_lines import refusal_lines
    from spot_bench.refusals import SCHEMA, measure_refusals, others_at, passes

    others = others_at([_pair(each) for each in named])
    manifest, classifier = over.images(), over.classifier(model)
    total = passes(manifest, others, images)
    with click.progressbar(length=total, label=model.name, file=sys.stderr, show_pos=True) as bar:
        found = measure_refusals(classifier, manifest, others, lambda: bar.update(1), sample=images)
    data = {"name": over.data.name, "part": over.part, "images": len(manifest.items), "sample": images}
    report = {"schema": SCHEMA, "machine": describe_machine(), "data": data, **found}
    _write(report, report_file)
    _show(report, refusal_lines(report), over.as_json)


@bench.command()
@click.argument("model", type=_PATH)
@click.option("--burst", type=click.IntRange(2, MOST_FRAMES), default=8, show_default=True, help="Frames of a burst.")
@_over_data
def burst(over: _Over, model: Path, burst: int) -> None:
    """Whether a burst steadies MODEL's answers to lesions that it is in two minds about, in simulated captures."""
    report_file = _new_report(over.out)
    from spot_bench.bursts import SCHEMA, measure_bursts
    from spot_bench.bursts_lines import bursts_lines
    from spot_bench.machine import describe_machine

    manifest, classifier = over.images(), over.classifier(model)
    with _bar(manifest, classifier.model.name) as bar:
        found = measure_bursts(classifier, manifest, _counting(bar), frames=burst)
    data = {"name": over.data.name, "part": over.part, "images": len(manifest.items)}
    report = {"schema": SCHEMA, "machine": describe_machine(), "data": data, "bursts": found}
    _write(report, report_file)
    _show(report, bursts_lines(report), over.as_json)


bench.add_command(latency_cli.latency)
bench.add_command(latency_cli.compare)
bench.add_command(soak_cli.soak)


@bench.command()
@click.option("--model", type=_PATH, help="Model file [the embedded model].")
@_JSON
def overhead(model: Path | None, as_json: bool) -> None:
    """What our own code costs on top of Pillow and the interpreter: per call, per large still, and per process."""
    from spot_bench.overhead import measure_overhead
    from spot_bench.terminal import overhead_lines

    report = measure_overhead(model)
    _show(report, overhead_lines(report), as_json)


@bench.command()
@click.argument("pictures", metavar="FOLDER", type=_PATH)
@click.option("--model", type=_PATH, help="Model file [the embedded model].")
@click.option("--turns", type=click.IntRange(2), default=10, show_default=True, help="Runs of each, in turns.")
@_JSON
def folder(pictures: Path, model: Path | None, turns: int, as_json: bool) -> None:
    """How much faster `classify FOLDER` is on all processors than with one picture after the other on one thread."""
    from spot_bench.folder_speed import measure_folder
    from spot_bench.terminal import folder_lines

    with click.progressbar(length=turns, label="turns", file=sys.stderr, show_pos=True) as bar:
        report = measure_folder(pictures, model, turns=turns, done=lambda: bar.update(1))
    _show(report, folder_lines(report), as_json)


@bench.command()
@click.argument("what", type=click.Choice(["lesions", "shapes"]))
@click.argument("folder", type=_PATH)
@click.option("--count", type=click.IntRange(1), default=80, show_default=True, help="Pictures, of shapes: a class.")
@click.option("--seed", type=int, default=0, show_default=True, help="Other seeds draw other pictures.")
def draw(what: str, folder: Path, count: int, seed: int) -> None:
    """Draw pictures to try things out with: lesions, or class folders of coloured shapes. No data set is needed."""
    from spot_bench.drawings import KINDS, draw_lesion, draw_shapes, encode_jpeg
    from spot_edge.files import make_folder, write_whole

    make_folder(folder)
    if what == "shapes":
        draw_shapes(folder, count, seed)
    else:
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            name = f"drawn-{kind}-{seed + number:03}.jpg"
            write_whole(folder / name, encode_jpeg(draw_lesion(seed + number, kind=kind)))
    click.echo(f"{folder}: drawn")


def _pair(named: str) -> tuple[str, Path]:
    name, equals, path = named.partition("=")
    if not (name and equals and path):
        raise click.BadParameter(f"{named!r}: NAME=PATH", param_hint="--other")
    return name, Path(path)


def _labels(source: Predictions | Classifier) -> Sequence[str]:
    from spot_bench.predict import Predictions

    return source.labels if isinstance(source, Predictions) else [label.label for label in source.model.spec.labels]


def _counting(bar: Any) -> Callable[[int, int], None]:
    """Moves `bar` on, whose time left is that of the images still to be run."""

    def more(done: int, total: int) -> None:
        bar.length = total
        bar.update(1)

    return more


def _bar(images: Manifest, name: str) -> Any:
    return click.progressbar(length=len(images.items), label=Path(name).name, file=sys.stderr, show_pos=True)


def _new_report(out: Path | None) -> Path | None:
    return None if out is None else _new_file(out, "report.json")


def _new_folder(folder: Path, *, resume: bool) -> Path:
    """The folder of a report; refused, before any work is done, where it holds one, or unasked a part of one."""
    for file in folder.glob("report.*"):
        raise OutputError(f"{file}: exists already: name another folder with --out")
    for file in () if resume else folder.glob("predictions-*"):
        raise OutputError(f"{file}: left by an interrupted run: go on with --resume, or name another folder with --out")
    from spot_edge.files import make_folder

    return make_folder(folder)


def _new_file(folder: Path, name: str) -> Path:
    """The file to write; refused, before any work is done, where there is one already."""
    from spot_edge.files import make_folder

    path = make_folder(folder) / name
    if path.exists():
        raise OutputError(f"{path}: exists already: name another folder with --out")
    return path


def _write(report: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        from spot_edge.files import write_whole

        write_whole(path, (json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _show(report: dict[str, Any], lines: Iterable[str], as_json: bool) -> None:
    click.echo(json.dumps(report, ensure_ascii=False, allow_nan=False) if as_json else "\n".join(lines))
