"""Save and restore the state of a training, in one folder.

state.npz   weights, optimizer and position; replaced atomically after every epoch
best.npz    the weights of the best epoch, if the recipe keeps that one
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from spot_edge.errors import DataError
from spot_edge.files import write_file

__all__ = ["Checkpoint", "Epoch", "Position"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The figures of one finished epoch."""

    phase: str
    epoch: int
    epochs: int
    size: int
    learning_rate: float
    loss: float
    accuracy: float
    seconds: float
    images_per_second: float
    val_loss: float | None = None
    val_balanced_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a training: the finished epochs of a phase, and the finished steps of the next epoch."""

    phase: int
    epoch: int
    step: int
    history: list[Epoch] = field(default_factory=list)
    loss: float = 0.0  # these three: over the steps of the unfinished epoch
    accuracy: float = 0.0
    seconds: float = 0.0
    last: Epoch | None = None  # the epoch that has just ended


class Checkpoint:
    """The checkpoint in `folder`, which must exist."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state.npz"
        self._best = folder / "best.npz"

    def position(self) -> Position | None:
        """Return the position of the training, or None before its first checkpoint."""
        if not self._state.exists():
            return None
        data = json.loads(bytes(_read(self._state)["position"]))
        history = [Epoch(**epoch) for epoch in data.pop("history")]
        data.pop("last")
        return Position(**data, history=history)

    def save(self, body: Any, optimizer: Any, position: Position) -> None:
        """Replace the saved state atomically."""
        text = json.dumps(dataclasses.asdict(position)).encode()
        arrays = {"position": np.frombuffer(text, np.uint8)}
        arrays |= _numbered("body", body.variables) | _numbered("optimizer", optimizer.variables)
        write_file(self._state, _bytes(arrays))

    def restore(self, body: Any, optimizer: Any | None) -> None:
        """Load the state into a fresh body, and into an optimizer that was built for it."""
        arrays = _read(self._state)
        _assign(self._state, arrays, "body", body.variables)
        if optimizer is not None:
            _assign(self._state, arrays, "optimizer", optimizer.variables)

    def keep_best(self, body: Any) -> None:
        """Save these weights as the best."""
        write_file(self._best, _bytes(_numbered("body", body.weights)))

    def load_best(self, body: Any) -> None:
        """Load the best weights into `body`; without any, leave it unchanged."""
        if self._best.exists():
            _assign(self._best, _read(self._best), "body", body.weights)


def _numbered(kind: str, variables: Sequence[Any]) -> dict[str, NDArray[Any]]:
    return {f"{kind}-{i:05}": np.asarray(keras.ops.convert_to_numpy(v.value)) for i, v in enumerate(variables)}


def _bytes(arrays: dict[str, NDArray[Any]]) -> bytes:
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: unreadable checkpoint: {error}") from error


def _assign(path: Path, arrays: dict[str, NDArray[Any]], kind: str, variables: Sequence[Any]) -> None:
    values = [value for name, value in sorted(arrays.items()) if name.startswith(f"{kind}-")]
    if [v.shape for v in values] != [tuple(v.shape) for v in variables]:
        raise DataError(f"{path}: checkpoint of another recipe. Start a new training in another folder")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
