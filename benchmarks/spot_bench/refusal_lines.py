"""What limits of capture quality refuse, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spot_bench.tables import align, count, figure

__all__ = ["refusal_lines"]

_COUNTED = 20  # groups: among fewer, shares by class are told as counts


def refusal_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `refusals.measure_refusals` found, in brackets the 95 % intervals."""
    model, good = report["model"], report["good"]
    yield f"{model['name']} {model['variant']} ({model['runtime']} {model['version']}), {model['id'][:12]}"
    yield f"{good['refused']['n']} good images of {good['refused']['groups']} lesions"
    yield ""
    yield "refused, % of images: by any limit, and the limits that most of them are beyond"
    rows = [["good images", _percent(good["refused"]), _commonest(good["checks"])]]
    rows += [
        [f"  {label}", _percent(share) if share["groups"] >= _COUNTED else _count(share), ""]
        for label, share in good["classes"].items()
    ]
    for record in report["defects"]:
        name = f"{record['severity']} {record['kind']}"
        rows.append([name, _percent(record["refused"]), _commonest(record["checks"])])
    for record in report["others"]:
        rows.append([record["name"], _percent(record["refused"]), _commonest(record["checks"])])
    yield from align(rows)
    yield ""
    yield "told from good images (AUC): by unfamiliarity, and by the first rank's score alone"
    table = [
        [
            record["name"],
            f"n={record['refused']['n']}",
            figure(record["auc_unfamiliarity"]),
            figure(record["auc_doubt"]),
        ]
        for record in report["others"]
    ]
    yield from align([["", "", "unfamiliarity", "score"], *table])
    yield from (f"not read: {reason}" for record in report["others"] for reason in record["unread"])


def _percent(share: dict[str, Any]) -> str:
    """A share as `1.2 (0.8 to 1.7)`."""
    return f"{100 * share['value']:.1f} ({100 * share['low']:.1f} to {100 * share['high']:.1f})"


def _count(share: dict[str, Any]) -> str:
    return count(round(share["value"] * share["n"]), share["n"])


def _commonest(checks: dict[str, Any]) -> str:
    """The two checks that refuse most, with their shares."""
    found = sorted(((share["value"], name) for name, share in checks.items() if share["value"] > 0), reverse=True)
    return ", ".join(f"{name} {100 * value:.1f}" for value, name in found[:2])
