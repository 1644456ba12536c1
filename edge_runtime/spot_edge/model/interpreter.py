"""One interface to the TFLite interpreters LiteRT, tflite-runtime and TensorFlow, tried in that order.

Nothing here imports numpy before a model runs, so `doctor` can list the interpreters even if numpy is broken.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from spot_edge.errors import InterpreterError, first_line
from spot_edge.model.file import ModelFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray  # slow to import

__all__ = [
    "RUNTIMES",
    "Interpreter",
    "Runtime",
    "default_threads",
    "find_runtime",
    "installed_runtimes",
    "resolver_without_delegate",
]

# package → module with `Interpreter`, module with `__version__`
RUNTIMES: dict[str, tuple[str, str]] = {
    "ai-edge-litert": ("ai_edge_litert.interpreter", "ai_edge_litert"),
    "tflite-runtime": ("tflite_runtime.interpreter", "tflite_runtime"),
    "tensorflow": ("tensorflow.lite", "tensorflow"),
}


class Runtime(NamedTuple):
    """An interpreter package and its version."""

    name: str
    version: str


class Interpreter:
    """A loaded model, ready to run. Outputs are read by their names in the signature."""

    def __init__(
        self, model: ModelFile, *, runtime: str | None = None, threads: int | None = None, delegate: bool = True
    ) -> None:
        """Load `model` in the named runtime (default: the first one installed) with `threads` threads.

        Without `delegate` the runtime's own kernels are used instead of XNNPACK, to measure what XNNPACK gains.
        """
        self._name = model.name
        name = find_runtime(runtime)
        module, versioned = RUNTIMES[name]
        try:
            engine = _import(module).Interpreter
            self.runtime = Runtime(name, str(_import(versioned).__version__))
        except (ImportError, AttributeError) as error:
            raise InterpreterError(f"{name} is installed but does not work here: {error}") from error
        self.threads = threads or default_threads()
        options: dict[str, Any] = {} if delegate else {"experimental_op_resolver_type": resolver_without_delegate(name)}
        if None in options.values():
            raise InterpreterError(f"{name} {self.runtime.version} cannot turn off its XNNPACK delegate")
        try:
            self._engine: Any = engine(model_content=model.content, num_threads=self.threads, **options)
            self._engine.allocate_tensors()
            runner = self._engine.get_signature_runner()
            self._input: int = runner.get_input_details()["image"]["index"]
            self._outputs: dict[str, int] = {key: d["index"] for key, d in runner.get_output_details().items()}
        except (ValueError, RuntimeError, KeyError, MemoryError) as error:
            raise InterpreterError(
                f"{model.name}: {name} {self.runtime.version} cannot load it: {first_line(error)}"
            ) from error

    def invoke(self, tensor: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Run the network on `uint8[1,S,S,3]`. Returns scores, evidence and embedding without the batch axis.

        Raises InterpreterError if the runtime cannot run it.
        """
        try:
            self._engine.set_tensor(self._input, tensor)
            self._engine.invoke()
            return {key: self._engine.get_tensor(index)[0] for key, index in self._outputs.items()}
        except (ValueError, RuntimeError) as error:
            raise InterpreterError(
                f"{self._name}: {self.runtime.name} {self.runtime.version} cannot run it: {first_line(error)}"
            ) from error


def installed_runtimes() -> list[str]:
    """The installed interpreters, in the order in which they are tried."""
    return [name for name, (module, _) in RUNTIMES.items() if importlib.util.find_spec(module.split(".")[0])]


def find_runtime(wanted: str | None = None) -> str:
    """Return `wanted` if it is installed, or by default the first installed runtime. Raises InterpreterError."""
    if wanted is not None and wanted not in RUNTIMES:
        raise InterpreterError(f"unknown runtime {wanted!r}: choose from {', '.join(RUNTIMES)}")
    for name, (module, _) in RUNTIMES.items():
        if wanted in (None, name) and importlib.util.find_spec(module.split(".")[0]):
            return name
    if wanted is not None:
        raise InterpreterError(f"{wanted} is not installed: pip install {wanted}")
    if sys.maxsize < 2**32 and platform.system() == "Linux" and sys.version_info >= (3, 12):
        raise InterpreterError(
            f"no TFLite interpreter exists for 32-bit systems with Python {platform.python_version()}: use a 64-bit "
            "Raspberry Pi OS, or the 32-bit version called bookworm (Python 3.11)"
        )
    raise InterpreterError(f"no TFLite interpreter is installed: pip install {_advice()}")


def resolver_without_delegate(runtime: str) -> Any:
    """The option value that turns off XNNPACK in the named runtime, or None if it has none."""
    module = _import(RUNTIMES[runtime][0])
    kinds = getattr(getattr(module, "experimental", module), "OpResolverType", None)
    return getattr(kinds, "BUILTIN_WITHOUT_DEFAULT_DELEGATES", None)


def default_threads() -> int:
    """The number of processors available to this process, at most four."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, count)


def _advice() -> str:
    return "tflite-runtime" if sys.maxsize < 2**32 else "ai-edge-litert"


def _import(module: str) -> Any:
    if module.startswith("tensorflow"):  # tensorflow.lite is an attribute, not always a module
        tensorflow = importlib.import_module("tensorflow")
        return tensorflow.lite if module.endswith("lite") else tensorflow
    return importlib.import_module(module)
