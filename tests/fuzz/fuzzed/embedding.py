"""What a model file measures unfamiliar pictures with: `embedding.npz`."""

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
    """Numbers that a distance can be measured with, or a refusal."""
    with refused_well(ModelError):
        ood_reference = read_ood_reference(data, FEATURES, NAME)
        with np.errstate(all="ignore"):  # numbers may be so large that there is no distance; see test_quality.py
            ood_reference.ood_distance(np.zeros(len(APPEARANCE), np.float32), np.zeros(FEATURES, np.float32))
