"""The operators of a file, as tflite-micro's `MicroMutableOpResolver` wants them registered.

A model file as C++ source for tflite-micro: the flatbuffer as an aligned array, the arena, and the operators."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from spot_convert.runtimes.micro.trial import ALIGNMENT
from spot_edge.model.file import ModelFile

__all__ = ["flatbuffer_of", "registrations", "source_files"]

_ODD = {
    "PADV2": "PadV2",
    "CUMSUM": "CumSum",
    "BATCH_MATMUL": "BatchMatMul",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}


def registrations(kinds: Iterable[str]) -> list[str]:
    """`AddConv2D` for `CONV_2D`: each kind once, in the order of the alphabet."""
    return sorted({f"Add{_ODD.get(kind) or _camel(kind)}" for kind in kinds})


def _camel(kind: str) -> str:
    words = (word if word[:1].isdigit() else word.capitalize() for word in kind.split("_"))
    return "".join(words)


_ROOM = 1024  # bytes of arena beyond the least: a board's kernels may ask for a little more than a workstation's
_COLUMNS = 24


def flatbuffer_of(model: ModelFile) -> bytes:
    """The network alone, without the zip behind it: all that an interpreter reads, and some 46 kB of flash saved."""
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        return model.content[: min(entry.header_offset for entry in bundle.infolist())]


def source_files(model: ModelFile, needs: dict[str, Any], version: str) -> dict[str, bytes]:
    """`spot_model.h` and `spot_model.cc`, named after the model; `needs` is what `micro_needs` says of it."""
    name = re.sub(r"\W|^(?=\d)", "_", model.spec.name)
    return {f"{name}_model.h": _header(model, name, needs, version), f"{name}_model.cc": _array(model, name)}


def _header(model: ModelFile, name: str, needs: dict[str, Any], version: str) -> bytes:
    spec, upper = model.spec, f"{name.upper()}_MODEL_H_"
    arena = -(-(needs["arena_bytes"] + _ROOM) // ALIGNMENT) * ALIGNMENT
    labels = ", ".join(f'"{label.label}"' for label in spec.labels)
    adds = "\n".join(f"  if (resolver.{add}() != kTfLiteOk) return kTfLiteError;" for add in needs["operators"])
    return f"""// {spec.name} {spec.variant}, id {model.id}
// Written by 'spot-edge export-kit'. {" ".join(spec.notice.split())}
// {" ".join(spec.licence.split())}
//
// Input: uint8 RGB, rows from the top left, 0 to 255 as they are: no scaling, no mean. Width to height between 1.2 and
// 1.5 is stretched to the square; other shapes are cropped to their central 4:3 first. Bilinear with antialiasing.
// Outputs, all float32, in this order: scores, evidence, embedding.
#ifndef {upper}
#define {upper}

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

constexpr int k{_title(name)}Side = {spec.image.size};  // the input is [1, side, side, 3]
constexpr const char* k{_title(name)}Labels[] = {{{labels}}};
constexpr int k{_title(name)}Classes = {len(spec.labels)};

// {needs["arena_bytes"]} bytes are the least in tflite-micro {version} on 64-bit x86 ({needs["head_bytes"]} for
// activations, {needs["tail_bytes"]} that stay), and {_ROOM} more. Optimised kernels may want more:
// MicroInterpreter::arena_used_bytes() says.
constexpr int k{_title(name)}ArenaBytes = {arena};

extern const unsigned char k{_title(name)}Model[];
extern const unsigned int k{_title(name)}ModelBytes;

using {_title(name)}Resolver = tflite::MicroMutableOpResolver<{len(needs["operators"])}>;

// The operators that the model uses, and no others.
inline TfLiteStatus Register{_title(name)}Operators({_title(name)}Resolver& resolver) {{
{adds}
  return kTfLiteOk;
}}

#endif  // {upper}
""".encode()


def _array(model: ModelFile, name: str) -> bytes:
    content = flatbuffer_of(model)
    return "".join(
        [
            f"// {model.spec.name} {model.spec.variant}, id {model.id}\n",
            f'#include "{name}_model.h"\n\n',
            f"alignas({ALIGNMENT}) const unsigned char k{_title(name)}Model[] = {{\n",
            *_rows(content),
            "};\n",
            f"const unsigned int k{_title(name)}ModelBytes = {len(content)};\n",
        ]
    ).encode()


def _rows(content: bytes) -> Iterator[str]:
    for start in range(0, len(content), _COLUMNS):
        yield "".join(f"{byte}," for byte in content[start : start + _COLUMNS]) + "\n"


def _title(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))
