"""An imitation app, written independently of the exporter, that makes each common mistake on purpose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from spot_convert.commands import kit as cli
from spot_edge.errors import CheckError

Pixels = NDArray[np.uint8]


def run_command(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def crop_to_4_3(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    if 1.2 <= width / height <= 1.5:
        return image
    if width / height > 4 / 3:
        return centred(image, -(-4 * height // 3), height)
    return centred(image, width, -(-3 * width // 4))


def centred(image: Pixels, width: int, height: int) -> Pixels:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def smooth(image: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def bilinear(image: Pixels, width: int, height: int, centre: float = 0.5) -> Pixels:
    """Interpolate four pixels, from their centres like OpenCV and tf.image, or from their corners like MediaPipe."""

    def places(new: int, old: int) -> tuple[Any, Any, Any]:
        at = np.clip((np.arange(new) + centre) * old / new - centre, 0, old - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, old - 1), at - low

    top, bottom, v = places(height, image.shape[0])
    left, right, u = places(width, image.shape[1])
    values, v, u = image.astype(np.float64), v[:, None, None], u[None, :, None]
    upper = values[top][:, left] * (1 - u) + values[top][:, right] * u
    lower = values[bottom][:, left] * (1 - u) + values[bottom][:, right] * u
    return np.round(upper * (1 - v) + lower * v).astype(np.uint8)


def nearest(image: Pixels, width: int, height: int) -> Pixels:
    rows = (np.arange(height) + 0.5) * image.shape[0] / height
    columns = (np.arange(width) + 0.5) * image.shape[1] / width
    return image[rows.astype(int)][:, columns.astype(int)]


def area(image: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def to_square(resize: Callable[[Pixels, int, int], Pixels]) -> Callable[[Pixels, int], Pixels]:
    return lambda image, size: resize(image, size, size)


def right_way(image: Pixels, size: int) -> Pixels:
    return smooth(crop_to_4_3(image), size, size)


def stock_way(image: Pixels, size: int) -> Pixels:
    return bilinear(image, size, size)


def mediapipe_way(image: Pixels, size: int) -> Pixels:
    return bilinear(image, size, size, centre=0.0)


def letterbox(image: Pixels, size: int) -> Pixels:
    height, width = image.shape[:2]
    scale = size / max(height, width)
    small = bilinear(image, round(width * scale), round(height * scale))
    canvas = np.zeros((size, size, 3), np.uint8)
    top, left = (size - small.shape[0]) // 2, (size - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def centre_crop(image: Pixels, size: int) -> Pixels:
    side = min(image.shape[:2])
    return bilinear(centred(image, side, side), size, size)


def wrong_strides(image: Pixels, size: int) -> Pixels:
    return right_way(image.reshape(image.shape[1], image.shape[0], 3), size)


def with_alpha(tensor: Pixels) -> Pixels:
    opaque = np.full((*tensor.shape[:2], 4), 255, np.uint8)
    opaque[..., :3] = tensor
    return np.frombuffer(opaque.tobytes()[: tensor.size], np.uint8).reshape(tensor.shape)


def imagenet(tensor: Pixels) -> NDArray[np.float32]:
    return (tensor.astype(np.float32) / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


def saturated(values: NDArray[Any]) -> Pixels:
    return np.clip(values, 0, 255).astype(np.uint8)


def softmax(values: NDArray[Any]) -> NDArray[Any]:
    return np.exp(values) / np.exp(values).sum()


@dataclass(frozen=True)
class App:
    """How an imitation app prepares images, what it does to the tensor, and what it reads."""

    prepare: Callable[[Pixels, int], Pixels] = right_way
    change: Callable[[Pixels], Pixels] = lambda tensor: tensor
    read: Callable[[dict[str, NDArray[Any]]], NDArray[Any]] = lambda outputs: outputs["scores"]
    report: Callable[[list[NDArray[Any]]], list[NDArray[Any]]] = lambda scores: scores
    noise: float = 0.0
    says: dict[str, Any] = field(default_factory=dict)
    digests: bool = False
    means: bool = False
    kernels: OpResolverType = OpResolverType.AUTO

    def run(self, kit: Path, part: str = "vectors") -> dict[str, Any]:
        """Return the contents of the results file."""
        random, scores, entries = np.random.default_rng(7), [], []
        for name, tensor, outputs in _outputs(kit, part, self.prepare, self.change, self.kernels):
            entry: dict[str, Any] = {"image": name}
            if self.digests:
                entry["input_sha256"] = hashlib.sha256(tensor.tobytes()).hexdigest()
            if self.means:
                entry["input_mean"] = tensor.mean(axis=(0, 1)).tolist()
            noise = random.uniform(-self.noise, self.noise, outputs["scores"].shape)
            scores.append(self.read({**outputs, "scores": outputs["scores"] + noise}).ravel())
            entries.append(entry)
        for entry, reported in zip(entries, self.report(scores), strict=True):
            entry["scores"] = [float(value) for value in reported]
        return {"schema": 1, "platform": "an imitation", **self.says, "results": entries}


@cache
def _outputs(
    kit: Path,
    part: str,
    prepare: Callable[[Pixels, int], Pixels],
    change: Callable[[Pixels], Pixels],
    kernels: OpResolverType,
) -> list[tuple[str, Pixels, dict[str, NDArray[Any]]]]:
    """Return each image's name, the tensor fed, and the network's outputs."""
    file = str(kit / "spot-int8.tflite")
    engine = Interpreter(model_path=file, num_threads=1, experimental_op_resolver_type=kernels)
    network = engine.get_signature_runner()
    size = network.get_input_details()["image"]["shape"][1]
    found = []
    for path in sorted((kit / part).iterdir()):
        image = np.asarray(Image.open(path))
        tensor = np.ascontiguousarray(change(prepare(image, size) if part == "vectors" else image))
        found.append((f"{part}/{path.name}", tensor, network(image=tensor[np.newaxis])))
    return found


def verdict(kit: Path, tmp_path: Path, *runs: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict of `kit check` on these results; its exit code must agree."""
    record = {**runs[0], "results": [entry for run in runs for entry in run["results"]]}
    (tmp_path / "results.json").write_text(json.dumps(record))
    done = run_command(cli.kit.commands["check"], kit, tmp_path / "results.json", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["conforms"] == (done.exit_code == 0), found
    assert found["conforms"] or isinstance(done.exception, CheckError), done.exception
    return found


def mistakes(found: dict[str, Any]) -> list[str]:
    (finding,) = found["findings"]
    return [cause["mistake"] for cause in finding["causes"]]


PREPARED = {
    "stock": App(stock_way),
    "whole-area": App(to_square(area)),
    "contract-plain": App(lambda image, size: bilinear(crop_to_4_3(image), size, size)),
    "whole-nearest": App(to_square(nearest)),
    "bars-plain": App(letterbox),
    "square-plain": App(centre_crop),
    "whole-antialias": App(to_square(smooth)),
    "strides": App(wrong_strides),
}
FED = {
    "bgr": lambda x: x[..., ::-1],
    "planes": lambda x: np.moveaxis(x, 2, 0).reshape(x.shape),
    "rgba": with_alpha,
    "signed": lambda x: (x.astype(np.int16) - 128).astype(np.int8).view(np.uint8),
    "wrapped": lambda x: imagenet(x).astype(np.int32).astype(np.uint8),
    "doubled": lambda x: saturated((x.astype(np.float32) / 127.5 - 1) * 255),
    "normalized": lambda x: saturated(imagenet(x) * 255),
    "mirrored": np.fliplr,
    "flipped": np.flipud,
    "turned-180": lambda x: np.flipud(np.fliplr(x)),
    "turned-left": lambda x: np.fliplr(x).transpose(1, 0, 2),
    "turned-right": lambda x: np.flipud(x).transpose(1, 0, 2),
    "transposed": lambda x: np.swapaxes(x, 0, 1),
}
DARK = {
    "divided by 255": lambda x: (x.astype(np.float32) / 255).astype(np.uint8),
    "divided by 255 and rounded": lambda x: np.rint(x.astype(np.float32) / 255).astype(np.uint8),
    "scaled to -1..1": lambda x: saturated(x.astype(np.float32) / 127.5 - 1),
    "normalized twice": lambda x: saturated(imagenet(saturated(imagenet(x)))),
    "never filled": np.zeros_like,
}
READ = {
    "logits": lambda o: o["evidence"].mean(axis=(1, 2)),
    "softmax-twice": lambda o: softmax(o["scores"]),
    "bytes": lambda o: np.clip(np.rint(o["scores"] * 255), 0, 255),
    "percent": lambda o: 100 * o["scores"],
    "ranked": lambda o: np.sort(o["scores"][0])[::-1],
    "shifted": lambda o: np.concatenate([[0.0], o["scores"][0, :-1]]),
    "output-evidence": lambda o: o["evidence"],
    "output-embedding": lambda o: o["embedding"],
}
NOISE = pytest.mark.parametrize("noise", [0.0, 0.01])
