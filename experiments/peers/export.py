"""Export the embedded network to ONNX, float32 and int8, in the environment of the PyTorch peer.

int8 is ONNX Runtime's static quantization: QDQ, per-channel weights, ranges from the calibration images.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from experiments.peers.mobilenet import load_network
from experiments.peers.pixels import planes


class _Pictures(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not installed where mypy runs
    def __init__(self, tensors: Path) -> None:
        self._left: Iterator[dict[str, Any]] = ({"image": planes(one[np.newaxis])} for one in np.load(tensors))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._left, None)


def export(weights: str, temperature: float, folder: Path) -> None:
    """Write `float32.onnx` and `int8.onnx` into `folder`, which holds `calibration.npy`."""
    plain, ready, unfinished = (folder / name for name in ("float32.onnx", "ready.onnx", "unfinished.onnx"))
    side = np.load(folder / "calibration.npy", mmap_mode="r").shape[1]
    image = torch.zeros(1, 3, side, side)
    names = {"input_names": ["image"], "output_names": ["scores", "evidence", "embedding"]}
    torch.onnx.export(load_network(weights, temperature), (image,), plain, dynamo=True, external_data=False, **names)
    quant_pre_process(plain, ready)
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    reader = _Pictures(folder / "calibration.npy")
    quantize_static(ready, unfinished, reader, QuantFormat.QDQ, per_channel=True, **types)
    ready.unlink()
    unfinished.replace(folder / "int8.onnx")


if __name__ == "__main__":
    export(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
