"""What several commands are asked, and how they answer: which images, where to, progress, lines or JSON."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from spot_edge.errors import OutputError

if TYPE_CHECKING:
    from spot_bench.data.manifest import Manifest
    from spot_edge.classifier import Classifier

__all__ = [
    *("JSON", "PATH", "Images", "Over", "bar_of", "counting", "images_alone"),
    *("new_file", "new_folder", "new_report", "over_images", "show", "write"),
]

Command: TypeAlias = Callable[..., None]
Told = TypeVar("Told", bound="Images")

JSON = click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
PATH = click.Path(path_type=Path)

_IMAGES = (
    click.option("--data", required=True, type=PATH, help="CSV manifest or folder of class folders."),
    click.option("--root", type=PATH, help="Folder that the manifest's image paths are relative to [its own]."),
    click.option("--split", "part", default="test", show_default=True, help="Part of the data; 'all' for every image."),
    click.option("--out", type=PATH, help="Folder for what is to be kept."),
)
_INTERPRETER = (
    click.option("--threads", type=click.IntRange(1, 64), help="Threads [as many as processors, at most 4]."),
    click.option("--runtime", help="Interpreter package [the first that is installed]."),
)


@dataclass(frozen=True, slots=True)
class Images:
    """What every command is told that goes over a data set."""

    data: Path
    root: Path | None
    part: str
    out: Path | None
    as_json: bool

    def read(self, *, check_files: bool = True) -> Manifest:
        """The images of the part that was asked for; whether they are there need not be checked."""
        from spot_bench.data.manifest import read_manifest

        manifest = read_manifest(self.data, root=self.root, check_files=check_files)
        return manifest if self.part == "all" else manifest.split(self.part)


@dataclass(frozen=True, slots=True)
class Over(Images):
    """What every command is told that runs models over a data set."""

    threads: int | None
    runtime: str | None

    def classifier(self, model: Path) -> Classifier:
        """`model` in the interpreter that was asked for."""
        from spot_edge.classifier import Classifier

        return Classifier.load(model, runtime=self.runtime, threads=self.threads)


def images_alone(command: Command) -> Command:
    """Options that say which images and where to: handed to `command` as one `Images`."""
    return _gathered(command, Images, (*_IMAGES, JSON))


def over_images(command: Command) -> Command:
    """The same and with which interpreter: handed to `command` as one `Over`."""
    return _gathered(command, Over, (*_IMAGES, *_INTERPRETER, JSON))


def _gathered(command: Command, kind: type[Told], options: Iterable[Callable[[Command], Command]]) -> Command:
    @functools.wraps(command)
    def gathered(**told: Any) -> None:
        names = [field.name for field in dataclasses.fields(kind)]
        command(kind(**{name: told.pop(name) for name in names}), **told)

    asked: Command = gathered
    for option in reversed(tuple(options)):
        asked = option(asked)
    return asked


def new_report(out: Path | None) -> Path | None:
    """The report file to write, where a folder is named for it."""
    return None if out is None else new_file(out, "report.json")


def new_folder(folder: Path, *, resume: bool) -> Path:
    """The folder of a report; refused, before any work is done, where it holds one, or unasked a part of one."""
    for file in folder.glob("report.*"):
        raise OutputError(f"{file}: exists already: name another folder with --out")
    for file in () if resume else folder.glob("predictions-*"):
        raise OutputError(f"{file}: left by an interrupted run: go on with --resume, or name another folder with --out")
    from spot_edge.files import make_folder

    return make_folder(folder)


def new_file(folder: Path, name: str) -> Path:
    """The file to write; refused, before any work is done, where there is one already."""
    from spot_edge.files import make_folder

    path = make_folder(folder) / name
    if path.exists():
        raise OutputError(f"{path}: exists already: name another folder with --out")
    return path


def bar_of(images: Manifest, name: str) -> Any:
    """A progress bar over `images`."""
    return click.progressbar(length=len(images.items), label=Path(name).name, file=sys.stderr, show_pos=True)


def counting(bar: Any) -> Callable[[int, int], None]:
    """Moves `bar` on, whose time left is that of the images still to be run."""

    def more(done: int, total: int) -> None:
        bar.length = total
        bar.update(1)

    return more


def write(report: dict[str, Any], path: Path | None) -> None:
    """Write the report where a file is named for it."""
    if path is not None:
        from spot_edge.files import write_file

        write_file(path, (json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def show(report: dict[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """The report to the standard output."""
    click.echo(json.dumps(report, ensure_ascii=False, allow_nan=False) if as_json else "\n".join(lines))
