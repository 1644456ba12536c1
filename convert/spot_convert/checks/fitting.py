"""What is fitted and measured on a file's own answers: temperature, thresholds, distances, and its drift."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import Margins, evaluate_drift
from spot_bench.stats.calibration import fit_temperature, measured_point, operating_points, softmax
from spot_bench.stats.conformal import conformal_thresholds
from spot_convert.checks.embedding import fit_ood_reference, member
from spot_convert.checks.parity import Parity
from spot_convert.checks.quality_limits import choose_limits
from spot_convert.quantize.mixing import Choice
from spot_convert.variants.images import Pictures
from spot_edge.model.file import ModelFile
from spot_edge.model.spec import ModelSpec, OperatingPoint, as_data
from spot_edge.prediction.ood import MEMBER

__all__ = ["Converted", "Fitted", "fitted_spec"]

_VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A spec with all that was fitted, the zip members that go with it, and the evidence."""

    spec: ModelSpec
    members: dict[str, bytes]
    validation: Predictions
    comparison: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Converted:
    """One finished file and what its checks measured; `comparison` is with the float32 file, on validation."""

    model: ModelFile
    engine: str
    parity: Parity
    validation: Predictions
    comparison: dict[str, Any] | None
    needs: dict[str, Any] | None = None  # of a microcontroller
    search: Sequence[Choice] = ()  # the steps towards layers in different numbers

    @classmethod
    def of(
        cls,
        model: ModelFile,
        engine: str,
        parity: Parity,
        fitted: Fitted,
        needs: dict[str, Any] | None = None,
        search: Sequence[Choice] = (),
    ) -> Converted:
        """`fitted` as that of the finished `model`: what was measured on the draft is known by the id of the file."""
        known = fitted.validation.model | {"id": model.id}
        comparison = fitted.comparison
        if comparison is not None:
            comparison = comparison | {"other": comparison["other"] | {"model": known}}
        return cls(
            model, engine, parity, dataclasses.replace(fitted.validation, model=known), comparison, needs, search
        )

    @property
    def compressed_bytes(self) -> int:
        """What is left of the file in an archive or on the way over a network: by zlib, at its best."""
        return len(zlib.compress(self.model.content, 9))

    @property
    def failed(self) -> bool:
        """Whether the drift gate refused the file."""
        return self.model.spec.drift is not None and self.model.spec.drift.verdict == "fail"

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        spec = self.model.spec
        return {
            "file": self.model.name,
            "variant": spec.variant,
            "engine": self.engine,
            "measured_in": as_data(spec.measured_in),
            "id": self.model.id,
            "bytes": len(self.model.content),
            "compressed_bytes": self.compressed_bytes,
            "temperature": spec.temperature,
            "operating_points": [as_data(point) for point in spec.operating_points],
            "conformal": as_data(spec.conformal) if spec.conformal else None,
            "image_quality": as_data(spec.image_quality),
            "parity_with_keras": dataclasses.asdict(self.parity),
            "drift": as_data(spec.drift) if spec.drift else None,
            "comparison_on_validation": self.comparison,
            **({} if self.needs is None else {"microcontroller": self.needs}),
            **({"search": [dataclasses.asdict(step) for step in self.search]} if self.search else {}),
        }


def fitted_spec(
    draft: ModelSpec, found: Predictions, pictures: Pictures, margins: Margins, baseline: Converted | None
) -> Fitted:
    """`draft` with temperature, operating points, conformal thresholds and verdict from its answers `found`."""
    validation = pictures.only(found, "val")
    temperature = float(np.float32(fit_temperature(validation.logits, validation.truth)))
    validation = _at(validation, temperature)
    malignant = [label.malignant for label in draft.labels]
    points = operating_points(
        malignant, validation.scores, validation.truth, validation.groups, measured_on=_VALIDATION
    )
    validation = dataclasses.replace(validation, operating_points=points)
    comparison, drift = None, None
    if baseline is not None:
        comparison = compare(baseline.validation, validation)
        drift = evaluate_drift(comparison, margins, measured_on=_VALIDATION)
    labels = [label.label for label in draft.labels]
    training, test = pictures.only(found, "train"), pictures.only(found, "test")
    capture, members = None, {}
    if len(training.truth):
        ood_reference = fit_ood_reference(training, validation, len(labels))
        members[MEMBER] = member(ood_reference)
        capture = choose_limits(
            ood_reference, validation, *((test, "test") if len(test.truth) else (validation, _VALIDATION))
        )
    spec = draft._replace(
        temperature=temperature,
        operating_points=_realised(points, _at(test, temperature), malignant),
        conformal=conformal_thresholds(
            labels, validation.scores, validation.truth, validation.groups, measured_on=_VALIDATION
        ),
        image_quality=capture,
        drift=drift,
    )
    return Fitted(spec, members, validation, comparison)


def _at(answers: Predictions, temperature: float) -> Predictions:
    """Answers with the scores that they have at another temperature."""
    return dataclasses.replace(answers, scores=softmax(answers.logits, temperature).astype(np.float32))


def _realised(
    chosen: Sequence[OperatingPoint], test: Predictions, malignant: Sequence[bool | None]
) -> tuple[OperatingPoint, ...]:
    """The operating points chosen on validation with what they do on the test part, which took part in no choice."""
    if not len(test.truth):
        return tuple(chosen)
    return tuple(
        measured_point(point.name, point.threshold, malignant, test.scores, test.truth, test.groups, measured_on="test")
        for point in chosen
    )
