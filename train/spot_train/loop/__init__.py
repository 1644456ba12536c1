"""The training loop: sessions, phases, checkpoints and optimizers."""
