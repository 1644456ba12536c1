"""How stable predictions are when images change, and what the quality limits refuse."""
