"""The commands `spot-edge train`, `runs` and `data`."""
