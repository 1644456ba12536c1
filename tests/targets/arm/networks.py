"""How many instructions one run of any model file's network takes: `make check TARGET=arm ARGS="networks OUT.json FILE …"`.

FILE is a model file, or a folder with some, such as a family. Each is run in every system of COUNTED, with XNNPACK and
without; a file that a system's interpreter does not take is noted as refused, with what it said. What OUT.json holds of
the same file is not run again, so that a family can grow.
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
AT_ONCE = 2  # emulators


def count_networks(out: Path, files: list[Path]) -> str:
    """Count each of `files`, write them to `out` after every one, and return what `out` then holds as a table."""
    versions = {name: {key: value for key, value in versions_in(name).items() if key != "model"} for name in COUNTED}
    report = _begun(out, versions)
    for file in _models(files):
        about = _about(file)
        if about["sha256"] in {known["sha256"] for known in report["networks"]}:
            continue
        with ThreadPoolExecutor(AT_ONCE) as pool:
            counts = dict(zip(COUNTED, pool.map(partial(_count, file), COUNTED), strict=True))
        report["networks"].append(about | {"counts": counts})
        write_file(out, (json.dumps(report, indent=1) + "\n").encode())
        print(f"{file}: {', '.join(_words(count) for count in counts.values())}", flush=True)
    return _table(report)


def _begun(out: Path, versions: dict[str, Any]) -> dict[str, Any]:
    """What `out` holds already, where the same versions counted it."""
    empty = {"report": "instructions", "schema": SCHEMA, "versions": versions, "networks": []}
    if not out.exists():
        return empty
    try:
        report = dict(json.loads(out.read_text()))
    except ValueError:
        report = {}
    if {key: report.get(key) for key in ("report", "schema", "versions")} | {"networks": []} != empty:
        raise RuntimeError(f"{out}: not of this counting, or of other versions: name another file")
    return report


def _models(files: list[Path]) -> list[Path]:
    found = [model for file in files for model in (sorted(file.rglob("*.tflite")) if file.is_dir() else [file])]
    if not found:
        raise RuntimeError("no model file: name some, or a folder that holds some")
    return found


def _about(file: Path) -> dict[str, Any]:
    """Which file it is; name, variant and id are those of a model file of ours."""
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


def _words(count: dict[str, Any]) -> str:
    return "refused" if "refused" in count else f"{count['invoke'] / 1e6:.1f}"


def _table(report: dict[str, Any]) -> str:
    """As in docs/reports/arm.md, in millions."""
    lines = ["| million instructions | " + " | ".join(f"{name} | without XNNPACK" for name in COUNTED) + " |"]
    lines.append("|---|" + "---|---|" * len(COUNTED))
    for network in report["networks"]:
        cells = []
        for count in network["counts"].values():
            bare = "" if "refused" in count else f"{count['without_xnnpack'] / 1e6:.1f}"
            cells += [_words(count), bare]
        lines.append(f"| {network['file']} | {' | '.join(cells)} |")
    return "\n".join(lines)
