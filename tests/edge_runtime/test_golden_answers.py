"""The embedded model answers alike on every processor: what that means for each interpreter, against kept answers.

A new embedded model, or an interpreter with other kernels, needs new ones. On x86-64, for golden-answers.json,
`python tests/edge_runtime/test_golden_answers.py` prints those of the interpreters that are installed.
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

KEPT = json.loads((Path(__file__).parent / "golden-answers.json").read_text())


def pictures() -> list[np.ndarray]:
    """Blots on skin by integer formulas, and their negatives."""
    y, x = np.mgrid[0:450, 0:600]
    made = []
    for number in range(3):
        skin = np.stack([214 - (y + 5 * number) % 23, 170 - x % 29, 150 - (x + y) % 31], axis=2)
        inside = (2 + number) * (x - 300) ** 2 + 3 * (y - 225) ** 2 < (40 + 30 * number) ** 2 * 3
        picture = np.where(inside[..., None], skin // (2 + number) + np.array([20, 4, 1]), skin).astype(np.uint8)
        made += [picture, 255 - picture]
    return made


def answers(runtime: str) -> dict[str, Any]:
    """The embedded model's scores in `runtime`, and a digest of its evidence, which is quantized."""
    classifier = Classifier.load(runtime=runtime)
    said = [classifier.classify(picture) for picture in pictures()]
    evidence = b"".join(answer.evidence.tobytes() for answer in said)
    scores = [[round(c.score, 7) for c in sorted(answer.ranked, key=lambda c: c.label)] for answer in said]
    return {"model": classifier.model.id, "evidence": hashlib.sha256(evidence).hexdigest(), "scores": scores}


def apart(first: dict[str, Any], second: dict[str, Any]) -> float:
    return float(np.abs(np.subtract(first["scores"], second["scores"])).max())


@pytest.mark.parametrize("runtime", sorted(set(installed_runtimes()) & set(KEPT)))
def test_the_embedded_model_answers_as_it_did_on_x86(runtime: str) -> None:
    """LiteRT: bit for bit until the softmax, whose last bit is the processor's. tflite-runtime: within .05."""
    found, kept = answers(runtime), KEPT[runtime]
    assert found["model"] == kept["model"], "another model is embedded: renew golden-answers.json"
    if runtime == "ai-edge-litert":
        assert found["evidence"] == kept["evidence"]
    if platform.machine() == "x86_64":  # on ARM tflite-runtime rounds as near to LiteRT as to its own x86 kernels
        assert min(KEPT, key=lambda name: apart(found, KEPT[name])) == runtime
    assert apart(found, kept) < {"ai-edge-litert": 1e-6, "tflite-runtime": 0.05}[runtime]


def test_the_expected_scores_tell_images_and_interpreters_apart() -> None:
    assert len(set(np.argmax(KEPT["ai-edge-litert"]["scores"], axis=1))) > 1
    assert apart(*KEPT.values()) > 1e-3


if __name__ == "__main__":
    for name in installed_runtimes():
        print(f'"{name}":', json.dumps(answers(name)).replace(": [[", ": [\n  [").replace("], [", "],\n  ["))
