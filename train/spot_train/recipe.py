"""Recipes: everything that decides how a model is trained, as a TOML file that can be copied, edited and replayed."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from spot_edge.errors import DataError

__all__ = ["Augment", "Network", "Recipe", "Train", "known_recipes", "load_recipe", "recipe_hash", "render_recipe"]


@dataclass(frozen=True, slots=True)
class Network:
    """The backbone and its input."""

    backbone: str = "mobilenet_v2"
    width: float = 1.0
    size: int = 224
    dropout: float = 0.2


@dataclass(frozen=True, slots=True)
class Augment:
    """Random changes to training pictures; each number is the largest change, 0 or false switches one off."""

    flip: bool = True
    rotate: float = 180.0  # degrees either way
    zoom: tuple[float, float] = (0.75, 1.05)  # share of the picture's side that is seen
    stretch: float = 0.1  # change of aspect ratio
    shift: float = 0.08  # share of the side
    brightness: float = 0.15
    contrast: float = 0.2
    saturation: float = 0.2
    illuminant: float = 0.06  # gain of each colour channel


@dataclass(frozen=True, slots=True)
class Train:
    """The optimisation: first the head alone, then all layers."""

    seed: int = 1
    batch: int = 64
    size: int = 0  # side of the training crops; 0: network.size. Smaller is faster, and crops show lesions enlarged
    stored_size: int = 256  # side at which training pictures are cached before augmentation
    head_epochs: int = 1
    head_learning_rate: float = 1e-3
    epochs: int = 8
    learning_rate: float = 2e-4
    warmup_epochs: float = 0.5
    weight_decay: float = 1e-2
    class_weight_power: float = 0.5  # weights are (1 / class frequency) ** power
    label_smoothing: float = 0.0
    ema: float = 0.0  # momentum of the moving average of weights; 0 for none
    batch_norm: str = "frozen"  # or "adapt"
    batch_norm_momentum: float = 0.99
    precision: str = "float32"  # or "mixed_bfloat16", "mixed_float16" where a GPU makes them pay


@dataclass(frozen=True, slots=True)
class Recipe:
    """One complete recipe."""

    name: str
    labels: str = ""  # a label set, or empty: the labels of the data as they are
    description: str = ""
    network: Network = field(default_factory=Network)
    augment: Augment = field(default_factory=Augment)
    train: Train = field(default_factory=Train)


def known_recipes() -> list[str]:
    """The names of the recipes that ship with this room."""
    folder = resources.files("spot_train") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """The recipe called `name`, or the one in the TOML file at that path. An unknown key is an error."""
    if name in known_recipes():
        text = (resources.files("spot_train") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = _read(Path(name))
    else:
        raise DataError(f"{name}: neither a recipe file nor a known recipe ({', '.join(known_recipes())})")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{name}: not a recipe: {error}") from error
    recipe: Recipe = _build(Recipe, data, name)
    _check(recipe, name)
    return recipe


def render_recipe(recipe: Recipe) -> str:
    """`recipe` as TOML, complete: every default written out."""
    import tomli_w  # only to write: reading a recipe needs no extra

    return tomli_w.dumps(dataclasses.asdict(recipe))


def recipe_hash(recipe: Recipe) -> str:
    """A digest of the complete recipe."""
    return hashlib.sha256(render_recipe(recipe).encode()).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a recipe: {error}") from None


def _build(cls: Any, data: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(cls)
    for key in data:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            raise DataError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    required = [n for n in required if cls.__dataclass_fields__[n].default_factory is dataclasses.MISSING]
    for key in required:
        if key not in data:
            raise DataError(f"{where}: the key {key!r} is missing")
    return cls(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in data.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise DataError(f"{where} must be a table")
        return _build(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == tuple[float, float]:
        if not isinstance(value, list) or len(value) != 2 or not all(isinstance(v, (int, float)) for v in value):
            raise DataError(f"{where} must be two numbers")
        return (float(value[0]), float(value[1]))
    if type(value) is not kind:
        raise DataError(f"{where} must be of type {kind.__name__}")
    return value


def _check(recipe: Recipe, where: str) -> None:
    """Refuse what cannot work, before hours are spent."""
    network, train, augment = recipe.network, recipe.train, recipe.augment
    numbers = [
        *((f"augment.{f.name}", getattr(augment, f.name)) for f in dataclasses.fields(augment) if f.name != "zoom"),
        *((f"train.{f.name}", getattr(train, f.name)) for f in dataclasses.fields(train)),
    ]
    rules = [
        (
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", recipe.name),
            "name must be letters, digits, '.', '_' and '-'",
        ),
        *((not isinstance(v, (int, float)) or 0 <= v < math.inf, f"{key} must not be negative") for key, v in numbers),
        (train.label_smoothing < 1, "train.label_smoothing must be below 1"),
        (train.batch_norm_momentum < 1, "train.batch_norm_momentum must be below 1"),
        (network.size % 32 == 0 and 32 <= network.size <= 1024, "network.size must be a multiple of 32 up to 1024"),
        (0 < network.width <= 2, "network.width must be between 0 and 2"),
        (0 <= network.dropout < 1, "network.dropout must be from 0 to below 1"),
        (train.size % 32 == 0 and train.size >= 0, "train.size must be 0 or a multiple of 32"),
        (train.stored_size >= (train.size or network.size), "train.stored_size must be at least the training size"),
        (train.batch >= 1, "train.batch must be at least 1"),
        (train.head_epochs >= 0 and train.epochs >= 0, "train.epochs and train.head_epochs must not be negative"),
        (train.head_epochs + train.epochs >= 1, "train.epochs and train.head_epochs are both 0: nothing to train"),
        (train.learning_rate > 0 and train.head_learning_rate > 0, "learning rates must be above 0"),
        (0 <= train.ema < 1, "train.ema must be from 0 to below 1"),
        (train.batch_norm in ("frozen", "adapt"), "train.batch_norm must be frozen or adapt"),
        (
            train.precision in ("float32", "mixed_bfloat16", "mixed_float16"),
            "train.precision must be float32, mixed_bfloat16 or mixed_float16",
        ),
        (0 < augment.zoom[0] <= augment.zoom[1] <= 2, "augment.zoom must be two rising numbers up to 2"),
    ]
    for holds, rule in rules:
        if not holds:
            raise DataError(f"{where}: {rule}")
