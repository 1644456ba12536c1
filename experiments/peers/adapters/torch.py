"""PyTorch as it is without compiling: eager."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.peers.mobilenet import load_network
from experiments.peers.pixels import bare_peer, planes
from experiments.peers.talk import Peer, Task, read_task, serve


def start(task: Task) -> Peer:
    """The network for inference, its input channels first as is torch's habit."""
    torch.set_num_threads(task.threads)
    network = load_network(task.network, task.temperature)

    def prepare(tensor: NDArray[np.uint8]) -> Any:
        return torch.from_numpy(planes(tensor))

    def run(tensor: Any) -> Any:
        with torch.inference_mode():
            return network(tensor)[0][0].numpy()

    return bare_peer(task, f"torch {torch.__version__}", prepare, run)


if __name__ == "__main__":
    task = read_task()
    serve(task, start(task))
