"""Conversion: a run directory in, verified model files out."""
