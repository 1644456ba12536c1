"""Ours: `spot_edge.Classifier`; bare is a prepared picture to the whole answer, triage and all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from experiments.peers.talk import Peer, Task, read_task, serve
from spot_edge import Classifier, Prediction
from spot_edge.image.tensor import Prepared


def start(task: Task) -> Peer:
    """The classifier in the runtime that the task names."""
    classifier = Classifier.load(task.network, runtime=task.runtime, threads=task.threads)
    whole = classifier.prepare(task.picture)

    def prepare(tensor: NDArray[np.uint8]) -> Prepared:
        return replace(whole, tensor=tensor)

    def run(prepared: Prepared) -> list[float]:
        found = dict(_pairs(classifier.predict(prepared)))
        return [found[label] for label in task.labels]

    def classify(path: str) -> list[tuple[str, float]]:
        return _pairs(classifier.classify(path))

    return Peer(f"{classifier.runtime.name} {classifier.runtime.version}", prepare, run, classify)


def _pairs(prediction: Prediction) -> list[tuple[str, float]]:
    return [(score.label, score.score) for score in prediction.ranked]


if __name__ == "__main__":
    task = read_task()
    serve(task, start(task))
