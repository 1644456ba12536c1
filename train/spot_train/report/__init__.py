"""The validation report of a run: metrics, tables and plots."""
