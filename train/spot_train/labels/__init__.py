"""Label sets as data: one TOML file each, with plain names, descriptions and malignancy."""
