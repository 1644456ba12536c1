"""A public data set from its addresses to a manifest of ours. What an interrupted fetch brought home is used again.

FOLDER/
  NAME.csv       the manifest; written last, so where it is, all is there
  NOTICE.txt     whose data they are, and on which terms
  images/        the pictures, and the archives' own texts
  downloads/     the files as they came; may go once the manifest is there
  digests.json   what first downloads were found to be
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spot_bench.data.manifest import Item, Manifest, write_manifest
from spot_bench.run.progress import byte_counter, progress_bar
from spot_edge.errors import DataError, OutputError
from spot_edge.files import make_folder, write_file
from spot_train.data.archive import unpack
from spot_train.data.download import RetryPolicy, discard, download, part_of
from spot_train.data.sources import File, Source
from spot_train.data.tables import ImageFacts, read_tables
from spot_train.data.verify import DIGESTS, read_digests, record_digest, verify

__all__ = ["fetch"]

Say = Callable[[str], None]


def fetch(source: Source, folder: Path, *, say: Say, retries: RetryPolicy = RetryPolicy()) -> Path:  # noqa: B008 - frozen
    """The manifest of `source` in `folder`, whose images are there when this returns."""
    manifest = folder / f"{source.name}.csv"
    for line in _notice(source):
        say(line)
    if manifest.exists():
        say(f"{manifest} is there already: nothing was downloaded")
        return manifest
    downloads = make_folder(folder / "downloads")
    with _locked(folder):
        write_file(folder / "NOTICE.txt", "\n".join([*_notice(source), ""]).encode())
        for file in source.file:
            _obtain(file, folder, downloads / file.name, source.most, say, retries)
        known = read_tables(source, downloads)
        images = folder / "images"
        if not images.is_dir():
            with progress_bar("unpacking", len(known)) as step:
                unpack([downloads / file.name for file in source.of("images")], images, known.keys(), source.most, step)
        items = tuple(_items(known, images))
        alone = sum("group" not in about.columns for about in known.values())
        if alone:
            say(f"note: {alone} of {len(known)} images name no lesion: each of them is its own group")
        write_manifest(Manifest(items, manifest, folder), manifest)
    say(f"{len(items)} images; {downloads} is not needed any more")
    return manifest


def _notice(source: Source) -> list[str]:
    return [source.about, f"licence: {source.licence}", f"terms: {source.terms}"]


def _obtain(file: File, folder: Path, target: Path, max_bytes: int, say: Say, retries: RetryPolicy) -> None:
    """`file` at `target`, verified before it is called so."""
    recorded = read_digests(folder).get(file.name, "")
    if target.exists():
        try:
            digest = verify(target, file, recorded, max_bytes)
        except DataError as error:
            raise DataError(f"{error}: remove {target} to download it anew") from None
    else:
        digest = _download(file, target, recorded, max_bytes, say, retries)
    if not (file.sha256 or recorded):
        record_digest(folder, file.name, digest)
        say(f"{file.name}: no digest of it was known. It has the SHA-256 {digest}, which is kept in {DIGESTS}")
        say(f"{file.name}: later downloads are held against that; that this first one is genuine, nobody has checked")
    if not target.exists():
        part = part_of(target)
        _put(part, target)
        discard(part)


def _download(file: File, target: Path, recorded: str, max_bytes: int, say: Say, retries: RetryPolicy) -> str:
    part = part_of(target)
    while True:
        with byte_counter(file.name) as progress:
            resumed = download(file.url, target, max_bytes=max_bytes, say=say, progress=progress, retries=retries)
        try:
            return verify(part, file, recorded, max_bytes)
        except DataError as error:
            discard(part)
            if not resumed:
                raise DataError(f"{file.url}: {error}: what came was thrown away") from None
            say(f"{error}; it was put together from several attempts: once more from its beginning")


def _put(part: Path, target: Path) -> None:
    try:
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


def _items(known: dict[str, ImageFacts], images: Path) -> Iterator[Item]:
    """One item an image that the tables name; DataError where its picture has gone."""
    paths = {path.stem: path for path in images.iterdir() if path.suffix != ".txt"}
    for name, about in known.items():
        if name not in paths:
            raise DataError(f"{images}: {name} is not there: remove the folder to have it unpacked anew")
        columns = dict(about.columns)
        group = columns.pop("group", f"{images.name}/{paths[name].name}")
        yield Item(paths[name], about.label, group, None, columns)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second fetch out of the folder, where the system knows locks that end with their process."""
    try:
        lock = open(folder / ".lock", "wb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    with lock:
        with suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OutputError(f"{folder}: another fetch is at work there") from None
        yield
