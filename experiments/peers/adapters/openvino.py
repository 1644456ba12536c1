"""OpenVINO on the processor, tuned for latency; float32 stays float32, also on processors that have bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from experiments.peers.pixels import bare_peer, planes
from experiments.peers.talk import Peer, Task, read_task, serve


def start(task: Task) -> Peer:
    """The compiled ONNX file, and one request that is used again and again."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": task.threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(task.network, "CPU", settings)
    request = compiled.create_infer_request()

    def run(tensor: NDArray[np.float32]) -> Any:
        return request.infer([tensor])[0][0]

    return bare_peer(task, f"openvino {openvino.__version__.split('-')[0]}", planes, run)


if __name__ == "__main__":
    task = read_task()
    serve(task, start(task))
