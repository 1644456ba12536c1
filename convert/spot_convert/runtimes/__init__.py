"""The runtimes that a file can be run in: compatibility, other environments, browsers, microcontrollers."""
