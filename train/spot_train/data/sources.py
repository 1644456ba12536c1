"""Where to download data sets: `sources.toml`, or a file like it that names mirrors."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from spot_edge.errors import DataError

__all__ = ["ROLES", "File", "Source", "load_source"]

ROLES = ("images", "truth", "about")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}|")


@dataclass(frozen=True, slots=True)
class File:
    """One file to download. A `size` of 0 and an empty `sha256` mean unknown."""

    url: str
    role: str
    size: int = 0
    sha256: str = ""

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"{self.url!r} is not an http or https address")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.url!r} does not end in a plain file name")
        if self.role not in ROLES:
            raise ValueError(f"the role {self.role!r} of {self.name} must be one of {', '.join(ROLES)}")
        if type(self.size) is not int or self.size < 0:
            raise ValueError(f"the size of {self.name} must be a number of bytes, or 0")
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"the sha256 of {self.name} must be 64 hexadecimal digits, or empty")

    @property
    def name(self) -> str:
        """The file's name: the last part of the address."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Source:
    """A data set: its files, its terms, and how to turn its tables into a manifest."""

    name: str
    about: str
    licence: str
    terms: str
    most: int
    id: str
    labels: Mapping[str, str]
    file: tuple[File, ...]
    otherwise: str = ""
    ignore: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a plain name")
        if type(self.most) is not int or self.most < 1:
            raise ValueError("most must be a number of bytes")
        for role in ("images", "truth"):
            if not self.of(role):
                raise ValueError(f"no file has the role {role}")
        names = [file.name for file in self.file]
        if len(set(names)) < len(names):
            raise ValueError("two of its files have the same name")
        texts = [self.about, self.licence, self.terms, self.id, self.otherwise, *self.ignore, *self.labels.values()]
        if not all(isinstance(text, str) for text in (*texts, *self.columns.values())):
            raise ValueError("about, licence, terms, id, otherwise, ignore, labels and columns must be strings")

    def of(self, role: str) -> tuple[File, ...]:
        """Return the files with this role."""
        return tuple(file for file in self.file if file.role == role)


def load_source(name: str, path: Path | None = None) -> Source:
    """Return the data set `name` from the TOML file at `path` (default: the official addresses)."""
    try:
        if path is None:
            text = (resources.files("spot_train.data") / "sources.toml").read_text(encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8")
        tables: dict[str, Any] = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read it as a list of sources: {error}") from None
    if name not in tables:
        raise DataError(f"unknown data set {name!r}. Known are {', '.join(sorted(tables))}")
    try:
        table = dict(tables[name])
        files = tuple(File(**file) for file in table.pop("file"))
        ignore = tuple(table.pop("ignore", ()))
        return Source(name, file=files, ignore=ignore, **table)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path or 'sources.toml'}: {name}: invalid source: {error}") from None
