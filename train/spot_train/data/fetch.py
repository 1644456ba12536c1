"""Download a public data set and write its manifest. An interrupted fetch continues with what it already has.

FOLDER/
  NAME.csv       the manifest; written last, so if it exists the data set is complete
  NOTICE.txt     who owns the data, and the terms of use
  images/        the images, and the text files from the archives
  downloads/     the downloaded files; not needed once the manifest exists
  digests.json   the SHA-256 of each first download
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

Log = Callable[[str], None]


def fetch(source: Source, folder: Path, *, log: Log, retries: RetryPolicy = RetryPolicy()) -> Path:  # noqa: B008 - frozen
    """Download `source` into `folder` and return the path of its manifest. `log` is called with each message."""
    manifest = folder / f"{source.name}.csv"
    for line in _notice(source):
        log(line)
    if manifest.exists():
        log(f"{manifest} already exists: nothing to download")
        return manifest
    downloads = make_folder(folder / "downloads")
    with _locked(folder):
        write_file(folder / "NOTICE.txt", "\n".join([*_notice(source), ""]).encode())
        for file in source.file:
            _obtain(file, folder, downloads / file.name, source.most, log, retries)
        facts = read_tables(source, downloads)
        images = folder / "images"
        if not images.is_dir():
            with progress_bar("unpacking", len(facts)) as step:
                unpack([downloads / file.name for file in source.of("images")], images, facts.keys(), source.most, step)
        items = tuple(_items(facts, images))
        ungrouped = sum("group" not in about.columns for about in facts.values())
        if ungrouped:
            log(f"note: {ungrouped} of {len(facts)} images have no lesion id; each becomes its own group")
        write_manifest(Manifest(items, manifest, folder), manifest)
    log(f"{len(items)} images; {downloads} is no longer needed")
    return manifest


def _notice(source: Source) -> list[str]:
    return [source.about, f"licence: {source.licence}", f"terms: {source.terms}"]


def _obtain(file: File, folder: Path, target: Path, max_bytes: int, log: Log, retries: RetryPolicy) -> None:
    """Make sure that `file` is at `target` and verified; a file gets its final name only after verification."""
    recorded = read_digests(folder).get(file.name, "")
    if target.exists():
        try:
            digest = verify(target, file, recorded, max_bytes)
        except DataError as error:
            raise DataError(f"{error}: remove {target} to download it again") from None
    else:
        digest = _download(file, target, recorded, max_bytes, log, retries)
    if not (file.sha256 or recorded):
        record_digest(folder, file.name, digest)
        log(f"{file.name}: its digest was unknown. Recorded its SHA-256 {digest} in {DIGESTS}")
        log(f"{file.name}: later downloads must match it. This first download was not verified")
    if not target.exists():
        part = part_of(target)
        _move_into_place(part, target)
        discard(part)


def _download(file: File, target: Path, recorded: str, max_bytes: int, log: Log, retries: RetryPolicy) -> str:
    part = part_of(target)
    while True:
        with byte_counter(file.name) as progress:
            resumed = download(file.url, target, max_bytes=max_bytes, log=log, progress=progress, retries=retries)
        try:
            return verify(part, file, recorded, max_bytes)
        except DataError as error:
            discard(part)
            if not resumed:
                raise DataError(f"{file.url}: {error}; the download was discarded") from None
            log(f"{error}. It was assembled from several attempts; downloading it again from the start")


def _move_into_place(part: Path, target: Path) -> None:
    try:
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


def _items(facts: dict[str, ImageFacts], images: Path) -> Iterator[Item]:
    """Yield one item per image in the tables; DataError if its file is missing."""
    paths = {path.stem: path for path in images.iterdir() if path.suffix != ".txt"}
    for name, about in facts.items():
        if name not in paths:
            raise DataError(f"{images}: {name} is missing: remove the folder to unpack it again")
        columns = dict(about.columns)
        group = columns.pop("group", f"{images.name}/{paths[name].name}")
        yield Item(paths[name], about.label, group, None, columns)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder against a second fetch, on systems whose locks end with their process."""
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
                raise OutputError(f"{folder}: another fetch is running there") from None
        yield
