"""What a refusal may be: one of the house's errors, of one line, that tells no more than it was told."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["NAME", "refused_well"]

NAME = "scans/7.bin"  # what the input is called; no message may hold another path


@contextmanager
def refused_well(*kinds: type[Exception]) -> Iterator[None]:
    """Swallow `kinds`; AssertionError for a refusal of several lines, one that tells of our memory or paths, or a
    warning, which a user would see."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            yield
        except kinds as error:
            said = str(error)
            assert said.strip(), "a refusal without a reason"
            assert "\n" not in said, said
            assert len(said) < 2000, said
            for leak in (" at 0x", "site-packages", __file__.partition("tests")[0]):
                assert leak not in said, said
    assert not warned, str(warned[0])
