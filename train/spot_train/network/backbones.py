"""The backbones that recipes can name: networks of `keras.applications`, and what each wants of its input.

A plain table, so that a recipe is checked without Keras. Not in it: ConvNeXt, whose layers are not stock ones, and
NASNet, which cannot be built for pictures of any size.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spot_edge.errors import DataError

__all__ = ["BACKBONES", "Backbone", "find_backbone", "misfits"]

LARGEST = 1024


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network by its name in `keras.applications`."""

    keras_name: str
    pixels: str  # "signed": -1 to 1; "standard": ImageNet's mean and deviation; "centred": its mean, once BGR; "raw"
    widths: bool = False  # whether it can be made narrower or wider
    step: int = 1  # sides are multiples of this: networks that pad by the parity of a side are else another one there
    smallest: int = 32
    preprocesses: bool = False  # whether its own preprocessing must be switched off


BACKBONES = {
    "mobilenet": Backbone("MobileNet", "signed", widths=True),
    "mobilenet_v2": Backbone("MobileNetV2", "signed", widths=True, step=32),
    "mobilenet_v3_small": Backbone("MobileNetV3Small", "signed", widths=True, step=32, preprocesses=True),
    "mobilenet_v3_large": Backbone("MobileNetV3Large", "signed", widths=True, step=32, preprocesses=True),
    **{f"efficientnet_b{n}": Backbone(f"EfficientNetB{n}", "raw", step=32) for n in range(8)},
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
    """The backbone called `name`; DataError suggests the nearest where there is none."""
    if name not in BACKBONES:
        raise DataError(_unknown(name))
    return BACKBONES[name]


def misfits(name: str, width: float, size: int, sizes: Sequence[int] = ()) -> Iterator[str]:
    """What the backbone called `name` cannot be: of this `width`, for inputs of `size`, trained on crops of `sizes`."""
    backbone = BACKBONES.get(name)
    if backbone is None:
        yield _unknown(name)
        return
    if width != 1 and not backbone.widths:
        able = ", ".join(known for known, other in BACKBONES.items() if other.widths)
        yield f"network.width must be 1 for {name}: other widths have {able}"
    sides = [("network.size", size), *(("train.sizes", side) for side in sizes)]
    for key, side in sides:
        if side % backbone.step:
            yield f"{key} must be a multiple of {backbone.step} for {name}, not {side}"
        if not backbone.smallest <= side <= LARGEST:
            yield f"{key} must be from {backbone.smallest} to {LARGEST} for {name}, not {side}"


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), BACKBONES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(BACKBONES)}"
    return f"unknown backbone {name!r}: {hint}"
