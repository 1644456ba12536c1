"""Collect what the reports in a folder say about each variant of one network."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spot_bench.drift import comparison as drift
from spot_bench.speed import latency
from spot_edge.errors import DataError
from spot_edge.model.old_names import current_report

__all__ = ["BASELINE", "MELANOMA", "NOTES", "Family", "Row", "read_family"]

NOTES = "notes.toml"  # [VARIANT] cannot = "why it cannot be made or run"; or note = "what else is to be said"
MELANOMA = "mel"
BASELINE = "float32"
_SCHEMAS = {"conversion": 1, "drift": drift.SCHEMA, "latency": latency.SCHEMA, "instructions": 1}
_COMMANDS = {
    "conversion": "spot-edge convert",
    "drift": "bench drift",
    "latency": "bench latency",
    "instructions": "make check TARGET=arm ARGS=networks",
}

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One variant, with whatever is known about it. Estimates are records of value, low, high, n and groups."""

    variant: str
    runtime: str = ""  # of its figures
    engine: str = ""
    bytes: int | None = None
    compressed: int | None = None
    verdict: str = ""
    latency: Record | None = None  # of `bench latency`, the network alone
    instructions: dict[str, Record] = field(default_factory=dict)  # by system
    answers: Record | None = None  # a summary of `bench drift`
    comparison: Record | None = None  # with float32
    note: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All variants of one network, float32 first, and what concerns them together."""

    width: str
    name: str  # the model's
    rows: tuple[Row, ...]
    cannot: tuple[tuple[str, str], ...]  # variant, why
    flips: Record | None  # `flips_across_models` of the report of `bench drift` with the most models
    data: Record | None  # of `bench drift`
    latency: Record | None  # its machine, its conditions, and when


def read_family(width: str, folder: Path) -> Family:
    """Every report (`*.json`) in or below `folder`, and its NOTES; of the network of width `width`.

    DataError, naming the file, for one that is no such report, or of another model or file than the others.
    """
    paths = sorted(folder.rglob("*.json"))
    if not paths:
        raise DataError(f"{folder}: holds no report (*.json) of {', '.join(_COMMANDS.values())}")
    read: dict[str, list[tuple[Path, Record]]] = {kind: [] for kind in _SCHEMAS}
    for path in paths:
        kind, report = _read(path)
        read[kind].append((path, report))
    gathered = _Gathered()
    for path, report in read["conversion"]:
        gathered.conversion(path, report)
    for kind, take in (
        ("drift", gathered.drift),
        ("latency", gathered.latency),
        ("instructions", gathered.instructions),
    ):
        for path, report in read[kind]:
            take(path, report)
    return gathered.family(width, _notes(folder / NOTES))


def _read(path: Path) -> tuple[str, Record]:
    try:
        report = current_report(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise DataError(f"{path}: is not JSON") from None
    kind = _kind(report)
    if kind is None:
        raise DataError(f"{path}: not a report of {', '.join(_COMMANDS.values())}: move it elsewhere")
    if report.get("schema") != _SCHEMAS[kind]:
        raise DataError(
            f"{path}: has schema {report.get('schema')}, not {_SCHEMAS[kind]}: run `{_COMMANDS[kind]}` again"
        )
    return kind, report


def _kind(report: Any) -> str | None:
    if not isinstance(report, dict):
        return None
    if report.get("report") in ("latency", "instructions"):
        return str(report["report"])
    if report.keys() >= {"run", "files", "margins"}:
        return "conversion"
    return "drift" if "comparisons" in report else None


def _images(data: Record) -> tuple[str, int]:
    return data["split"], data["images"]


def _notes(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    try:
        notes = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not TOML: {error}") from None
    for variant, said in notes.items():
        if not isinstance(said, dict) or not said or not said.keys() <= {"cannot", "note"}:
            raise DataError(f"{path}: only `cannot` and `note` are allowed in the table [{variant}]")
    return notes


class _Gathered:
    """Rows collected while reports are read. Conversion reports come first: the others measure their files."""

    def __init__(self) -> None:
        self.name = ""
        self.rows: dict[str, Row] = {}
        self.ids: dict[str, dict[str, Path]] = {}  # of each variant, and the report that names it
        self.made: set[str] = set()
        self.refused: dict[str, str] = {}
        self.flips: Record | None = None
        self.data: Record | None = None
        self.timed: Record | None = None

    def conversion(self, path: Path, report: Record) -> None:
        self._same_model(path, report["run"])
        for file in report["files"]:
            variant = file["variant"]
            if variant in self.made and variant != BASELINE:  # every conversion makes the baseline
                (other,) = set(self.ids[variant].values())
                raise DataError(f"{path}: {variant} is also in {other}: keep one of them")
            self.made.add(variant)
            self.ids.setdefault(variant, {})[file["id"]] = path
            self._put(
                variant,
                runtime=file["measured_in"]["runtime"],
                engine=file["engine"],
                bytes=file["bytes"],
                compressed=file.get("compressed_bytes"),
                verdict=file["drift"]["verdict"] if file["drift"] else "",
            )
        for refused in report.get("refused", []):
            self.refused[refused["variant"]] = refused["why"]

    def drift(self, path: Path, report: Record) -> None:
        for comparison in report["comparisons"]:
            for side in ("baseline", "other"):
                summary = comparison[side]
                if side == "other" and summary["model"]["variant"] == BASELINE:
                    continue  # with itself
                if self._is_of(path, summary["model"], "answers"):
                    found = comparison if side == "other" else None
                    self._put(summary["model"]["variant"], answers=summary, comparison=found)
        if self.data is not None and _images(self.data) != _images(report["data"]):
            raise DataError(f"{path}: uses other images than the other reports: use the same images for all")
        self.data = report["data"]
        flips = report.get("flips_across_models")
        if flips and len(flips["models"]) > len(self.flips["models"] if self.flips else ()):
            self.flips = flips

    def latency(self, path: Path, report: Record) -> None:
        entries = sorted(report["models"], key=lambda one: (not one["delegate"], one["threads"]))
        for entry in reversed(entries):  # the last stays: with the delegate, on the fewest threads
            told = entry["model"] | {"runtime": entry["runtime"]["name"]}
            if self._is_of(path, told, "latency"):
                self._put(told["variant"], latency=entry)
        self.timed = self.timed or {key: report[key] for key in ("when", "machine", "conditions", "samples")}

    def instructions(self, path: Path, report: Record) -> None:
        for network in report["networks"]:
            if network["variant"] is None:
                continue  # a file that no report made
            if self._is_of(path, network, ""):
                self._put(network["variant"], instructions=network["counts"])

    def family(self, width: str, notes: dict[str, dict[str, str]]) -> Family:
        cannot = self.refused | {name: said["cannot"] for name, said in notes.items() if "cannot" in said}
        for name, said in notes.items():
            if "note" in said and name in self.rows:
                self._put(name, note=said["note"])
        rows = sorted(self.rows.values(), key=lambda row: (row.variant != BASELINE, -(row.bytes or 0), row.variant))
        return Family(width, self.name, tuple(rows), tuple(sorted(cannot.items())), self.flips, self.data, self.timed)

    def _put(self, variant: str, **known: Any) -> None:
        self.rows[variant] = replace(self.rows.get(variant, Row(variant)), **known)

    def _same_model(self, path: Path, name: str) -> None:
        if self.name and name != self.name:
            raise DataError(
                f"{path}: about model {name}, but other reports are about {self.name}: use separate folders"
            )
        self.name = name

    def _is_of(self, path: Path, model: Record, what: str) -> bool:
        """Whether a measurement counts; DataError where it is of another model, or of another file of a variant.

        Of two, in different runtimes, that counts which belongs to the runtime that the file was made for.
        """
        self._same_model(path, model["name"])
        variant, ids = model["variant"], self.ids.setdefault(model["variant"], {})
        if ids and model["id"] not in ids:
            other = next(iter(ids.values()))
            raise DataError(f"{path}: its {variant} is not the file in {other}: measure that file again")
        ids.setdefault(model["id"], path)
        row = self.rows.get(variant)
        if row is None or not what or getattr(row, what) is None:
            return True
        return bool(model.get("runtime") == row.runtime)
