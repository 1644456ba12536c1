"""What a record says as rows of text, for the terminal and the page alike.

A record as lines for a terminal."""

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
_TITLES = {"ai-edge-litert": "LiteRT"}  # others are called what they are on the package index


def facts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The summary, as pairs of a name and what is said about it."""
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
        yield "subgraphs", f"{len(record['subgraphs'])}; inputs, outputs and layers are those of the first"
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
    """Inputs and outputs of the first subgraph."""
    rows = [["", "name", "type", "shape", "scale", "zero point"]]
    ends = [(end, tensor) for end in ("input", "output") for tensor in record["subgraphs"][0][f"{end}s"]]
    rows += [[end, each["name"], each["dtype"], _shape(each["shape"]), *_scale(each)] for end, each in ends]
    return rows


def operator_rows(record: dict[str, Any]) -> Rows:
    """The kinds of operators."""
    rows = [["operator", "version", "count", "computes in"]]
    rows += [[row["kind"], str(row["version"]), str(row["count"]), row["computes"]] for row in record["operators"]]
    return rows


def layer_rows(record: dict[str, Any]) -> Rows:
    """The layers, with their errors where there was a twin."""
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
    """Signal to noise, relative error and bias of a layer."""
    if error is None or error["rms"] is None:
        return [_NO] * 3
    return [signal_to_noise(error), f"{100 * error['rms']:.2f}", f"{100 * error['bias']:+.2f}"]


def signal_to_noise(error: dict[str, Any]) -> str:
    """The ratio in dB, or that there is no error at all."""
    return "exact" if error["rms"] == 0 else f"{error['sqnr_db']:.1f}"


def summary_of_errors(record: dict[str, Any]) -> Iterator[str]:
    """What was compared with what, and the worst layers."""
    against = record["against"]
    shown = "drawn lesions" if against["drawn"] else "pictures"
    yield (
        f"Error against {against['other']} over {against['pictures']} {shown}, in LiteRT: all that was lost up to a "
        "layer, not in it alone."
    )
    yield "SQNR: signal to quantization noise. RMS and bias: of the error, as shares of the float layer's RMS."
    yield from against["notes"]
    names, errors = {layer["index"]: layer["short"] for layer in record["layers"]}, _errors(record)
    worst = [f"{names[index]} ({signal_to_noise(errors[index])} dB)" for index in against["worst"]]
    yield f"Worst: {', '.join(worst)}" if worst else "No layer differs."


def weight_span(weights: dict[str, Any]) -> str:
    """The range of some weights and, where there are channels, their spread."""
    spread = f", spread {number(weights['spread'])}" if weights["spread"] is not None else ""
    return f"{number(weights['low'])} to {number(weights['high'])}{spread}"


def number(value: float | None) -> str:
    """A figure of three digits."""
    if value is None:
        return _NO
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def _errors(record: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {error["index"]: error for error in record["against"]["errors"]} if record["against"] else {}


def _sealed(sealed: dict[str, Any]) -> str:
    if sealed["state"] == "whole":
        return f"one of ours, whole: {sealed['name']}, variant {sealed['variant']}"
    return "not one of ours" if sealed["state"] == "no" else f"one of ours, but {sealed['reason']}"


def _verdict(runtime: dict[str, Any]) -> str:
    said = "; ".join(runtime["notes"])
    if runtime["opened"]:
        if not runtime["runs"]:
            return f"refuses it: {said}"
        return "opens it and runs it on zeros" + (f", but {said}" if said else "")
    if runtime["runs"] is None:
        return f"not tried: {runtime['untried']}"
    how = f"by its operators' versions; not opened: {runtime['untried']}"
    return f"should run it ({how})" if runtime["runs"] else f"cannot run it: {said} ({how})"


def _needs(needs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    arena, head, tail = (needs[f"{part}_bytes"] for part in ("arena", "head", "tail"))
    yield "  arena", f"{arena} bytes at least: {head} for activations, {tail} that stay"
    yield "  operators", ", ".join(needs["operators"])


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _scale(tensor: dict[str, Any]) -> list[str]:
    return [_NO, _NO] if tensor["scale"] is None else [f"{tensor['scale']:.4g}", str(tensor["zero_point"])]


def record_lines(record: dict[str, Any]) -> Iterator[str]:
    """All that was found, tables below the summary; what a file says of itself cannot disturb the terminal."""
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
