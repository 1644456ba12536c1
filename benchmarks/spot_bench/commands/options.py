"""Options and output that several commands share: which images, which folder, text or JSON."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from spot_edge.errors import OutputError

if TYPE_CHECKING:
    from spot_bench.data.manifest import Manifest
    from spot_edge.classifier import Classifier

__all__ = [
    "JSON",
    "PATH",
    "RunOptions",
    "new_file",
    "new_folder",
    "new_report",
    "run_options",
    "run_options_several",
    "show",
    "write",
]

Command: TypeAlias = Callable[..., None]

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
PATH = click.Path(path_type=Path)

_DATA = (
    click.option("--data", required=True, type=PATH, help="CSV manifest, or folder of class folders."),
    click.option("--root", type=PATH, help="Folder of the manifest's image paths [default: the manifest's folder]."),
)
_SEVERAL_DATA = (
    click.option(
        "--data",
        required=True,
        multiple=True,
        type=PATH,
        help="CSV manifest, or folder of class folders. Repeat it to join further images.",
    ),
    click.option(
        "--root",
        multiple=True,
        type=PATH,
        help="Folder of the image paths of the first, second ... --data [default: the manifest's folder].",
    ),
)
_OPTIONS = (
    click.option("--split", default="test", show_default=True, help="Split of the data; 'all' for every image."),
    click.option("--out", type=PATH, help="Folder for the results."),
    click.option("--threads", type=click.IntRange(1, 64), help="Threads [default: one per processor, at most 4]."),
    click.option("--runtime", help="Interpreter package [default: the first one installed]."),
    JSON,
)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of every command that runs models over a data set."""

    data: Path
    root: Path | None
    split: str
    out: Path | None
    threads: int | None
    runtime: str | None
    as_json: bool
    further: tuple[tuple[Path, Path | None], ...] = ()  # further data sets with their roots

    def read(self, *, check_files: bool = True) -> Manifest:
        """Read the images of the chosen split; `check_files=False` does not check that they exist."""
        from spot_bench.data.manifest import read_manifest

        manifest = read_manifest(self.data, root=self.root, check_files=check_files)
        return manifest if self.split == "all" else manifest.split(self.split)

    def classifier(self, model: Path, views: int = 1) -> Classifier:
        """Load `model` in the chosen interpreter."""
        from spot_edge.classifier import Classifier

        return Classifier.load(model, runtime=self.runtime, threads=self.threads, views=views)


def run_options(command: Command) -> Command:
    """Add these options to `command`, which gets them as one `RunOptions`."""
    return _with_options(command, (*_DATA, *_OPTIONS), _one)


def run_options_several(command: Command) -> Command:
    """Do the same for a command whose `--data` and `--root` may be repeated: the later ones are `further`."""
    return _with_options(command, (*_SEVERAL_DATA, *_OPTIONS), _several)


def _with_options(
    command: Command, options: tuple[Callable[[Command], Command], ...], collect: Callable[..., RunOptions]
) -> Command:
    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        names = [field.name for field in dataclasses.fields(RunOptions) if field.name != "further"]
        command(collect(**{name: values.pop(name) for name in names}), **values)

    found: Command = wrapped
    for option in reversed(options):
        found = option(found)
    return found


def _one(**values: Any) -> RunOptions:
    return RunOptions(**values)


def _several(data: tuple[Path, ...], root: tuple[Path, ...], **values: Any) -> RunOptions:
    if len(root) > len(data):
        raise click.UsageError("more --root than --data: the first --root belongs to the first --data, and so on")
    (first, home), *further = zip_longest(data, root)
    return RunOptions(data=first, root=home, further=tuple(further), **values)


def new_report(out: Path | None) -> Path | None:
    """Return the path of the report file in `out`, if there is an `out`."""
    return None if out is None else new_file(out, "report.json")


def new_folder(folder: Path, *, resume: bool) -> Path:
    """Make the folder of a report. Raise OutputError if it holds a report, or an unfinished one without `resume`."""
    for file in folder.glob("report.*"):
        raise OutputError(f"{file}: already exists. Name another folder with --out")
    for file in () if resume else folder.glob("predictions-*"):
        raise OutputError(f"{file}: left by an interrupted run. Continue it with --resume, or name another folder")
    from spot_edge.files import make_folder

    return make_folder(folder)


def new_file(folder: Path, name: str) -> Path:
    """Return the path of a file to write in `folder`, which is made. Raise OutputError if the file exists."""
    from spot_edge.files import make_folder

    path = make_folder(folder) / name
    if path.exists():
        raise OutputError(f"{path}: already exists. Name another folder with --out")
    return path


def write(report: dict[str, Any], path: Path | None) -> None:
    """Write the report to `path`, if there is one."""
    if path is not None:
        from spot_edge.files import write_file

        write_file(path, (json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def show(report: dict[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """Print the report as JSON or as `lines`."""
    click.echo(json.dumps(report, ensure_ascii=False, allow_nan=False) if as_json else "\n".join(lines))
