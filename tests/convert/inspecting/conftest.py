"""Write files to inspect, and inspect the embedded model once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from files_by_hand import EMBEDDED, record


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    numbers = itertools.count()

    def written(content: bytes) -> Path:
        path = tmp_path / f"file{next(numbers)}.tflite"
        path.write_bytes(content)
        return path

    return written


@pytest.fixture(scope="session")
def embedded() -> dict[str, Any]:
    return record(EMBEDDED, "--layers")
