"""Compare two latency reports: what changed, and what is only noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from spot_bench.speed.conditions import BUSY
from spot_bench.stats.intervals import DRAWS, Estimate
from spot_edge.errors import DataError

__all__ = ["BAND", "SCHEMA", "compare_reports", "ratio_of_runs", "slower", "verdict"]

SCHEMA = 1
BAND = 1.03  # smaller ratios do not count as a change; warm-up accepts the same 3 % as steady
_FEWEST_BLOCKS = 6  # a median of fewer has no 95 % interval

Verdict = Literal["slower", "faster", "no change", "unclear"]


def compare_reports(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON-able report of what is slower or faster in `b` than in `a`.

    Entries with the same model, threads and delegate are compared: the same file if both have it, otherwise the same
    name and variant. Raise DataError if there are no such entries.
    """
    pairs, left, right = _pair(a["models"], b["models"])
    if not pairs:
        raise DataError("the two reports have no model with the same threads and delegate in common")
    return {
        "report": "latency-comparison",
        "schema": SCHEMA,
        "a": {"when": a["when"], "machine": a["machine"]},
        "b": {"when": b["when"], "machine": b["machine"]},
        "band": BAND,
        "notes": list(_notes(a, b)),
        "pairs": [_compare(one, other, (_other_work(a), _other_work(b))) for one, other in pairs],
        "only_a": [_about(record) for record in left],
        "only_b": [_about(record) for record in right],
    }


def slower(comparison: dict[str, Any]) -> list[str]:
    """Return the files whose network time or total time became slower."""
    pairs = comparison["pairs"]
    return [
        pair["b"]["file"] for pair in pairs if "slower" in (pair["rows"][row]["verdict"] for row in ("invoke", "total"))
    ]


def ratio_of_runs(
    a: Sequence[float], b: Sequence[float], other_work: tuple[float, float] = (0.0, 0.0), seed: int = 0
) -> Estimate:
    """Return the median of `b` over that of `a`, with an interval from resampling the blocks of each run.

    `other_work` is the share of processor time that other programs took in each run. In the worst case it all slowed
    our process in one run and not in the other; the interval is widened to cover that.
    """
    base, mine = np.asarray(a), np.asarray(b)
    value, fewest = float(np.median(mine) / np.median(base)), min(len(base), len(mine))
    if fewest < _FEWEST_BLOCKS:
        return Estimate(value, float("nan"), float("nan"), fewest, fewest)
    generator = np.random.default_rng(seed)
    drawn = [np.median(generator.choice(blocks, (DRAWS, len(blocks))), axis=1) for blocks in (base, mine)]
    low, high = np.percentile(drawn[1] / drawn[0], [2.5, 97.5])
    return Estimate(value, float(low) * (1 - other_work[1]), float(high) / (1 - other_work[0]), fewest, fewest)


def verdict(ratio: dict[str, Any]) -> Verdict:
    """Classify a ratio: a change if the whole interval is beyond 3 %, none if it is within, otherwise unclear."""
    low, high = ratio["low"], ratio["high"]
    if low is None or high is None:
        return "unclear"
    if low > BAND:
        return "slower"
    if high < 1 / BAND:
        return "faster"
    return "no change" if low >= 1 / BAND and high <= BAND else "unclear"


def _compare(a: dict[str, Any], b: dict[str, Any], other_work: tuple[float, float]) -> dict[str, Any]:
    rows = {}
    for row, blocks in b["blocks_ms"].items():
        before = a["blocks_ms"][row]
        ratio = ratio_of_runs(before, blocks, other_work).as_dict()
        medians = {"a_ms": float(np.median(before)), "b_ms": float(np.median(blocks))}
        rows[row] = {**medians, "ratio": ratio, "verdict": verdict(ratio)}
    return {"a": _about(a), "b": _about(b), "notes": list(_pair_notes(a, b)), "rows": rows}


def _pair(
    a: Sequence[dict[str, Any]], b: Sequence[dict[str, Any]]
) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Pair entries of both sides, identical files first; return the pairs and the unpaired entries of each side."""
    pairs, left, right = [], list(a), list(b)
    for keys in (("id",), ("name", "variant")):
        for one in list(left):
            for other in right:
                if all(one[key] == other[key] for key in ("threads", "delegate")) and all(
                    one["model"][key] == other["model"][key] for key in keys
                ):
                    pairs.append((one, other))
                    left.remove(one)
                    right.remove(other)
                    break
    if not pairs and len(left) == len(right) == 1:
        return [(left[0], right[0])], [], []
    return pairs, left, right


def _notes(a: dict[str, Any], b: dict[str, Any]) -> Iterator[str]:
    """Name other differences between two runs that may explain the result."""
    for key in ("cpu", "architecture", "cores", "governor", "system", "python"):
        one, other = a["machine"].get(key), b["machine"].get(key)
        if one != other:
            yield f"{'DIFFERENT MACHINES: ' if key in ('cpu', 'architecture') else ''}{key}: {one} and {other}"
    if a["image"]["sha256"] != b["image"]["sha256"]:
        yield "different images: do not compare decode, resize and total"
    for name, report in (("A", a), ("B", b)):
        if _other_work(report) > BUSY:
            yield f"in {name}, other programs took {100 * _other_work(report):.0f} % of the processors: not steady"
        if report["conditions"]["throttled"]:
            yield f"{name} was throttled, not steady: {', '.join(report['conditions']['why'])}"


def _pair_notes(a: dict[str, Any], b: dict[str, Any]) -> Iterator[str]:
    if a["model"]["id"] != b["model"]["id"]:
        same = all(a["model"][key] == b["model"][key] for key in ("name", "variant"))
        yield f"{'another file of the same name' if same else 'DIFFERENT MODELS'}: {_named(a)} and {_named(b)}"
    if any(a[key] != b[key] for key in ("threads", "delegate")):
        yield f"different settings: {_run(a)} and {_run(b)}"
    if a["runtime"] != b["runtime"]:
        one, other = (f"{r['runtime']['name']} {r['runtime']['version']}" for r in (a, b))
        yield f"different runtimes: {one} and {other}"
    for name, record in (("A", a), ("B", b)):
        if not record["warmup"]["settled"]:
            yield f"{name} did not become steady during warm-up"


def _other_work(report: dict[str, Any]) -> float:
    """Return the share of processor time of other programs: at most 0.99, and 0 if unknown."""
    return min(report["conditions"]["other_work"] or 0.0, 0.99)


def _about(record: dict[str, Any]) -> dict[str, Any]:
    return {**record["model"], "threads": record["threads"], "delegate": record["delegate"]}


def _named(record: dict[str, Any]) -> str:
    model = record["model"]
    return f"{model['name']} {model['variant']} {model['id'][:8]}"


def _run(record: dict[str, Any]) -> str:
    return f"{record['threads']} threads, delegate {'on' if record['delegate'] else 'off'}"
