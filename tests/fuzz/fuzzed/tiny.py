"""A model file of a few kilobytes: everything that spot-edge reads, and nothing that an interpreter could run."""

from __future__ import annotations

import io
import struct

import numpy as np

from spot_edge.image.appearance import APPEARANCE, OOD_FEATURES
from spot_edge.model.file import seal
from spot_edge.model.spec import Conformal, ImageSpec, Label, MeasuredIn, ModelSpec, OperatingPoint, QualityLimits, Rate
from spot_edge.model.spec import SetThreshold as Threshold
from spot_edge.prediction.ood import MEMBER

__all__ = ["FEATURES", "SPEC", "tiny_embedding", "tiny_flatbuffer", "tiny_model"]

FEATURES = 4
RATE = Rate(0.9, 0.8, 0.95, 116)
SPEC = ModelSpec(
    name="tiny",
    variant="none",
    labels=(Label("mel", "melanoma", "malignant", True), Label("nv", "mole", "", False)),
    image=ImageSpec(32),
    measured_in=MeasuredIn("ai-edge-litert", "2.3.0"),
    temperature=1.5,
    operating_points=(OperatingPoint("sensitivity-90", 0.16, RATE, RATE, "nothing"),),
    conformal=Conformal(Threshold(0.9, 0.2, 745), {"mel": Threshold(0.95, 0.01, 61)}, "nothing"),
    image_quality=QualityLimits({"sharpness": 0.25, "ood": 5.2}, RATE, "nothing"),
    training={"data": "none"},
)


def tiny_model() -> bytes:
    """A complete model file."""
    return seal(tiny_flatbuffer(), SPEC, {MEMBER: tiny_embedding()})


def tiny_embedding() -> bytes:
    """An `embedding.npz` for two classes."""
    measures = len(APPEARANCE[OOD_FEATURES])
    content = io.BytesIO()
    np.savez(
        content,
        means=np.eye(2, FEATURES, dtype=np.float16),
        axes=np.eye(1, FEATURES, dtype=np.float16),
        variances=np.ones(1, np.float32),
        rest=np.float32(0.5),
        look_mean=np.zeros(measures, np.float32),
        look_whitening=np.eye(measures, dtype=np.float32),
        usual=np.array([[1, 0.5], [2, 4]], np.float32),
    )
    return content.getvalue()


def tiny_flatbuffer() -> bytes:
    """A .tflite without operators: one subgraph of four tensors, and the signature that names them."""
    tensors = [
        _tensor(code, shape)
        for code, shape in ((3, (1, 32, 32, 3)), (0, (1, 2)), (0, (1, 2, 2, 2)), (0, (1, FEATURES)))
    ]
    graph = _table(_vector(tensors), _numbers(0), _numbers(1, 2, 3))
    outputs = [_named(name, index) for index, name in enumerate(("scores", "evidence", "embedding"), 1)]
    signature = _table(_vector([_named("image", 0)]), _vector(outputs))
    root = _table(None, None, _vector([graph]), None, None, None, None, _vector([signature]))
    return struct.pack("<I4s", 8 + root[1], b"TFL3") + root[0]


# A piece: its bytes, and where in them it starts. What it points to follows it, because offsets count upwards.
_Piece = tuple[bytes, int]


def _table(*fields: _Piece | int | None) -> _Piece:
    """A table: a number is stored in place, a piece by its offset."""
    size = 4 + 2 * len(fields)
    slots = [0 if field is None else 4 + 4 * place for place, field in enumerate(fields)]
    vtable = struct.pack(f"<HH{len(fields)}H", size, 4 + 4 * len(fields), *slots)
    here, after, rest = struct.pack("<i", size), b"", 4 * len(fields)
    for field in fields:
        if isinstance(field, tuple):
            here += struct.pack("<I", rest + len(after) + field[1])
            after += field[0]
        else:
            here += struct.pack("<I", field or 0)
        rest -= 4
    return vtable + here + after, size


def _vector(pieces: list[_Piece]) -> _Piece:
    offsets, after = b"", b""
    for index, (content, start) in enumerate(pieces):
        offsets += struct.pack("<I", 4 * (len(pieces) - index) + len(after) + start)
        after += content
    return struct.pack("<I", len(pieces)) + offsets + after, 0


def _numbers(*numbers: int) -> _Piece:
    return struct.pack(f"<I{len(numbers)}i", len(numbers), *numbers), 0


def _tensor(code: int, shape: tuple[int, ...]) -> _Piece:
    return _table(_numbers(*shape), code)


def _named(name: str, index: int) -> _Piece:
    return _table((struct.pack("<I", len(name)) + name.encode() + b"\0", 0), index)
