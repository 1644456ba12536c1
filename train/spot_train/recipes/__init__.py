"""Training recipes: TOML files, and the reader for them."""
