"""The reports of latency and of its comparison as lines for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from spot_bench.report.tables import align, milliseconds, short
from spot_bench.speed.conditions import BUSY

__all__ = ["comparison_lines", "latency_lines"]

_WIDTH = 80


def latency_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `latency.measure` found, in brackets the 95 % intervals of the percentiles."""
    yield from _wrap(_machine(report["machine"]))
    yield from _condition_lines(report["conditions"])
    for note in report["notes"]:
        yield from _wrap(note)
    throttled = report["conditions"]["throttled"]
    for record in report["models"]:
        yield ""
        yield from _model_lines(record, report["meter"], throttled)
    if len(report["models"]) > 1:
        yield ""
        yield from _overview(report["models"])
    if report["processes"]:
        yield ""
        yield from _process_lines(report["processes"])
    yield ""
    yield from _wrap(f"Milliseconds, in brackets 95 % intervals. {report['samples']} samples each, in turns.")
    for name, needed in report["needed"].items():
        if report["samples"] < needed:
            yield f"{name} needs at least {needed} samples"
    if report["meter"] is None:
        yield "no energy meter can be read here"
    for how in dict.fromkeys(_peak_words(record["utilisation"]) for record in report["models"]):
        yield from _wrap(how)


def comparison_lines(comparison: dict[str, Any]) -> Iterator[str]:
    """What `compare.compare_reports` found: B against A, in brackets 95 % intervals."""
    for name in ("a", "b"):
        yield from _wrap(f"{name.upper()}: {comparison[name]['when']}, {_machine(comparison[name]['machine'])}")
    for note in comparison["notes"]:
        yield from _wrap(f"! {note}")
    for pair in comparison["pairs"]:
        yield ""
        yield from _wrap(_title(pair["b"]))
        for note in pair["notes"]:
            yield from _wrap(f"! {note}")
        rows = [["", "A ms", "B ms", "B against A"]]
        rows += [
            [row, short(found["a_ms"]), short(found["b_ms"]), _change(found)] for row, found in pair["rows"].items()
        ]
        yield from align(rows)
    for name in ("a", "b"):
        for record in comparison[f"only_{name}"]:
            yield from _wrap(f"only in {name.upper()}: {_title(record)}")
    yield ""
    yield from _wrap(
        "The intervals allow for the time that other work took. A change counts where all of its interval is beyond "
        f"{100 * comparison['band'] - 100:.0f} %, none where all of it is within; else it is unclear: measure longer, "
        "or on a quieter machine."
    )


def _machine(machine: dict[str, Any]) -> str:
    governor = f", governor {machine['governor']}" if machine["governor"] else ""
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['system']} {machine['architecture']}{governor}"


def _condition_lines(conditions: dict[str, Any]) -> Iterator[str]:
    during = conditions["during"]
    parts = [
        f"{name} {_span(during[key] if when is None else [conditions[when][key]] * 2, unit)}"
        for name, when in (("before", "before"), ("during", None), ("after", "after"))
        for key, unit in (("temperature_c", "°C"), ("mhz", "MHz"))
        if during[key] and (when is None or conditions[when][key] is not None)
    ]
    if parts:
        yield from _wrap("; ".join(parts))
    if conditions["throttled"]:
        yield from _wrap(f"throttled: not steady ({', '.join(conditions['why'])})")
    elif conditions["throttled"] is None:
        yield "this machine does not tell whether it was throttled"
    if (conditions["others"] or 0) > BUSY:
        yield f"other work took {100 * conditions['others']:.0f} % of the processors' time: not steady"


def _model_lines(record: dict[str, Any], meter: dict[str, Any] | None, throttled: bool | None) -> Iterator[str]:
    runtime, warmup = record["runtime"], record["warmup"]
    yield from _wrap(f"{_title(record['model'] | record)}, {record['bytes'] / 1e6:.2f} MB")
    unsettled = "" if warmup["settled"] else " (not steady: expect other figures next time)"
    steady = " (throttled: not steady)" if throttled else unsettled
    yield from _wrap(
        f"{runtime['name']} {runtime['version']}: load {short(record['load_ms'])}, first {short(record['first_ms'])}, "
        f"warm-up {warmup['runs']} runs{steady}"
    )
    names = [name for name in next(iter(record["rows_ms"].values())) if name != "min"]
    rows = [["", "fastest", *names]]
    for row, found in record["rows_ms"].items():
        rows.append([row, short(found["min"]), *(milliseconds(found[name]) for name in names)])
    yield from align(rows)
    if record["against_float32"]:
        yield from _wrap(_against_words(record["against_float32"]["ratio"]))
    used = record["utilisation"]
    share = "-" if used["share"] is None else f"{100 * used['share']:.0f} %"
    yield from align(
        [
            ["MACs", f"{used['macs'] / 1e6:.0f} million, {used['type']}"],
            ["GMAC/s reached", short(used["gmacs_per_s"])],
            ["share of the measured peak", share],
        ]
    )
    if record["energy"] and meter:
        spent = record["energy"]
        yield from _wrap(
            f"energy {spent['joules']:.3g} J a picture, at {spent['watts']:.3g} W; idle before "
            f"{meter['idle_watts']:.3g} W, not subtracted ({meter['name']})"
        )


def _overview(records: list[dict[str, Any]]) -> Iterator[str]:
    yield "medians, and the network's time as a multiple of float32's"
    rows = [["", "threads", "XNNPACK", "invoke", "total", "times float32"]]
    for record in records:
        against, medians = record["against_float32"], [record["rows_ms"][row]["p50"] for row in ("invoke", "total")]
        rows.append(
            [
                PurePath(record["model"]["file"]).stem,
                str(record["threads"]),
                "on" if record["delegate"] else "off",
                *("-" if found["value"] is None else short(found["value"]) for found in medians),
                f"{against['ratio']['value']:.2f}" if against else "",
            ]
        )
    yield from align(rows)


def _against_words(ratio: dict[str, Any]) -> str:
    """How a quantized file's network compares with the float one's; a ratio below one is turned over."""
    value, low, high = ratio["value"], ratio["low"], ratio["high"]
    if low > 1:
        return f"slower than float32: {value:.1f} times ({low:.2f} to {high:.2f})"
    if high < 1:
        return f"faster than float32: {1 / value:.1f} times ({1 / high:.2f} to {1 / low:.2f})"
    return f"as fast as float32: its time is {value:.2f} of float32's ({low:.2f} to {high:.2f})"


def _peak_words(used: dict[str, Any]) -> str:
    if used["peak"] is None:
        return f"peak: {used['reason']}"
    return f"{used['type']} peak {used['peak']['gmacs']:.3g} GMAC/s: {used['peak']['how']}"


def _process_lines(processes: list[dict[str, Any]]) -> Iterator[str]:
    yield f"whole command in a new process, milliseconds of {processes[0]['cold_ms']['runs']} runs; resident memory, MB"
    rows = [["", "median", "fastest", "loaded", "after 50", "most"]]
    for found in processes:
        cold, kilobytes = found["cold_ms"], [found[key] for key in ("loaded_kb", "steady_kb", "peak_kb")]
        sizes = ["-" if size is None else f"{size * 1024 / 1e6:.1f}" for size in kilobytes]
        rows.append([PurePath(found["file"]).name, short(cold["median"]), short(cold["min"]), *sizes])
    yield from align(rows)


def _title(about: dict[str, Any]) -> str:
    model = about.get("model", about)
    threads = f"{about['threads']} thread{'s' * (about['threads'] > 1)}"
    return (
        f"{PurePath(model['file']).name} {model['id'][:8]}: {model['name']} {model['variant']}, {threads}, "
        f"XNNPACK {'on' if about['delegate'] else 'off'}"
    )


def _change(found: dict[str, Any]) -> str:
    ratio, said = found["ratio"], found["verdict"]
    if ratio["low"] is None:
        return "unclear: too few samples"
    percents = [100 * ratio[key] - 100 for key in ("value", "low", "high")]
    if said in ("slower", "faster"):
        value, *ends = (abs(percent) for percent in percents)
        return f"{said} by {value:.1f} % ({min(ends):.1f} to {max(ends):.1f})"
    return f"{said} ({percents[1]:+.1f} to {percents[2]:+.1f} %)"


def _span(ends: list[float], unit: str) -> str:
    low, high = (f"{end:.0f}" for end in ends)
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
