"""What width and resolution save in size and time: `python -m experiments.frontier`."""
