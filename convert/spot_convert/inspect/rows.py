"""Turn a record into rows of text, for the terminal and the HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spot_bench.report.tables import align
from spot_edge.errors import one_line

__all__ = [
    "end_rows",
    "error_cells",
    "facts",
    "layer_rows",
    "number",
    "operator_rows",
    "record_lines",
    "signal_to_noise",
    "summary_of_errors",
    "weight_span",
]

Rows = list[list[str]]
_NO = "-"
_TITLES = {"ai-edge-litert": "LiteRT"}  # others keep the name of their package


def facts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the summary as pairs of a name and a value."""
    yield "size", f"{record['bytes'] / 1e6:.2f} MB ({record['bytes']} bytes)"
    yield "model file", _sealed(record["sealed"])
    if "id" in record["sealed"]:
        yield "id", record["sealed"]["id"]
    yield "quantization", record["quantization"]["words"]
    for runtime in record["runtimes"]:
        yield f"{_TITLES.get(runtime['runtime'], runtime['runtime'])} {runtime['version']}".strip(), _verdict(runtime)
        if runtime["needs"]:
            yield from _needs(runtime["needs"])
    if len(record["subgraphs"]) > 1:
        yield "subgraphs", f"{len(record['subgraphs'])}; inputs, outputs and layers below are those of the first"
    for signature in record["signatures"]:
        ends = [", ".join(signature[end]) or "nothing" for end in ("inputs", "outputs")]
        yield "signature", f"{signature['key']}: {ends[0]} → {ends[1]}"
    flat = record["flatbuffer"]
    described = "TFLite Metadata: present" if "TFLITE_METADATA" in flat["metadata"] else "TFLite Metadata: none"
    others = [name for name in flat["metadata"] if name not in ("TFLITE_METADATA", "min_runtime_version")]
    yield "metadata", "; ".join([described, *others])
    least = f", needs runtime {flat['min_runtime_version']} or later" if flat["min_runtime_version"] else ""
    yield "TFLite schema", f"{flat['version']}{least}" + (f" ({flat['description']})" if flat["description"] else "")
    if record["members"]:
        yield "zip members", ", ".join(f"{name} ({size} bytes)" for name, size in record["members"].items())


def end_rows(record: dict[str, Any]) -> Rows:
    """Return a table of the inputs and outputs of the first subgraph."""
    rows = [["", "name", "type", "shape", "scale", "zero point"]]
    ends = [(end, tensor) for end in ("input", "output") for tensor in record["subgraphs"][0][f"{end}s"]]
    rows += [[end, each["name"], each["dtype"], _shape(each["shape"]), *_scale(each)] for end, each in ends]
    return rows


def operator_rows(record: dict[str, Any]) -> Rows:
    """Return a table of the kinds of operators."""
    rows = [["operator", "version", "count", "computes in"]]
    rows += [[row["kind"], str(row["version"]), str(row["count"]), row["computes"]] for row in record["operators"]]
    return rows


def layer_rows(record: dict[str, Any]) -> Rows:
    """Return a table of the layers, with their errors if a baseline was given."""
    errors = _errors(record)
    head = ["layer", "operator", "output", "scale", "zero", "weights", "type", "count", "min", "max", "spread"]
    rows = [[*head, *(["SQNR dB", "RMS %", "bias %"] if errors else [])]]
    for layer in record["layers"]:
        weights = layer["weights"]
        cells = [f"{layer['index']:>3} {layer['short']}", layer["kind"], _shape(layer["shape"]), *_scale(layer)]
        if weights:
            cells += [_shape(weights["shape"]), weights["dtype"], str(weights["count"])]
            cells += [number(weights[key]) for key in ("low", "high", "spread")]
        else:
            cells += [_NO] * 6
        if errors:
            cells += error_cells(errors.get(layer["index"]))
        rows.append(cells)
    return rows


def error_cells(error: dict[str, Any] | None) -> list[str]:
    """Return signal-to-noise ratio, relative error and bias of a layer."""
    if error is None or error["rms"] is None:
        return [_NO] * 3
    return [signal_to_noise(error), f"{100 * error['rms']:.2f}", f"{100 * error['bias']:+.2f}"]


def signal_to_noise(error: dict[str, Any]) -> str:
    """Return the ratio in dB, or "exact" if there is no error."""
    return "exact" if error["rms"] == 0 else f"{error['sqnr_db']:.1f}"


def summary_of_errors(record: dict[str, Any]) -> Iterator[str]:
    """Yield lines on what was compared, and the worst layers."""
    against = record["against"]
    shown = "drawn lesions" if against["drawn"] else "images"
    yield (
        f"Error against {against['other']} on {against['images']} {shown} in LiteRT. The error of a layer includes the "
        "errors of all layers before it."
    )
    yield "SQNR: signal-to-quantization-noise ratio. RMS and bias of the error are relative to the float32 layer's RMS."
    yield from against["notes"]
    names, errors = {layer["index"]: layer["short"] for layer in record["layers"]}, _errors(record)
    worst = [f"{names[index]} ({signal_to_noise(errors[index])} dB)" for index in against["worst"]]
    yield f"Worst: {', '.join(worst)}" if worst else "No layer differs."


def weight_span(weights: dict[str, Any]) -> str:
    """Format the range of weights and, if there are channels, their spread."""
    spread = f", spread {number(weights['spread'])}" if weights["spread"] is not None else ""
    return f"{number(weights['low'])} to {number(weights['high'])}{spread}"


def number(value: float | None) -> str:
    """Format a number with three digits."""
    if value is None:
        return _NO
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def _errors(record: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {error["index"]: error for error in record["against"]["errors"]} if record["against"] else {}


def _sealed(sealed: dict[str, Any]) -> str:
    if sealed["state"] == "whole":
        return f"spot-edge model file, intact: {sealed['name']}, variant {sealed['variant']}"
    return "not a spot-edge model file" if sealed["state"] == "no" else f"spot-edge model file, but {sealed['reason']}"


def _verdict(runtime: dict[str, Any]) -> str:
    notes = "; ".join(runtime["notes"])
    if runtime["opened"]:
        if not runtime["runs"]:
            return f"cannot run it: {notes}"
        return "runs it (tested on zeros)" + (f", but {notes}" if notes else "")
    if runtime["runs"] is None:
        return f"not tested: {runtime['untried']}"
    how = f"according to operator versions; not tested: {runtime['untried']}"
    return f"should run it ({how})" if runtime["runs"] else f"cannot run it: {notes} ({how})"


def _needs(needs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    arena, head, tail = (needs[f"{part}_bytes"] for part in ("arena", "head", "tail"))
    yield "  arena", f"at least {arena} bytes: {head} for activations, {tail} permanent"
    yield "  operators", ", ".join(needs["operators"])


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _scale(tensor: dict[str, Any]) -> list[str]:
    return [_NO, _NO] if tensor["scale"] is None else [f"{tensor['scale']:.4g}", str(tensor["zero_point"])]


def record_lines(record: dict[str, Any]) -> Iterator[str]:
    """Yield the summary and the tables for a terminal. Control characters in names are escaped."""
    yield from map(one_line, _lines(record))


def _lines(record: dict[str, Any]) -> Iterator[str]:
    yield record["file"]
    pairs = list(facts(record))
    width = max(len(name) for name, _ in pairs)
    yield from (f"{name:<{width}}  {value}" for name, value in pairs)
    yield ""
    yield from align(end_rows(record))
    yield ""
    yield from align(operator_rows(record))
    if record["layers"]:
        yield ""
        yield from align(layer_rows(record))
    if record["against"]:
        yield ""
        yield from summary_of_errors(record)
