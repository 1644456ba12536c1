"""Data, licences and notices of everything that a run learned from reach the model file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from spot_bench.data.drawn import draw_shapes
from spot_convert.modelfile.assembly import draft_spec
from spot_convert.run import read_run
from spot_edge.model.spec import MeasuredIn
from spot_edge.model.spec_json import render_spec
from spot_train.data.extra import read_extras, with_sources, with_training
from spot_train.labels.labelset import plain_label_set
from spot_train.recipes.recipe import Source


def test_licences_of_sources_and_notices_of_teachers_reach_spot_json(
    small_run: Path, changed_run: Callable[..., Path], tmp_path: Path
) -> None:
    about = json.loads((small_run / "run.json").read_text())
    about["training"] = {"data": "shapes", "licence": "CC0", "notice": "Not a diagnosis."}
    draw_shapes(tmp_path / "more", per_class=2, seed=2)
    sources = (
        Source("first", "CC BY-NC 4.0 (non-commercial)", citation="A. Author 2020"),
        Source("second", "terms of B (non-commercial)"),
    )
    labels = plain_label_set([label["label"] for label in about["labels"]])
    extras = read_extras(sources, dict.fromkeys(("first", "second"), tmp_path / "more"), labels)
    teachers = [
        {"data": "C 2021", "licence": "CC BY-NC-SA 4.0", "notice": "Not a diagnosis. No commercial use."},
        {"data": "shapes", "licence": "CC0", "notice": "Few dark skin tones."},
    ]
    run = changed_run(run=json.dumps(with_training(with_sources(about, extras), teachers)))
    found = json.loads(render_spec(draft_spec(read_run(run), "int8", MeasuredIn("litert", "1.0"))))
    assert found["licence"] == (
        "CC0; first: CC BY-NC 4.0 (non-commercial); second: terms of B (non-commercial); CC BY-NC-SA 4.0"
    )
    assert found["notice"] == "Not a diagnosis. No commercial use. Few dark skin tones."
    assert found["training"]["data"] == "shapes; A. Author 2020 (6 images); second (6 images); C 2021"
