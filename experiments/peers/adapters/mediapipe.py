"""MediaPipe's ImageClassifier. It has no number of threads to set."""

from __future__ import annotations

from typing import Any

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions
from numpy.typing import NDArray

from experiments.peers.talk import Peer, Task, read_task, serve


def start(task: Task) -> Peer:
    """The classifier in its mode for single pictures."""
    classifier = ImageClassifier.create_from_options(ImageClassifierOptions(BaseOptions(task.network)))

    def prepare(tensor: NDArray[np.uint8]) -> Any:
        return mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(tensor[0]))

    def pairs(image: Any) -> list[tuple[str, float]]:
        found = classifier.classify(image).classifications[0].categories
        return [(category.category_name, category.score) for category in found]

    def run(image: Any) -> list[float]:
        found = dict(pairs(image))
        return [found[label] for label in task.labels]

    def classify(path: str) -> list[tuple[str, float]]:
        return pairs(mediapipe.Image.create_from_file(path))

    return Peer(f"mediapipe {mediapipe.__version__}", prepare, run, classify)


if __name__ == "__main__":
    task = read_task()
    serve(task, start(task))
