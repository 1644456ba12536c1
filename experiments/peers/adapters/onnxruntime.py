"""ONNX Runtime on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from experiments.peers.pixels import bare_peer, planes
from experiments.peers.talk import Peer, Task, read_task, serve


def start(task: Task) -> Peer:
    """A session with every optimization, which is its default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    session = onnxruntime.InferenceSession(task.network, options, providers=["CPUExecutionProvider"])

    def run(tensor: NDArray[np.float32]) -> Any:
        return session.run(None, {"image": tensor})[0][0]

    return bare_peer(task, f"onnxruntime {onnxruntime.__version__}", planes, run)


if __name__ == "__main__":
    task = read_task()
    serve(task, start(task))
