"""`spot-edge info`: show what a model file contains."""

from __future__ import annotations

import json

import click

from spot_edge.errors import one_line
from spot_edge.image.quality import CHECKS
from spot_edge.model.file import ModelFile, read_model
from spot_edge.model.spec import Criterion, OperatingPoint, Rate, as_data

__all__ = ["info"]

_KINDS = {True: "malignant", False: "benign", None: "unknown"}


@click.command(short_help="Show what a model file contains and how it was measured.")
@click.argument("model", required=False, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(model: str | None, as_json: bool) -> None:
    """Show what MODEL (default: the embedded model) contains: classes, operating points, figures and origin."""
    file = read_model(model)
    # The texts are the file's: none may look like another line, or control the terminal.
    click.echo(json.dumps(_as_dict(file)) if as_json else "\n".join(map(one_line, _lines(file))))


def _as_dict(file: ModelFile) -> dict[str, object]:
    return {
        "name": file.name,
        "id": file.id,
        "bytes": len(file.content),
        "spec": as_data(file.spec),
        "signature": as_data(file.signature),
        "members": {key: len(value) for key, value in file.members.items()},
    }


def _lines(file: ModelFile) -> list[str]:
    spec, image = file.spec, file.spec.image
    width, medical = max(len(label.label) for label in spec.labels), any(label.malignant for label in spec.labels)
    lines = [
        f"{file.name}: model '{spec.name}', variant {spec.variant}, {len(file.content) / 1e6:.2f} MB",
        f"id          {file.id}",
        f"image       {image.size}x{image.size}, {image.geometry}, {image.filter}",
        f"measured in {spec.measured_in.runtime} {spec.measured_in.version}, temperature {spec.temperature:.3f}",
    ]
    named = [("input", file.signature.inputs), ("output", file.signature.outputs)]
    for kind, tensors in named:
        lines += [f"{kind:<11} {name} {t.dtype}{list(t.shape)}" for name, t in tensors.items()]
    lines += ["", "classes"]
    for label in spec.labels:
        kind = f"{_KINDS[label.malignant]:<9}  " if medical else ""
        about = f": {label.description}" if label.description else ""
        lines.append(f"  {label.label:<{width}}  {kind}{label.name}{about}")
    if medical:
        lines += ["", "operating points (sum of the malignant scores at or above the threshold)"]
    lines += map(_point, spec.operating_points)
    if medical and not spec.operating_points:
        lines.append("  none: the triage category is always 'cannot assess'")
    if spec.conformal is not None:
        lines += [
            "",
            f"prediction set (thresholds of the score, measured on {spec.conformal.measured_on})",
        ]
        for name, chosen in {"any image": spec.conformal.marginal, **spec.conformal.classes}.items():
            lines.append(f"  {name:<16} threshold {chosen.threshold:.3f}: {100 * chosen.coverage:g} %, n={chosen.n}")
    for views in spec.views:
        lines += ["", f"with --views {views.number}: temperature {views.temperature:.3f}"]
        lines += map(_point, views.operating_points)
    if spec.image_quality is not None:
        refused, measured_on = _rate(spec.image_quality.refused), spec.image_quality.measured_on
        lines += ["", f"image quality limits, which reject {refused} of good images ({measured_on})"]
        for check in CHECKS:
            if check.name in spec.image_quality.limits:
                side = "at least" if check.least else "at most"
                lines.append(
                    f"  {check.name:<16} {side} {spec.image_quality.limits[check.name]:.3f}, else {check.problem}"
                )
    if spec.drift is not None:
        lines += ["", f"accuracy drift from float32 on {spec.drift.measured_on}: {spec.drift.verdict}"]
        lines += [f"  {_drift(criterion)}" for criterion in spec.drift.criteria]
    lines += ["", "origin"]
    lines += [f"  {key:<14} {value}" for key, value in spec.training.items()]
    if spec.licence:
        lines.append(f"  {'licence':<14} {spec.licence}")
    if spec.notice:
        lines += ["", *spec.notice.replace("\n", "\n  ").split("\n")]
    return lines


def _point(point: OperatingPoint) -> str:
    return (
        f"  {point.name:<16} threshold {point.threshold:.3f}: sensitivity {_rate(point.sensitivity)}, "
        f"specificity {_rate(point.specificity)}, on {point.measured_on}"
    )


def _drift(c: Criterion) -> str:
    needed = f"; {c.would_tell} lesions needed to decide" if c.would_tell else ""
    return (
        f"{c.name:<24} worse by {100 * c.worse_by:.2f} points ({100 * c.low:.2f} to {100 * c.high:.2f}, n={c.n}), "
        f"at most {100 * c.margin:g}: {c.verdict}{needed}"
    )


def _rate(rate: Rate) -> str:
    return f"{100 * rate.value:.0f} % ({100 * rate.low:.0f} to {100 * rate.high:.0f}, n={rate.n})"
