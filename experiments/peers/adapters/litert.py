"""The floor: a bare loop around LiteRT's interpreter."""

from __future__ import annotations

from typing import Any

import ai_edge_litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from experiments.peers.pixels import bare_peer
from experiments.peers.talk import Peer, Task, read_task, serve


def start(task: Task) -> Peer:
    """The interpreter; all outputs are read."""
    engine = Interpreter(model_path=task.network, num_threads=task.threads)
    engine.allocate_tensors()
    entry = engine.get_input_details()[0]["index"]
    exits = [output["index"] for output in engine.get_output_details()]  # scores are the first

    def run(tensor: NDArray[np.uint8]) -> Any:
        engine.set_tensor(entry, tensor)
        engine.invoke()
        scores, *_ = [engine.get_tensor(index) for index in exits]
        return scores[0]

    return bare_peer(task, f"ai-edge-litert {ai_edge_litert.__version__}", lambda tensor: tensor, run)


if __name__ == "__main__":
    task = read_task()
    serve(task, start(task))
