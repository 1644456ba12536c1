"""The device, the benchmarks and the converter make the same tensor of a large JPEG, whatever the geometry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

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
