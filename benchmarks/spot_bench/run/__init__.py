"""What training and conversion share: the run directory, settings, progress, quiet imports."""
