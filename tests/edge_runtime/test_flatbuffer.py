"""The little that is read from a .tflite before an interpreter sees it."""

from __future__ import annotations

import numpy as np
import pytest

from spot_edge.errors import ModelError
from spot_edge.flatbuffer import Tensor, read_signature


def test_the_embedded_model_s_signature(flatbuffer, model) -> None:
    signature, size, classes = read_signature(flatbuffer, "m"), model.spec.image.size, len(model.spec.labels)
    assert signature.inputs == {"image": Tensor("uint8", (1, size, size, 3))}
    assert signature.outputs["scores"] == Tensor("float32", (1, classes))
    assert signature.outputs["evidence"].shape[3] == classes
    assert len(signature.outputs["embedding"].shape) == 2
    assert set(signature.outputs) == {"scores", "evidence", "embedding"}


@pytest.mark.parametrize("data", [b"", b"TFL3", bytes(100), b"PK\3\4" * 10])
def test_what_is_not_a_tflite_file(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"m: not a \.tflite file"):
        read_signature(data, "m")


def test_an_empty_model_has_no_subgraph() -> None:
    no_fields = b"\x0c\0\0\0TFL3" + b"\x04\0\x04\0" + b"\x04\0\0\0"
    with pytest.raises(ModelError, match="0 subgraphs and 0 signatures"):
        read_signature(no_fields, "m")


def test_no_cut_and_no_rubbish_fails_in_another_way(flatbuffer) -> None:
    """A flatbuffer points forwards and backwards: every offset that leads out of the data is a ModelError."""
    draws, refused = np.random.default_rng(3), 0
    for kept in draws.integers(16, len(flatbuffer), 50).tolist():
        with pytest.raises(ModelError):
            read_signature(flatbuffer[:kept], "cut")
    for _ in range(200):
        data = bytearray(flatbuffer[:40_000])
        for at in draws.integers(8, 200, 6).tolist():
            data[at] = int(draws.integers(256))
        try:
            read_signature(bytes(data), "rubbish")
        except ModelError:
            refused += 1
    assert refused == 200
