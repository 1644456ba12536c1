"""The code whose instructions are counted: `workloads.py OUT sections|start IMAGE` or `workloads.py OUT invoke MODEL`.

It runs inside the emulated system. At each mark it appends the mark's name to OUT, and the counting plugin appends the
number of instructions since the start.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_process = os.getpid()
_file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

PACKAGES = ("click", "numpy", "PIL", "ai_edge_litert", "tflite_runtime", "spot_edge")


def mark(name: str) -> None:
    """Make the plugin write the count so far, under `name`."""
    os.write(_file, f"{name} ".encode())
    os.kill(_process, 0)


def sections(path: str) -> None:
    """Mark one classification, its two halves, and bare decoding, resizing and inference without our code."""
    from dataclasses import replace

    import numpy as np
    from PIL import Image

    from spot_edge import Classifier
    from spot_edge.model.interpreter import RUNTIMES, find_runtime

    image = Path(path).read_bytes()
    classifier = Classifier.load(threads=1)
    model = classifier.model
    unchecked = Classifier(replace(model, spec=model.spec._replace(image_quality=None)), threads=1)
    module = __import__(RUNTIMES[find_runtime()][0], fromlist=["Interpreter"])
    bare = module.Interpreter(model_content=classifier.model.content, num_threads=1)
    bare.allocate_tensors()
    index, size = bare.get_input_details()[0]["index"], classifier.model.spec.image.size

    def decode_and_resize() -> Any:
        decoded = Image.open(io.BytesIO(image)).convert("RGB")
        return np.asarray(decoded.resize((size, size), Image.Resampling.BILINEAR))[np.newaxis]

    tensor = decode_and_resize()
    prepared = classifier.prepare(image)
    bare.set_tensor(index, tensor)
    runs: dict[str, Callable[[], Any]] = {
        "invoke": bare.invoke,
        "decode-resize": decode_and_resize,
        "prepare": lambda: classifier.prepare(image),
        "predict": lambda: classifier.predict(prepared),
        "classify": lambda: classifier.classify(image),
        "unchecked": lambda: unchecked.classify(image),
    }
    for name, run in runs.items():
        for _ in range(3):  # the first calls cost more: they fill caches
            run()
        mark(f"before-{name}")
        run()
        mark(name)


def start(image: str) -> None:
    """Run `spot-edge classify IMAGE` from start to exit, with a mark at the first import of each package.

    A mark names what ran since the mark before it.
    """
    mark("python")
    stack = ["our own code"]
    original_import = builtins.__import__

    def importing(name: str, *arguments: Any, **options: Any) -> Any:
        package = name.partition(".")[0]
        first = package in PACKAGES and package not in sys.modules
        if first:
            mark(stack[-1])
            stack.append(f"import {package}")
        try:
            return original_import(name, *arguments, **options)
        finally:
            if first:
                mark(stack.pop())

    builtins.__import__ = importing
    from spot_edge import classifier as module
    from spot_edge.cli import main

    def within(owner: Any, attribute: str, name: str) -> None:
        run = getattr(owner, attribute)

        def timed(*arguments: Any, **options: Any) -> Any:
            mark(stack[-1])
            stack.append(name)
            try:
                return run(*arguments, **options)
            finally:
                mark(stack.pop())

        setattr(owner, attribute, timed)

    within(module, "read_model", "read and verify the model")
    within(module, "Interpreter", "load the model")
    within(module.Classifier, "prepare", "decode and resize")
    within(module.Classifier, "predict", "run the network and interpret the scores")
    main(["classify", "--threads", "1", image])


def invoke(model: str) -> None:
    """Mark one run of a network with XNNPACK and one without it. Any .tflite file will do."""
    import numpy as np

    from spot_edge.errors import ModelError
    from spot_edge.model.file import read_model
    from spot_edge.model.interpreter import Interpreter

    try:
        file = read_model(model)
    except ModelError:
        return _invoke_bare(model)
    size = file.spec.image.size
    tensor = np.random.default_rng(5).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    for name, delegate in (("invoke", True), ("without XNNPACK", False)):
        interpreter = Interpreter(file, threads=1, delegate=delegate)
        interpreter.invoke(tensor)
        mark(f"before-{name}")
        interpreter.invoke(tensor)
        mark(name)
    return None


def _invoke_bare(model: str) -> None:
    """The same for a .tflite file that is not a model file of ours."""
    import numpy as np

    from spot_edge.model.interpreter import RUNTIMES, find_runtime, resolver_without_delegate

    runtime = find_runtime()
    module = __import__(RUNTIMES[runtime][0], fromlist=["Interpreter"])
    for name, options in (
        ("invoke", {}),
        ("without XNNPACK", {"experimental_op_resolver_type": resolver_without_delegate(runtime)}),
    ):
        interpreter = module.Interpreter(model_path=model, num_threads=1, **options)
        interpreter.allocate_tensors()
        wanted = interpreter.get_input_details()[0]
        random = np.random.default_rng(5).integers(0, 128, wanted["shape"])
        interpreter.set_tensor(wanted["index"], random.astype(wanted["dtype"]))
        interpreter.invoke()
        mark(f"before-{name}")
        interpreter.invoke()
        mark(name)


if __name__ == "__main__":
    {"sections": sections, "start": start, "invoke": invoke}[sys.argv[2]](sys.argv[3])
