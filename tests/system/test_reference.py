"""The reference pages match the code: exit codes, recipe keys, public names, schemas."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import spot_edge
from spot_edge.errors import EXIT_CODES
from spot_train.recipes.recipe import Recipe

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
WORD_LIMIT = 3000


def _rows(page: str) -> list[list[str]]:
    """The cells of every table row of a page, without headings."""
    lines = (REFERENCE / page).read_text(encoding="utf-8").splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("|---")]
    rows = [line for number, line in enumerate(lines) if line.startswith("|") and number + 1 not in heads]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if not row.startswith("|---")]


def test_exit_codes_match() -> None:
    assert {int(code): meaning for code, meaning in _rows("exit-codes.md")} == EXIT_CODES


def test_every_recipe_key_has_its_default() -> None:
    shown = {key.strip("`"): default.strip("`") for key, default, _ in _rows("recipes.md")}
    known = dict(_settings(Recipe))
    assert set(shown) == set(known)
    for key, default in known.items():
        value = tomllib.loads(f"x = {shown[key]}")["x"] if shown[key] else dataclasses.MISSING
        assert value == (list(default) if isinstance(default, tuple) else default), key


def _settings(table: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every recipe key and its default. MISSING if it has none."""
    for field in dataclasses.fields(table):
        factory = field.default_factory
        if factory is not dataclasses.MISSING and dataclasses.is_dataclass(factory):
            yield from _settings(factory, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}", field.default if factory is dataclasses.MISSING else factory()


def test_every_recipe_key_has_a_meaning() -> None:
    assert all(meaning for _, _, meaning in _rows("recipes.md"))


def test_every_public_name_has_an_entry() -> None:
    page = (REFERENCE / "python-api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^::: spot_edge\.(\w+)$", page, re.M)) == set(spot_edge.__all__)


def test_pages_link_to_every_schema_and_no_other() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md"))
    named = set(re.findall(r"\(schemas/([\w.-]+)\)", text))
    assert named == {schema.name for schema in (REFERENCE / "schemas").glob("*.json")}


def test_pages_stay_short() -> None:
    words = [word for page in REFERENCE.glob("*.md") for word in page.read_text(encoding="utf-8").split()]
    assert sum(any(map(str.isalnum, word)) for word in words) <= WORD_LIMIT
