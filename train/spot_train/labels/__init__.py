"""Label sets: one TOML file each, with plain names, descriptions and malignancy."""
