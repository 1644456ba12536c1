"""The seeds of the fuzzer, and mutations of them, are accepted or rejected cleanly.

`make check TARGET=fuzz` continues from here with atheris, a fuzzer guided by coverage, which not every system has.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from fuzzed.model import redigested
from fuzzed.refusals import refused_well
from fuzzed.tiny import SPEC, tiny_embedding, tiny_model
from PIL import Image

from spot_edge.errors import InputError
from spot_edge.model.file import verify
from spot_edge.model.spec_json import parse_spec

CORPUS = Path(__file__).parent / "corpus"
SEEDS = sorted(CORPUS.glob("*/*"))
TARGETS = ("driver", "embedding", "frame", "image", "model", "spec")
DAMAGED = 20  # damaged copies of each seed


def test_the_corpus_is_complete_and_small() -> None:
    assert {seed.parent.name for seed in SEEDS} == set(TARGETS)
    assert sum(seed.stat().st_size for seed in SEEDS) < 200_000


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_seed_and_damaged_copies_of_it(seed: Path) -> None:
    """Each target's `run` raises AssertionError for a bad refusal, and does not catch unexpected errors."""
    target, content = importlib.import_module(f"fuzzed.{seed.parent.name}"), seed.read_bytes()
    target.run(content)
    draws = np.random.default_rng(len(content))
    for number in range(DAMAGED):
        damaged = bytearray(content)
        for at in draws.integers(0, len(content), 1 + number % 8).tolist():
            damaged[at] = int(draws.integers(256))
        target.run(bytes(damaged[: int(draws.integers(len(content) + 1))] if number % 5 == 4 else damaged))


def test_the_seeds_are_valid() -> None:
    """A seed that is rejected at once would lead the fuzzer nowhere."""
    whole = (CORPUS / "model" / "whole").read_bytes()
    assert verify(whole, "seed").spec.name == SPEC.name
    assert redigested(whole) == whole
    assert parse_spec((CORPUS / "spec" / "full").read_bytes(), "seed").drift is not None
    assert verify(tiny_model(), "made").members["embedding.npz"] == tiny_embedding()


@pytest.mark.parametrize(
    "message", ["", "two\nlines", "<_io.BytesIO object at 0x7f00>", f"in {Path(__file__)}", "long " * 500]
)
def test_a_bad_refusal_is_found(message: str) -> None:
    with pytest.raises(AssertionError), refused_well(InputError):
        raise InputError(message)


def test_a_warning_is_found() -> None:
    with pytest.raises(AssertionError, match="overflow"), refused_well(InputError):
        np.float32(1e38) * np.full(1, 1e38, np.float32)
    with refused_well(InputError):
        Image.new("RGB", (8, 8))
