"""Classify an image, or a burst of images, with one model."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from spot_edge.errors import InputError
from spot_edge.image.appearance import APPEARANCE, appearance_of
from spot_edge.image.quality import OOD, Finding, findings
from spot_edge.image.source import Source, SourceLike
from spot_edge.image.tensor import Prepared, prepare
from spot_edge.model.file import ModelFile, read_model
from spot_edge.model.flatbuffer import scores_step
from spot_edge.model.interpreter import Interpreter, Runtime
from spot_edge.model.spec import ModelSpec
from spot_edge.prediction.ood import ood_reference_of
from spot_edge.prediction.prediction import Prediction, prediction_set_of, rank, triage_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spot_edge.prediction.views import Invoke

__all__ = ["Classifier"]

_MOST_OFF = 1e-3  # of the sum of the scores from 1, unless they are quantized
_ROUNDING = 1e-6  # of floats


class Classifier:
    """A model loaded into an interpreter.

    Threads may share a classifier: it runs the network for one of them at a time. For more speed, use one per thread.
    """

    def __init__(
        self,
        model: ModelFile,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        delegate: bool = True,
        interpreter: Interpreter | None = None,
        views: int = 1,
    ) -> None:
        """Load `model` into an interpreter, or use `interpreter`, which has loaded it already.

        With 2, 4 or 8 `views`, scores and evidence are the mean over so many turned and mirrored views of each image,
        which takes as many times as long. The file must hold a temperature and thresholds for them, which `model.spec`
        then shows in place of its own; otherwise ModelError is raised.
        """
        if views != 1:
            from spot_edge.model.views import with_views

            model = with_views(model, views)
        self.model, self.views = model, views
        self._interpreter = interpreter or Interpreter(model, runtime=runtime, threads=threads, delegate=delegate)
        self._invoke: Invoke = self._interpreter.invoke
        self._running = threading.Lock()  # an interpreter has one set of tensors
        self._notes = _notes(model.spec, self.runtime)
        self._labels = tuple(label.label for label in model.spec.labels)
        self._ood_reference = ood_reference_of(model)
        self._about: dict[str, Any] = {"name": model.spec.name, "variant": model.spec.variant, "id": model.id}
        if views != 1:
            from spot_edge.prediction.views import mean_of_views

            self._invoke = mean_of_views(self._invoke, views, model.spec.temperature)
            self._notes = (f"scores are the mean of {views} turned and mirrored views", *self._notes)
            self._about["views"] = views

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        views: int = 1,
    ) -> Classifier:
        """Read and verify the model file at `path` (default: the embedded model), and load it.

        `runtime` is one of `spot_edge.RUNTIMES` (default: the first one installed). For `views` see the class. Raises
        ModelError or InterpreterError.
        """
        return cls(read_model(path), runtime=runtime, threads=threads, views=views)

    @property
    def runtime(self) -> Runtime:
        """The interpreter package in use."""
        return self._interpreter.runtime

    def classify(self, source: SourceLike) -> Prediction:
        """Classify one image: a path, encoded bytes, a `uint8[H,W,3]` RGB array, a Pillow image or a `Source`.

        Raises InputError if the image is missing, damaged or of an unsupported kind.
        """
        return self.predict(self.prepare(source))

    def prepare(self, source: SourceLike) -> Prepared:
        """The first half of `classify`: decode the image and make its tensor."""
        return prepare(Source.of(source), self.model.spec.image)

    def predict(self, prepared: Prepared) -> Prediction:
        """The second half of `classify`: run the network on a prepared image and interpret its scores."""
        with self._running:
            start = time.perf_counter()
            outputs = self._invoke(prepared.tensor)
            invoke_ms = 1e3 * (time.perf_counter() - start)
        spec, scores = self.model.spec, self._checked(outputs)
        quality = self._findings(prepared, outputs["embedding"])
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
        """Classify several images of one lesion, taken in quick succession, as one. See `predict_burst`."""
        return self.predict_burst(map(self.prepare, sources))[1]

    def predict_burst(self, frames: Iterable[Prepared]) -> tuple[Prepared, Prediction]:
        """Return the sharpest of `frames`, which show one lesion, and one prediction for all of them.

        The scores are the mean of all frames that pass the image quality check; triage and prediction set follow from
        the mean. Source, evidence and embedding belong to the sharpest frame. If no frame passes, the prediction is
        that of the sharpest one. Frames are read one at a time, so an iterator needs little memory. Raises InputError
        for no frames.
        """
        from spot_edge.prediction.burst import predict_burst

        result = predict_burst(self, frames)
        if result is None:
            raise InputError("a burst needs at least one image")
        return result.kept, result.prediction

    def _checked(self, outputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the scores, or NaN for each if nothing may be concluded from the outputs.

        Scores must be probabilities, and the other outputs finite.
        """
        scores = outputs["scores"]
        if not all(np.isfinite(each).all() for each in outputs.values()) or scores.min() < 0:
            return np.full_like(scores, np.nan)
        off = abs(float(scores.sum()) - 1)
        quantized = off > _MOST_OFF and off <= len(scores) * scores_step(self.model.content) / 2
        fine = scores.max() <= 1 + _ROUNDING and (off <= _MOST_OFF or quantized)
        return scores if fine else np.full_like(scores, np.nan)

    def _findings(self, prepared: Prepared, embedding: NDArray[np.float32]) -> tuple[Finding, ...]:
        image_quality = self.model.spec.image_quality
        if image_quality is None:
            return ()
        appearance = appearance_of(prepared.tensor)
        values = dict(zip(APPEARANCE, appearance.tolist(), strict=True))
        if self._ood_reference is not None:
            values[OOD] = self._ood_reference.ood_distance(appearance, embedding)
        return findings(values, image_quality.limits)


def _notes(spec: ModelSpec, runtime: Runtime) -> tuple[str, ...]:
    if runtime.name == spec.measured_in.runtime:
        return ()
    return (
        f"this model's figures were measured in {spec.measured_in.runtime} {spec.measured_in.version}; "
        f"{runtime.name} {runtime.version} may score differently",
    )
