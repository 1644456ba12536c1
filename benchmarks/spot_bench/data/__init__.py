"""Data sets: manifests, splits, drawn images, and predictions over all their images."""
