"""Recipes: everything that decides how a model is trained, as a TOML file to copy, edit and replay."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from spot_bench.drift.gate import Margins, margins_from
from spot_bench.run.settings import Budget, Retraining, budget_from, retraining_from
from spot_edge.errors import DataError
from spot_edge.model.spec import Geometry, ImageSpec
from spot_train.network.backbones import backbone_problems

__all__ = [
    "Augment",
    "Network",
    "Recipe",
    "Source",
    "Train",
    "known_recipes",
    "load_recipe",
    "recipe_hash",
    "render_recipe",
]

# Keys added after the first recipes were hashed are rendered only if they differ from their default. So older recipes
# keep their hash.
_ADDED: dict[str, Any] = {"omit_default": True}


@dataclass(frozen=True, slots=True)
class Network:
    """The backbone and its input."""

    backbone: str = "mobilenet_v2"
    width: float = 1.0
    size: int = 224
    dropout: float = 0.2
    geometry: str = field(default="stretch", metadata=_ADDED)  # or "stretch-reduced-jpeg": large JPEGs decode faster

    @property
    def image(self) -> ImageSpec:
        """How an image becomes the network's input."""
        return ImageSpec(self.size, cast(Geometry, self.geometry))


@dataclass(frozen=True, slots=True)
class Augment:
    """Random changes to training images. Each number is the largest change; 0 or false switches it off."""

    flip: bool = True
    rotate: float = 180.0  # degrees in either direction
    zoom: tuple[float, float] = (0.75, 1.05)  # share of the image's side that is visible
    stretch: float = 0.1  # change of aspect ratio
    shift: float = 0.08  # share of the side
    brightness: float = 0.15
    contrast: float = 0.2
    saturation: float = 0.2
    illuminant: float = 0.06  # gain of each colour channel
    hairs: float = 0.0  # share of images that get drawn hairs
    corners: float = 0.0  # share of images that get a dark rim, like a dermatoscope's tube
    jpeg: float = 0.0  # share of images that are compressed again, at a quality from 40 to 95
    blur: float = 0.0  # share of images that are slightly out of focus
    # share of images reduced to the smallest native side of the sources in use, so that blur says less about the source
    sharpness: float = field(default=0.0, metadata=_ADDED)


@dataclass(frozen=True, slots=True)
class Train:
    """The optimization: first the head alone, then all layers."""

    seed: int = 1
    batch: int = 64
    sizes: tuple[int, ...] = ()  # sides of the training crops, in order over the epochs; default: network.size
    stored_size: int = 256  # side of the cached training images, before augmentation
    head_epochs: int = 1
    head_learning_rate: float = 1e-3
    epochs: int = 8
    learning_rate: float = 2e-4
    frozen_layers: int = 0  # number of the backbone's first layers that stay frozen
    optimizer: str = "adamw"  # or "adam", "rmsprop"
    schedule: str = "cosine"  # or "constant", or "plateau": a tenth whenever validation stops improving
    patience: int = 3  # epochs without improvement before the plateau schedule acts
    warmup_epochs: float = 0.5
    weight_decay: float = 1e-2  # of adamw
    loss: str = "crossentropy"  # or "focal"
    label_smoothing: float = 0.0
    balance: float = 0.0  # 0: every image once per epoch; 1: every class equally often
    class_weight_power: float = 0.0  # weights are (1 / class frequency) ** power
    class_weights: dict[str, float] = field(default_factory=dict)  # factor by class name
    logit_adjustment: float = 0.0  # factor of log(class frequency), added to the logits in training
    shift_to_balance: float = 0.0  # factor of log(class frequency), subtracted from the logits at the end
    mixup: float = 0.0  # alpha for blending two images
    cutmix: float = 0.0  # alpha for pasting a box of one image into another
    teachers: tuple[str, ...] = ()  # run directories for distillation: their mean prediction is a second target
    teacher_share: float = 0.5  # weight of the teachers in the target
    teacher_temperature: float = 2.0
    # augmented views of each image that the teachers predict: epoch e shows view e modulo this; 0: one prediction per
    # image without augmentation. --cache keeps the predictions; loop/teachers.py says when they are made anew
    teacher_views: int = field(default=0, metadata=_ADDED)
    ema: float = 0.0  # momentum of the moving average of weights; 0: none
    batch_norm: str = "frozen"  # or "adapt"
    batch_norm_momentum: float = 0.99
    precision: str = "float32"  # or "mixed_bfloat16", which pays on a GPU
    validate_every: int = 1  # epochs between two validations; 0: only at the end
    keep: str = "last"  # or "best": the epoch with the best balanced accuracy in validation
    # the first epochs of all layers, which also use the sources with pretrain_only
    pretrain_epochs: int = field(default=0, metadata=_ADDED)


@dataclass(frozen=True, slots=True)
class Source:
    """Extra training images. The command line names their manifest, so a recipe holds no path."""

    name: str
    licence: str  # required, because it applies to the trained model as well
    weight: float = 1.0  # images per epoch, as a share of the source's images
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # label of the source: the classes it may be
    native: int = 0  # side of the images in pixels before any enlarging; 0: unknown
    pretrain_only: bool = False  # used only in the head epochs and the first train.pretrain_epochs
    citation: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One complete recipe."""

    name: str
    labels: str = ""  # a label set; empty: the labels of the data
    description: str = ""
    network: Network = field(default_factory=Network)
    augment: Augment = field(default_factory=Augment)
    train: Train = field(default_factory=Train)
    gate: Margins = field(default_factory=Margins)  # accepted accuracy drift of quantization
    mix: Budget = field(default_factory=Budget)  # accepted cost of layers in higher precision
    retrain: Retraining = field(default_factory=Retraining)  # fine-tuning for the variants that need training
    sources: tuple[Source, ...] = field(default=(), metadata=_ADDED)  # extra training images


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KINDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
_CHOICES = {
    "optimizer": ("adamw", "adam", "rmsprop"),
    "schedule": ("cosine", "constant", "plateau"),
    "loss": ("crossentropy", "focal"),
    "batch_norm": ("frozen", "adapt"),
    "precision": ("float32", "mixed_bfloat16"),
    "keep": ("last", "best"),
}


def known_recipes() -> list[str]:
    """Return the names of the included recipes."""
    folder = resources.files("spot_train") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Load the recipe `name`, or the TOML file at that path, with `changes` such as `train.epochs=3`.

    Unknown keys are errors, in the file and in the changes.
    """
    if name in known_recipes():
        text = (resources.files("spot_train") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = _read(Path(name))
    else:
        raise DataError(f"{name}: no such recipe file or recipe. The recipes are {', '.join(known_recipes())}")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{name}: invalid recipe: {error}") from error
    for change in changes:
        _change(data, change)
    recipe: Recipe = _build(Recipe, data, name)
    _check(recipe, name)
    return recipe


def render_recipe(recipe: Recipe) -> str:
    """Return `recipe` as complete TOML, with every default written out except those of the newest keys."""
    import tomli_w  # imported only here, so that reading a recipe needs no extra

    return tomli_w.dumps(_rendered(recipe))


def recipe_hash(recipe: Recipe) -> str:
    """Return the SHA-256 of the complete recipe."""
    return hashlib.sha256(render_recipe(recipe).encode()).hexdigest()


def _rendered(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rendered(each) for each in value]
    if not dataclasses.is_dataclass(value):
        return value
    named = [(f, getattr(value, f.name)) for f in dataclasses.fields(value)]
    return {f.name: _rendered(v) for f, v in named if not (f.metadata.get("omit_default") and v == f.default)}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the recipe: {error}") from None


def _change(data: dict[str, Any], change: str) -> None:
    """Apply one `table.key=value` to the recipe's data. The value is TOML; a bare word is a string."""
    key, equals, text = (part.strip() for part in change.partition("="))
    if not equals or not all(key.split(".")):
        raise DataError(f"{change!r}: write a change as key=value, for example train.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.split(".")
    for table in tables:
        data = data.setdefault(table, {})
        if not isinstance(data, dict):
            raise DataError(f"{change!r}: {table!r} is not a table of a recipe")
    data[last] = value


def _build(cls: Any, data: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(cls)
    for key in data:
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            raise DataError(f"{where}: unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
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
    if kind in (tuple[int, ...], tuple[str, ...]):
        inner = kind.__args__[0]
        if not isinstance(value, list) or any(type(v) is not inner for v in value):
            raise DataError(f"{where} must be a list of {'whole numbers' if inner is int else 'strings'}")
        return tuple(value)
    if kind == dict[str, float]:
        if not isinstance(value, dict) or any(type(v) not in (int, float) for v in value.values()):
            raise DataError(f"{where} must be a table of numbers by class")
        return {key: float(number) for key, number in value.items()}
    if kind == tuple[Source, ...]:
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            raise DataError(f"{where} must be a list of tables: [[sources]]")
        return tuple(_build(Source, v, f"{where}: {v.get('name', number)}") for number, v in enumerate(value, 1))
    if kind == dict[str, tuple[str, ...]]:
        return _class_map(value, where)
    if type(value) is not kind:
        raise DataError(f"{where} must be {_KINDS[kind]}, not {value!r}")
    return value


def _class_map(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    """Return the classes that each label of a source may be. A single class may be written without brackets."""
    if not isinstance(value, dict):
        raise DataError(f"{where} must be a table of classes by label")
    classes = {label: (named,) if isinstance(named, str) else named for label, named in value.items()}
    for label, names in classes.items():
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{where}: {label} must be a class or a list of classes")
        if not names:
            raise DataError(f"{where}: {label} has no class. Name one, or leave its images out of the manifest")
        if len(set(names)) < len(names):
            raise DataError(f"{where}: {label} names a class twice")
    return {label: tuple(names) for label, names in classes.items()}


def _check(recipe: Recipe, where: str) -> None:
    """Refuse recipes that cannot work, before training spends hours on them."""
    network, train, augment = recipe.network, recipe.train, recipe.augment
    numbers = [
        *((f"augment.{f.name}", getattr(augment, f.name)) for f in dataclasses.fields(augment) if f.name != "zoom"),
        *((f"train.{f.name}", getattr(train, f.name)) for f in dataclasses.fields(train)),
    ]
    sizes = train.sizes or (network.size,)
    shares = ("hairs", "corners", "jpeg", "blur", "sharpness")
    problems = backbone_problems(network.backbone, network.width, network.size, train.sizes)
    rules = [
        (
            _NAME.fullmatch(recipe.name),
            "name may only contain letters, digits, '.', '_' and '-', and must start with a letter or digit",
        ),
        *((not isinstance(v, (int, float)) or 0 <= v < math.inf, f"{key} must not be negative") for key, v in numbers),
        *(
            (getattr(train, key) in known, f"train.{key} must be one of {', '.join(known)}")
            for key, known in _CHOICES.items()
        ),
        *((0 <= getattr(augment, key) <= 1, f"augment.{key} must be from 0 to 1") for key in shares),
        (all(0 < v < math.inf for v in train.class_weights.values()), "train.class_weights must be above 0"),
        (train.label_smoothing < 1, "train.label_smoothing must be below 1"),
        (train.batch_norm_momentum < 1, "train.batch_norm_momentum must be below 1"),
        (train.balance <= 1, "train.balance must be from 0 to 1"),
        (train.teacher_share <= 1, "train.teacher_share must be from 0 to 1"),
        (train.teacher_temperature > 0, "train.teacher_temperature must be above 0"),
        (not train.teacher_views or train.teachers, "train.teacher_views needs train.teachers"),
        (not train.teacher_views or train.teacher_share, "train.teacher_views needs train.teacher_share above 0"),
        (network.geometry in get_args(Geometry), f"network.geometry must be one of {', '.join(get_args(Geometry))}"),
        (0 < network.width <= 2, "network.width must be between 0 and 2"),
        *((False, problem) for problem in problems),
        (0 <= network.dropout < 1, "network.dropout must be from 0 to below 1"),
        (train.stored_size >= max(sizes), "train.stored_size must be at least the largest training size"),
        (train.batch >= 1, "train.batch must be at least 1"),
        (train.head_epochs + train.epochs >= 1, "train.epochs and train.head_epochs are both 0: nothing to train"),
        (len(train.sizes) <= max(1, train.epochs), "train.sizes has more sizes than train.epochs has epochs"),
        (train.learning_rate > 0 and train.head_learning_rate > 0, "learning rates must be above 0"),
        (0 <= train.ema < 1, "train.ema must be from 0 to below 1"),
        (
            train.schedule != "plateau" or (train.validate_every and train.patience),
            "the plateau schedule needs train.validate_every and train.patience of at least 1",
        ),
        (train.keep != "best" or train.validate_every, "train.keep = best needs train.validate_every of at least 1"),
        (0 < augment.zoom[0] <= augment.zoom[1] <= 2, "augment.zoom must be two increasing numbers up to 2"),
        *_source_rules(recipe),
    ]
    margins_from(dataclasses.asdict(recipe.gate), where)
    retraining_from(dataclasses.asdict(recipe.retrain), where)
    budget_from(dataclasses.asdict(recipe.mix), where)
    for holds, rule in rules:
        if not holds:
            raise DataError(f"{where}: {rule}")


def _source_rules(recipe: Recipe) -> list[tuple[Any, str]]:
    """Return rules about the sources: whether each holds, and what it says."""
    train, sources = recipe.train, recipe.sources
    names = [source.name for source in sources]
    pretrain = any(source.pretrain_only for source in sources)
    sets = any(len(classes) > 1 for source in sources for classes in source.classes.values())
    rules: list[tuple[Any, str]] = [
        (len(set(names)) == len(names), "two sources have the same name. Rename one"),
        (not pretrain or train.pretrain_epochs, "a source with pretrain_only needs train.pretrain_epochs"),
        (not train.pretrain_epochs or pretrain, "train.pretrain_epochs needs a source with pretrain_only"),
        (train.pretrain_epochs <= train.epochs, "train.pretrain_epochs must be at most train.epochs"),
        (
            not recipe.augment.sharpness or any(0 < source.native < train.stored_size for source in sources),
            "augment.sharpness needs a source with native, the side of its images, below train.stored_size",
        ),
        (
            not sets or train.loss == "crossentropy",
            f"train.loss = {train.loss} does not support sets of classes in [[sources]]. Use crossentropy",
        ),
    ]
    for source in sources:
        about = f"sources: {source.name}:"
        rules += [
            (_NAME.fullmatch(source.name), f"{about} name may only contain letters, digits, '.', '_' and '-'"),
            (source.licence, f"{about} licence must not be empty"),
            (0 < source.weight <= 100, f"{about} weight must be above 0 and at most 100"),
            (source.native == 0 or 8 <= source.native <= 100_000, f"{about} native must be at least 8 pixels"),
        ]
    return rules
