"""Export a conformance kit: the model file, images drawn by code, expected outputs, and instructions.

The images are drawn, so anyone may redistribute the kit.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from spot_bench.data.drawn import KINDS, draw_lesion, draw_shape
from spot_convert.kit.measure import Outputs, Tolerance, measure_tolerance, reference_interpreter, run_all
from spot_convert.kit.mistakes import Way, all_ways
from spot_convert.kit.stills import Still, measure_still
from spot_convert.kit.vectors import CORNERS, RIGHT, SCHEMA, STOCK, VECTORS
from spot_convert.runtimes.micro.kernels import micro_needs, micro_version, try_isolated
from spot_convert.runtimes.micro.source import source_files
from spot_convert.variants.catalog import TFLITE_MICRO
from spot_edge.errors import OutputError
from spot_edge.files import make_folder, write_file
from spot_edge.model.file import ModelFile
from spot_edge.model.interpreter import Runtime

__all__ = ["draw_images", "export_kit"]

# What is drawn, width, height (0: the network's input size). Landscape, portrait, square, wide and small images, with
# fine grain and plain shapes: every wrong way to prepare an image shows on some of them.
_DRAWN = (
    ("nevus", 600, 450),
    ("melanoma", 600, 450),
    ("keratosis", 640, 480),
    ("vascular", 450, 600),
    ("dermatofibroma", 450, 450),
    ("carcinoma", 800, 450),
    ("melanoma", 0, 0),
    ("nevus", 320, 240),
    ("circle", 300, 225),
    ("square", 240, 320),
    ("triangle", 400, 300),
)


def draw_images(size: int) -> dict[str, Image.Image]:
    """Draw the images for a network with a square input of `size`. The same size gives the same images."""
    images = {}
    for seed, (kind, width, height) in enumerate(_DRAWN):
        width, height = width or size, height or size
        lesion = next((known for known in KINDS if known == kind), None)
        image = draw_lesion(seed, width, height, lesion) if lesion else draw_shape(kind, seed, width, height)
        images[f"{seed + 1:02}-{kind}-{width}x{height}.png"] = image
    return images


_MICRO_ROW = "| `micro/` | the model as C++ source for tflite-micro: aligned array, arena size, operators |\n"
_STILL_ROW = "| `stills/` | a large JPEG, to test how your app decodes large photographs |\n"
_LARGE = Template("""
## Large photographs

The model file's geometry reduces large JPEGs while they are decoded: the device divides the sides of
`stills/$name` by $reduction. Other platforms cannot do exactly that, and need not: decode the JPEG at full size, or
reduced with at least three pixels per pixel of the network. Then prepare it as in step 3, and add it to the results
file. Tensors may differ a little, so this image has a tolerance of its own: a score may differ by $tolerance. That is
three times what decoding at full size changes ($decoding), and at least as much as for the other images.
""")
_COMPLETE = (RIGHT, STOCK, CORNERS)  # ways for which evidence and embedding are stored, too


def export_kit(model: ModelFile, out: Path) -> Path:
    """Write a kit for `model` to the folder `out`, which must be new or empty. On failure, nothing is left behind.

    The same model gives the same bytes on the same machine. Raise OutputError if the folder cannot be written, and
    InterpreterError without LiteRT.
    """
    with _new_folder(out) as folder:
        images, ways = draw_images(model.spec.image.size), all_ways(model.spec.image)
        outputs = run_all(model, images, ways)
        name = Path(model.name).name
        content = {name: model.content, "labels.txt": _lines(label.label for label in model.spec.labels)}
        content |= {f"vectors/{file}": _png(image) for file, image in images.items()}
        content |= {f"inputs/{file}": _png(Image.fromarray(by_way[RIGHT].tensor)) for file, by_way in outputs.items()}
        micro = _micro(model)
        content |= {f"micro/{file}": data for file, data in micro.items()}
        tolerance, runtime = measure_tolerance(model, outputs), reference_interpreter(model).runtime
        digests = {file: hashlib.sha256(data).hexdigest() for file, data in content.items()}
        record = _describe(model, name, runtime, tolerance, ways) | {"images": _images(images, outputs, digests)}
        still = measure_still(model, ways, tolerance)
        if still is not None:
            content[f"stills/{still.name}"] = still.data
            record["stills"] = [still.as_dict()]
        content[VECTORS] = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        first = next(iter(outputs.items()))
        content["README.md"] = _readme(model, name, runtime, tolerance, first, still, micro=bool(micro))
        content["LICENSE"] = _licence(model, name)
        for part in sorted({file.partition("/")[0] for file in content if "/" in file}):
            make_folder(folder / part)
        for file, data in content.items():
            write_file(folder / file, data)
    return out


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` on success and is deleted on failure."""
    partial = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}")
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"{out}: already exists: name a new folder for the kit")
        partial.mkdir(parents=True)
        yield partial
        if out.is_dir():
            out.rmdir()
        os.replace(partial, out)
    except OSError as error:
        raise OutputError(f"{out}: the kit cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _describe(model: ModelFile, name: str, runtime: Runtime, tolerance: Tolerance, ways: list[Way]) -> dict[str, Any]:
    spec = model.spec
    return {
        "schema": SCHEMA,
        "model": {"file": name, "id": model.id, "name": spec.name, "variant": spec.variant},
        "runtime": runtime._asdict(),
        "labels": [label.label for label in spec.labels],
        "image": {"size": spec.image.size, "geometry": spec.image.geometry, "filter": spec.image.filter},
        "tolerance": {
            "score": tolerance.score,
            "rms": tolerance.rms,
            "kernels": {"score": tolerance.kernels_score, "rms": tolerance.kernels_rms},
        },
        "ways": {
            way.key: {
                "mistake": way.mistake,
                "resize": way.resize,
                "what": way.what,
                "fix": way.fix,
                "inputs": way.inputs,
            }
            for way in ways
        },
    }


def _images(
    images: Mapping[str, Image.Image], outputs: Mapping[str, Mapping[str, Outputs]], digests: Mapping[str, str]
) -> list[dict[str, Any]]:
    return [
        {
            "image": f"vectors/{name}",
            "sha256": digests[f"vectors/{name}"],
            "width": image.width,
            "height": image.height,
            "input": f"inputs/{name}",
            "sha256_of_input_file": digests[f"inputs/{name}"],
            "outputs": {key: found.as_dict(complete=key in _COMPLETE) for key, found in outputs[name].items()},
        }
        for name, image in images.items()
    ]


def _micro(model: ModelFile) -> dict[str, bytes]:
    """Return the model as C++ source, if it is made for tflite-micro."""
    if model.spec.measured_in.runtime != TFLITE_MICRO:
        return {}
    needs = micro_needs(model, try_isolated(model, np.zeros((0,), np.uint8)))
    return source_files(model, needs, micro_version())


def _readme(
    model: ModelFile,
    name: str,
    runtime: Runtime,
    tolerance: Tolerance,
    first: tuple[str, Mapping[str, Outputs]],
    still: Still | None,
    *,
    micro: bool,
) -> bytes:
    spec, image, scores = model.spec, first[0], first[1][RIGHT].values["scores"]
    ranked = np.argsort(-scores)
    template = Template((files("spot_convert.kit") / "README.md").read_text("utf-8"))
    text = template.substitute(
        model=f"{spec.name} {spec.variant}",
        file=name,
        id=model.id,
        size=spec.image.size,
        classes=len(spec.labels),
        labels=", ".join(label.label for label in spec.labels),
        runtime=" ".join(runtime),
        micro=_MICRO_ROW if micro else "",
        stills=_STILL_ROW if still else "",
        large=_large(still) if still else "",
        score=f"{tolerance.score:.3f}",
        rms=f"{tolerance.rms:.3f}",
        kernels=f"{tolerance.kernels_score:.3f}",
        image=image,
        scores=", ".join(f"{score:.3f}" for score in scores),
        top=f"{spec.labels[ranked[0]].label} {scores[ranked[0]]:.2f}",
        notice=spec.notice,
    )
    return text.encode()


def _large(still: Still) -> str:
    """Return the section of the README about the large JPEG."""
    return _LARGE.substitute(
        name=still.name,
        reduction=still.reduction,
        tolerance=f"{still.tolerance:.3f}",
        decoding=f"{still.decoding:.3f}",
    )


def _licence(model: ModelFile, name: str) -> bytes:
    spec = model.spec
    lines = [f"{name}: {spec.licence or 'no licence stated by its maker'}", spec.training.get("data", ""), spec.notice]
    own = "Everything else in this folder was drawn, measured or written by spot-edge: Apache-2.0."
    return _lines(line for line in (*lines, own) if line)


def _lines(lines: Iterator[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
