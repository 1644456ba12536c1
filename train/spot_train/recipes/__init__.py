"""Recipes: TOML files that decide how a model is trained, and the reader for them."""
