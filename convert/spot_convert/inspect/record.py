"""Collect everything about a file in one record for JSON. The terminal and the HTML page show this record."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spot_convert.inspect.arithmetic import computes, constants, quantization
from spot_convert.inspect.comparison import Side, compare_layers
from spot_convert.inspect.graph import Flatbuffer, Graph, read_flatbuffer
from spot_convert.inspect.layers import Layer, list_layers
from spot_convert.runtimes.compatibility import try_runtimes
from spot_edge.errors import ModelError
from spot_edge.files import read_file
from spot_edge.model.file import verify

__all__ = ["SCHEMA", "inspect_file"]

SCHEMA = 1
_LARGEST = 1 << 30
_MARKS = (b"spot-sha256:", b"spot.json")  # found in spot-edge model files even if they are damaged


def inspect_file(
    path: Path, *, layers: bool = False, against: Path | None = None, images: Sequence[Path] = ()
) -> dict[str, Any]:
    """Return the record of a .tflite file, optionally with its layers and their errors `against` a float32 baseline.

    Raise ModelError if it is not a complete .tflite file, and what `compare_layers` raises.
    """
    content, name = _read(path), os.fspath(path)
    model = read_flatbuffer(content, name)
    graph = model.graphs[0]
    comparison = None
    if against is not None:
        other = _read(against)
        its = Side(os.fspath(against), other, read_flatbuffer(other, os.fspath(against)).graphs[0])
        comparison = compare_layers(Side(name, content, graph), its, images)
    return {
        "schema": SCHEMA,
        "file": name,
        "bytes": len(content),
        "sealed": _sealed(content, name),
        "quantization": asdict(quantization(model.graphs)),
        "runtimes": [found.as_dict() for found in try_runtimes(content, model)],
        "subgraphs": [_subgraph(each) for each in model.graphs],
        "signatures": [_signature(model, number) for number in range(len(model.signatures))],
        "flatbuffer": {
            "version": model.version,
            "description": model.description,
            "min_runtime_version": _padded_text(model.metadata.get("min_runtime_version", b"")),
            "metadata": list(model.metadata),
        },
        "members": _members(content),
        "operators": _operators(model.graphs),
        "layers": [_layer(layer) for layer in list_layers(graph)] if layers else None,
        "against": comparison.as_dict() if comparison else None,
    }


def _read(path: Path) -> bytes:
    try:
        return read_file(path, _LARGEST)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise ModelError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _sealed(content: bytes, name: str) -> dict[str, Any]:
    """Tell whether this is a spot-edge model file: `whole`, `damaged` with the reason, or `no`."""
    try:
        model = verify(content, name)
    except ModelError as error:
        if not any(mark in content for mark in _MARKS):
            return {"state": "no"}
        return {"state": "damaged", "reason": str(error).removeprefix(f"{name}: ")}
    return {"state": "whole", "name": model.spec.name, "variant": model.spec.variant, "id": model.id}


def _subgraph(graph: Graph) -> dict[str, Any]:
    return {
        "name": graph.name,
        "operators": len(graph.operators),
        "tensors": len(graph.tensors),
        "inputs": [_tensor(graph, place) for place in graph.inputs],
        "outputs": [_tensor(graph, place) for place in graph.outputs],
    }


def _tensor(graph: Graph, place: int) -> dict[str, Any]:
    tensor = graph.tensors[place]
    scaled = len(tensor.scales) == 1 and tensor.scales[0] != 0
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "scale": float(tensor.scales[0]) if scaled else None,
        "zero_point": int(tensor.zeros[0]) if scaled else None,
    }


def _signature(model: Flatbuffer, number: int) -> dict[str, Any]:
    signature = model.signatures[number]
    tensors = model.graphs[signature.subgraph].tensors
    ends = {"inputs": signature.inputs, "outputs": signature.outputs}
    named = {end: {name: tensors[place].name for name, place in places.items()} for end, places in ends.items()}
    return {"key": signature.key, "subgraph": signature.subgraph, **named}


def _operators(graphs: Sequence[Graph]) -> list[dict[str, Any]]:
    """Count the operators by kind, version and computing type, in order of first use."""
    counts: Counter[tuple[str, int, str]] = Counter()
    for graph in graphs:
        known = constants(graph)
        for operator in graph.operators:
            kind = operator.code.custom or operator.code.kind
            counts[kind, operator.code.version, computes(graph, operator, known)] += 1
    return [
        {"kind": kind, "version": version, "computes": types, "count": count}
        for (kind, version, types), count in counts.items()
    ]


def _layer(layer: Layer) -> dict[str, Any]:
    found = layer.weight_range()
    return layer.as_dict() | {"weights": asdict(found) | {"shape": list(found.shape)} if found else None}


def _padded_text(text: bytes) -> str:
    return text.partition(b"\0")[0].decode(errors="backslashreplace")


def _members(content: bytes) -> dict[str, int]:
    """Return the sizes of the files in the zip after the flatbuffer."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            return {entry.filename: entry.file_size for entry in bundle.infolist()}
    except Exception:  # no zip, or a damaged one: zipfile then raises nearly anything
        return {}
