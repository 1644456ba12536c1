"""The training loop: sessions, phases, checkpoints, optimizers."""
