"""`spot-edge doctor`: describe this machine and find problems. If one check fails, the others still run."""
