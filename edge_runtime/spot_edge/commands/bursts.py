"""Bursts for `classify`: which pictures show one lesion, and the one answer to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from spot_edge.errors import InputError, one_line
from spot_edge.image.inputs import Found
from spot_edge.prediction.burst import predict_burst

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier
    from spot_edge.commands.records import Keeper, Writer
    from spot_edge.image.source import Source
    from spot_edge.image.tensor import Prepared

__all__ = ["answer_burst", "by_folder", "taken_burst"]


def by_folder(found: Sequence[Found], most: int) -> list[Iterable[Found]]:
    """`found` in bursts: what lies in the same folder shows one lesion. In the order in which the folders come.

    A folder with more than `most` is no burst: its problem stands in its place. What has a problem already, and
    standard input, is on its own.
    """
    folders: dict[str, list[Found]] = {}
    for place, picture in enumerate(found):
        alone = picture.problem or picture.path == "-"
        folder = os.path.dirname(os.path.abspath(picture.path))
        folders.setdefault(f"\0{place}" if alone else folder, []).append(picture)
    return [
        frames if len(frames) <= most else [_too_many(os.path.dirname(frames[0].path) or ".", len(frames), most)]
        for frames in folders.values()
    ]


def taken_burst(camera: str, frames: int) -> Iterator[Found]:
    """So many pictures taken with `camera`, each when it is asked for."""
    from spot_edge.camera.camera import Camera
    from spot_edge.commands.options import take_burst

    with Camera(camera) as source:
        yield from take_burst(source, frames)


def answer_burst(
    open_frame: Callable[[Found], Source],
    classifier: Classifier,
    frames: Iterable[Found],
    writer: Writer,
    keeper: Keeper,
) -> bool:
    """Judge pictures of one lesion together, and write what came of it; whether all of them could be judged.

    Each is asked for when the one before was judged.
    """
    used: list[str] = []
    failures: list[tuple[Found, str]] = []

    def prepared() -> Iterator[Prepared]:
        for frame in frames:
            try:
                if frame.problem:
                    raise frame.problem
                picture = classifier.prepare(open_frame(frame))
            except InputError as error:
                failures.append((frame, str(error)))
            else:
                used.append(frame.relative)
                yield picture

    judged = predict_burst(classifier, prepared())
    for _, reason in failures:
        click.echo(f"spot-edge: {one_line(reason)}", err=True)
    if judged is not None:
        keeper.keep(used[judged.number - 1], judged.kept, judged.prediction)
        writer.answer(judged.prediction)
    for frame, reason in failures:
        writer.failure(frame, reason)
    return not failures


def _too_many(folder: str, count: int, most: int) -> Found:
    problem = f"{folder}: {count} pictures, but a burst has at most {most}: a folder of its own for each lesion"
    return Found(folder, folder, InputError(problem))
