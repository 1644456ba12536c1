"""The peers, and the file that each one runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["EXPORTER", "FLOAT", "INT8", "REPOSITORY", "ROWS", "Row", "install", "python_of"]

REPOSITORY = Path(__file__).parents[2]
EXPORTER = "torch"  # the environment in which the ONNX files are made

FLOAT, INT8 = "float32", "int8"


@dataclass(frozen=True, slots=True)
class Row:
    """A peer with one of the network's files."""

    peer: str
    adapter: str  # a module in `peers.adapters`
    environment: str  # .venv-peers-NAME, made from constraints/peers-NAME.txt
    variant: str
    network: str  # a file in the folder of networks
    runtime: str | None = None
    every: int = 1  # takes part in every nth round; above 1 for tools that loop by themselves for seconds


def python_of(environment: str) -> Path:
    """The path of an environment's Python, installed or not."""
    return REPOSITORY / f".venv-peers-{environment}" / "bin" / "python"


def install(environment: str) -> str:
    """The command that makes an environment, run from the root of this repository."""
    folder = f".venv-peers-{environment}"
    return f"python3.11 -m venv {folder} && {folder}/bin/pip install -r constraints/peers-{environment}.txt"


def _both(
    peer: str, adapter: str, environment: str, ending: str, *, runtime: str | None = None, every: int = 1
) -> list[Row]:
    return [Row(peer, adapter, environment, kind, f"{kind}.{ending}", runtime, every) for kind in (INT8, FLOAT)]


ROWS: tuple[Row, ...] = (
    *_both("LiteRT, bare loop", "litert", "litert", "tflite"),
    *_both("spot-edge, LiteRT", "spot", "litert", "tflite", runtime="ai-edge-litert"),
    *_both("spot-edge, tflite-runtime", "spot", "tflite-runtime", "tflite", runtime="tflite-runtime"),
    *_both("Google's benchmark_litert_model", "google_benchmark", "litert", "tflite", every=10),
    *_both("MediaPipe ImageClassifier", "mediapipe", "mediapipe", "tflite"),
    *_both("ONNX Runtime", "onnxruntime", "onnxruntime", "onnx"),
    *_both("OpenVINO", "openvino", "openvino", "onnx"),
    Row("PyTorch, eager", "torch", EXPORTER, FLOAT, "weights.npz"),
)
