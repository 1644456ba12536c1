"""What a conversion made: the files and `report.json` on disk, and the table in the terminal."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spot_bench.data.predictions import Predictions
from spot_bench.drift.gate import counts_of, more_images
from spot_bench.report.tables import align
from spot_bench.stats import metrics
from spot_bench.stats.intervals import bootstrap
from spot_convert.checks.fitting import Fitted, GatePredictions
from spot_convert.checks.parity import Parity
from spot_convert.quantize.mixing import SearchStep
from spot_convert.run import Run
from spot_convert.variants.catalog import LITERT
from spot_edge.errors import OutputError
from spot_edge.files import make_folder, write_file
from spot_edge.model.file import ModelFile
from spot_edge.model.spec import Criterion, Drift, as_data

__all__ = ["FAILED", "Converted", "family_table", "refuse_existing", "write_family"]

FAILED = "failed"  # subfolder for the files that the drift gate fails
REPORT = "report.json"
_PACKAGES = ("tensorflow", "keras", "litert-quantizer", LITERT, "numpy", "pillow")


@dataclass(frozen=True, slots=True)
class Converted:
    """A finished file and what its checks measured. `comparison` is with the float32 baseline, on the gate's images."""

    model: ModelFile
    engine: str
    parity: Parity
    validation: Predictions
    gate: GatePredictions
    comparison: dict[str, Any] | None
    needs: dict[str, Any] | None = None  # memory and operators on a microcontroller
    search: Sequence[SearchStep] = ()  # the steps of a mixed-precision search

    @classmethod
    def of(
        cls,
        model: ModelFile,
        engine: str,
        parity: Parity,
        fitted: Fitted,
        needs: dict[str, Any] | None = None,
        search: Sequence[SearchStep] = (),
    ) -> Converted:
        """Attach `fitted` to the finished `model`: what was measured on the draft gets the id of the final file."""
        about = fitted.validation.model | {"id": model.id}
        validation, labelled = (
            dataclasses.replace(each, model=about) for each in (fitted.validation, fitted.gate.labelled)
        )
        gate = dataclasses.replace(fitted.gate, labelled=labelled)
        comparison = fitted.comparison
        if comparison is not None:
            comparison = comparison | {"other": comparison["other"] | {"model": about}}
        return cls(model, engine, parity, validation, gate, comparison, needs, search)

    @property
    def compressed_bytes(self) -> int:
        """The size of the file in an archive or a compressed download (zlib, level 9)."""
        return len(zlib.compress(self.model.content, 9))

    @property
    def failed(self) -> bool:
        """Whether the drift gate fails the file."""
        return self.model.spec.drift is not None and self.model.spec.drift.verdict == "fail"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
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
            **({"views": [as_data(views) for views in spec.views]} if spec.views else {}),
            **({"search": [dataclasses.asdict(step) for step in self.search]} if self.search else {}),
        }


def refuse_existing(out: Path, files: list[str]) -> None:
    """Raise OutputError if `out` already holds a report or one of the files, passed or failed."""
    paths = [out / REPORT, *(folder / file for folder in (out, out / FAILED) for file in files)]
    present = [path for path in paths if path.exists()]
    if present:
        raise OutputError(f"{present[0]}: already exists: choose another folder")


def write_family(out: Path, run: Run, made: Sequence[Converted], calibration: dict[str, int]) -> None:
    """Write the files and `report.json` to `out`, and files that fail the drift gate to its subfolder FAILED."""
    make_folder(out)
    for converted in made:
        folder = make_folder(out / FAILED) if converted.failed else out
        write_file(folder / converted.model.name, converted.model.content)
    report = {
        "schema": 1,
        "run": run.name,
        "environment": {name: version(name) for name in _PACKAGES},
        "calibration": calibration,
        "margins": dataclasses.asdict(run.margins),
        "retraining": dataclasses.asdict(run.retraining),
        "budget": dataclasses.asdict(run.budget),
        "files": [converted.as_dict() for converted in made],
    }
    write_file(out / REPORT, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())


def family_table(made: Sequence[Converted]) -> str:
    """Return one row per file, and below it every criterion of the drift gate with the bound that decides."""
    rows = [
        [
            "file",
            "engine, runtime",
            "MB",
            "MB compressed",
            "balanced accuracy on validation",
            "same top class as float32",
            "verdict",
        ]
    ]
    for converted in made:
        spec, validation = converted.model.spec, converted.validation
        balanced = bootstrap(metrics.balanced_accuracy, validation.groups, validation.truth, validation.scores)
        rows.append(
            [
                converted.model.name,
                f"{converted.engine}, {spec.measured_in.runtime}",
                f"{len(converted.model.content) / 1e6:.2f}",
                f"{converted.compressed_bytes / 1e6:.2f}",
                f"{balanced.value:.3f} ({balanced.low:.3f} to {balanced.high:.3f})",
                _agreement(converted.comparison),
                _file_verdict(spec.drift) if spec.drift else "baseline",
            ]
        )
    lines = align(rows)
    for converted in made:
        if (drift := converted.model.spec.drift) is not None and converted.comparison is not None:
            lines += ["", *_drift_lines(converted.model.name, drift, converted.comparison)]
    return "\n".join(lines)


def _file_verdict(drift: Drift) -> str:
    """Return the verdict on a file; if undecided, with the lesions that would decide its hardest criterion."""
    if drift.verdict != "undecided":
        return drift.verdict
    needed = [criterion.would_tell for criterion in drift.criteria if criterion.verdict == "undecided"]
    known = [number for number in needed if number is not None]
    return f"undecided: needs {max(known)} groups" if len(known) == len(needed) and known else "undecided"


def _agreement(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    shares = [
        f"{100 * share['value']:.1f} %{f' ({name})' if name != 'all' else ''}"
        for name, share in comparison["agreement"].items()
        if name != "classes" and share["value"] is not None
    ]
    return ", ".join(shares)


def _drift_lines(name: str, drift: Drift, comparison: dict[str, Any]) -> Iterator[str]:
    yield f"{name}: {drift.verdict}, measured on {drift.measured_on}"
    rows = [["criterion", "loss in points (95 % bounds)", "margin", "groups", "", "verdict"]]
    rows += [
        [
            criterion.name,
            f"{100 * criterion.worse_by:+.2f} ({100 * criterion.low:+.2f} to {100 * criterion.high:+.2f})",
            f"{100 * criterion.margin:g}",
            str(criterion.n),
            counts_of(comparison, criterion.name),
            _verdict(criterion),
        ]
        for criterion in drift.criteria
    ]
    yield from (f"  {line}" for line in align(rows))
    if drift.verdict == "undecided":
        judged = comparison | {"verdict": as_data(drift)}
        yield "  " + more_images(judged, "group", ("--gate-data NAME=MANIFEST", "--gate-unlabelled NAME=FOLDER"))


def _verdict(criterion: Criterion) -> str:
    return criterion.verdict + (f": needs {criterion.would_tell} groups" if criterion.would_tell else "")
