"""What a refusal may be: an error of spot-edge, in one line, without internal details."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["NAME", "refused_well"]

NAME = "scans/7.bin"  # the name of the input; no message may contain another path


@contextmanager
def refused_well(*kinds: type[Exception]) -> Iterator[None]:
    """Swallow errors of these `kinds`.

    Raise AssertionError for a message of several lines, for one that reveals memory addresses or paths, and for a
    warning, which a user would see.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except kinds as error:
            message = str(error)
            assert message.strip(), "an error without a message"
            assert "\n" not in message, message
            assert len(message) < 2000, message
            for leak in (" at 0x", "site-packages", __file__.partition("tests")[0]):
                assert leak not in message, message
    assert not caught, str(caught[0])
