"""The embedded model scores alike on every processor: each interpreter is compared with stored scores.

A new embedded model, or an interpreter with other kernels, needs new scores in golden-answers.json. On x86-64,
`python tests/edge_runtime/test_golden_answers.py` prints those of the installed interpreters.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spot_edge.classifier import Classifier
from spot_edge.model.interpreter import installed_runtimes

GOLDEN = json.loads((Path(__file__).parent / "golden-answers.json").read_text())


def images() -> list[np.ndarray]:
    """Spots on skin, drawn by integer formulas, and their negatives."""
    y, x = np.mgrid[0:450, 0:600]
    made = []
    for number in range(3):
        skin = np.stack([214 - (y + 5 * number) % 23, 170 - x % 29, 150 - (x + y) % 31], axis=2)
        inside = (2 + number) * (x - 300) ** 2 + 3 * (y - 225) ** 2 < (40 + 30 * number) ** 2 * 3
        image = np.where(inside[..., None], skin // (2 + number) + np.array([20, 4, 1]), skin).astype(np.uint8)
        made += [image, 255 - image]
    return made


def predict(runtime: str) -> dict[str, Any]:
    """The embedded model's scores in `runtime`, and a digest of its evidence, which is quantized."""
    classifier = Classifier.load(runtime=runtime)
    predictions = [classifier.classify(image) for image in images()]
    evidence = b"".join(prediction.evidence.tobytes() for prediction in predictions)
    scores = [
        [round(c.score, 7) for c in sorted(prediction.ranked, key=lambda c: c.label)] for prediction in predictions
    ]
    return {"model": classifier.model.id, "evidence": hashlib.sha256(evidence).hexdigest(), "scores": scores}


def largest_difference(first: dict[str, Any], second: dict[str, Any]) -> float:
    return float(np.abs(np.subtract(first["scores"], second["scores"])).max())


@pytest.mark.parametrize("runtime", sorted(set(installed_runtimes()) & set(GOLDEN)))
def test_the_embedded_model_scores_as_on_x86(runtime: str) -> None:
    """LiteRT: bit for bit up to the softmax, whose last bit depends on the processor. tflite-runtime: within .05."""
    found, expected = predict(runtime), GOLDEN[runtime]
    assert found["model"] == expected["model"], "the embedded model has changed: renew golden-answers.json"
    if runtime == "ai-edge-litert":
        assert found["evidence"] == expected["evidence"]
    if platform.machine() == "x86_64":  # on ARM, tflite-runtime is as near to LiteRT as to its own x86 kernels
        assert min(GOLDEN, key=lambda name: largest_difference(found, GOLDEN[name])) == runtime
    assert largest_difference(found, expected) < {"ai-edge-litert": 1e-6, "tflite-runtime": 0.05}[runtime]


def test_the_golden_scores_distinguish_images_and_interpreters() -> None:
    assert len(set(np.argmax(GOLDEN["ai-edge-litert"]["scores"], axis=1))) > 1
    assert largest_difference(*GOLDEN.values()) > 1e-3


if __name__ == "__main__":
    for name in installed_runtimes():
        print(f'"{name}":', json.dumps(predict(name)).replace(": [[", ": [\n  [").replace("], [", "],\n  ["))
