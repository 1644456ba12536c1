"""Write TFLite Metadata, from which MediaPipe and Android learn about inputs, outputs and labels.

This implements the four tables needed of the public schema (metadata_schema.fbs 1.1.0, identifier M001). The packages
that wrote it are no longer maintained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers

__all__ = ["describe_tensors"]

_IMAGE_PROPERTIES, _FEATURE_PROPERTIES, _NORMALIZATION = 2, 1, 1  # numbers in the schema's unions
_RGB, _AXIS_LABELS = 1, 2  # ColorSpaceType, AssociatedFileType


def describe_tensors(name: str, description: str, licence: str, mean: float, std: float) -> bytes:
    """Return the metadata of a model with one input and three outputs, with `labels.txt` attached to `scores`.

    A client subtracts `mean` and divides by `std` before it quantizes the input.
    """
    write = _Writer()
    image = write.tensor(
        "image",
        "A dermatoscope image: RGB, resized to a square by stretching.",
        content=(_IMAGE_PROPERTIES, write.table({0: ("int8", _RGB)})),
        units=[write.normalization(mean, std)],
    )
    labels = write.table(
        {
            0: ("offset", write.text("labels.txt")),
            1: ("offset", write.text("One label a line, in the order of the scores.")),
            2: ("int8", _AXIS_LABELS),
        }
    )
    about = {
        "scores": "Calibrated model scores, one a label.",
        "evidence": "Class activation maps: where the evidence for each label lies.",
        "embedding": "Pooled features.",
    }
    outputs = [
        write.tensor(
            key,
            text,
            content=(_FEATURE_PROPERTIES, write.table({})),
            files=[labels] if key == "scores" else [],
        )
        for key, text in about.items()
    ]
    graph = write.table({2: ("offset", write.offsets([image])), 3: ("offset", write.offsets(outputs))})
    return write.finish(
        {
            0: ("offset", write.text(name)),
            1: ("offset", write.text(description)),
            3: ("offset", write.offsets([graph])),
            5: ("offset", write.text(licence)),
            7: ("offset", write.text("1.0.0")),
        }
    )


@dataclass
class _Writer:
    """Writes flatbuffer tables by field number."""

    builder: Any = None

    def __post_init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def text(self, value: str) -> int:
        return int(self.builder.CreateString(value))

    def offsets(self, values: Sequence[int]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependUOffsetTRelative(value)
        return int(self.builder.EndVector())

    def floats(self, values: Sequence[float]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return int(self.builder.EndVector())

    def table(self, fields: dict[int, tuple[str, int]]) -> int:
        self.builder.StartObject(max(fields, default=0) + 1)
        for number, (kind, value) in fields.items():
            if kind == "offset":
                self.builder.PrependUOffsetTRelativeSlot(number, value, 0)
            else:
                self.builder.PrependInt8Slot(number, value, 0)
        return int(self.builder.EndObject())

    def normalization(self, mean: float, std: float) -> int:
        options = self.table({0: ("offset", self.floats([mean])), 1: ("offset", self.floats([std]))})
        return self.table({0: ("int8", _NORMALIZATION), 1: ("offset", options)})

    def tensor(
        self,
        name: str,
        description: str,
        content: tuple[int, int],
        units: Sequence[int] = (),
        files: Sequence[int] = (),
    ) -> int:
        kind, properties = content
        fields = {
            0: ("offset", self.text(name)),
            1: ("offset", self.text(description)),
            3: ("offset", self.table({0: ("int8", kind), 1: ("offset", properties)})),
        }
        if units:
            fields[4] = ("offset", self.offsets(units))
        if files:
            fields[6] = ("offset", self.offsets(files))
        return self.table(fields)

    def finish(self, fields: dict[int, tuple[str, int]]) -> bytes:
        self.builder.Finish(self.table(fields), b"M001")
        return bytes(self.builder.Output())
