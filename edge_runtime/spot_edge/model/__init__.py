"""Model files: reading and verifying them, what they say about themselves, and the interpreters that run them."""
