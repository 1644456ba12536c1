"""Time the embedded network in our runtime and in others, taking turns: `python -m experiments.peers`.

Each peer is an adapter in `adapters/` that runs as a child process in its own environment. Adapters import only
`peers.talk` and `peers.pixels` from this repository, which need numpy and Pillow. Our own adapter also imports
spot_edge.
"""
