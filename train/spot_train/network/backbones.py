"""The backbones for recipes: networks of `keras.applications`, EfficientNet-Lite, and what input each one needs.

This is a plain table, so that recipes are checked without importing Keras. It leaves out ConvNeXt, which has custom
layers, and NASNet, which cannot be built for images of any size.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spot_edge.errors import DataError

__all__ = ["BACKBONES", "Backbone", "backbone_problems", "find_backbone"]

LARGEST = 1024


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network of `keras.applications`, or one of `efficientnet_lite`."""

    keras_name: str
    # "signed": -1 to 1; "lite": (x - 127) / 128; "standard": by ImageNet's mean and deviation; "centred": by its mean,
    # BGR; "raw": 0 to 255
    pixels: str
    widths: bool = False  # whether it has a width multiplier
    step: int = 1  # sides must be multiples of this, because padding depends on whether a side is odd
    smallest: int = 32
    preprocesses: bool = False  # whether it has its own preprocessing, which must be switched off
    keras_weights: bool = True  # whether Keras has ImageNet weights of it to download


BACKBONES = {
    "mobilenet": Backbone("MobileNet", "signed", widths=True),
    "mobilenet_v2": Backbone("MobileNetV2", "signed", widths=True, step=32),
    "mobilenet_v3_small": Backbone("MobileNetV3Small", "signed", widths=True, step=32, preprocesses=True),
    "mobilenet_v3_large": Backbone("MobileNetV3Large", "signed", widths=True, step=32, preprocesses=True),
    **{f"efficientnet_b{n}": Backbone(f"EfficientNetB{n}", "raw", step=32) for n in range(8)},
    **{f"efficientnet_lite{n}": Backbone(f"EfficientNetLite{n}", "lite", keras_weights=False) for n in range(5)},
    **{
        f"efficientnet_v2_{n.lower()}": Backbone(
            f"EfficientNetV2{n}", "standard" if n.startswith("B") else "signed", preprocesses=True
        )
        for n in ("B0", "B1", "B2", "B3", "S", "M", "L")
    },
    "inception_v3": Backbone("InceptionV3", "signed", smallest=75),
    "inception_resnet_v2": Backbone("InceptionResNetV2", "signed", smallest=75),
    "xception": Backbone("Xception", "signed", smallest=71),
    **{f"resnet{n}": Backbone(f"ResNet{n}", "centred") for n in (50, 101, 152)},
    **{f"resnet{n}_v2": Backbone(f"ResNet{n}V2", "signed") for n in (50, 101, 152)},
    **{f"densenet{n}": Backbone(f"DenseNet{n}", "standard") for n in (121, 169, 201)},
    **{f"vgg{n}": Backbone(f"VGG{n}", "centred") for n in (16, 19)},
}


def find_backbone(name: str) -> Backbone:
    """Return the backbone called `name`. DataError suggests the closest name."""
    if name not in BACKBONES:
        raise DataError(_unknown(name))
    return BACKBONES[name]


def backbone_problems(name: str, width: float, size: int, sizes: Sequence[int] = ()) -> Iterator[str]:
    """Yield what is wrong with the backbone `name`, this `width` and `size`, and crops of `sizes` in training."""
    backbone = BACKBONES.get(name)
    if backbone is None:
        yield _unknown(name)
        return
    if width != 1 and not backbone.widths:
        scalable = ", ".join(known for known, other in BACKBONES.items() if other.widths)
        yield f"network.width must be 1 for {name}. Other widths are possible for {scalable}"
    sides = [("network.size", size), *(("train.sizes", side) for side in sizes)]
    for key, side in sides:
        if side % backbone.step:
            yield f"{key} must be a multiple of {backbone.step} for {name}, not {side}"
        if not backbone.smallest <= side <= LARGEST:
            yield f"{key} must be from {backbone.smallest} to {LARGEST} for {name}, not {side}"


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), BACKBONES, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"the backbones are {', '.join(BACKBONES)}"
    return f"unknown backbone {name!r}: {hint}"
