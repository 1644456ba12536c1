"""Weights saved by PyTorch: reading both formats without PyTorch, and EfficientNet-Lite's layers."""

from __future__ import annotations

import io
import pickle
import re
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from experiments.torch_weights import load_torch_weights, main, read_torch_file
from spot_edge.errors import DataError, OutputError
from spot_train.network.network import build_body, load_pretrained
from spot_train.recipes.recipe import Network

NETWORK = Network(backbone="efficientnet_lite0", size=32)


class Tensor:
    """A tensor to pickle as PyTorch does: a storage by reference, then offset, shape and strides."""

    def __init__(self, key: str, array: np.ndarray) -> None:
        self.key, self.array = key, array

    def __reduce__(self) -> Any:
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (
            self,
            0,
            self.array.shape,
            strides,
            False,
            OrderedDict(),
        )


class Pickler(pickle.Pickler):
    inside: Tensor | None = None

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return None
        if self.inside is not value:  # first the tensor, then, in its arguments, its storage
            self.inside = value
            return None
        kind = sys.modules["torch"].__dict__[{"f": "FloatStorage", "i": "LongStorage"}[value.array.dtype.kind]]
        return ("storage", kind, value.key, "cpu", value.array.size)


@pytest.fixture
def saved_by_torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that writes arrays as `torch.save` does, in its legacy or its zip format."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    def save(path: Path, arrays: dict[str, np.ndarray], *, legacy: bool) -> None:
        tensors = OrderedDict((name, Tensor(str(n), array)) for n, (name, array) in enumerate(arrays.items()))
        buffer = io.BytesIO()
        Pickler(buffer, 2).dump(tensors)
        keys = [tensor.key for tensor in tensors.values()]
        if not legacy:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", buffer.getvalue())
                for tensor in tensors.values():
                    archive.writestr(f"archive/data/{tensor.key}", tensor.array.tobytes())
            return
        with path.open("wb") as file:
            for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
                pickle.dump(value, file, 2)
            file.write(buffer.getvalue())
            pickle.dump(keys, file, 2)
            for tensor in tensors.values():
                file.write(struct.pack("<q", tensor.array.size) + tensor.array.tobytes())

    return save


@pytest.mark.parametrize("legacy", [True, False])
def test_both_formats_are_read(saved_by_torch: Any, tmp_path: Path, legacy: bool) -> None:
    arrays = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "n": np.array(7, np.int64)}
    saved_by_torch(tmp_path / "file.pth", arrays, legacy=legacy)
    found = read_torch_file(tmp_path / "file.pth")
    assert list(found) == ["a", "n"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "file.pth").write_bytes(pickle.dumps({"a": Attack()}))
    with pytest.raises(DataError, match=r"it refers to pathlib"):
        read_torch_file(tmp_path / "file.pth")
    assert not (tmp_path / "ran").exists()


def archive(**members: bytes) -> bytes:
    """A zip archive with these members; `__` in a name is a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in members.items():
            made.writestr(name.replace("__", "/") + ".pkl", content)
    return buffer.getvalue()


def legacy(value: Any) -> bytes:
    """A file in the legacy format that holds `value`, and no storages."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, value, [])
    return b"".join(pickle.dumps(part, 2) for part in parts)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", ""),
        (b"text", ""),
        (b"\x80\x02\x8a\xff\xff", ""),
        (b"PK\x03\x04", ""),
        (pickle.dumps(3), "wrong first number"),
        (archive(archive__other=b""), r"its zip archive has 0 data\.pkl instead of one"),
        (archive(a__data=b"", b__data=b""), r"its zip archive has 2 data\.pkl instead of one"),
        (archive(archive__data=pickle.dumps([1])), "it holds a list"),
        (archive(archive__data=b"\x80\x02."), ""),
        (legacy({"epoch": 3}), r"its entry 'epoch' is not a tensor with a name\. Save model\.state_dict\(\) alone"),
        (legacy({3: 4}), "its entry 3 is not a tensor with a name"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "file.pth"
    file.write_bytes(content)
    message = refused("efficientnet_lite0", file, "--out", tmp_path / "out.weights.h5")
    assert re.search(rf"{re.escape(str(file))}: not a state dictionary of PyTorch: .*{reason}", message)


def test_a_missing_file_and_a_folder_are_refused_in_one_line(tmp_path: Path) -> None:
    for file in (tmp_path / "none.pth", tmp_path):
        assert f"{file}: cannot read: " in refused("efficientnet_lite0", file, "--out", tmp_path / "o.weights.h5")


def refused(*arguments: object) -> str:
    """Return the one line on standard error with which the command refuses data."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == DataError.exit_code, done.output
    assert isinstance(done.exception, SystemExit)  # and no traceback
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("experiments.torch_weights: ")
    return line


IMAGES = np.zeros((2, 32, 32, 3), np.uint8)
LOGITS = np.zeros((2, 4), np.float32)
SHAPE, ROWS = r"images must be uint8\[N,height,width,3\]", "logits must be floating-point numbers, with a row for each"


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an .npz file with images and logits"),
        (b"text", "not an .npz file with images and logits"),
        (npy(IMAGES), "not an .npz file with images and logits"),
        (npz(images=IMAGES, logits=LOGITS)[:-40], "not an .npz file with images and logits"),
        (npz(images=IMAGES), "not an .npz file with images and logits: .*logits"),
        (npz(images=np.array([None]), logits=LOGITS), "not an .npz file with images and logits"),
        (npz(images=IMAGES / 255, logits=LOGITS), SHAPE),
        (npz(images=IMAGES[0], logits=LOGITS), SHAPE),
        (npz(images=IMAGES.transpose(0, 3, 1, 2), logits=LOGITS), SHAPE),
        (npz(images=IMAGES[:, :8], logits=LOGITS), SHAPE),
        (npz(images=IMAGES, logits=LOGITS[:1]), ROWS),
        (npz(images=IMAGES, logits=LOGITS[0]), ROWS),
        (npz(images=IMAGES[:0], logits=LOGITS[:0]), ROWS),
        (npz(images=IMAGES, logits=np.array(["a", "b"])), ROWS),
    ],
)
def test_an_odd_reference_is_refused_in_one_line(
    saved_by_torch: Any, tmp_path: Path, content: bytes, reason: str
) -> None:
    saved_by_torch(tmp_path / "file.pth", {"a": np.zeros(1, np.float32)}, legacy=True)
    reference = tmp_path / "reference.npz"
    reference.write_bytes(content)
    out = tmp_path / "out.weights.h5"
    message = refused("efficientnet_lite0", tmp_path / "file.pth", "--out", out, "--reference", reference)
    assert re.search(rf"{re.escape(str(reference))}: {reason}", message)
    assert not out.exists()


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out.weights.h5"
    out.write_bytes(b"kept")
    done = CliRunner().invoke(main, ["efficientnet_lite0", str(tmp_path / "file.pth"), "--out", str(out)])
    assert done.exit_code == OutputError.exit_code
    assert done.stderr == f"experiments.torch_weights: {out}: already exists. Name a new file with --out\n"
    assert out.read_bytes() == b"kept"


def torch_like(body: keras.Model) -> dict[str, np.ndarray]:
    """Random weights with the names and shapes of efficientnet_lite_pytorch."""
    random = np.random.default_rng(5)
    norms = ("weight", "bias", "running_mean", "running_var")
    parts = {"expand_conv": "_expand_conv", "depthwise_conv": "_depthwise_conv", "project_conv": "_project_conv"}
    parts |= {"expand_bn": "_bn0", "depthwise_bn": "_bn1", "project_bn": "_bn2"}
    ends = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "head_conv": "_conv_head", "head_bn": "_bn1"}
    arrays: dict[str, np.ndarray] = {}
    for layer in body.layers:
        if not layer.weights or layer.name == "evidence":
            continue
        block, _, part = layer.name.partition("_")
        name = ends.get(layer.name) or f"_blocks.{block.removeprefix('block')}.{parts[part]}"
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if layer.name.endswith("bn"):
            for key in norms:
                arrays[f"{name}.{key}"] = random.uniform(0.5, 1.5, shapes[0]).astype(np.float32)
            continue
        height, width, inward, outward = shapes[0]
        shape = (inward, 1, height, width) if "depthwise" in layer.name else (outward, inward, height, width)
        arrays[f"{name}.weight"] = random.normal(0, 0.1, shape).astype(np.float32)
    return arrays


def same_padded(pixels: np.ndarray, kernel: np.ndarray, stride: int, groups: bool) -> np.ndarray:
    """A convolution of CHW `pixels` with PyTorch's OIHW `kernel`, padded as the reference does, by definition."""
    side, k = pixels.shape[1], kernel.shape[2]
    out = -(-side // stride)
    total = max((out - 1) * stride + k - side, 0)
    padded = np.pad(pixels, ((0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (1, 2))[:, ::stride, ::stride]
    return np.einsum("chwyx,cyx->chw" if groups else "chwyx,ocyx->ohw", windows, kernel[:, 0] if groups else kernel)


def test_the_first_block_computes_what_the_torch_network_computes() -> None:
    body = build_body(NETWORK, 2)
    arrays = torch_like(body)
    load_torch_weights(body, arrays)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        weight, bias, mean, var = (
            arrays[f"{name}.{key}"][:, None, None] for key in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(var + 1e-3) * weight + bias

    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    x = (image.transpose(2, 0, 1) - 127.0) / 128
    x = np.clip(norm(same_padded(x, arrays["_conv_stem.weight"], 2, False), "_bn0"), 0, 6)
    for block in (0, 1):
        name = f"_blocks.{block}"
        if block:
            x = np.clip(norm(same_padded(x, arrays[f"{name}._expand_conv.weight"], 1, False), f"{name}._bn0"), 0, 6)
        stride = 2 if block else 1
        kernel = arrays[f"{name}._depthwise_conv.weight"]
        x = np.clip(norm(same_padded(x, kernel, stride, True), f"{name}._bn1"), 0, 6)
        x = norm(same_padded(x, arrays[f"{name}._project_conv.weight"], 1, False), f"{name}._bn2")
    found = keras.Model(body.input, body.get_layer("block1_project_bn").output)(image[None], training=False)
    np.testing.assert_allclose(np.asarray(found)[0].transpose(2, 0, 1), x, atol=1e-4)


@pytest.mark.long
def test_the_command_writes_weights_that_training_accepts(saved_by_torch: Any, tmp_path: Path) -> None:
    body = build_body(NETWORK, 2)
    arrays = torch_like(body) | {"_bn0.num_batches_tracked": np.array(9, np.int64)}
    arrays |= {"_fc.weight": np.full((4, 1280), 1 / 1280, np.float32), "_fc.bias": np.zeros(4, np.float32)}
    saved_by_torch(tmp_path / "lite0.pth", arrays, legacy=True)
    load_torch_weights(body, arrays)
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    embedding = np.asarray(body(images, training=False)["embedding"])
    out = tmp_path / "lite0.weights.h5"
    arguments = ["efficientnet_lite0", str(tmp_path / "lite0.pth"), "--out", str(out)]
    logits = np.repeat(embedding.mean(axis=1, keepdims=True), 4, axis=1)
    wrong, right = tmp_path / "wrong.npz", tmp_path / "right.npz"
    np.savez(wrong, images=images, logits=logits + 0.01)
    assert f"{wrong}: a logit differs by 1.0" in refused(*arguments, "--reference", wrong)
    np.savez(wrong, images=images, logits=logits[:, :3])
    assert f"{wrong}: has 3 logits for each image, but" in refused(*arguments, "--reference", wrong)
    assert not out.exists()
    np.savez(right, images=images, logits=logits)
    done = CliRunner().invoke(main, [*arguments, "--reference", str(right)])
    assert done.exit_code == 0, done.output
    other = build_body(NETWORK, 3)
    load_pretrained(other, NETWORK, str(out))
    np.testing.assert_allclose(np.asarray(other(images, training=False)["embedding"]), embedding, atol=1e-5)


def test_weights_of_another_network_are_refused(saved_by_torch: Any, tmp_path: Path) -> None:
    body = build_body(NETWORK, 2)
    arrays = torch_like(body)
    bias, kernel, head = "_blocks.0._bn1.bias", "_conv_stem.weight", "_conv_head.weight"

    def message(changed: dict[str, np.ndarray]) -> str:
        with pytest.raises(DataError) as caught:
            load_torch_weights(body, changed)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    more = {"_blocks.99._bn0.bias": np.zeros(3)}
    assert message(arrays | more) == "efficientnet_lite0 has no place for _blocks.99._bn0.bias"
    absent = {name: array for name, array in arrays.items() if name != head}
    assert message(absent) == f"the file has no {head}: not weights of efficientnet_lite0"
    for name, array in ((bias, arrays[bias][:3]), (kernel, arrays[kernel][..., 0]), (kernel, arrays[kernel][:8])):
        expected = f"{name} has the shape {array.shape}, not {arrays[name].shape}: not weights of efficientnet_lite0"
        assert message(arrays | {name: array}) == expected
    for array in (arrays[bias].astype(np.int64), np.full_like(arrays[bias], np.nan)):
        expected = f"{bias} has values that are not finite floating-point numbers"
        assert message(arrays | {bias: array}) == expected
    saved_by_torch(tmp_path / "resnet.pth", {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}, legacy=False)
    line = refused("efficientnet_lite0", tmp_path / "resnet.pth", "--out", tmp_path / "out.weights.h5")
    assert line.endswith("resnet.pth: the file has no _conv_stem.weight: not weights of efficientnet_lite0")


def test_other_backbones_are_refused(tmp_path: Path) -> None:
    end = tmp_path / "any.pth", "--out", tmp_path / "any.weights.h5"
    assert "mobilenet_v2: only weights of efficientnet_lite0 to _lite4 can be converted" in refused(
        "mobilenet_v2", *end
    )
    assert "unknown backbone 'lite9'" in refused("lite9", *end)
