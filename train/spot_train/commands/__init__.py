"""`spot-edge train`, `runs` and `data`."""
