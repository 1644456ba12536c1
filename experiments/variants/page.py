"""Fill page.md with tables and figures from the reports: docs/reports/variants.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.variants.reports import BASELINE, MELANOMA, NOTES, Family, Record, Row
from spot_bench.report.tables import change, count, figure, markdown, percent, short
from spot_bench.speed.conditions import BUSY
from spot_edge.errors import DataError

__all__ = ["page"]

TEMPLATE = Path(__file__).with_name("page.md")
_DASH = "–"
_SYSTEMS = {"pi3-litert": "Pi 3", "pi4-litert": "Pi 4", "pi5-litert": "Pi 5", "pi4-tflite": "Pi 4, tflite-runtime"}


def page(families: Sequence[Family], template: str | None = None) -> str:
    """`template` (page.md) with every {{figure}} filled in; DataError for a figure that there is not.

    A figure is words: a width or `narrow`, where it is not the first family's; a variant; and what of it. What the
    reports do not know is a dash.
    """
    text = TEMPLATE.read_text(encoding="utf-8") if template is None else template
    blocks: dict[str, Callable[[Sequence[Family]], str]] = {
        "tables": _tables,
        "flips": _all_flips,
        "cannot": _cannot,
        "measured": _measured,
        "images": lambda found: _of_data(found, "images"),
        "lesions": lambda found: _of_answers(found, "lesions"),
        "split": lambda found: _of_data(found, "split"),
        "wide": lambda found: found[0].width,
        "narrow": lambda found: found[-1].width,
    }

    def filled(match: re.Match[str]) -> str:
        words = match[1].strip()
        return blocks[words](families) if words in blocks else _figure(words, families)

    return re.sub(r"\{\{([^{}]+)\}\}", filled, text)


def _figure(words: str, families: Sequence[Family]) -> str:
    by_width = {"wide": families[0], "narrow": families[-1]} | {family.width: family for family in families}
    first, _, rest = words.partition(" ")
    family, rest = (by_width[first], rest) if first in by_width else (families[0], words)
    variant, _, what = rest.partition(" ")
    row = next((row for row in family.rows if row.variant == variant), Row(variant))
    if what in _FIGURES:
        return _FIGURES[what](row)
    models = (family.flips or {"models": []})["models"]
    flips = next((model for model in models if model["model"]["variant"] == variant), None)
    name, _, limit = what.partition(" ")
    if name in _FLIPS and bool(limit) == (name in ("near", "flagged")):
        return _FLIPS[name](flips, limit) if flips else _DASH
    if what in _FLIPS_IN_WORDS:
        return _FLIPS_IN_WORDS[what](flips) if flips else _DASH
    raise DataError(f"page.md: {{{{{words}}}}}: no such figure")


def _megabytes(size: int | None) -> str:
    return f"{size / 1e6:.2f}" if size else _DASH


def _answer(row: Row, key: str) -> Record | None:
    return None if row.answers is None else dict(row.answers[key])


def _recall(row: Row) -> Record | None:
    found = (row.answers or {"classes": {}})["classes"].get(MELANOMA)
    return dict(found["recall"]) if found else None


def _difference(row: Row, *keys: str) -> Record | None:
    found: Any = row.comparison and row.comparison["differences"]
    for key in keys:
        found = found and found.get(key)
    return found or None


def _shown(form: Callable[[Record], str], record: Record | None) -> str:
    return _DASH if record is None or record["value"] is None else form(record)


def _plain(record: Record | None, form: str = ".3f") -> str:
    return _shown(lambda found: f"{found['value']:{form}}", record)


def _agreement(row: Row) -> Record | None:
    return row.comparison and row.comparison["agreement"]["all"]


def _milliseconds(row: Row) -> str:
    return _DASH if row.latency is None else short(row.latency["rows_ms"]["invoke"]["p50"]["value"])


def _times(row: Row) -> Record | None:
    against = (row.latency or {}).get("against_float32")
    return dict(against["ratio"]) if against else None


def _instructions(row: Row, system: str) -> str:
    found = row.instructions.get(system)
    if found is None:
        return _DASH
    return "refused" if "refused" in found else f"{found['invoke'] / 1e6:.1f}"


_FIGURES: dict[str, Callable[[Row], str]] = {
    "mb": lambda row: _megabytes(row.bytes),
    "zipped": lambda row: _megabytes(row.compressed),
    "ms": _milliseconds,
    "times": lambda row: _plain(_times(row), ".2f"),
    "pi3": lambda row: _instructions(row, "pi3-litert"),
    "pi4": lambda row: _instructions(row, "pi4-litert"),
    "pi5": lambda row: _instructions(row, "pi5-litert"),
    "agreement": lambda row: _shown(percent, _agreement(row)),
    "balanced": lambda row: _shown(figure, _answer(row, "balanced_accuracy")),
    "balanced change": lambda row: _shown(change, _difference(row, "balanced_accuracy")),
    "recall": lambda row: _shown(figure, _recall(row)),
    "recall change": lambda row: _shown(change, _difference(row, "recall", MELANOMA)),
    "verdict": lambda row: row.verdict or _DASH,
}


def _near(model: Record, limit: str) -> Record:
    for record in model["near_tie"]["margin_below"]:
        if f"{record['below']:g}" == limit:
            return dict(record)
    raise DataError(f"page.md: the report of `bench drift` has no margin {limit}")


def _of(found: Record | None) -> str:
    return count(found["count"], found["of"]) if found else _DASH


def _top_two_in_set(model: Record) -> str:
    found = model["near_tie"]["prediction_set"]
    return percent(found["top_two_of_all"]) if found else _DASH


_FLIPS: dict[str, Callable[[Record, str], str]] = {
    "near": lambda model, limit: _of(_near(model, limit)["flips"]),
    "flagged": lambda model, limit: percent(_near(model, limit)["flagged"]),
    "triage": lambda model, _: percent(model["triage"]["changed"]) if model["triage"] else _DASH,
    "flips": lambda model, _: percent(model["flips"]),
}
_FLIPS_IN_WORDS: dict[str, Callable[[Record], str]] = {
    "top two in set": _top_two_in_set,
    "in set": lambda model: _of(
        model["near_tie"]["prediction_set"] and model["near_tie"]["prediction_set"]["both_classes"]
    ),
    "less urgent": lambda model: _of(model["triage"] and model["triage"]["malignant_less_urgent"]),
}


def _tables(families: Sequence[Family]) -> str:
    return "\n\n".join(part for family in families for part in _family_tables(family))


def _family_tables(family: Family) -> Iterator[str]:
    yield f"## Width {family.width}"
    systems = [name for name in _SYSTEMS if any(name in row.instructions for row in family.rows)]
    heads = ["variant", "made by, for", "MB", "compressed", "ms", "×", *(_SYSTEMS[name] for name in systems)]
    rows = [
        [
            row.variant,
            ", ".join(filter(None, (row.engine, row.runtime))) or _DASH,
            _megabytes(row.bytes),
            _megabytes(row.compressed),
            _milliseconds(row) + _elsewhere(row, row.latency["runtime"]["name"] if row.latency else ""),
            _shown(_ratio, _times(row)),
            *(_instructions(row, name) for name in systems),
        ]
        for row in family.rows
    ]
    yield markdown(heads, rows, words=2)
    heads = ["variant", "same top class, %", "balanced accuracy", "minus float32", "melanoma recall", "minus float32"]
    rows = [
        [
            row.variant + _elsewhere(row, row.answers["model"].get("runtime", "") if row.answers else ""),
            _shown(percent, _agreement(row)),
            _shown(figure, _answer(row, "balanced_accuracy")),
            _shown(change, _difference(row, "balanced_accuracy")),
            _shown(figure, _recall(row)),
            _shown(change, _difference(row, "recall", MELANOMA)),
            "baseline" if row.variant == BASELINE else row.verdict or _DASH,
        ]
        for row in family.rows
    ]
    yield markdown([*heads, "verdict"], rows)
    if notes := [f"- {row.variant}: {row.note}" for row in family.rows if row.note]:
        yield "\n".join(notes)


def _elsewhere(row: Row, runtime: str) -> str:
    """A note where a figure belongs to another runtime than the file was made for."""
    return f" (in {runtime})" if runtime and row.runtime and runtime != row.runtime else ""


def _ratio(record: Record) -> str:
    return f"{record['value']:.2f} ({record['low']:.2f} to {record['high']:.2f})"


def _all_flips(families: Sequence[Family]) -> str:
    found = "\n\n".join(part for family in families if family.flips for part in _family_flips(family, family.flips))
    return found or "Not measured."


def _family_flips(family: Family, flips: Record) -> Iterator[str]:
    images = _of_data([family], "images")
    yield f"Width {family.width}: flips against float32, of {images} images, and their effects."
    heads = ["variant", "flips", "%", *flips["models"][0]["by_effect"], "triage changed, %", "malignant, less urgent"]
    rows = [
        [
            model["name"],
            str(sum(model["by_effect"].values())),
            percent(model["flips"]),
            *map(str, model["by_effect"].values()),
            _FLIPS["triage"](model, ""),
            _FLIPS_IN_WORDS["less urgent"](model),
        ]
        for model in flips["models"]
    ]
    yield markdown(heads, rows)
    together = flips["together"]
    if together:
        yield _exemplars(together)
    yield _concentration((together or flips["models"][0])["concentration"])


def _exemplars(together: Record) -> str:
    found, ties = together["exemplars"], together["near_tie"]
    anywhere, alike = (_range(found["by_chance"][key]) for key in ("any_images", "same_margin"))
    near = next(record for record in ties["baseline_margin_below"] if record["below"] == 0.1)
    return (
        f"At least half of the models flip {found['count']} images. By chance it would be {anywhere}, and {alike} "
        f"among images with the same margin in float32. {_of(near)} are near ties in float32. The prediction set of "
        f"the model that flips one includes both classes in {_of(ties['both_classes'])} predictions."
    )


def _range(chance: Record) -> str:
    return f"{chance['mean']:.0f} ({chance['low']:.0f} to {chance['high']:.0f})"


def _concentration(found: Record) -> str:
    """The subgroups that stand out, with and without the margin held fixed, and how many were tested."""
    known = [row for row in found["subgroups"] if row["rate"] is not None]
    standing = [row for row in known if row["p_holm"] < 0.05]
    left = [row for row in known if row["p_same_margin_holm"] < 0.05]
    before = "none stands out"
    if standing:
        before = f"{', '.join(map(_subgroup, standing))} {'stands' if len(standing) == 1 else 'stand'} out"
    held = f"{', '.join(map(_held, left))} {'does' if len(left) == 1 else 'do'}"
    if not left:
        held = "nothing is left of it" if standing else "none does"
    return (
        f"Of {found['tested']} classes, ages, sexes and sites tested, {before} (Holm's p below .05); "
        f"with the margin in float32 held fixed, {held}."
    )


def _subgroup(row: Record) -> str:
    return f"{row['column']} {row['subgroup'] or 'not stated'} ({_times_rest(row['ratio'])} times the rest)"


def _held(row: Record) -> str:
    return f"{row['column']} {row['subgroup'] or 'not stated'} ({_times_rest(row['ratio_same_margin'])} times the rest)"


def _times_rest(record: Record) -> str:
    low, high = ("?" if record[end] is None else f"{record[end]:.2f}" for end in ("low", "high"))
    return _DASH if record["value"] is None else f"{record['value']:.2f}, {low} to {high}"


def _cannot(families: Sequence[Family]) -> str:
    lines = [f"- {variant} at width {family.width}: {why}" for family in families for variant, why in family.cannot]
    for family in families:
        for row in family.rows:
            refused = {_SYSTEMS.get(name, name) for name, found in row.instructions.items() if "refused" in found}
            if refused:
                why = next(found["refused"] for found in row.instructions.values() if "refused" in found)
                lines.append(
                    f"- {row.variant} at width {family.width} is refused on {'; '.join(sorted(refused))}: `{why}`"
                )
    return "\n".join(lines) or f"Everything that was tried could be made (no entry in `{NOTES}`)."


def _measured(families: Sequence[Family]) -> str:
    lines = []
    for family in families:
        if family.latency:
            machine = family.latency["machine"]
            lines.append(
                f"Width {family.width}: times of {family.latency['when'][:10]} on {machine['cpu']}, "
                f"{machine['cores']} cores; medians of {family.latency['samples']} rounds, in turns, "
                f"{_threads(family)}.{_busy(family.latency['conditions']['other_work'])}"
            )
    return "\n".join(lines)


def _busy(others: float | None) -> str:
    if others is None or others <= BUSY:
        return ""
    return f" Other work took {100 * others:.0f} % of the processors' time: trust the ratios."


def _threads(family: Family) -> str:
    found = sorted({row.latency["threads"] for row in family.rows if row.latency})
    return "one thread" if found == [1] else f"{' or '.join(map(str, found))} threads"


def _of_data(families: Sequence[Family], key: str) -> str:
    return next((str(family.data[key]) for family in families if family.data), _DASH)


def _of_answers(families: Sequence[Family], key: str) -> str:
    found = (row.answers[key] for family in families for row in family.rows if row.answers)
    return str(next(found, _DASH))
