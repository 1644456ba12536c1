"""Translate names in files written before the first release.

The embedded model, `models/spot` and stored reports still use the old names. Remove this module once they are renewed.
"""

from __future__ import annotations

from typing import Any

__all__ = ["current_report", "current_run", "current_spec"]

_KEYS = {"trunk": "weights", "auc_unfamiliarity": "auc_ood", "unfamiliarity": "ood"}
_REPORT_KEYS = {
    "part": "split",
    "remarks": "notes",
    "harm": "effect",  # of a flip
    "right": "accuracy",  # of a bin or a share of images
    "promised": "target",  # coverage
    "first_rank": "top_class",
    "ranked_first": "top_class",
    "picture": "image",
    "needed": "samples_needed",
    "judge": "postprocess",  # a step of a latency report
}
_VERDICTS = {"passes": "pass", "fails": "fail", "cannot tell": "undecided"}
_FLIPS = "other first rank, "


def current_spec(data: dict[str, Any]) -> dict[str, Any]:
    """`spot.json` with current names. Anything unexpected passes through, for the parser to reject."""
    if "capture" in data and "image_quality" not in data:
        data = data | {"image_quality": _limits(data["capture"])}
        del data["capture"]
    if isinstance(data.get("drift"), dict):
        data = data | {"drift": _verdicts(data["drift"])}
    return data


def current_run(data: dict[str, Any]) -> dict[str, Any]:
    """`run.json` with current names."""
    return _renamed(data)


def current_report(data: Any) -> Any:
    """A report of `bench`, `convert` or `train` with current names, at any depth. A current report stays as it is."""
    return _translated(data) if _is_old(data) else data


def _is_old(data: Any) -> bool:
    """Whether a report uses old names. Classes may be called like an old key, so keys at any depth prove nothing."""
    if isinstance(data, list):
        return any(map(_is_old, data))
    if not isinstance(data, dict):
        return False
    about = data.get("data")
    of_latency = "remarks" in data or "needed" in data
    of_training = "part" in data and "commonest_class" in data
    return of_latency or of_training or (isinstance(about, dict) and "part" in about) or _has_old_verdict(data)


def _has_old_verdict(data: Any) -> bool:
    if isinstance(data, list):
        return any(map(_has_old_verdict, data))
    if not isinstance(data, dict):
        return False
    verdict = data.get("verdict")
    return (isinstance(verdict, str) and verdict in _VERDICTS) or any(map(_has_old_verdict, data.values()))


def _translated(data: Any) -> Any:
    if isinstance(data, list):
        return [_translated(item) for item in data]
    if not isinstance(data, dict):
        return data
    if "throttled" in data:  # the conditions of a measurement
        data = {"other_work" if key == "others" else key: value for key, value in data.items()}
    data = {_REPORT_KEYS.get(key, key): _translated(value) for key, value in data.items()}
    return _verdicts(_renamed(data))


def _limits(data: Any) -> Any:
    if not isinstance(data, dict) or not isinstance(data.get("limits"), dict):
        return data
    return data | {"limits": _renamed(data["limits"])}


def _verdicts(data: dict[str, Any]) -> dict[str, Any]:
    """A verdict and its criteria with current names."""
    verdict, criteria, name = data.get("verdict"), data.get("criteria"), data.get("name")
    if isinstance(verdict, str):
        data = data | {"verdict": _VERDICTS.get(verdict, verdict)}
    if isinstance(criteria, list):
        data = data | {"criteria": [_verdicts(each) if isinstance(each, dict) else each for each in criteria]}
    if isinstance(name, str) and name.startswith(_FLIPS):
        data = data | {"name": f"top-1 flips, {name.removeprefix(_FLIPS)}"}
    return data


def _renamed(data: dict[str, Any]) -> dict[str, Any]:
    return {_KEYS.get(key, key): value for key, value in data.items()}
