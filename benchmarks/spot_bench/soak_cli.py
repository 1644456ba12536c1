"""`spot-edge bench soak`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spot_bench.commandline import JSON, PATH, show
from spot_edge.errors import CheckError

if TYPE_CHECKING:
    from spot_edge.source import Source

__all__ = ["soak"]

_DRAWN = 24  # pictures
_FEWEST = 800  # 500 that are not counted, and enough for a p99


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option(
    "--camera", is_flag=False, flag_value="auto", metavar="[DEVICE|auto]", help="A camera's frames instead of files."
)
@click.option("--pictures", type=click.IntRange(_FEWEST), default=10_000, show_default=True, help="So many in all.")
@click.option("--model", type=PATH, help="Model file [the embedded model].")
@JSON
def soak(paths: tuple[str, ...], camera: str | None, pictures: int, model: Path | None, as_json: bool) -> None:
    """Judge thousands of pictures in one process; exit code 8 where memory, descriptors or times do not stay.

    PATH is a file or folder as for `classify`, gone round and round [drawn pictures]; DEVICE, as for `camera`, may be a
    folder too. After the first 500 pictures resident memory must not grow by 2 MB nor a descriptor stay open, and
    p99 must stay within 3 times p50: by the wall's clock, or where other work took more than 10 % of the processors'
    time, by the time that the processors spent on us.
    """
    if paths and camera is not None:
        raise click.UsageError("a PATH and --camera exclude one another")
    from spot_bench.soak import broken_limits
    from spot_bench.soak import soak as measure
    from spot_bench.terminal import soak_lines
    from spot_edge.classifier import Classifier

    classifier = Classifier.load(model)
    with ExitStack() as stack:
        sources = _sources(paths, camera, stack)
        bar = stack.enter_context(click.progressbar(length=pictures, label="soak", file=sys.stderr, show_pos=True))
        report = measure(classifier, sources, pictures, bar.update)
    report["source"] = {"camera": camera} if camera is not None else {"paths": list(paths) or ["drawn"]}
    show(report, soak_lines(report), as_json)
    broken = broken_limits(report)
    if broken:
        raise CheckError(f"soak: {', '.join(broken)}")


def _sources(paths: tuple[str, ...], camera: str | None, stack: ExitStack) -> Iterator[Source]:
    from spot_bench.soak import frames_of, pictures_of

    if camera is not None:
        from spot_edge.camera.camera import Camera

        return frames_of(stack.enter_context(Camera(camera)))
    if paths:
        return pictures_of(paths)
    from spot_bench.drawings import KINDS, draw_lesion, encode_jpeg

    folder = stack.enter_context(tempfile.TemporaryDirectory())
    for number in range(_DRAWN):
        drawn = draw_lesion(number, kind=KINDS[number % len(KINDS)])
        Path(folder, f"{number}.jpg").write_bytes(encode_jpeg(drawn))
    return pictures_of([folder])
