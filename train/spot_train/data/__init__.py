"""Data sets: check, fetch, decode, augment and batch their images."""
