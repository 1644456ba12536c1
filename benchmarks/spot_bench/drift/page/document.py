"""Render the page: verdicts first, then one section per model, then how it was measured."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from spot_bench.data.manifest import Manifest
from spot_bench.drift.gate import counts_of
from spot_bench.drift.page.figures import frontier_svg, gate_svg, reliability_svg, roc_svg, selective_svg
from spot_bench.drift.page.words import headline, sentences
from spot_bench.drift.report import group_name, model_title
from spot_bench.drift.subgroups import FEWEST_LESIONS, FEWEST_OF_A_CLASS
from spot_bench.report.html import render
from spot_bench.report.tables import points
from spot_edge.errors import InputError
from spot_edge.files import write_file
from spot_edge.image.tensor import decode

__all__ = ["page", "write_page"]

_MOST_SHOWN = 60  # flipped images of each model
_SIDE = 120  # pixels of a thumbnail
_FIGURES = {
    "accuracy": ("accuracy", "top class is right", 1),
    "top2_accuracy": ("top-2 accuracy", "true class is among the top two", 1),
    "top3_accuracy": ("top-3 accuracy", "true class is among the top three", 1),
    "balanced_accuracy": ("balanced accuracy", "mean recall of the classes", 1),
    "macro_auc": ("macro AUC", "mean over classes", 1),
    "malignant_auc": ("malignant AUC", "malignant against benign", 1),
    "ece": ("ECE", "calibration error, 0 is best", -1),
    "brier": ("Brier score", "error of all scores, 0 is best", -1),
    "log_loss": ("log loss", "error of the true score, 0 is best", -1),
}


def write_page(report: dict[str, Any], manifest: Manifest, path: Path) -> None:
    """Write the page of a report of `drift_report` to `path`, with thumbnails of the images of `manifest`.

    Raises ImportError if the extra `report` (Jinja2 and matplotlib) is not installed.
    """
    shown = {flip["image"]: None for c in report["comparisons"] for flip in c["flips"][:_MOST_SHOWN]}
    write_file(path, page(report, _thumbnails(shown, manifest)).encode())


def page(report: dict[str, Any], thumbnails: dict[str, str]) -> str:
    """Return the page; `thumbnails` are data URIs by image name, where an image could be read."""
    summaries = [report["comparisons"][0]["baseline"], *(c["other"] for c in report["comparisons"])]
    baseline, *others = map(model_title, summaries)
    return render(
        Path(__file__).with_name("report.html.j2"),
        title=f"{', '.join(others)} against {baseline}",
        report=report,
        summaries=summaries,
        group=group_name(summaries[0]),
        thumbnails=thumbnails,
        frontier=frontier_svg(report),
        figures=_FIGURES,
        FEWEST_LESIONS=FEWEST_LESIONS,
        FEWEST_OF_A_CLASS=FEWEST_OF_A_CLASS,
        MOST_SHOWN=_MOST_SHOWN,
        model_title=model_title,
        headline=headline,
        sentences=sentences,
        half_kept=_half_kept,
        counts_of=counts_of,
        gate_svg=gate_svg,
        points=points,
        reliability_svg=reliability_svg,
        roc_svg=roc_svg,
        selective_svg=selective_svg,
    )


def _half_kept(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the point of the coverage curve that is nearest to one half."""
    nearest: dict[str, Any] = min(summary["selective"], key=lambda found: abs(found["share"] - 0.5))
    return nearest


def _thumbnails(images: Iterable[str], manifest: Manifest) -> dict[str, str]:
    """Return small JPEGs as data URIs by image name; images that cannot be read are left out."""
    files = {manifest.name(item): item.image for item in manifest.items}
    found = {name: _thumbnail(files[name]) for name in images if name in files}
    return {name: uri for name, uri in found.items() if uri is not None}


def _thumbnail(file: Path) -> str | None:
    try:
        image, _ = decode(file.read_bytes(), file.name)
    except (OSError, InputError):
        return None
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
