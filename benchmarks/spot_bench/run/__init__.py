"""What training and conversion share: the run directory and the settings that both read."""
