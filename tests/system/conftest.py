"""Check JSON documents against the schemas in docs/reference/schemas."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, TypeAlias

import click
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, FormatChecker

from spot_edge.errors import SpotError

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"
OPEN = {"results"}  # apps write these and may add keys
MAX_CHANGES = 12  # of each document

Validate: TypeAlias = Callable[[str, Any], Any]
JsonOf: TypeAlias = Callable[..., Any]


@pytest.fixture(scope="session")
def validate() -> Validate:
    return _validate


@pytest.fixture(scope="session")
def json_of() -> JsonOf:
    return _json_of


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schemas")


@pytest.fixture(scope="module")
def files(shapes_family: Path) -> tuple[Path, Path]:
    """The shapes' int8 and float32 model files."""
    return shapes_family / "shapes-int8.tflite", shapes_family / "shapes-float32.tflite"


@pytest.fixture(scope="module")
def images(shapes_run: Path, shapes: Path, work: Path) -> tuple[object, ...]:
    """Options that select a few of the shapes, with ages and sexes."""
    header, *rows = (shapes_run / "split.csv").read_text().splitlines()
    few = [row for row in rows if row.split(",")[header.split(",").index("split")] == "val"]
    path = work / "few.csv"
    path.write_text("\n".join([f"{header},age,sex", *(f"{row},{20 + n},f" for n, row in enumerate(few))]) + "\n")
    return ("--data", path, "--root", shapes, "--split", "all")


def _schema_of(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


def _validate(name: str, document: Any) -> Any:
    """Check that `document` is valid, and invalid with an extra key in any kind of object. Returns it."""
    validator = Draft202012Validator(_schema_of(name), format_checker=FormatChecker())
    validator.validate(document)
    if name not in OPEN:
        places = {_kind(path): path for path in _paths(document)}
        for path in [*places.values()][:: 1 + len(places) // MAX_CHANGES]:
            changed = copy.deepcopy(document)
            reduce(getitem, path, changed)["unexpected"] = [[]]  # a value that no map allows
            assert not validator.is_valid(changed), f"{name}: {path} accepts any key"
    return document


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every object in a document."""
    if isinstance(value, dict):
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from _paths(inner, (*path, key))


def _kind(path: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("item" if isinstance(step, int) else step for step in path)


def _json_of(command: click.Command, *arguments: object, error: type[SpotError] | None = None) -> Any:
    """Run a command, which may have to fail with `error`, and return the JSON that it prints."""
    done = CliRunner().invoke(command, [*map(str, arguments), "--json"])
    assert done.exception is None if error is None else isinstance(done.exception, error), done.output
    return json.loads(done.stdout.splitlines()[-1])
