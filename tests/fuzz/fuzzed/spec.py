"""The description in a model file: `spot.json`."""

from __future__ import annotations

from typing import get_args

from fuzzed.refusals import NAME, refused_well
from spot_edge.errors import ModelError
from spot_edge.image.quality import CHECKS
from spot_edge.model.spec import (
    VERDICTS,
    Conformal,
    Criterion,
    Drift,
    Filter,
    Geometry,
    ImageSpec,
    Label,
    MeasuredIn,
    ModelSpec,
    OperatingPoint,
    QualityLimits,
    Rate,
    SetThreshold,
    as_data,
)
from spot_edge.model.spec_json import parse_spec, render_spec

LONGEST = 16_384
KINDS = (
    ModelSpec,
    ImageSpec,
    Label,
    Rate,
    OperatingPoint,
    MeasuredIn,
    SetThreshold,
    Conformal,
    QualityLimits,
    Criterion,
    Drift,
)
KEYS = (
    *(field for kind in KINDS for field in kind._fields),
    *("schema", *VERDICTS, *get_args(Geometry), *get_args(Filter)),
    *(check.name for check in CHECKS),
)
WORDS = (
    *(f'"{key}"'.encode() for key in KEYS),
    *(b"null", b"true", b"false", b"NaN", b"-Infinity", b"1e999", b"\\ud800", b"\\n", b"\\u001b", b"[[[[", b'{"":'),
)


def run(data: bytes) -> None:
    """Read a spec that is written as the same spec again, all of it encodable, or raise an expected error."""
    with refused_well(ModelError):
        spec = parse_spec(data, NAME)
        str(as_data(spec)).encode()
        assert parse_spec(render_spec(spec), NAME) == spec
