"""`spot-edge classify`: one prediction for each image."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from spot_edge.errors import InputError, InterpreterError, one_line
from spot_edge.files import make_folder
from spot_edge.image.inputs import MOST_FRAMES, Found, find_images
from spot_edge.image.source import LARGEST, Source

if TYPE_CHECKING:
    from pathlib import Path

    from spot_edge.classifier import Classifier
    from spot_edge.commands.records import Result, ResultFiles, Writer
    from spot_edge.prediction.prediction import Prediction

__all__ = ["classify"]

_RUNTIMES = ("ai-edge-litert", "tflite-runtime", "tensorflow")
_VIEWS = ("1", "2", "4", "8")


@click.command(short_help="Say what a lesion looks most like and how urgent it is.")
@click.argument("paths", nargs=-1, metavar="PATH...|-")
@click.option(
    "--camera",
    is_flag=False,
    flag_value="auto",
    metavar="[DEVICE|auto]",
    help="Take a picture with a camera instead.",
)
@click.option(
    "--burst",
    type=click.IntRange(2, MOST_FRAMES),
    metavar="N",
    help="One prediction for N pictures of the camera, or for the images of each folder (at most N).",
)
@click.option("--model", type=click.Path(), help="Model file [default: the embedded model].")
@click.option("--top", type=click.IntRange(1), default=2, show_default=True, help="Classes to show in the text.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, one complete prediction each.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV, one row per image, one column per class.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the predictions (--json or --csv) to a new FILE.",
)
@click.option("--resume", is_flag=True, help="Continue the FILE of --out: classify only what it lacks.")
@click.option("--heatmap", type=click.Path(file_okay=False), metavar="DIR", help="Write heat maps to DIR.")
@click.option(
    "--save",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Save each prediction (JSON) and its image (upright JPEG without EXIF) in DIR.",
)
@click.option(
    "--views",
    type=click.Choice(_VIEWS),
    default="1",
    show_default=True,
    help="Average N turned and mirrored views of each image.",
)
@click.option("--threads", type=click.IntRange(1, 64), help="Processors to use [default: all, at most 4].")
@click.option("--runtime", type=click.Choice(_RUNTIMES), help="Interpreter [default: the first one installed].")
def classify(
    paths: tuple[str, ...],
    camera: str | None,
    burst: int | None,
    model: str | None,
    top: int,
    as_json: bool,
    as_csv: bool,
    out: str | None,
    resume: bool,
    heatmap: str | None,
    save: str | None,
    views: str,
    threads: int | None,
    runtime: str | None,
) -> None:
    """Classify images: say what the lesion in each looks most like, and how urgent it is.

    PATH is a file, a folder (including its subfolders), a quoted pattern such as "scans/**/*.jpg", or - for standard
    input. An image that cannot be classified is reported, and the others are processed.
    """
    if bool(paths) == (camera is not None):
        raise click.UsageError("Missing argument 'PATH...|-'." if not paths else "use either a PATH or --camera")
    if as_json and as_csv:
        raise click.UsageError("use either --json or --csv")
    form = "json" if as_json else "csv" if as_csv else None
    if out and form is None:
        raise click.UsageError("--out needs --json or --csv")
    if out and burst:
        raise click.UsageError("--out cannot be used with --burst")
    if resume and (out is None or camera is not None):
        raise click.UsageError("--resume needs --out, and a PATH instead of --camera")
    from spot_edge.commands.loading import load_several
    from spot_edge.commands.records import NullWriter, ResultFiles, model_key, writer_for

    found = [] if camera is not None else find_images(paths)
    at_once = len(found) if burst is None else 1  # the images of a burst run one by one, on all processors
    classifiers = load_several(model, at_once, runtime=runtime, threads=threads, views=int(views))
    labels = [label.label for label in classifiers[0].model.spec.labels]
    if camera is not None and burst is None:
        found = [_captured(camera)]
    files = ResultFiles(_folder(heatmap), _folder(save), resume=resume)
    left, failed, predictions, code, misbehaves = found, 0, None, InputError.exit_code, False
    if out is not None and form is not None:
        from spot_edge.commands.output_file import PredictionFile

        key = model_key(classifiers[0].model.id, classifiers[0].views)
        predictions = PredictionFile(_path(out), form, key, labels, resume=resume)
        left, failed = predictions.missing(found)
    writer = writer_for(
        form, predictions or sys.stdout, labels, top, begun=predictions is not None and predictions.begun
    )
    write: Callable[[Any, Writer, ResultFiles], tuple[int, bool]] = partial(_write, to_file=predictions is not None)
    results: Iterable[Any]
    if burst is None:
        results, length, total = _classified(left, classifiers, files), len(left), len(found)
    else:
        from spot_edge.commands.bursts import by_folder, captured_burst, classify_burst

        results = by_folder(found, burst) if camera is None else [captured_burst(camera, burst)]
        write, length, total = partial(classify_burst, _source, classifiers[0]), len(results), len(results)
    with _progress(results, length, to_file=predictions is not None) as results:
        for each in results:
            try:
                ended, odd = write(each, writer, files)
            except BrokenPipeError:  # the reader closed the pipe, as `head` does, but files are still to be written
                if not files.any:
                    raise
                writer = NullWriter()
                ended, odd = (each.exit_code, each.misbehaves) if burst is None else (0, False)
            failed, code, misbehaves = failed + (ended > 0), max(code, ended), misbehaves or odd
    writer.close()
    if predictions and out:
        predictions.close()
        classified = total - failed
        click.echo(f"{one_line(out)}: {classified} image{'s' * (classified != 1)} classified", err=True)
    if failed:
        if misbehaves:
            click.echo(f"spot-edge: {one_line(classifiers[0].model.name)}: the model file misbehaves", err=True)
        if total > 1:
            kind = "images could not be classified" if burst is None else "bursts could not be classified completely"
            click.echo(f"spot-edge: {failed} of {total} {kind}", err=True)
        raise click.exceptions.Exit(code)


def _path(name: str) -> Path:
    from pathlib import Path  # slow to import, and rarely needed

    return Path(name)


def _folder(name: str | None) -> Path | None:
    return None if name is None else make_folder(_path(name))


class _Classified(NamedTuple):
    """An image, and its prediction or problem."""

    image: Found
    prediction: Prediction | None  # None if it could not be classified
    results: Sequence[Result] = ()
    problem: str = ""
    exit_code: int = 0
    transient: bool = False  # whether the image is not to blame, so that a later run should try again

    @property
    def misbehaves(self) -> bool:
        """Whether the model file says something that is no prediction."""
        return self.prediction is not None and self.prediction.misbehaves


def _classified(found: Sequence[Found], classifiers: Sequence[Classifier], files: ResultFiles) -> Iterator[_Classified]:
    """Classify the images in order, as many at a time as there are classifiers."""
    if len(classifiers) == 1:
        return (_classify(image, classifiers[0], files) for image in found)
    from spot_edge.commands.workers import in_order

    return in_order(found, [partial(_classify, classifier=each, files=files) for each in classifiers], _size)


def _classify(image: Found, classifier: Classifier, files: ResultFiles) -> _Classified:
    try:
        if image.problem:
            raise image.problem
        prepared = classifier.prepare(_source(image))
        prediction = classifier.predict(prepared)
        results = files.results(prepared, prediction)
    except Exception as error:  # whatever happens to one image, the others are classified
        from spot_edge.commands.failures import failure_of

        failure = failure_of(error, image.path)
        transient = getattr(failure, "transient", True)
        return _Classified(image, None, (), str(failure), failure.exit_code, transient)
    return _Classified(image, prediction, results, exit_code=InterpreterError.exit_code * prediction.misbehaves)


def _write(done: _Classified, writer: Writer, files: ResultFiles, *, to_file: bool) -> tuple[int, bool]:
    """Write the prediction or problem of one image. Returns its exit code, and whether the model file misbehaves.

    A file that can be resumed does not get problems that may pass.
    """
    if done.prediction is None:
        click.echo(f"spot-edge: {one_line(done.problem)}", err=True)
        if not (done.transient and to_file):
            writer.failure(done.image, done.problem)
    else:
        files.write(done.image.relative, done.results)
        writer.prediction(done.prediction)
    return done.exit_code, done.misbehaves


def _captured(camera: str) -> Found:
    """Take a picture with `camera`."""
    from spot_edge.camera.camera import Camera
    from spot_edge.commands.options import take

    with Camera(camera) as source:
        return take(source)


def _source(image: Found) -> Source:
    if image.frame:
        return image.frame
    return Source.of(_standard_input(), "-") if image.path == "-" else Source.of(image.path)


def _size(image: Found) -> int:
    """Estimate the memory that decoding the image takes. Nothing is known about standard input before it is read."""
    from spot_edge.image.memory import LARGEST_IMAGE, decoding_memory

    if image.problem or image.frame:
        return 0
    return LARGEST_IMAGE if image.path == "-" else decoding_memory(image.path)


def _standard_input() -> bytes:
    data = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin else b""
    if len(data) > LARGEST:
        raise InputError(f"-: more than {LARGEST >> 20} MB")
    return data


@contextmanager
def _progress(results: Iterable[Any], length: int, *, to_file: bool) -> Iterator[Iterable[Any]]:
    """`results` with a progress bar, unless it would mix with the predictions on one terminal."""
    if length < 2 or not sys.stderr.isatty() or (sys.stdout.isatty() and not to_file):
        yield results
        return
    with click.progressbar(results, length, label="classify", file=sys.stderr, show_pos=True) as bar:
        yield bar
