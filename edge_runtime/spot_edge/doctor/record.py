"""What was found, as one object of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from spot_edge.doctor.examine import Findings
from spot_edge.doctor.privacy import without_users
from spot_edge.doctor.problems import Problem
from spot_edge.errors import ModelError
from spot_edge.modelfile import ModelFile
from spot_edge.modelspec import as_data

__all__ = ["SCHEMA", "as_record"]

SCHEMA = 1


def as_record(findings: Findings, problems: Sequence[Problem]) -> dict[str, Any]:
    """The JSON form, schema 1; null for what is not known."""
    software, selftest, reading = findings.software, findings.selftest, findings.reading
    record = {
        "schema": SCHEMA,
        "spot_edge": software.spot_edge,
        "python": software.python,
        "machine": asdict(findings.machine),
        "packages": software.packages,
        "interpreters": software.interpreters,
        "interpreter": software.used,
        "model": _model_record(findings.model),
        "self_test": {
            "passed": selftest.passed,
            "ended_at": selftest.step,
            "load_ms": selftest.load_ms,
            "first_ms": selftest.first_ms,
            "median_ms": selftest.median_ms,
            "runs": selftest.runs,
            "away": selftest.away,
        },
        "cameras": [asdict(camera) for camera in findings.cameras.seen],
        "cameras_permitted": findings.cameras.permitted,
        "sensors": asdict(reading) | {"zones_c": findings.zones},
        "throttling": {"now": reading.signs(), "since_boot": reading.signs(since_boot=True)},
        "free_bytes": asdict(findings.room),
        "problems": [asdict(problem) for problem in problems],
    }
    found: dict[str, Any] = without_users(record)
    return found


def _model_record(model: ModelFile | ModelError | None) -> dict[str, Any] | None:
    if not isinstance(model, ModelFile):
        return None
    spec = model.spec
    return {
        "file": model.name,
        "name": spec.name,
        "variant": spec.variant,
        "id": model.id,
        "bytes": len(model.content),
        "measured_in": as_data(spec.measured_in),
    }
