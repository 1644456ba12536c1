"""Convert a run directory to verified model files. Start reading at `pipeline.py`."""
