"""Run directories: writing, packing, restoring and averaging them."""
