"""`spot-edge classify`: pictures in, one answer each out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spot_edge.errors import InputError, one_line
from spot_edge.files import make_folder
from spot_edge.inputs import MOST_FRAMES, Found, find_pictures
from spot_edge.source import LARGEST, Source

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier
    from spot_edge.commands.records import Writer

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
    "--heatmap", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write heat maps to DIR."
)
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep each answer (JSON) and its picture (upright, without EXIF, encoded anew as JPEG) in DIR.",
)
@click.option("--threads", type=click.IntRange(1, 64), help="Threads of the interpreter [processors, at most 4].")
@click.option("--runtime", type=click.Choice(_RUNTIMES), help="Interpreter [the first that is installed].")
def classify(
    paths: tuple[str, ...],
    camera: str | None,
    burst: int | None,
    model: str | None,
    top: int,
    as_json: bool,
    as_csv: bool,
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
    from spot_edge.commands.loading import load
    from spot_edge.commands.records import Keeper, Nowhere, writer_for

    classifier = load(model, runtime=runtime, threads=threads)
    keeper = Keeper(heatmap and make_folder(heatmap), save and make_folder(save))
    judge: Callable[..., bool] = _one
    found: list[Any]
    if burst is None:
        found = find_pictures(paths) if camera is None else [_taken(camera)]
    else:
        from spot_edge.commands.bursts import answer_burst, by_folder, taken_burst

        found = by_folder(find_pictures(paths), burst) if camera is None else [taken_burst(camera, burst)]
        judge = partial(answer_burst, _source)
    form = "json" if as_json else "csv" if as_csv else None
    writer = writer_for(form, sys.stdout, [label.label for label in classifier.model.spec.labels], top)
    failed = 0
    with _progress(found) as pictures:
        for picture in pictures:
            try:
                failed += not judge(picture, classifier, writer, keeper)
            except BrokenPipeError:  # `| head`: the reader has seen enough, but files that were asked for are made
                if not keeper.keeps:
                    raise
                writer = Nowhere()
    writer.close()
    if failed:
        if len(found) > 1:
            kind = "pictures could not be judged" if burst is None else "bursts could not be judged whole"
            click.echo(f"spot-edge: {failed} of {len(found)} {kind}", err=True)
        raise click.exceptions.Exit(InputError.exit_code)


def _one(picture: Found, classifier: Classifier, writer: Writer, keeper: Any) -> bool:
    """Judge one picture and write what came of it; whether it could be judged."""
    try:
        if picture.problem:
            raise picture.problem
        prepared = classifier.prepare(_source(picture))
    except InputError as error:
        writer.failure(picture, str(error))
        click.echo(f"spot-edge: {one_line(str(error))}", err=True)
        return False
    prediction = classifier.judge(prepared)
    keeper.keep(picture.relative, prepared, prediction)
    writer.answer(prediction)
    return True


def _taken(camera: str) -> Found:
    """A picture taken with `camera` just now."""
    from spot_edge.camera.camera import Camera
    from spot_edge.commands.taking import take

    with Camera(camera) as source:
        return take(source)


def _source(picture: Found) -> Source:
    if picture.frame:
        return picture.frame
    return Source.of(_standard_input(), "-") if picture.path == "-" else Source.of(picture.path)


def _standard_input() -> bytes:
    data = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin else b""
    if len(data) > LARGEST:
        raise InputError(f"-: more than {LARGEST >> 20} MB")
    return data


@contextmanager
def _progress(found: list[Any]) -> Iterator[Any]:
    """`found` behind a progress bar, where there are many and both ends are not mixed on one terminal."""
    if len(found) < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        yield found
        return
    with click.progressbar(found, label="classify", file=sys.stderr, show_pos=True) as bar:
        yield bar
