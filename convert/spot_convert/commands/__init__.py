"""`spot-edge convert`, `inspect` and `kit`."""
