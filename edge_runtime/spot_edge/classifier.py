"""Picture in, prediction out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from spot_edge.errors import InputError
from spot_edge.image.appearance import APPEARANCE, appearance_of
from spot_edge.image.quality import OOD, Finding, findings
from spot_edge.image.source import Source, SourceLike
from spot_edge.image.tensor import Prepared, prepare
from spot_edge.model.file import ModelFile, read_model
from spot_edge.model.interpreter import Interpreter, Runtime
from spot_edge.model.spec import ModelSpec
from spot_edge.prediction.ood import ood_reference_of
from spot_edge.prediction.prediction import Prediction, prediction_set_of, rank, triage_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Classifier"]


class Classifier:
    """A model in an interpreter. One thread at a time may use it: the interpreter holds the tensors."""

    def __init__(
        self,
        model: ModelFile,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        delegate: bool = True,
        interpreter: Interpreter | None = None,
    ) -> None:
        """`interpreter` is one that has `model` already, of whatever kind; else one is made as the others say."""
        self.model = model
        self._interpreter = interpreter or Interpreter(model, runtime=runtime, threads=threads, delegate=delegate)
        self._notes = _notes(model.spec, self.runtime)
        self._labels = tuple(label.label for label in model.spec.labels)
        self._ood_reference = ood_reference_of(model)
        self._about = {"name": model.spec.name, "variant": model.spec.variant, "id": model.id}

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] | None = None, *, runtime: str | None = None, threads: int | None = None
    ) -> Classifier:
        """The model file at `path` (default: the embedded model), verified, in an interpreter.

        `runtime` names one of `spot_edge.RUNTIMES`; the default is the first that is installed. Raises ModelError or
        InterpreterError.
        """
        return cls(read_model(path), runtime=runtime, threads=threads)

    @property
    def runtime(self) -> Runtime:
        """The interpreter package in use."""
        return self._interpreter.runtime

    def classify(self, source: SourceLike) -> Prediction:
        """What the model says about `source`: a path, encoded bytes, a `uint8[H,W,3]` RGB array or a `Source`.

        Raises InputError where the picture is missing, damaged or of a kind that cannot be judged.
        """
        return self.predict(self.prepare(source))

    def prepare(self, source: SourceLike) -> Prepared:
        """The first half of `classify`: the decoded picture and its tensor."""
        return prepare(Source.of(source), self.model.spec.image)

    def predict(self, prepared: Prepared) -> Prediction:
        """The second half of `classify`: run the network on a prepared picture and judge its scores."""
        start = time.perf_counter()
        outputs = self._interpreter.invoke(prepared.tensor)
        invoke_ms = 1e3 * (time.perf_counter() - start)
        spec, scores, quality = self.model.spec, outputs["scores"], self._findings(prepared, outputs["embedding"])
        quality_ms = 1e3 * (time.perf_counter() - start) - invoke_ms
        ranked = rank(spec.labels, scores)
        return Prediction(
            source=prepared.source.as_dict(),
            image=prepared.as_dict(),
            ranked=ranked,
            triage=triage_of(spec, scores, quality),
            labels=self._labels,
            model=self._about,
            runtime=self.runtime,
            notes=self._notes,
            quality=quality,
            prediction_set=prediction_set_of(spec, ranked),
            timings_ms={
                "decode": prepared.decode_ms,
                "resize": prepared.resize_ms,
                "invoke": invoke_ms,
                "quality": quality_ms,
            },
            evidence=outputs["evidence"],
            embedding=outputs["embedding"],
        )

    def classify_burst(self, sources: Iterable[SourceLike]) -> Prediction:
        """`classify` for pictures of one lesion, taken in quick succession: one answer, as `predict_burst` says."""
        return self.predict_burst(map(self.prepare, sources))[1]

    def predict_burst(self, frames: Iterable[Prepared]) -> tuple[Prepared, Prediction]:
        """The sharpest of `frames`, which show one lesion, and what the model says of them together.

        The scores are the mean of all frames that are fit to be judged; triage and the set of classes follow from it.
        Source, evidence and embedding are the sharpest frame's. Where none is fit, the answer is that to the sharpest.
        Frames are asked for one by one, so that an iterator of many needs little room. InputError where there are none.
        """
        from spot_edge.prediction.burst import predict_burst

        judged = predict_burst(self, frames)
        if judged is None:
            raise InputError("a burst without a picture")
        return judged.kept, judged.prediction

    def _findings(self, prepared: Prepared, embedding: NDArray[np.float32]) -> tuple[Finding, ...]:
        capture = self.model.spec.image_quality
        if capture is None:
            return ()
        look = appearance_of(prepared.tensor)
        values = dict(zip(APPEARANCE, look.tolist(), strict=True))
        if self._ood_reference is not None:
            values[OOD] = self._ood_reference.ood_distance(look, embedding)
        return findings(values, capture.limits)


def _notes(spec: ModelSpec, runtime: Runtime) -> tuple[str, ...]:
    if runtime.name == spec.measured_in.runtime:
        return ()
    return (
        f"this file's figures were measured in {spec.measured_in.runtime} {spec.measured_in.version}; "
        f"{runtime.name} {runtime.version} may answer differently",
    )
