"""A bit that flipped anywhere in a model file is found."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable

import numpy as np
import pytest
from fuzzed.tiny import tiny_model

from spot_edge.errors import ModelError
from spot_edge.model.file import read_model, verify


def passing(content: bytes, bits: Iterable[int]) -> list[int]:
    """Those of `bits` (8 to a byte, from the first byte on) that could flip without `content` being refused."""
    damaged, passed = bytearray(content), []
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            verify(damaged, "damaged")  # not a copy: that takes as long as the digest
        except ModelError:
            pass
        else:
            passed.append(bit)
        damaged[bit // 8] ^= 1 << bit % 8
    assert damaged == content
    return passed


def zip_start(content: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        return min(info.header_offset for info in bundle.infolist())


def framing(content: bytes) -> list[range]:
    """Where in the zip lie its local headers, its directory, its end and its comment: all but what the files hold."""
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        infos = sorted(bundle.infolist(), key=lambda info: info.header_offset)
        headers = [range(info.header_offset, info.header_offset + 30 + len(info.filename)) for info in infos]
        return [*headers, range(bundle.start_dir, len(content))]


def test_any_single_bit_of_a_small_model_file() -> None:
    content = tiny_model()
    assert verify(content, "whole").content == content
    assert passing(content, range(8 * len(content))) == []


def test_a_bit_at_5000_places_of_the_embedded_model() -> None:
    content = read_model().content
    bits = np.random.default_rng(11).integers(0, 8 * len(content), 5000).tolist()
    assert passing(content, bits) == []


def test_any_bit_that_frames_the_zip_of_the_embedded_model() -> None:
    content = read_model().content
    places = framing(content)
    assert sum(map(len, places)) > 3 * (30 + 46) + 22 + 76
    bits = [8 * at + bit for part in places for at in part for bit in range(8)]
    assert passing(content, bits) == []


@pytest.mark.nightly
def test_any_bit_of_the_zip_of_the_embedded_model() -> None:
    content = read_model().content
    start = zip_start(content)
    assert len(content) - start > 40_000
    assert passing(content, range(8 * start, 8 * len(content))) == []
