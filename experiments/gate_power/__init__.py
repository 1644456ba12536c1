"""How often the drift gate is right, by simulation: `python -m experiments.gate_power`."""
