"""Results files that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spot_convert.kit.results import read_results
from spot_convert.kit.vectors import read_kit
from spot_edge.errors import DataError


def _spoil(record: dict[str, Any], **first: Any) -> dict[str, Any]:
    return {**record, "results": [{**record["results"][0], **first}, *record["results"][1:]]}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: {**r, "schema": 2}, '"schema": 1'),
        (lambda r: [r], '"schema": 1'),
        (lambda r: {**r, "results": []}, "must be a non-empty list"),
        (lambda r: {**r, "model": 7}, '"model"'),
        (lambda r: {**r, "resize": "fast"}, '"resize"'),
        (lambda r: {**r, "results": r["results"][1:]}, r"no result for inputs/01-.* \(1 of 11 inputs are missing\)"),
        (lambda r: {**r, "results": [*r["results"], r["results"][0]]}, "occurs twice"),
        (lambda r: {**r, "results": ["x"]}, r"results\[0\]: must be an object"),
        (lambda r: _spoil(r, image="inputs/cat.png"), "'inputs/cat.png' is not an image of this kit"),
        (lambda r: _spoil(r, scores=[0.5, 0.5]), "2 scores for 7 labels"),
        (lambda r: _spoil(r, scores=[float("nan")] * 7), "NaN"),
        (lambda r: _spoil(r, scores=[10**400] * 7), "NaN or infinity"),
        (lambda r: _spoil(r, scores=["0.5"] * 7), "list of numbers"),
        (lambda r: _spoil(r, scores=[0.0] * 1280), "numbers of scores differ: 7, 1280"),
        (lambda r: _spoil(r, labels=["mel", "nv"]), '"labels" must be all of akiec'),
        (lambda r: _spoil(r, input_sha256="abc"), "64 hexadecimal"),
        (lambda r: _spoil(r, input_mean=[1.0]), "three numbers"),
    ],
)
def test_invalid_results_are_reported(kit: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    names = sorted(path.name for path in (kit / "inputs").iterdir())
    record = {"schema": 1, "results": [{"image": f"inputs/{name}", "scores": [1 / 7] * 7} for name in names]}
    (tmp_path / "results.json").write_text(json.dumps(spoil(record)))
    with pytest.raises(DataError, match=message):
        read_results(tmp_path / "results.json", read_kit(kit))


def test_a_missing_file_and_broken_json_are_reported(kit: Path, tmp_path: Path) -> None:
    known = read_kit(kit)
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "none.json", known)
    (tmp_path / "results.json").write_bytes(b"\xff{")
    with pytest.raises(DataError, match="not JSON"):
        read_results(tmp_path / "results.json", known)
