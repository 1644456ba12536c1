"""Assemble a model file from a quantized body: append the float tail, metadata, labels, `spot.json` and digest.

The tail computes `scores = softmax(mean(evidence) / temperature)`. The engines quantize the body (image → evidence,
embedding), but the tail stays in float32 in every variant. So scores keep their resolution, the mean of the evidence is
exactly the logits, and the temperature is a four-byte buffer of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from spot_convert.engines.tflite_converter import input_zero
from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_convert.modelfile.metadata import describe_tensors
from spot_convert.run import Run
from spot_convert.variants.catalog import VARIANTS
from spot_edge.errors import CheckError
from spot_edge.model.file import ModelFile, seal, verify
from spot_edge.model.spec import MeasuredIn, ModelSpec

__all__ = ["append_tail", "assemble", "draft_spec"]

_OUTPUTS = ("scores", "evidence", "embedding")


def draft_spec(run: Run, variant: str, measured_in: MeasuredIn) -> ModelSpec:
    """Return what the file says about itself before anything is fitted on it."""
    kept = ("data", "top_class", "recipe_sha256", "split_sha256")
    return ModelSpec(
        name=run.name,
        variant=variant,
        labels=run.labels,
        image=run.image,
        measured_in=measured_in,
        temperature=1.0,
        training={key: run.provenance[key] for key in kept if run.provenance.get(key)},
        licence=run.provenance.get("licence", ""),
        notice=run.provenance.get("notice", ""),
    )


def assemble(run: Run, spec: ModelSpec, body: bytes, file: str, members: dict[str, bytes] | None = None) -> ModelFile:
    """Append tail, TFLite Metadata, `spot.json`, zip members and digest to `body`, and verify the result."""
    # Static variants scale pixels by the quantization of their input. Clients feed grey levels, so the metadata tells
    # them to undo that scaling first.
    mean, std = (input_zero(run), 1 / run.pixel_scale) if VARIANTS[spec.variant].static else (0, 1)
    description = describe_tensors(f"{spec.name} {spec.variant}", spec.notice, spec.licence, mean, std)
    flatbuffer = append_tail(body, len(spec.labels), spec.temperature, description)
    return verify(seal(flatbuffer, spec, members), file)


def append_tail(body: bytes, classes: int, temperature: float, description: bytes) -> bytes:
    """Append the tail to `body`, name and order its outputs, and store `description` as its TFLite Metadata."""
    graph = Graph(unpack(body))
    signature = graph.model.signatureDefs[0]
    places = {entry.name.decode(): entry.tensorIndex for entry in signature.outputs}
    if set(places) != {"evidence", "embedding"}:
        raise CheckError("the converted body must have exactly the outputs evidence and embedding")
    kinds, codes, options = schema.TensorType, schema.BuiltinOperator, schema.BuiltinOptions
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    axes = graph.tensor("tail/axes", [2], kinds.INT32, np.array([1, 2], "<i4").tobytes())
    divisor = graph.tensor("tail/temperature", [1], kinds.FLOAT32, np.array([temperature], "<f4").tobytes())
    logits = graph.tensor("tail/logits", [1, classes], kinds.FLOAT32)
    scaled = graph.tensor("tail/cooled", [1, classes], kinds.FLOAT32)
    places["scores"] = graph.tensor("scores", [1, classes], kinds.FLOAT32)
    graph.operator(codes.MEAN, [places["evidence"], axes], logits, options.ReducerOptions, schema.ReducerOptionsT())
    graph.operator(codes.DIV, [logits, divisor], scaled, options.DivOptions, schema.DivOptionsT())
    graph.operator(codes.SOFTMAX, [scaled], places["scores"], options.SoftmaxOptions, softmax)

    _name_ends(graph.graph, signature, places)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", graph.buffer(description)
    graph.model.metadata = [*(graph.model.metadata or []), entry]
    return pack(graph.model)


def _name_ends(graph: Any, signature: Any, places: dict[str, int]) -> None:
    """Name and order inputs and outputs as the model file contract says, in the graph and in its signature."""
    signature.inputs[0].name = graph.tensors[signature.inputs[0].tensorIndex].name = b"image"
    graph.outputs = np.array([places[name] for name in _OUTPUTS], np.int32)
    signature.outputs = []
    for name in _OUTPUTS:
        graph.tensors[places[name]].name = name.encode()
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), places[name]
        signature.outputs.append(entry)
