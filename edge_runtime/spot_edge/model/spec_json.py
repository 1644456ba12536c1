"""Read `spot.json` strictly and write it canonically."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

from spot_edge.errors import ModelError
from spot_edge.image.quality import CHECKS
from spot_edge.model.old_names import current_spec
from spot_edge.model.spec import (
    VERDICTS,
    Conformal,
    Criterion,
    Drift,
    Filter,
    Geometry,
    ImageSpec,
    Label,
    MeasuredIn,
    ModelSpec,
    OperatingPoint,
    QualityLimits,
    Rate,
    SetThreshold,
    Verdict,
    as_data,
)

if TYPE_CHECKING:
    from spot_edge.model.views import Views

__all__ = ["SCHEMA", "parse_spec", "render_spec"]

SCHEMA = 1
LARGEST = 16_000  # bytes of spot.json


def render_spec(spec: ModelSpec) -> bytes:
    """Render `spec` as canonical JSON: equal specs give equal bytes."""
    data = {"schema": SCHEMA} | as_data(spec)
    if not spec.views:  # older readers know no such key
        del data["views"]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    if len(text) > LARGEST:
        raise ModelError(f"spot.json would have {len(text)} bytes, the limit is {LARGEST}")
    return text


def parse_spec(text: bytes, name: str) -> ModelSpec:
    """Parse the spec in `text`. A ModelError names the file, and the field that is missing, unknown or wrong."""
    if len(text) > LARGEST:
        raise ModelError(f"{name}: spot.json has {len(text)} bytes, the limit is {LARGEST}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name}: spot.json is not JSON") from error
    if not isinstance(data, dict):
        raise ModelError(f"{name}: spot.json is not an object")
    schema = data.pop("schema", None)
    if schema != SCHEMA or isinstance(schema, bool):
        raise ModelError(f"{name}: spot.json has schema {schema!r:.40}; this spot-edge reads schema {SCHEMA}")
    return _Reader(name).spec(current_spec(data))


def _is_control(character: str) -> bool:
    """Whether `character` controls a terminal, or is half of a surrogate pair, which no file can hold."""
    return (character < " " and character != "\n") or "\x7f" <= character < "\xa0" or "\ud800" <= character <= "\udfff"


class _Reader:
    """Typed access to parsed JSON. Every error names the file and the path of the field."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _bad(self, path: str, wanted: str) -> ModelError:
        return ModelError(f"{self._name}: spot.json: {path} must be {wanted}")

    def _fields(self, data: Any, path: str, required: str, optional: str = "") -> dict[str, Any]:
        if not isinstance(data, dict):
            raise self._bad(path, "an object")
        known, missing = {*required.split(), *optional.split()}, set(required.split()) - set(data)
        if missing or set(data) - known:
            raise self._bad(path, f"an object with {required}" + (f" and optionally {optional}" if optional else ""))
        return data

    def _text(self, value: Any, path: str) -> str:
        if not isinstance(value, str) or not (value.isprintable() or not any(map(_is_control, value))):
            raise self._bad(path, "a text without control characters")
        return value

    def _number(self, value: Any, path: str, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self._bad(path, f"a number from {low:g} to {high:g}")
        return float(value)

    def _whole(self, value: Any, path: str, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._bad(path, f"a whole number from {low} to {high}")
        return value

    def _items(self, value: Any, path: str, low: int, high: int) -> list[Any]:
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise self._bad(path, f"a list of {low} to {high}")
        return value

    def spec(self, data: dict[str, Any]) -> ModelSpec:
        self._fields(
            data,
            "it",
            "name variant labels image measured_in temperature",
            "operating_points conformal image_quality drift training licence notice views",
        )
        labels = tuple(
            self._label(x, f"labels[{i}]") for i, x in enumerate(self._items(data["labels"], "labels", 2, 1000))
        )
        if len({label.label for label in labels}) != len(labels):
            raise self._bad("labels", "all different")
        conformal, quality, drift = data.get("conformal"), data.get("image_quality"), data.get("drift")
        training = data.get("training", {})
        if not isinstance(training, dict):
            raise self._bad("training", "an object")
        measured = self._fields(data["measured_in"], "measured_in", "runtime version")
        return ModelSpec(
            name=self._text(data["name"], "name"),
            variant=self._text(data["variant"], "variant"),
            labels=labels,
            image=self._image(data["image"]),
            measured_in=MeasuredIn(
                self._text(measured["runtime"], "measured_in.runtime"),
                self._text(measured["version"], "measured_in.version"),
            ),
            temperature=self._number(data["temperature"], "temperature", 1e-3, 1e3),
            operating_points=self._points(data.get("operating_points", []), "operating_points", labels),
            conformal=None if conformal is None else self._conformal(conformal, "conformal", labels),
            image_quality=None if quality is None else self._quality(quality),
            drift=None if drift is None else self._drift(drift),
            training={self._text(k, "a key of training"): self._text(v, "training") for k, v in training.items()},
            licence=self._text(data.get("licence", ""), "licence"),
            notice=self._text(data.get("notice", ""), "notice"),
            views=self._views(data.get("views", []), labels),
        )

    def _label(self, data: Any, path: str) -> Label:
        data = self._fields(data, path, "label name", "description malignant")
        malignant = data.get("malignant")
        if malignant is not None and not isinstance(malignant, bool):
            raise self._bad(f"{path}.malignant", "true, false or null")
        text = {key: self._text(data.get(key, ""), f"{path}.{key}") for key in ("label", "name", "description")}
        if not text["label"] or any(character in text["label"] for character in "\r\n"):
            raise self._bad(f"{path}.label", "one line of text")
        return Label(**text, malignant=malignant)

    def _image(self, data: Any) -> ImageSpec:
        data = self._fields(data, "image", "size geometry filter")
        if data["geometry"] not in get_args(Geometry):
            raise self._bad("image.geometry", f"one of {', '.join(get_args(Geometry))}")
        if data["filter"] not in get_args(Filter):
            raise self._bad("image.filter", f"one of {', '.join(get_args(Filter))}")
        return ImageSpec(self._whole(data["size"], "image.size", 16, 2048), data["geometry"], data["filter"])

    def _rate(self, data: Any, path: str) -> Rate:
        data = self._fields(data, path, "value low high n")
        value, low, high = (self._number(data[key], f"{path}.{key}", 0, 1) for key in ("value", "low", "high"))
        return Rate(value, low, high, self._whole(data["n"], f"{path}.n", 1, 10**9))

    def _points(self, data: Any, path: str, labels: tuple[Label, ...]) -> tuple[OperatingPoint, ...]:
        points = self._items(data, path, 0, 8)
        if points and not any(label.malignant for label in labels):
            raise self._bad(path, "empty if no label is malignant")
        return tuple(self._point(x, f"{path}[{i}]") for i, x in enumerate(points))

    def _point(self, data: Any, path: str) -> OperatingPoint:
        data = self._fields(data, path, "name threshold sensitivity specificity measured_on")
        return OperatingPoint(
            name=self._text(data["name"], f"{path}.name"),
            threshold=self._number(data["threshold"], f"{path}.threshold", 0, 1),
            sensitivity=self._rate(data["sensitivity"], f"{path}.sensitivity"),
            specificity=self._rate(data["specificity"], f"{path}.specificity"),
            measured_on=self._text(data["measured_on"], f"{path}.measured_on"),
        )

    def _conformal(self, data: Any, path: str, labels: tuple[Label, ...]) -> Conformal:
        data = self._fields(data, path, "marginal classes measured_on")
        classes = data["classes"]
        if not isinstance(classes, dict) or not set(classes) <= {label.label for label in labels}:
            raise self._bad(f"{path}.classes", "an object of labels")
        return Conformal(
            self._set_threshold(data["marginal"], f"{path}.marginal"),
            {key: self._set_threshold(value, f"{path}.classes.{key}") for key, value in classes.items()},
            self._text(data["measured_on"], f"{path}.measured_on"),
        )

    def _views(self, data: Any, labels: tuple[Label, ...]) -> tuple[Views, ...]:
        items = self._items(data, "views", 0, 3)
        entries = [self._view(x, f"views[{i}]", labels) for i, x in enumerate(items)]
        if len({entry.number for entry in entries}) != len(entries):
            raise self._bad("views", "entries with different numbers")
        return tuple(entries)

    def _view(self, data: Any, path: str, labels: tuple[Label, ...]) -> Views:
        from spot_edge.model.views import VIEW_COUNTS, Views  # rarely needed

        data = self._fields(data, path, "number temperature", "operating_points conformal")
        number, conformal = data["number"], data.get("conformal")
        if not isinstance(number, int) or number not in VIEW_COUNTS:
            raise self._bad(f"{path}.number", f"one of {', '.join(map(str, VIEW_COUNTS))}")
        return Views(
            number,
            self._number(data["temperature"], f"{path}.temperature", 1e-3, 1e3),
            self._points(data.get("operating_points", []), f"{path}.operating_points", labels),
            None if conformal is None else self._conformal(conformal, f"{path}.conformal", labels),
        )

    def _set_threshold(self, data: Any, path: str) -> SetThreshold:
        data = self._fields(data, path, "coverage threshold n")
        coverage, threshold = (self._number(data[key], f"{path}.{key}", 0, 1) for key in ("coverage", "threshold"))
        return SetThreshold(coverage, threshold, self._whole(data["n"], f"{path}.n", 1, 10**9))

    def _quality(self, data: Any) -> QualityLimits:
        data = self._fields(data, "image_quality", "limits refused measured_on")
        limits, known = data["limits"], [check.name for check in CHECKS]
        if not isinstance(limits, dict) or not set(limits) <= set(known):  # an unknown limit would never be checked
            raise self._bad("image_quality.limits", f"an object of {', '.join(known)}")
        return QualityLimits(
            {key: self._number(value, f"image_quality.limits.{key}", -1e6, 1e6) for key, value in limits.items()},
            self._rate(data["refused"], "image_quality.refused"),
            self._text(data["measured_on"], "image_quality.measured_on"),
        )

    def _drift(self, data: Any) -> Drift:
        data = self._fields(data, "drift", "verdict against measured_on criteria")
        criteria = self._items(data["criteria"], "drift.criteria", 0, 100)
        return Drift(
            self._verdict(data["verdict"], "drift.verdict"),
            self._text(data["against"], "drift.against"),
            self._text(data["measured_on"], "drift.measured_on"),
            tuple(self._criterion(x, f"drift.criteria[{i}]") for i, x in enumerate(criteria)),
        )

    def _criterion(self, data: Any, path: str) -> Criterion:
        data = self._fields(data, path, "name worse_by low high margin n verdict", "would_tell")
        numbers = {
            key: self._number(data[key], f"{path}.{key}", -1, 1) for key in ("worse_by", "low", "high", "margin")
        }
        needed = data.get("would_tell")
        return Criterion(
            self._text(data["name"], f"{path}.name"),
            **numbers,
            n=self._whole(data["n"], f"{path}.n", 0, 10**9),
            verdict=self._verdict(data["verdict"], f"{path}.verdict"),
            would_tell=None if needed is None else self._whole(needed, f"{path}.would_tell", 1, 10**15),
        )

    def _verdict(self, value: Any, path: str) -> Verdict:
        for verdict in VERDICTS:
            if value == verdict:
                return verdict
        raise self._bad(path, f"one of {', '.join(VERDICTS)}")
