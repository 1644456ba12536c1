"""Accuracy drift: how two models differ on the same images, for whom, and whether the gate passes."""
