"""The variants that can be made of a network, and how a family of them is made."""
