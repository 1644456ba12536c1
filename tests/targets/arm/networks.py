"""Count the instructions of any network's run: `make check TARGET=arm ARGS="networks OUT.json FILE …"`.

FILE is a model file or a folder of model files. Each one runs in every system of COUNTED, with and without XNNPACK. If
a system's interpreter rejects a file, the table says "refused" and OUT.json has the message. Files that are already in
OUT.json do not run again.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from instructions import COUNTED, count_sections, versions_in

from spot_edge.errors import ModelError
from spot_edge.files import write_file
from spot_edge.model.file import read_model

SCHEMA = 1
EMULATORS = 2  # at the same time


def count_networks(out: Path, files: list[Path]) -> str:
    """Count each of `files`, update `out` after each one, and return the content of `out` as a table."""
    versions = {name: {key: value for key, value in versions_in(name).items() if key != "model"} for name in COUNTED}
    report = _existing(out, versions)
    for file in _models(files):
        about = _about(file)
        if about["sha256"] in {known["sha256"] for known in report["networks"]}:
            continue
        with ThreadPoolExecutor(EMULATORS) as pool:
            counts = dict(zip(COUNTED, pool.map(partial(_count, file), COUNTED), strict=True))
        report["networks"].append(about | {"counts": counts})
        write_file(out, (json.dumps(report, indent=1) + "\n").encode())
        print(f"{file}: {', '.join(_cell(count) for count in counts.values())}", flush=True)
    return _table(report)


def _existing(out: Path, versions: dict[str, Any]) -> dict[str, Any]:
    """The report in `out`, or an empty one. Raises RuntimeError if other versions wrote it."""
    empty = {"report": "instructions", "schema": SCHEMA, "versions": versions, "networks": []}
    if not out.exists():
        return empty
    try:
        report = dict(json.loads(out.read_text()))
    except ValueError:
        report = {}
    if {key: report.get(key) for key in ("report", "schema", "versions")} | {"networks": []} != empty:
        raise RuntimeError(f"{out} is not a report of these versions. Name another file.")
    return report


def _models(files: list[Path]) -> list[Path]:
    found = [model for file in files for model in (sorted(file.rglob("*.tflite")) if file.is_dir() else [file])]
    if not found:
        raise RuntimeError("no model file found. Name model files, or a folder that contains some.")
    return found


def _about(file: Path) -> dict[str, Any]:
    """Describe a file. Its name, variant and id are None unless it is a model file of ours."""
    content = file.read_bytes()
    about = {"file": file.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        model = read_model(file)
    except ModelError:
        return about | {"name": None, "variant": None, "id": None}
    return about | {"name": model.spec.name, "variant": model.spec.variant, "id": model.id}


def _count(file: Path, name: str) -> dict[str, Any]:
    try:
        sections = count_sections(name, "invoke", file.resolve())
    except RuntimeError as error:
        return {"refused": str(error).strip().splitlines()[-1]}
    return {"invoke": sections["invoke"], "without_xnnpack": sections["without XNNPACK"]}


def _cell(count: dict[str, Any]) -> str:
    return "refused" if "refused" in count else f"{count['invoke'] / 1e6:.1f}"


def _table(report: dict[str, Any]) -> str:
    """The counts in millions, as a table of docs/reports/arm.md."""
    lines = ["| million instructions | " + " | ".join(f"{name} | without XNNPACK" for name in COUNTED) + " |"]
    lines.append("|---|" + "---|---|" * len(COUNTED))
    for network in report["networks"]:
        cells = []
        for count in network["counts"].values():
            bare = "" if "refused" in count else f"{count['without_xnnpack'] / 1e6:.1f}"
            cells += [_cell(count), bare]
        lines.append(f"| {network['file']} | {' | '.join(cells)} |")
    return "\n".join(lines)
