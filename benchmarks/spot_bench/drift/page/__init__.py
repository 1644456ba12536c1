"""The report of `spot-edge bench drift` as one HTML page that needs nothing else: no script, no font, no other file."""

from __future__ import annotations

from spot_bench.drift.page.document import page, write_page

__all__ = ["page", "write_page"]
