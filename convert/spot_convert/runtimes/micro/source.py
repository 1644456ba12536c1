"""Write a model as C++ source for tflite-micro: an aligned array, the arena size, and the operators to register."""

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
    """Return the methods of `MicroMutableOpResolver` to call, such as `AddConv2D` for `CONV_2D`, sorted."""
    return sorted({f"Add{_ODD.get(kind) or _camel(kind)}" for kind in kinds})


def _camel(kind: str) -> str:
    words = (word if word[:1].isdigit() else word.capitalize() for word in kind.split("_"))
    return "".join(words)


_SPARE = 1024  # bytes of arena beyond the minimum: a board's kernels may need a little more than a workstation's
_COLUMNS = 24


def flatbuffer_of(model: ModelFile) -> bytes:
    """Return the network without the zip after it. An interpreter needs no more, and it saves about 46 kB of flash."""
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        return model.content[: min(entry.header_offset for entry in bundle.infolist())]


def source_files(model: ModelFile, needs: dict[str, Any], version: str) -> dict[str, bytes]:
    """Return `spot_model.h` and `spot_model.cc`, named after the model. `needs` comes from `micro_needs`."""
    name = re.sub(r"\W|^(?=\d)", "_", model.spec.name)
    return {f"{name}_model.h": _header(model, name, needs, version), f"{name}_model.cc": _array(model, name)}


def _header(model: ModelFile, name: str, needs: dict[str, Any], version: str) -> bytes:
    spec, upper = model.spec, f"{name.upper()}_MODEL_H_"
    arena = -(-(needs["arena_bytes"] + _SPARE) // ALIGNMENT) * ALIGNMENT
    labels = ", ".join(f'"{label.label}"' for label in spec.labels)
    adds = "\n".join(f"  if (resolver.{add}() != kTfLiteOk) return kTfLiteError;" for add in needs["operators"])
    return f"""// {spec.name} {spec.variant}, id {model.id}
// Written by 'spot-edge kit export'. {" ".join(spec.notice.split())}
// {" ".join(spec.licence.split())}
//
// Input: uint8 RGB from 0 to 255, rows from the top left, without scaling or mean. Stretch images with a ratio of width
// to height of 1.2 to 1.5 to the square; crop others to their central 4:3 first. Resize bilinearly with antialiasing.
// Outputs, all float32, in this order: scores, evidence, embedding.
#ifndef {upper}
#define {upper}

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

constexpr int k{_title(name)}Side = {spec.image.size};  // the input is [1, side, side, 3]
constexpr const char* k{_title(name)}Labels[] = {{{labels}}};
constexpr int k{_title(name)}Classes = {len(spec.labels)};

// The minimum in tflite-micro {version} on 64-bit x86 is {needs["arena_bytes"]} bytes ({needs["head_bytes"]} for
// activations, {needs["tail_bytes"]} that stay). This adds {_SPARE}. Optimized kernels may need more: check with
// MicroInterpreter::arena_used_bytes().
constexpr int k{_title(name)}ArenaBytes = {arena};

extern const unsigned char k{_title(name)}Model[];
extern const unsigned int k{_title(name)}ModelBytes;

using {_title(name)}Resolver = tflite::MicroMutableOpResolver<{len(needs["operators"])}>;

// Registers exactly the operators that the model uses.
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
