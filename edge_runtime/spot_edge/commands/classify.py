"""`spot-edge classify`: pictures in, one answer each out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from spot_edge.errors import InputError, one_line
from spot_edge.files import make_folder
from spot_edge.image.inputs import MOST_FRAMES, Found, find_images
from spot_edge.image.source import LARGEST, Source

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier
    from spot_edge.commands.records import Keeper, Result, Writer
    from spot_edge.prediction.prediction import Prediction

__all__ = ["classify"]

_RUNTIMES = ("ai-edge-litert", "tflite-runtime", "tensorflow")


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...|-")
@click.option(
    "--camera",
    is_flag=False,
    flag_value="auto",
    metavar="[DEVICE|auto]",
    help="Take one picture with a camera instead.",
)
@click.option(
    "--burst",
    type=click.IntRange(2, MOST_FRAMES),
    metavar="N",
    help="One answer to N pictures of the camera, or to the pictures of each folder, at most N.",
)
@click.option("--model", type=click.Path(), help="Model file [the embedded model].")
@click.option("--top", type=click.IntRange(1), default=2, show_default=True, help="Classes to show in words.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, one complete answer each.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV, one row each, every class a column.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the answers (--json or --csv) to a new FILE.",
)
@click.option("--resume", is_flag=True, help="Go on with the FILE of --out: judge what has no answer in it yet.")
@click.option(
    "--heatmap", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write heat maps to DIR."
)
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep each answer (JSON) and its picture (upright, without EXIF, encoded anew as JPEG) in DIR.",
)
@click.option("--threads", type=click.IntRange(1, 64), help="Processors to use [all, at most 4].")
@click.option("--runtime", type=click.Choice(_RUNTIMES), help="Interpreter [the first that is installed].")
def classify(
    paths: tuple[str, ...],
    camera: str | None,
    burst: int | None,
    model: str | None,
    top: int,
    as_json: bool,
    as_csv: bool,
    out: Path | None,
    resume: bool,
    heatmap: Path | None,
    save: Path | None,
    threads: int | None,
    runtime: str | None,
) -> None:
    """Say what the lesion in each picture looks most like, and how urgent it is.

    PATH is a file, a folder (searched with all its folders), a quoted pattern such as "scans/**/*.jpg", or - for
    standard input. A picture that cannot be judged is reported, and the rest goes on.
    """
    if bool(paths) == (camera is not None):
        raise click.UsageError(
            "Missing argument 'PATH...|-'." if not paths else "a PATH and --camera exclude one another"
        )
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude one another")
    form = "json" if as_json else "csv" if as_csv else None
    if out and form is None:
        raise click.UsageError("--out keeps answers as --json or --csv: say which")
    if out and burst:
        raise click.UsageError("--out and --burst exclude one another")
    if resume and (out is None or camera is not None):
        raise click.UsageError("--resume goes on with the answers to files in the FILE of --out")
    from spot_edge.commands.options import load_several
    from spot_edge.commands.records import Keeper, Nowhere, writer_for

    found = [] if camera is not None else find_images(paths)
    at_once = len(found) if burst is None else 1  # a burst's frames are judged one after the other, by all processors
    classifiers = load_several(model, at_once, runtime=runtime, threads=threads)
    labels = [label.label for label in classifiers[0].model.spec.labels]
    if camera is not None and burst is None:
        found = [_taken(camera)]
    keeper = Keeper(heatmap and make_folder(heatmap), save and make_folder(save), again=resume)
    left, failed, answers = found, 0, None
    if out is not None and form is not None:
        from spot_edge.commands.output_file import AnswerFile

        answers = AnswerFile(out, form, classifiers[0].model.id, labels, resume=resume)
        left, failed = answers.missing(found)
    writer = writer_for(form, answers or sys.stdout, labels, top, begun=answers is not None and answers.begun)
    write: Callable[[Any, Writer, Keeper], bool] = _write
    judged: Iterable[Any]
    if burst is None:
        judged, length, total = _judged(left, classifiers, keeper), len(left), len(found)
    else:
        from spot_edge.commands.bursts import answer_burst, by_folder, taken_burst

        judged = by_folder(found, burst) if camera is None else [taken_burst(camera, burst)]
        write, length, total = partial(answer_burst, _source, classifiers[0]), len(judged), len(judged)
    with _progress(judged, length, apart=answers is not None) as judged:
        for each in judged:
            try:
                failed += not write(each, writer, keeper)
            except BrokenPipeError:  # `| head`: the reader has seen enough, but files that were asked for are made
                if not keeper.keeps:
                    raise
                writer = Nowhere()
                failed += burst is None and each.prediction is None
    writer.close()
    if answers:
        answers.close()
    if failed:
        if total > 1:
            kind = "pictures could not be judged" if burst is None else "bursts could not be judged whole"
            click.echo(f"spot-edge: {failed} of {total} {kind}", err=True)
        raise click.exceptions.Exit(InputError.exit_code)


class _Judged(NamedTuple):
    """A picture, and what came of it."""

    picture: Found
    prediction: Prediction | None  # None where it could not be judged
    problem: str
    results: Sequence[Result]


def _judged(found: Sequence[Found], classifiers: Sequence[Classifier], keeper: Keeper) -> Iterator[_Judged]:
    """What comes of each picture, in their order; several classifiers judge several at once."""
    if len(classifiers) == 1:
        return (_judge(picture, classifiers[0], keeper) for picture in found)
    from spot_edge.commands.workers import in_order

    return in_order(found, [partial(_judge, classifier=each, keeper=keeper) for each in classifiers], _size)


def _judge(picture: Found, classifier: Classifier, keeper: Keeper) -> _Judged:
    try:
        if picture.problem:
            raise picture.problem
        prepared = classifier.prepare(_source(picture))
    except InputError as error:
        return _Judged(picture, None, str(error), ())
    prediction = classifier.predict(prepared)
    return _Judged(picture, prediction, "", keeper.results(prepared, prediction))


def _write(judged: _Judged, writer: Writer, keeper: Keeper) -> bool:
    """Write what came of one picture; whether it could be judged."""
    if judged.prediction is None:
        click.echo(f"spot-edge: {one_line(judged.problem)}", err=True)
        writer.failure(judged.picture, judged.problem)
        return False
    keeper.write(judged.picture.relative, judged.results)
    writer.answer(judged.prediction)
    return True


def _taken(camera: str) -> Found:
    """A picture taken with `camera` just now."""
    from spot_edge.camera.camera import Camera
    from spot_edge.commands.options import take

    with Camera(camera) as source:
        return take(source)


def _source(picture: Found) -> Source:
    if picture.frame:
        return picture.frame
    return Source.of(_standard_input(), "-") if picture.path == "-" else Source.of(picture.path)


def _size(picture: Found) -> int:
    """Roughly the bytes of a picture that is decoded, by its file's: a photograph has a bit a pixel at the least."""
    from spot_edge.image.tensor import MAX_PIXELS

    try:
        return min(24 * os.stat(picture.path).st_size, 3 * MAX_PIXELS)
    except (OSError, ValueError):  # standard input, or refused when it is read
        return 0


def _standard_input() -> bytes:
    data = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin else b""
    if len(data) > LARGEST:
        raise InputError(f"-: more than {LARGEST >> 20} MB")
    return data


@contextmanager
def _progress(judged: Iterable[Any], length: int, *, apart: bool) -> Iterator[Iterable[Any]]:
    """`judged` behind a progress bar, where there are many and both ends are not mixed on one terminal."""
    if length < 2 or not sys.stderr.isatty() or (sys.stdout.isatty() and not apart):
        yield judged
        return
    with click.progressbar(judged, length, label="classify", file=sys.stderr, show_pos=True) as bar:
        yield bar
