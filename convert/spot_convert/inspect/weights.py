"""Decode the values of a constant, and measure their range and how much its channels differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_convert.inspect.graph import Tensor

__all__ = ["WeightRange", "channel_scales", "real_values", "weight_range"]

_FLOATS = {"float32": np.float32, "float16": np.float16, "float64": np.float64}
_INTEGERS = {"int8": np.int8, "uint8": np.uint8, "int16": np.int16, "int32": np.int32}


@dataclass(frozen=True, slots=True)
class WeightRange:
    """The range of an operator's weights; None if they contain NaN or infinity, or cannot be decoded."""

    shape: tuple[int, ...]
    dtype: str
    count: int
    low: float | None
    high: float | None
    spread: float | None  # largest |weight| of the widest channel over that of the narrowest one that is not all zero


def weight_range(tensor: Tensor, channels: int) -> WeightRange:
    """Measure the weights in `tensor`. Its channels lie along the axis `channels`."""
    count, values = math.prod(tensor.shape), real_values(tensor)
    if values is None or not values.size or not np.isfinite(values).all():
        return WeightRange(tensor.shape, tensor.dtype, count, None, None, None)
    spread = None
    if values.ndim > 1:
        others = tuple(axis for axis in range(values.ndim) if axis != channels)
        peaks = np.abs(values).max(axis=others)
        alive = peaks[peaks > 0].astype(np.float64)
        spread = float(alive.max() / alive.min()) if len(alive) else None
    return WeightRange(tensor.shape, tensor.dtype, count, float(values.min()), float(values.max()), spread)


def real_values(tensor: Tensor) -> NDArray[np.floating[Any]] | None:
    """Return a constant's values, dequantized; None if its format is not supported or bytes are missing."""
    if tensor.data is None or not tensor.plain or min(tensor.shape, default=1) < 0:
        return None
    if tensor.dtype in _FLOATS:
        stored: NDArray[Any] = _stored(tensor.data, _FLOATS[tensor.dtype])
    elif tensor.dtype in _INTEGERS:
        stored = _stored(tensor.data, _INTEGERS[tensor.dtype])
    elif tensor.dtype == "int4":  # two per byte, the first in the lower half
        halves = np.stack([tensor.data & 15, tensor.data >> 4], axis=1).ravel().astype(np.int8)
        stored = np.where(halves > 7, halves - 16, halves)[: math.prod(tensor.shape)]
    else:
        return None
    if stored.size != math.prod(tensor.shape):
        return None
    values = stored.reshape(tensor.shape).astype(np.float32)
    if not len(tensor.scales):
        return values
    scales = channel_scales(tensor)
    if scales is None:
        return None
    zeros = np.broadcast_to(tensor.zeros, len(tensor.scales)).astype(np.float32)
    with np.errstate(over="ignore"):  # a damaged scale
        return (values - zeros.reshape(scales.shape)) * scales


def channel_scales(tensor: Tensor) -> NDArray[np.float32] | None:
    """Return the scales of a constant, shaped for multiplication with its values; None if none fit."""
    count, shape = len(tensor.scales), tensor.shape
    if count == 1:
        return tensor.scales.reshape([1] * len(shape))
    if not count or not 0 <= tensor.axis < len(shape) or count != shape[tensor.axis]:
        return None
    return tensor.scales.reshape([-1 if axis == tensor.axis else 1 for axis in range(len(shape))])


def _stored(data: NDArray[np.uint8], kind: Any) -> NDArray[Any]:
    little = np.dtype(kind).newbyteorder("<")
    return np.frombuffer(data.tobytes(), little, len(data) // little.itemsize)
