"""The embedded network in our runtime and in others', in turns in one run: `python -m experiments.peers`.

Each peer is an adapter in `adapters/`, run by a child process in an environment of its own, so adapters import nothing
of this repository but `peers.talk` and `peers.pixels`, which need numpy and Pillow alone; ours imports spot_edge, too.
"""
