"""What the device package's tests share: drawn pictures, the embedded model, and the command line in a process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spot_edge.classifier import Classifier
from spot_edge.modelfile import ModelFile, read_model


def _draw(width: int, height: int) -> np.ndarray:
    """A dark, lopsided blot on skin, by integer formulas alone: the same bytes wherever it is drawn."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([214 - y % 23, 170 - x % 29, 150 - (x + y) % 31], axis=2)
    blot = 9 * (2 * x - width) ** 2 + 25 * (2 * y - height) ** 2 < 4 * min(width, height) ** 2 + 40 * x * y % 9973
    picture[blot] = picture[blot] // 3 + np.array([20, 4, 1])
    return picture.astype(np.uint8)


def _encode(picture: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    encoded = io.BytesIO()
    image.save(encoded, form, **options)
    return encoded.getvalue()


@pytest.fixture(scope="session")
def draw() -> Callable[[int, int], np.ndarray]:
    """draw(width, height): a picture as an RGB array."""
    return _draw


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """encode(picture, form, **options): the bytes of an image file."""
    return _encode


@pytest.fixture(scope="session")
def lesion() -> bytes:
    """The bytes of a picture that can be judged, without a loss."""
    return _encode(_draw(120, 90))


@pytest.fixture
def picture(tmp_path: Path, lesion: bytes) -> Path:
    """A file that holds `lesion`."""
    path = tmp_path / "lesion.png"
    path.write_bytes(lesion)
    return path


@pytest.fixture(scope="session")
def model() -> ModelFile:
    """The embedded model."""
    return read_model()


@pytest.fixture(scope="session")
def flatbuffer(model: ModelFile) -> bytes:
    """The embedded model's part in front of its zip."""
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        return model.content[: min(info.header_offset for info in bundle.infolist())]


@pytest.fixture(scope="session")
def classifier(model: ModelFile) -> Classifier:
    """The embedded model in the first runtime that is installed."""
    return Classifier(model)


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """python(*arguments): this interpreter in a process of its own, in a UTF-8 locale."""

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"PYTHONUTF8": "1"} | options.pop("env", {})
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, timeout=120, env=environment, check=False, **options)

    return run


@pytest.fixture(scope="session")
def spot_edge(python: Callable[..., Any]) -> Callable[..., Any]:
    """spot_edge(*arguments): the command line in a process of its own; what it said is never a traceback."""

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
        ended = python("-m", "spot_edge.cli", *arguments, **options)
        assert b"Traceback" not in ended.stderr, ended.stderr.decode()
        return ended

    return run
