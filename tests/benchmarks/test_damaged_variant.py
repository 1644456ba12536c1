"""A file with a damaged layer that affects only melanoma: overall accuracy hides it, the gate does not.

The damage resembles a bad scale: the melanoma row of the last convolution's weights is reduced by a sixth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spot_bench.data.manifest import read_manifest
from spot_bench.data.predictions import predict
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import Margins, evaluate_drift
from spot_bench.stats.metrics import accuracy, recalls
from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_edge.classifier import Classifier
from spot_edge.model.file import ModelFile, read_model, seal, verify
from spot_edge.prediction.ood import MEMBER

pytestmark = pytest.mark.long

FACTOR = 0.84


def damaged(model: ModelFile, label: str, factor: float) -> ModelFile:
    """Return `model` with the int8 weights of the evidence of `label` multiplied by `factor`."""
    graph = Graph(unpack(model.content))
    names = [tensor.name.decode() for tensor in graph.graph.tensors]
    (number,) = (index for index, name in enumerate(names) if name.endswith("evidence_1/convolution"))
    tensor = graph.graph.tensors[number]
    stored = np.asarray(graph.model.buffers[tensor.buffer].data, np.uint8)
    weights = stored.view(np.int8).reshape(tensor.shape).copy()
    row = [known.label for known in model.spec.labels].index(label)
    weights[row] = np.rint(weights[row] * factor).astype(np.int8)
    graph.fill(number, weights)
    spec, members = model.spec._replace(drift=None), {MEMBER: model.members[MEMBER]}
    return verify(seal(pack(graph.model), spec, members), "damaged.tflite")


def test_the_damage_affects_only_one_class() -> None:
    sound, worse = read_model(), damaged(read_model(), "mel", FACTOR)
    picture = np.random.default_rng(0).integers(0, 255, (225, 300, 3), np.uint8)
    before, after = (Classifier(model, threads=1).classify(picture).evidence for model in (sound, worse))
    changed = np.abs(before - after).max(axis=(0, 1)) > 0
    labels = [label.label for label in sound.spec.labels]
    assert [label for label, flag in zip(labels, changed, strict=True) if flag] == ["mel"]
    assert worse.id != sound.id


def test_the_gate_finds_damage_that_overall_accuracy_hides(ham10000: Path) -> None:
    images = read_manifest(ham10000).split("val")
    model = read_model()
    sound, worse = (predict(Classifier(file), images) for file in (model, damaged(model, "mel", FACTOR)))
    before, after = accuracy(sound.truth, sound.scores), accuracy(worse.truth, worse.scores)
    assert abs(after - before) < 0.01
    mel = sound.labels.index("mel")
    assert recalls(worse.truth, worse.scores)[mel] < recalls(sound.truth, sound.scores)[mel] - 0.05

    drift = evaluate_drift(compare(sound, worse), Margins(), measured_on="validation")
    failing = [criterion.name for criterion in drift.criteria if criterion.verdict == "fail"]
    assert drift.verdict == "fail"
    assert "recall mel" in failing
    assert "balanced accuracy" not in failing
    assert "macro AUC" not in failing
