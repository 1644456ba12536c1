"""Accuracy drift: compare models with a baseline on the same images, by subgroup, with a verdict."""
