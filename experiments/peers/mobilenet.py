"""The embedded network in PyTorch, from the weights in `models/spot`; needs torch.

Unlike torch, Keras pads strided convolutions only at the right and bottom, and its batch norm has another epsilon.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["load_network"]

_EPSILON = 1e-3
_STRIDED = (1, 3, 6, 13)  # blocks that halve the resolution
_BLOCKS = 17


class _Block(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
    """An inverted residual block, with a skip connection where the shapes allow one."""

    def __init__(self, inner: Any, added: bool) -> None:
        super().__init__()
        self.inner, self.added = inner, added

    def forward(self, x: Any) -> Any:
        return x + self.inner(x) if self.added else self.inner(x)


class _Network(nn.Module):  # type: ignore[misc]
    """float32[1,3,S,S] from -1 to 1 → scores, evidence, embedding."""

    def __init__(self, backbone: Any, evidence: Any, temperature: float) -> None:
        super().__init__()
        self.backbone, self.evidence, self.temperature = backbone, evidence, temperature

    def forward(self, image: Any) -> Any:
        features = self.backbone(image)
        evidence = self.evidence(features)
        scores = torch.softmax(evidence.mean((2, 3)) / self.temperature, 1)
        return scores, evidence, features.mean((2, 3))


def load_network(weights: str, temperature: float) -> Any:
    """The network with the weights in the `.npz` file, for inference."""
    with np.load(weights) as arrays:
        found = {key.split(" ")[1]: torch.from_numpy(arrays[key].astype(np.float32)) for key in arrays.files}
    layers = [*_layers(found, "Conv1", "bn_Conv1", stride=2, active=True)]
    layers += [_block(found, number) for number in range(_BLOCKS)]
    layers += _layers(found, "Conv_1", "Conv_1_bn", active=True)
    evidence = _convolution(found["evidence.kernel"].permute(3, 2, 0, 1), bias=found["evidence.bias"])
    return _Network(nn.Sequential(*layers), evidence, temperature).eval().requires_grad_(False)


def _block(found: dict[str, Any], number: int) -> Any:
    name, stride = f"block_{number}" if number else "expanded_conv", 2 if number in _STRIDED else 1
    layers = _layers(found, f"{name}_expand", f"{name}_expand_BN", active=True) if number else []
    layers += _layers(found, f"{name}_depthwise", f"{name}_depthwise_BN", stride=stride, active=True)
    layers += _layers(found, f"{name}_project", f"{name}_project_BN")
    inner = nn.Sequential(*layers)
    convolutions = [layer for layer in inner if isinstance(layer, nn.Conv2d)]
    return _Block(inner, stride == 1 and convolutions[0].in_channels == convolutions[-1].out_channels)


def _layers(found: dict[str, Any], name: str, norm: str, stride: int = 1, active: bool = False) -> list[Any]:
    kernel, depthwise = found[f"{name}.kernel"], name.endswith("depthwise")
    kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
    normed = nn.BatchNorm2d(kernel.shape[0], eps=_EPSILON)
    variables = zip(
        ("weight", "bias", "running_mean", "running_var"),
        ("gamma", "beta", "moving_mean", "moving_variance"),
        strict=True,
    )
    normed.load_state_dict({theirs: found[f"{norm}.{ours}"] for theirs, ours in variables}, strict=False)
    padding = [nn.ZeroPad2d((0, 1, 0, 1))] if stride == 2 else []
    convolution = _convolution(kernel, stride, groups=kernel.shape[0] if depthwise else 1)
    return [*padding, convolution, normed, *([nn.ReLU6()] if active else [])]


def _convolution(kernel: Any, stride: int = 1, groups: int = 1, bias: Any = None) -> Any:
    """Kernels of 3x3 with stride 1 are padded on all sides."""
    outer, inner, side, _ = kernel.shape
    made = nn.Conv2d(
        inner * groups, outer, side, stride, side // 2 if stride == 1 else 0, groups=groups, bias=bias is not None
    )
    made.load_state_dict({"weight": kernel.contiguous()} | ({} if bias is None else {"bias": bias}))
    return made
