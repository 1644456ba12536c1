"""Check a file against the Keras network, and fit its temperature, thresholds and limits."""
