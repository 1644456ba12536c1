"""The catalog of variants, how to build the body of each, and what a conversion made."""
