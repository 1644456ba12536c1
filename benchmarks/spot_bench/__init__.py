"""Measures what a model file does: how well, how fast, how sure, and how far from the model it was made of.

Needs `spot_edge` and numpy alone, so that it runs on the device too. Every figure comes with its n and a 95 % interval
over lesions, not images.
"""
