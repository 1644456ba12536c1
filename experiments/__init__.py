"""Studies behind the reports in docs/reports. Run one with `python -m experiments.NAME`."""
