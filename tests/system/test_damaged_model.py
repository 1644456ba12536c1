"""A flipped bit anywhere in a model file is detected."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable

import numpy as np
import pytest
from fuzzed.tiny import tiny_model

from spot_edge.errors import ModelError
from spot_edge.model.file import read_model, verify

pytestmark = pytest.mark.long


def undetected(content: bytes, bits: Iterable[int]) -> list[int]:
    """Those of `bits` (8 to a byte, from the first byte on) that can flip without an error."""
    damaged, missed = bytearray(content), []
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            verify(damaged, "damaged")  # no copy: one takes as long as the digest
        except ModelError:
            pass
        else:
            missed.append(bit)
        damaged[bit // 8] ^= 1 << bit % 8
    assert damaged == content
    return missed


def zip_start(content: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        return min(info.header_offset for info in bundle.infolist())


def framing(content: bytes) -> list[range]:
    """The places of the zip archive's headers, directory, end record and comment: all but its files' contents."""
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        infos = sorted(bundle.infolist(), key=lambda info: info.header_offset)
        headers = [range(info.header_offset, info.header_offset + 30 + len(info.filename)) for info in infos]
        return [*headers, range(bundle.start_dir, len(content))]


def test_every_bit_of_a_small_model_file() -> None:
    content = tiny_model()
    assert verify(content, "whole").content == content
    assert undetected(content, range(8 * len(content))) == []


def test_5000_random_bits_of_the_embedded_model() -> None:
    content = read_model().content
    bits = np.random.default_rng(11).integers(0, 8 * len(content), 5000).tolist()
    assert undetected(content, bits) == []


def test_every_bit_of_the_zip_structure_of_the_embedded_model() -> None:
    content = read_model().content
    places = framing(content)
    assert sum(map(len, places)) > 3 * (30 + 46) + 22 + 76
    bits = [8 * at + bit for part in places for at in part for bit in range(8)]
    assert undetected(content, bits) == []


@pytest.mark.nightly
def test_every_bit_of_the_zip_of_the_embedded_model() -> None:
    content = read_model().content
    start = zip_start(content)
    assert len(content) - start > 40_000
    assert undetected(content, range(8 * start, 8 * len(content))) == []
