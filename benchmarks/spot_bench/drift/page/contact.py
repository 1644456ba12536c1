"""The flipped images as a contact sheet."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from spot_bench.data.manifest import Manifest
from spot_bench.drift.page.html import Cell, plain
from spot_edge.errors import InputError
from spot_edge.image.tensor import decode

__all__ = ["MOST_SHOWN", "contact_sheet", "thumbnails"]

MOST_SHOWN = 60
_SIDE = 120


def thumbnails(images: Iterable[str], manifest: Manifest) -> dict[str, str]:
    """Return small JPEGs as data URIs by image name; images that cannot be read are left out."""
    files = {manifest.name(item): item.image for item in manifest.items}
    found = {name: _thumbnail(files[name]) for name in images if name in files}
    return {name: uri for name, uri in found.items() if uri is not None}


def contact_sheet(flips: list[dict[str, Any]], pictures: dict[str, str]) -> Cell:
    """Show the worst MOST_SHOWN of `flips` with both top classes; `pictures` are their thumbnails."""
    return f'<div class="sheet">{"".join(_shown(flip, pictures) for flip in flips[:MOST_SHOWN])}</div>'


def _shown(flip: dict[str, Any], pictures: dict[str, str]) -> Cell:
    name = plain(flip["image"])
    uri = pictures.get(flip["image"])
    picture = f'<img src="{uri}" alt="{name}">' if uri else '<div class="blank"></div>'
    before, after = (f"{plain(flip[key]['label'])} {flip[key]['score']:.2f}" for key in ("baseline", "other"))
    style = ' class="worse"' if _bad(flip) else ""
    effect = f"<span{style}>{plain(flip['effect'])}</span>"
    return (
        f"<figure>{picture}<span><b>{plain(flip['label'])}</b></span><span>{before} → {after}</span>{effect}"
        f'<span class="quiet">{plain(Path(flip["image"]).name)}</span></figure>'
    )


def _bad(flip: dict[str, Any]) -> bool:
    return flip["effect"] in ("malignancy lost", "now wrong")


def _thumbnail(file: Path) -> str | None:
    try:
        picture, _ = decode(file.read_bytes(), file.name)
    except (OSError, InputError):
        return None
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
