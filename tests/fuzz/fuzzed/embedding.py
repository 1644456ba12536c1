"""A model file's reference for out-of-distribution images: `embedding.npz`."""

from __future__ import annotations

import numpy as np

from fuzzed.refusals import NAME, refused_well
from spot_edge.errors import ModelError
from spot_edge.image.appearance import APPEARANCE
from spot_edge.prediction.ood import read_ood_reference

FEATURES = 4
LONGEST = 8192
WORDS = (
    *(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"\x93NUMPY\1\0", b"'descr': ", b"'fortran_order': True", b"'shape': ("),
    *(b"'<f2'", b"'<f4'", b"'<f8'", b"'<i4'", b"'<c8'", b"'|O'", b"'<U0'", b"'|V0'", b"means.npy", b"rest.npy"),
)


def run(data: bytes) -> None:
    """Read arrays that give a distance, or raise an expected error."""
    with refused_well(ModelError):
        ood_reference = read_ood_reference(data, FEATURES, NAME)
        with np.errstate(all="ignore"):  # huge numbers may have no finite distance; see test_quality.py
            ood_reference.ood_distance(np.zeros(len(APPEARANCE), np.float32), np.zeros(FEATURES, np.float32))
