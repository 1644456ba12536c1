"""Format the reports of latency, compare, overhead, folder and soak for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from spot_bench.report.tables import align, figure, milliseconds, short
from spot_bench.speed.conditions import BUSY

__all__ = ["comparison_lines", "folder_lines", "latency_lines", "overhead_lines", "soak_lines"]

_WIDTH = 80


def latency_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format the report of `measure`; in parentheses, 95 % intervals of the percentiles."""
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
    yield from _wrap(f"Milliseconds with 95 % intervals. {report['samples']} samples each; configurations took turns.")
    for name, needed in report["samples_needed"].items():
        if report["samples"] < needed:
            yield f"{name} needs at least {needed} samples"
    if report["meter"] is None:
        yield "no readable energy meter on this machine"
    for how in dict.fromkeys(_peak_words(record["utilisation"]) for record in report["models"]):
        yield from _wrap(how)


def comparison_lines(comparison: dict[str, Any]) -> Iterator[str]:
    """Format the report of `compare_reports`: B against A, with 95 % intervals."""
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
        "The intervals allow for the time that other programs took. A change counts if its whole interval is beyond "
        f"{100 * comparison['band'] - 100:.0f} %. If the whole interval is within, there is no change. Otherwise it is "
        "unclear: measure longer, or on a quieter machine."
    )


def overhead_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format the report of `measure_overhead`."""
    runtime = report["runtime"]
    yield f"{report['model']['name']} in {runtime['name']} {runtime['version']}, {report['machine']['cpu']}"
    yield ""
    rows = [["", "ours ms", "bare ms", "ratio of medians", "of fastest", "n", "target"]]
    names = {
        "call": "classify against bare parts",
        "still": "the same, 12 megapixels",
        "checks": "quality checks against none",
        "process": "command against bare process",
    }
    for key, name in names.items():
        ratio = report[key]
        if ratio is None:  # a model without quality limits
            continue
        target = f"{ratio['target']:.2f} {'met' if ratio['met'] else 'missed'}"
        times = [f"{ratio['ours_ms']:.2f}", f"{ratio['bare_ms']:.2f}"]
        rows.append(
            [name, *times, figure(ratio["median"]), f"{ratio['fastest']:.3f}", str(ratio["median"]["n"]), target]
        )
    yield from align(rows)


def folder_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format the report of `measure_folder`."""
    yield f"{report['images']} images, {report['repeats']} repeats of each, {report['machine']['cpu']}"
    yield ""
    memory, other_work = report["memory"], report["conditions"]["other_work"]
    early = f"peak kB after {memory['early_images']}"
    rows = [["", "seconds", "processor ms per image", early, "at the end"]]
    names = {"single_thread": "one thread", "default": f"default, {report['threads']} processors"}
    for key, name in names.items():
        record = report[key]
        peaks = ["-" if memory[key][when] is None else str(memory[key][when]) for when in ("early_kb", "peak_kb")]
        rows.append([name, f"{record['seconds']:.2f}", f"{record['processor_ms_per_image']:.2f}", *peaks])
    yield from align(rows)
    verdict = "met" if report["met"] else "missed"
    yield f"speedup of medians: {figure(report['speedup'])}; target on two processors: {report['target']}, {verdict}"
    if other_work is not None:
        yield f"other programs took {100 * other_work:.0f} % of the processors"


def soak_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format the report of `soak`."""
    from spot_bench.speed.soak import SLOWEST

    runtime, warmup = report["runtime"], report["warmup"]
    yield f"{report['model']['name']} in {runtime['name']} {runtime['version']}, {report['machine']['cpu']}"
    yield f"{report['images']} images in one process, {report['refused']} refused; figures without the first {warmup}:"
    yield ""
    rows = [["", "first", "max", "last", "growth", "limit", "readings"]]
    for key, name, unit, least in (
        ("resident", "resident memory, MB", 1e6, ".2f"),
        ("anonymous", "  without a file behind it, MB", 1e6, ".2f"),
        ("descriptors", "open descriptors", 1, ".0f"),
    ):
        found = report[key] or dict.fromkeys(("first", "max", "last", "growth", "limit", "n"))
        cells = [found[key] for key in ("first", "max", "last", "growth", "limit")]
        shown = ["-" if value is None else f"{value / unit:{least}}" for value in cells]
        rows.append([name, *shown, str(found["n"] or "-")])
    yield from align(rows)
    yield ""
    rows = [["milliseconds per image", "p50", "p99", "p99/p50", "limit", "n"]]
    for key, name in {"wall": "wall clock", "processor": "processor, all threads"}.items():
        found = report[key]
        parts = [milliseconds(found["p50"]), milliseconds(found["p99"])]
        ratio = "-" if found["ratio"] is None else f"{found['ratio']:.2f}"
        limit = f"{SLOWEST:.2f}" if report["clock"] == key else "-"
        rows.append([name, *parts, ratio, limit, str(found["p50"]["n"])])
    yield from align(rows)
    if report["clock"] == "processor":
        yield f"other programs took {100 * report['other_work']:.0f} % of the processors: limit on processor time"


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
        yield "this machine does not report throttling"
    if (conditions["other_work"] or 0) > BUSY:
        yield f"other programs took {100 * conditions['other_work']:.0f} % of the processors: not steady"


def _model_lines(record: dict[str, Any], meter: dict[str, Any] | None, throttled: bool | None) -> Iterator[str]:
    runtime, warmup = record["runtime"], record["warmup"]
    yield from _wrap(f"{_title(record['model'] | record)}, {record['bytes'] / 1e6:.2f} MB")
    unsettled = "" if warmup["settled"] else " (not steady: figures may change next time)"
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
            f"energy {spent['joules']:.3g} J per image at {spent['watts']:.3g} W; idle before "
            f"{meter['idle_watts']:.3g} W, not subtracted ({meter['name']})"
        )


def _overview(records: list[dict[str, Any]]) -> Iterator[str]:
    yield "medians, and the network's time relative to float32"
    rows = [["", "threads", "XNNPACK", "invoke", "total", "rel. float32"]]
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
    """Compare a quantized network with float32; a ratio below one is inverted."""
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
    rows = [["", "median", "fastest", "loaded", "after 50", "peak"]]
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
    ratio, change = found["ratio"], found["verdict"]
    if ratio["low"] is None:
        return "unclear: too few samples"
    percents = [100 * ratio[key] - 100 for key in ("value", "low", "high")]
    if change in ("slower", "faster"):
        value, *ends = (abs(percent) for percent in percents)
        return f"{change} by {value:.1f} % ({min(ends):.1f} to {max(ends):.1f})"
    return f"{change} ({percents[1]:+.1f} to {percents[2]:+.1f} %)"


def _span(ends: list[float], unit: str) -> str:
    low, high = (f"{end:.0f}" for end in ends)
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
