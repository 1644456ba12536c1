"""Write the results of `peers.compare` as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from experiments.peers.compare import CALLS, FEWEST, TOLERANCE, Found, against, median
from experiments.peers.rows import FLOAT, INT8, install
from spot_bench.report.tables import markdown, milliseconds
from spot_bench.speed.conditions import BUSY
from spot_bench.stats.intervals import Estimate

__all__ = ["page", "problems", "target_lines"]

_HEADS = ["peer", "version", "same top class", "bare ms", "× floor", "file ms", "× floor", "× MediaPipe"]
_FLOOR, _MEDIAPIPE, _OURS = "litert", "mediapipe", "spot"
_TARGETS = ((_FLOOR, 1.05, "decode, resize and bare invoke"), (_MEDIAPIPE, 1.00, "MediaPipe"))
_PAGE = """# Comparison with other runtimes

How fast is spot-edge compared with other runtimes? The column *file*, × floor, says what its code adds to LiteRT.
Each runtime runs the embedded network, side by side in one run, with the same weights and on the same drawn image of
600x450 pixels. *Bare* is the time from a tensor of the network's size to its scores; *file* is the time from the path
of a JPEG to ranked classes. Figures are medians with 95 % intervals.

## int8

{int8}

## float32

{float32}

## Overhead of spot-edge

{targets}

## How to read it

- The floor is a loop around LiteRT's interpreter with Pillow's decoding and resizing: what you would write without
  spot-edge.
- *spot-edge* is `Classifier.classify`. Its *bare* time goes from the prepared image to the complete prediction,
  including triage. With LiteRT it runs in the floor's environment.
- MediaPipe's *bare* time is `classify` on an array of the network's size. MediaPipe decodes and resizes by itself,
  and its number of threads cannot be set.
- Google's tool runs in processes of its own between the rounds, on random pixels, 50 runs each. Its times are the
  medians that it reports.
- ONNX Runtime and OpenVINO read the same ONNX file. Its int8 form is ONNX Runtime's static quantization (QDQ,
  per-channel weights), calibrated on drawn lesions: the same network, but not the same rounding as in the `.tflite`.
- *Same top class*: as float32 in LiteRT, on the same tensors of drawn images; *within* is the largest difference of
  any score. A float32 peer that differs by more than {tolerance:g}, or an int8 peer that agrees on less than
  {fewest:.0f} %, is an error and gets no times.
- × is the ratio of medians. All took turns: {rounds} rounds in random order, {calls} calls per turn after one that
  does not count, {threads}.

Measured {date} on {machine}. {others} Command:

    python -m experiments.peers.networks runs/peers
    python -m experiments.peers --networks runs/peers --page docs/reports/peers.md
"""


def page(entries: Sequence[Found], machine: dict[str, Any], others: float | None, rounds: int, threads: int) -> str:
    """Render the page `peers.md`."""
    return _PAGE.format(
        int8=_table([found for found in entries if found.row.variant == INT8]),
        float32=_table([found for found in entries if found.row.variant == FLOAT]),
        targets="\n".join(f"- {line}" for line in target_lines(entries)),
        tolerance=TOLERANCE,
        fewest=100 * FEWEST,
        rounds=rounds,
        calls=CALLS,
        threads="one thread" if threads == 1 else f"{threads} threads",
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        others=_others(others),
    )


def target_lines(entries: Sequence[Found]) -> list[str]:
    """Our time from file to prediction against its two targets, for each network."""
    lines = []
    for variant in (INT8, FLOAT):
        for adapter, target, name in _TARGETS:
            ours, base = _find(entries, _OURS, variant), _find(entries, adapter, variant)
            ratio = against(ours, base, "file") if ours and base else None
            if ratio is None:
                said = "not measured"
            else:
                said = f"{_ratio(ratio)}, target {target:.2f}: {'met' if ratio.value <= target else 'missed'}"
            lines.append(f"{variant}, file to prediction, over {name}: {said}")
    return lines


def problems(entries: Sequence[Found]) -> list[str]:
    """One line per peer that is installed but failed."""
    return [f"{found.row.peer}, {found.row.variant}: {found.error}" for found in entries if found.error]


def _table(entries: Sequence[Found]) -> str:
    return markdown(_HEADS, [_cells(entries, one) for one in entries], words=3)


def _cells(entries: Sequence[Found], found: Found) -> list[str]:
    if found.missing:
        return [found.row.peer, f"not installed: `{install(found.missing)}`", *[""] * (len(_HEADS) - 2)]
    if found.error:
        return [found.row.peer, f"error: {found.error.replace('|', '/')}", *[""] * (len(_HEADS) - 2)]
    floor, theirs = (_find(entries, adapter, found.row.variant) for adapter in (_FLOOR, _MEDIAPIPE))
    return [
        found.row.peer,
        found.version,
        found.agreement,
        *(cell for measure in ("bare", "file") for cell in (_time(found, measure), _against(found, floor, measure))),
        _against(found, theirs, "file"),
    ]


def _find(entries: Sequence[Found], adapter: str, variant: str) -> Found | None:
    return next((one for one in entries if (one.row.adapter, one.row.variant) == (adapter, variant)), None)


def _time(found: Found, measure: str) -> str:
    estimate = median(found, measure)
    return "" if estimate is None else milliseconds(estimate.as_dict())


def _against(found: Found, base: Found | None, measure: str) -> str:
    if base is None or base is found:
        return "1" if base else ""
    ratio = against(found, base, measure)
    return "" if ratio is None else _ratio(ratio)


def _ratio(ratio: Estimate) -> str:
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _others(share: float | None) -> str:
    if share is None:
        return "How much other work ran meanwhile is not known."
    trust = ": do not trust these figures" if share > BUSY else ""
    return f"Other work took {100 * share:.0f} % of the processors' time{trust}."
