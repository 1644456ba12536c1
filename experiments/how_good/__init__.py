"""The page "How good is it, and for whom?": `python -m experiments.how_good`."""
