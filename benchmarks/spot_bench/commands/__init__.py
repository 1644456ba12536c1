"""`spot-edge bench` and its subcommands."""
