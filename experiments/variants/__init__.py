"""Compare all variants of a network on one page, from existing reports: `python -m experiments.variants`.

Nothing is run here: `spot-edge convert`, `bench drift`, `bench latency` and `make check TARGET=arm ARGS=networks`
leave reports, and what none of them knows of a variant stays a dash.
"""
