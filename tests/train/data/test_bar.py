"""Progress: something on a terminal, nothing elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from spot_train.data.progress import byte_counter, progress_bar


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch, kind: type[io.StringIO]) -> None:
    stream = kind()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(2, "pictures") as step:
        step(1)
        step(1)
    with byte_counter("a.zip") as show:
        show(1_000_000, 4_000_000)
        show(1_000_001, 4_000_000)  # too soon after the former
        show(4_000_000, 4_000_000)
    with byte_counter("b.zip") as show:
        show(2_000_000, None)
    if kind is Terminal:
        text = stream.getvalue()
        assert "pictures" in text
        assert "a.zip  1.0 of 4.0 MB" in text
        assert text.count("a.zip") == 2
        assert text.endswith("b.zip  2.0 MB\033[K\n")
    else:
        assert stream.getvalue() == ""
