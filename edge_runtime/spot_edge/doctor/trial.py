"""The self-test's subprocess: classify a drawn lesion, and announce each step before it runs."""

from __future__ import annotations

import importlib
import io
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from spot_edge.errors import SpotError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray  # slow to import

__all__ = ["REPEATS", "draw", "try_model"]

REPEATS = 9
_SIZE = (600, 450)


def try_model(path: str | None) -> Iterator[dict[str, Any]]:
    """Yield the steps, then a record with `scores`, or with the `error` of the last step."""
    try:
        for package, module in (("numpy", "numpy"), ("pillow", "PIL.Image")):
            yield {"step": f"import {package}", "package": package}
            importlib.import_module(module)
        yield from _classify(path)
    except SpotError as error:
        yield {"error": str(error), "code": error.exit_code}
    except Exception as error:  # broken packages raise anything
        yield {"error": _cause(error), "code": None}


def draw() -> NDArray[np.uint8]:
    """Draw a dark, asymmetric spot on skin with integer formulas, so the bytes are the same everywhere."""
    import numpy as np

    width, height = _SIZE
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([214 - y % 23, 170 - x % 29, 150 - (x + y) % 31], axis=2)
    blot = 9 * (2 * x - width) ** 2 + 25 * (2 * y - height) ** 2 < 4 * height**2 + 40 * x * y % 9973
    picture[blot] = picture[blot] // 3 + np.array([20, 4, 1])
    return picture.astype(np.uint8)


def _classify(path: str | None) -> Iterator[dict[str, Any]]:
    from spot_edge.classifier import Classifier
    from spot_edge.model.file import read_model
    from spot_edge.model.interpreter import RUNTIMES, find_runtime

    yield {"step": "read the model"}
    model = read_model(path)
    runtime = find_runtime()
    yield {"step": f"import {runtime}", "package": runtime}
    for module in RUNTIMES[runtime]:
        if not module.startswith("tensorflow"):  # TensorFlow needs its own way to import, in the next step
            importlib.import_module(module)
    yield {"step": "load the model", "package": runtime}
    start = time.perf_counter()
    classifier = Classifier(model, runtime=runtime)
    load_ms = 1e3 * (time.perf_counter() - start)
    yield {"step": "write and read a JPEG", "package": "pillow"}
    picture = draw()
    jpeg = _jpeg(picture)
    classifier.prepare(jpeg)
    yield {"step": "classify", "package": runtime}
    took = [_milliseconds(classifier, jpeg) for _ in range(1 + REPEATS)]
    predictions = [classifier.classify(picture) for _ in range(2)]
    yield {
        "model": model.id,
        "runtime": classifier.runtime.name,
        "scores": [{score.label: score.score for score in each.ranked} for each in predictions],
        "notes": list(predictions[0].notes),
        "load_ms": load_ms,
        "took_ms": took,
    }


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "JPEG")
    return encoded.getvalue()


def _milliseconds(classifier: Any, jpeg: bytes) -> float:
    start = time.perf_counter()
    classifier.classify(jpeg)
    return 1e3 * (time.perf_counter() - start)


def _cause(error: BaseException) -> str:
    """The root cause in one line: numpy wraps a missing library in a page of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
