"""The commands of the device package, one module each."""
