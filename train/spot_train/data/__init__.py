"""Data sets before training: what is wrong with one, its split, and where public ones come from."""
