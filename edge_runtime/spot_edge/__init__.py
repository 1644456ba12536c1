"""Classify dermatoscope images offline: what a lesion looks most like, and how urgent it is.

    from spot_edge import Classifier
    prediction = Classifier.load().classify("lesion.jpg")

Names are imported on first use, so `import spot_edge` costs almost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The public address of the repository, empty until there is one. Package metadata and messages use it.
REPOSITORY = ""

__all__ = [
    "RUNTIMES",
    "Camera",
    "CameraError",
    "CheckError",
    "Classifier",
    "DataError",
    "InputError",
    "InterpreterError",
    "ModelError",
    "OutputError",
    "Prediction",
    "Source",
    "SpotError",
    "__version__",
    "overlay",
    "read_model",
]

_HOMES = {
    "RUNTIMES": "model.interpreter",
    "Camera": "camera.camera",
    "CameraError": "errors",
    "CheckError": "errors",
    "Classifier": "classifier",
    "DataError": "errors",
    "InputError": "errors",
    "InterpreterError": "errors",
    "ModelError": "errors",
    "OutputError": "errors",
    "Prediction": "prediction.prediction",
    "Source": "image.source",
    "SpotError": "errors",
    "overlay": "prediction.heatmap",
    "read_model": "model.file",
}

if TYPE_CHECKING:
    from spot_edge.camera.camera import Camera
    from spot_edge.classifier import Classifier
    from spot_edge.errors import (
        CameraError,
        CheckError,
        DataError,
        InputError,
        InterpreterError,
        ModelError,
        OutputError,
        SpotError,
    )
    from spot_edge.image.source import Source
    from spot_edge.model.file import read_model
    from spot_edge.model.interpreter import RUNTIMES
    from spot_edge.prediction.heatmap import overlay
    from spot_edge.prediction.prediction import Prediction


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spot_edge' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"spot_edge.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
