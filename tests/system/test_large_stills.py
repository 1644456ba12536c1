"""The device, the benchmarks and the converter make the same tensor of a large JPEG, whatever the geometry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from PIL import Image

from experiments.stills import main as study
from spot_bench.data.drawn import draw_lesion
from spot_bench.data.manifest import Item
from spot_convert.images import image_tensors
from spot_edge.classifier import Classifier
from spot_edge.model.file import read_model
from spot_edge.model.spec import Geometry

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


@pytest.mark.parametrize(("geometry", "reduction"), [("stretch", 1), ("stretch-reduced-jpeg", 2)])
def test_large_stills(geometry: Geometry, reduction: int, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    draw_lesion(seed=1).resize((1536, 1152), Image.Resampling.BICUBIC).save(photo)
    model = read_model()
    spec = model.spec._replace(image=model.spec.image._replace(geometry=geometry))
    classifier = Classifier(replace(model, spec=spec))
    prepared = classifier.prepare(photo)
    assert prepared.reduction == reduction
    assert np.array_equal(image_tensors([Item(photo, "nv", "one")], spec.image), prepared.tensor)
    prediction = classifier.predict(prepared).as_dict()
    assert prediction["image"].get("reduction", 1) == reduction
    schema = json.loads((SCHEMAS / "prediction.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(prediction)


def test_the_study_of_two_images(tmp_path: Path) -> None:
    """Two lesions cannot show that reducing is harmless, even if it changes neither."""
    rows = ["image,label,group,split"]
    for seed in range(2):
        draw_lesion(seed, 400, 300).save(tmp_path / f"{seed}.png")
        rows.append(f"{seed}.png,nv,{seed},val")
    (tmp_path / "data.csv").write_text("\n".join(rows))
    done = CliRunner().invoke(study, ["--data", str(tmp_path / "data.csv")], catch_exceptions=False)
    assert done.exit_code == 0
    assert "two stills of each of the 2 images that may flip" in done.stdout
    time = float(next(line for line in done.stdout.splitlines() if line.startswith("reduced ")).split()[-4])
    assert 0.1 < time < 0.8
    assert done.stdout.splitlines()[-1].endswith("margin 1.0: undecided")
