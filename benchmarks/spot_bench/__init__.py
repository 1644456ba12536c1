"""Measure model files: accuracy, drift from a baseline, robustness and speed.

Needs only `spot_edge` and numpy, so that it also runs on the device. Every figure has its n and a 95 % interval over
lesions, not images.
"""
